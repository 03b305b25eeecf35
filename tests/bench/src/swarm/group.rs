//! The sockets of one room, and which messages have reached all of them.

/// Counts arrivals message by message: a sum over all sockets would take one that is ahead for one that is behind.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Sockets that count.
    pub(crate) members: u32,
    /// Messages that all of them have.
    pub(crate) complete: u64,
    /// Messages published.
    pub(crate) published: u64,
    /// For each message that is under way, how many sockets have it; message `k` is at `k` modulo the length.
    arrived: Vec<u32>,
}

impl Group {
    /// Starts anew, for at most so many messages under way.
    pub(crate) fn arm(&mut self, members: u32, under_way: usize) {
        self.members = members;
        self.complete = 0;
        self.published = 0;
        self.arrived.clear();
        self.arrived.resize(under_way.next_power_of_two(), 0);
    }

    /// Whether a further message may be published.
    pub(crate) fn has_space(&self) -> bool {
        self.published - self.complete < self.arrived.len() as u64
    }

    /// A socket that had `before` messages has `now`. Whether a message is complete by that; none if it has more than
    /// were published.
    pub(crate) fn arrive(&mut self, before: u64, now: u64) -> Option<bool> {
        if now > self.published {
            return None;
        }
        let mask = self.arrived.len() as u64 - 1;
        for message in before..now {
            self.arrived[(message & mask) as usize] += 1;
        }
        let complete = self.complete;
        while self.complete < self.published {
            let arrived = &mut self.arrived[(self.complete & mask) as usize];
            if *arrived < self.members {
                break;
            }
            *arrived = 0;
            self.complete += 1;
        }
        Some(self.complete > complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_complete_when_the_last_socket_has_it() {
        let mut group = Group::default();
        group.arm(2, 4);
        group.published = 4;
        assert!(!group.has_space());
        assert_eq!(group.arrive(0, 4), Some(false), "one socket is ahead");
        assert_eq!(group.arrive(0, 1), Some(true));
        assert_eq!(group.complete, 1);
        assert!(group.has_space());
        group.published = 5;
        assert_eq!(group.arrive(1, 4), Some(true));
        assert_eq!(group.complete, 4);
        assert_eq!((group.arrive(4, 5), group.arrive(4, 5)), (Some(false), Some(true)));
    }

    #[test]
    fn more_than_was_published_is_an_error() {
        let mut group = Group::default();
        group.arm(1, 1);
        group.published = 1;
        assert_eq!(group.arrive(0, 2), None);
    }
}
