//! Pauses between attempts, so that a fleet does not knock in step.

use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// Full jitter: each pause is random between nothing and a bound that doubles from 50 ms to 2 s.
#[derive(Debug)]
pub(crate) struct Backoff {
    bound: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { bound: SHORTEST }
    }

    pub(crate) fn reset(&mut self) {
        self.bound = SHORTEST;
    }

    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.bound.mul_f64(rand::random::<f64>());
        self.bound = (self.bound * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_two_seconds_and_start_anew() {
        let mut backoff = Backoff::new();
        for _ in 0..100 {
            assert!(backoff.pause() <= LONGEST);
        }
        assert_eq!(backoff.bound, LONGEST);
        backoff.reset();
        assert!(backoff.pause() <= SHORTEST);
    }
}
