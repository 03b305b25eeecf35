//! Judges a peer by the bytes that arrive from it. No I/O and no clock of its own.

use std::time::Duration;

/// How often the bytes are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// With one look of delay a dead peer is noticed within 3 s. A living one sends a heartbeat each second,
/// and a slow line brings some bytes of whatever it is busy with.
const DEAD_AFTER: Duration = Duration::from_millis(2500);

/// How long a peer has been silent.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    bytes_read: u64,
    silent: Duration,
}

impl Silence {
    /// One look, `since_last` after the one before. Returns whether the peer is dead.
    ///
    /// A look that comes late tells that this process stood still, not the peer: it counts as one in
    /// time, so that what has arrived meanwhile is read before the next judgement.
    pub(crate) fn look(&mut self, bytes_read: u64, since_last: Duration) -> bool {
        if bytes_read != self.bytes_read {
            self.bytes_read = bytes_read;
            self.silent = Duration::ZERO;
        } else {
            self.silent += since_last.min(LOOK_EVERY * 3 / 2);
        }
        self.silent >= DEAD_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(silence: &mut Silence, bytes: u64, n: u32) -> bool {
        (0..n).any(|_| silence.look(bytes, LOOK_EVERY))
    }

    #[test]
    fn a_silent_peer_is_dead_within_three_seconds() {
        let mut silence = Silence::default();
        assert!(!looks(&mut silence, 1, 5));
        assert!(looks(&mut silence, 1, 1));
    }

    #[test]
    fn any_byte_is_life() {
        let mut silence = Silence::default();
        for bytes in 1..20 {
            assert!(!looks(&mut silence, bytes, 5));
        }
    }

    #[test]
    fn our_own_standstill_is_not_the_peers_silence() {
        let mut silence = Silence::default();
        silence.look(1, LOOK_EVERY);
        assert!(!silence.look(1, Duration::from_secs(60)));
        assert!(!looks(&mut silence, 2, 5));
    }
}
