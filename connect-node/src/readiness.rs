//! Whether this node takes clients: a latch that only the drain ends, and a bound on connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use metrics::{counter, gauge};
use pushcast_common::registry::{Snapshot, Source, State};
use tokio::{
    sync::{Notify, watch},
    time::{self, Instant},
};
use tracing::{info, warn};

use crate::ingest::Ingest;

/// How often the start conditions are looked at until they hold; a start takes seconds.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Why an upgrade is refused with 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotReady,
    Draining,
    Full,
}

impl Refusal {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::NotReady => "this node is starting; connect to another one or try again",
            Self::Draining => "this node is stopping; connect to another one",
            Self::Full => "this node is full; connect to another one or try again later",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Draining => "draining",
            Self::Full => "full",
        }
    }
}

/// Who is let in. Shared by everything that accepts.
#[derive(Debug)]
pub(crate) struct Admission {
    state: AtomicU8,
    sockets: AtomicUsize,
    max_connections: usize,
    emptied: Notify,
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

impl Admission {
    pub(crate) fn new(max_connections: usize) -> Self {
        Self {
            state: AtomicU8::new(STARTING),
            sockets: AtomicUsize::new(0),
            max_connections,
            emptied: Notify::new(),
        }
    }

    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            STARTING => State::Starting,
            READY => State::Ready,
            _ => State::Draining,
        }
    }

    /// Opens the door, unless draining began before.
    pub(crate) fn open(&self) -> bool {
        let opened =
            self.state.compare_exchange(STARTING, READY, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if opened {
            gauge!("connect_node_ready").set(1.0);
        }
        opened
    }

    /// Closes the door for good.
    pub(crate) fn drain(&self) {
        self.state.store(DRAINING, Ordering::Release);
        gauge!("connect_node_ready").set(0.0);
        gauge!("connect_node_draining").set(1.0);
    }

    /// Whether another client may upgrade; a refusal is counted.
    pub(crate) fn admit(&self) -> Result<(), Refusal> {
        let refusal = match self.state() {
            State::Starting => Refusal::NotReady,
            State::Draining => Refusal::Draining,
            State::Ready if self.sockets.load(Ordering::Relaxed) > self.max_connections => Refusal::Full,
            State::Ready => return Ok(()),
        };
        counter!("connect_node_upgrades_refused_total", "reason" => refusal.label()).increment(1);
        Err(refusal)
    }

    /// Counts a client's socket until the permit is dropped.
    pub(crate) fn permit(self: &Arc<Self>) -> Permit {
        self.sockets.fetch_add(1, Ordering::Relaxed);
        Permit(Some(Arc::clone(self)))
    }

    /// Resolves when no client's socket is left.
    pub(crate) async fn emptied(&self) {
        loop {
            let notified = self.emptied.notified();
            if self.sockets.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// A client's socket, counted. The default counts for nobody.
#[derive(Debug, Default)]
pub struct Permit(Option<Arc<Admission>>);

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(admission) = &self.0
            && admission.sockets.fetch_sub(1, Ordering::AcqRel) == 1
        {
            admission.emptied.notify_waiters();
        }
    }
}

/// Resolves when this node may take clients: linked by every registered manager and filled, or, with none
/// registered, by the first one; or when `link_wait` has passed. To be called once the node is registered.
pub(crate) async fn wait_until_ready(
    ingest: &Ingest,
    managers: &watch::Receiver<Snapshot>,
    link_wait: Duration,
) {
    let give_up = Instant::now() + link_wait;
    let mut look = time::interval(LOOK_EVERY);
    loop {
        look.tick().await;
        if is_filled(ingest, managers.borrow().source) {
            info!(managers = ingest.managers().len(), "Ready: linked and filled.");
            return;
        }
        if Instant::now() >= give_up {
            let missing: Vec<_> = ingest
                .managers()
                .into_iter()
                .filter(|manager| manager.registered && !(manager.linked && manager.filled))
                .map(|manager| format!("{:016x}", manager.manager))
                .collect();
            counter!("connect_node_link_wait_expired_total").increment(1);
            warn!(?missing, ?link_wait, "Ready without every manager: --link-wait has passed.");
            return;
        }
    }
}

fn is_filled(ingest: &Ingest, source: Source) -> bool {
    let managers = ingest.managers();
    let mut registered = managers.iter().filter(|manager| manager.registered).peekable();
    match source {
        Source::Unknown => false,
        Source::Registry if registered.peek().is_some() => {
            registered.all(|manager| manager.linked && manager.filled)
        }
        Source::Registry | Source::Fixed => managers.iter().any(|manager| manager.linked && manager.filled),
    }
}
