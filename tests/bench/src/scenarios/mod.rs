//! What is measured, one file each. A server that cannot be started or that fails is noted and the others go on.

pub(crate) mod breakdown;
pub(crate) mod churn;
pub(crate) mod connect;
pub(crate) mod fan_out;
pub(crate) mod half;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod manager;
pub(crate) mod resume;
pub(crate) mod shards;
pub(crate) mod slow;
pub(crate) mod storm;
pub(crate) mod tables;
pub(crate) mod unwanted;

use std::time::Duration;

use crate::peers::Peer;

/// Content of every message, bytes, where nothing else is said.
pub(crate) const CONTENT: usize = 128;

/// Sockets of the one large room.
pub(crate) const SOCKETS: usize = 5000;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) rounds: usize,
    /// How long one figure is taken.
    pub(crate) each: Duration,
}

/// A figure that is missing, and why.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) what: String,
    pub(crate) reason: String,
    /// Something is not installed; nothing went wrong.
    pub(crate) is_missing: bool,
}

/// What could not be measured.
#[derive(Debug, Default)]
pub(crate) struct Failures(pub(crate) Vec<Failure>);

impl Failures {
    /// Keeps the value, or the reason why there is none.
    pub(crate) fn note<T>(&mut self, what: &str, result: anyhow::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let reason = format!("{error:#}");
                progress(&format!("{what}: {reason}"));
                self.0.push(Failure { what: what.to_owned(), reason, is_missing: false });
                None
            }
        }
    }
}

/// Those of `wanted` that are installed; the others are noted once.
pub(crate) fn installed(wanted: &[Peer], failures: &mut Failures) -> Vec<Peer> {
    let mut installed = wanted.to_vec();
    installed.retain(|peer| {
        let Err(error) = peer.version() else { return true };
        if !failures.0.iter().any(|failure| failure.what == peer.name()) {
            let reason = format!("{error:#}");
            progress(&format!("{}: {reason}", peer.name()));
            failures.0.push(Failure { what: peer.name().to_owned(), reason, is_missing: true });
        }
        false
    });
    installed
}

/// Tells the person who waits.
#[allow(clippy::print_stderr, reason = "a program for the terminal; results go to standard output")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}
