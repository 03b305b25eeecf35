//! Ending a process: first a drain is begun, then, if someone insists, it is cut short.

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// A handle to the two steps of ending: begun (drain) and forced (stop now).
///
/// Clones share the same state. Neither step can be taken back, and forcing also begins.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    force: CancellationToken,
    /// Keeps the signal task alive as long as anybody can still ask.
    signals: Option<Arc<SignalTask>>,
}

impl Shutdown {
    /// A shutdown that only [`begin`](Self::begin) and [`force_now`](Self::force_now) trigger.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everybody to drain and end. Idempotent.
    pub fn begin(&self) {
        self.drain.cancel();
    }

    /// Asks everybody to stop at once, without pacing. Idempotent.
    pub fn force_now(&self) {
        self.drain.cancel();
        self.force.cancel();
    }

    /// Whether draining was asked for.
    pub fn is_begun(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Whether stopping at once was asked for.
    pub fn is_forced(&self) -> bool {
        self.force.is_cancelled()
    }

    /// Resolves when draining was asked for, at once if that is past. Cancel-safe.
    pub async fn begun(&self) {
        self.drain.cancelled().await;
    }

    /// Resolves when stopping at once was asked for, at once if that is past. Cancel-safe.
    pub async fn forced(&self) {
        self.force.cancelled().await;
    }

    /// The drain step as a token, for code that wants child tokens of it.
    pub fn drain_token(&self) -> CancellationToken {
        self.drain.clone()
    }
}

/// A [`Shutdown`] driven by SIGTERM and SIGINT: the first begins it, the second forces it.
///
/// Must be called inside a tokio runtime. Fails only if the handlers cannot be installed.
pub fn on_signals() -> io::Result<Shutdown> {
    let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut shutdown = Shutdown::new();
    // The task gets a clone without `signals`, or it would keep itself alive.
    let task = tokio::spawn(follow(shutdown.clone(), term, int));
    shutdown.signals = Some(Arc::new(SignalTask(task)));
    Ok(shutdown)
}

async fn follow(shutdown: Shutdown, mut term: Signal, mut int: Signal) {
    let name = next(&mut term, &mut int).await;
    info!(signal = name, "Stopping; a second signal stops at once.");
    shutdown.begin();
    let name = next(&mut term, &mut int).await;
    warn!(signal = name, "Stopping at once.");
    shutdown.force_now();
}

async fn next(term: &mut Signal, int: &mut Signal) -> &'static str {
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

#[derive(Debug)]
struct SignalTask(JoinHandle<()>);

impl Drop for SignalTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn force_also_begins_and_clones_share() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        assert!(!other.is_begun());
        shutdown.begin();
        other.begun().await;
        assert!(!other.is_forced());
        shutdown.force_now();
        other.forced().await;

        let forced = Shutdown::new();
        forced.force_now();
        assert!(forced.is_begun() && forced.is_forced());
    }

    #[tokio::test]
    async fn the_first_signal_begins_and_the_second_forces() {
        let shutdown = on_signals().unwrap();
        let send = |name: &str| {
            let pid = std::process::id().to_string();
            assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
        };
        send("-TERM");
        shutdown.clone().begun().await;
        assert!(!shutdown.is_forced());
        send("-INT");
        shutdown.forced().await;
    }
}
