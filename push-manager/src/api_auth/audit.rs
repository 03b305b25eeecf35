//! One line in the log for a refused call: why, who, from where, what was asked for. Never a key, never content.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use pushcast_common::tls::accept::Peer;
use tracing::warn;

use super::{
    denied::{Denied, REASONS, Reason},
    method::Method,
};

/// Lines a second for each reason, fourteen in all: so whoever tries keys does not fill the disk, and a caller that is over
/// its rate all day hides nobody who tries keys.
const LINES_A_SECOND: u32 = 2;

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Audit(Mutex<[Lines; REASONS]>);

/// What was said for one reason in its present second.
#[derive(Clone, Copy, Debug, Default)]
struct Lines {
    since: Option<Instant>,
    said: u32,
    left_out: u64,
}

impl Lines {
    /// Whether one more may be said, and how many were left out before it.
    fn one_more(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= SECOND) {
            self.since = Some(now);
            self.said = 0;
        }
        if self.said == LINES_A_SECOND {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }

    /// How many were left out, once their second is over.
    fn left_out(&mut self, now: Instant) -> u64 {
        let is_over = self.since.is_some_and(|since| now.saturating_duration_since(since) >= SECOND);
        if is_over { std::mem::take(&mut self.left_out) } else { 0 }
    }
}

impl Audit {
    /// A call was refused.
    pub(super) fn refused(&self, denied: &Denied, method: Method, peer: Option<&Peer>) {
        let reason = denied.reason();
        let Some(left_out) = self.lines()[reason.index()].one_more(Instant::now()) else { return };
        warn!(
            reason = reason.name(),
            caller = denied.key(),
            peer = peer.map(|peer| tracing::field::display(peer.addr)),
            // What an authority of ours vouched for; most have one name.
            certificate = peer.and_then(|peer| peer.names.as_ref()?.first()),
            method = method.name(),
            left_out = (left_out > 0).then_some(left_out),
            "A call was refused."
        );
    }

    /// To be called now and then: says how many lines were left out at the end of a flood.
    pub(super) fn settle(&self) {
        let now = Instant::now();
        for reason in Reason::ALL {
            let left_out = self.lines()[reason.index()].left_out(now);
            if left_out > 0 {
                warn!(reason = reason.name(), left_out, "More calls were refused than are shown.");
            }
        }
    }

    fn lines(&self) -> MutexGuard<'_, [Lines; REASONS]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_written_down() {
        let start = Instant::now();
        let mut lines = Lines::default();
        let said: Vec<Option<u64>> = (0..5).map(|_| lines.one_more(start)).collect();
        assert_eq!(said, [Some(0), Some(0), None, None, None]);
        assert_eq!(lines.left_out(start + SECOND / 2), 0);
        assert_eq!(lines.one_more(start + SECOND), Some(3));
        assert_eq!((lines.one_more(start + SECOND), lines.one_more(start + SECOND)), (Some(0), None));
        assert_eq!((lines.left_out(start + 2 * SECOND), lines.left_out(start + 2 * SECOND)), (1, 0));
    }
}
