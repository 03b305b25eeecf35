//! What is said while there is no connection: once why, then ever more rarely that we still try.

use std::time::Duration;

use tokio::time::Instant;

/// From one word to the next while nothing changes: doubled each time, between these two.
const FIRST_WORD: Duration = Duration::from_secs(4);
const LONGEST_SILENCE: Duration = Duration::from_secs(120);
/// Different causes told in one outage: whoever meets more is helped by none of them.
const CAUSES_TOLD: usize = 8;

/// A time without a connection.
#[derive(Debug)]
pub(super) struct Outage {
    since: Instant,
    told: Vec<String>,
    next_word: Instant,
    silence: Duration,
}

impl Outage {
    pub(super) fn begins(now: Instant) -> Self {
        Self { since: now, told: Vec::new(), next_word: now + FIRST_WORD, silence: FIRST_WORD }
    }

    /// What to say about another failure, if anything.
    pub(super) fn failed(&mut self, cause: &str, now: Instant) -> Option<String> {
        if !self.told.iter().any(|told| told == cause) && self.told.len() < CAUSES_TOLD {
            self.told.push(cause.to_owned());
            let more = if self.told.len() == 1 { " - trying again" } else { "" };
            return Some(format!("{cause}{more}"));
        }
        if now < self.next_word {
            return None;
        }
        self.silence = (self.silence * 2).min(LONGEST_SILENCE);
        self.next_word = now + self.silence;
        Some(format!("still trying ({})", self.lasted(now)))
    }

    /// How long it was, now that it is over: most are, within seconds.
    pub(super) fn took(&self, now: Instant) -> String {
        let lasted = now.duration_since(self.since);
        if lasted < Duration::from_secs(10) {
            return format!("{:.1} s", lasted.as_secs_f64());
        }
        self.lasted(now)
    }

    /// How long it has been.
    fn lasted(&self, now: Instant) -> String {
        let seconds = now.duration_since(self.since).as_secs();
        if seconds < 60 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once_and_then_ever_more_rarely_that_it_lasts() {
        let start = Instant::now();
        let mut outage = Outage::begins(start);
        let mut said = Vec::new();
        for second in 0..300 {
            let cause = if second == 2 { "it is starting" } else { "nothing listens there" };
            said.extend(outage.failed(cause, start + Duration::from_secs(second)));
        }
        let expected = [
            "nothing listens there - trying again",
            "it is starting",
            "still trying (4 s)",
            "still trying (12 s)",
            "still trying (28 s)",
            "still trying (1 min 0 s)",
            "still trying (2 min 4 s)",
            "still trying (4 min 4 s)",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_short_one_is_told_to_the_tenth_of_a_second() {
        let start = Instant::now();
        let outage = Outage::begins(start);
        let took = [40, 1_240, 12_900, 61_000].map(|ms| outage.took(start + Duration::from_millis(ms)));
        assert_eq!(took, ["0.0 s", "1.2 s", "12 s", "1 min 1 s"]);
    }

    #[test]
    fn ever_new_causes_are_not_told_for_ever() {
        let now = Instant::now();
        let mut outage = Outage::begins(now);
        let said = (0..100).filter_map(|number| outage.failed(&format!("cause {number}"), now)).count();
        assert_eq!(said, CAUSES_TOLD);
    }
}
