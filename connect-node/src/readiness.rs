//! Whether this node takes clients: a latch that only the drain ends, and a bound on connections.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use metrics::{counter, gauge};
use pushcast_common::{
    id::ManagerId,
    registry::{Snapshot, Source, State},
};
use tokio::{
    sync::{Notify, watch},
    time::{self, Instant},
};
use tracing::{info, warn};

use crate::{
    ingest::Ingest,
    limits::{Gate, Limits, Peer, Place, Refusal},
};

/// How often the start conditions are looked at until they hold; a start takes seconds.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Sockets beyond 105 % of the clients, so that small limits leave room to answer 503.
const SPARE_SOCKETS: usize = 16;

/// Who is let in. Shared by everything that accepts.
#[derive(Debug)]
pub(crate) struct Admission {
    state: AtomicU8,
    /// Accepted sockets, those that still speak HTTP included.
    sockets: AtomicUsize,
    /// Sockets that became WebSockets.
    clients: AtomicUsize,
    max_connections: usize,
    /// What addresses and crowds may take.
    pub(crate) gate: Gate,
    emptied: Notify,
}

const STARTING: u8 = 0;
const READY: u8 = 1;
const DRAINING: u8 = 2;

impl Admission {
    pub(crate) fn new(max_connections: usize, limits: Limits) -> Self {
        Self {
            state: AtomicU8::new(STARTING),
            sockets: AtomicUsize::new(0),
            clients: AtomicUsize::new(0),
            max_connections,
            gate: Gate::new(limits),
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

    /// Whether another client may upgrade.
    pub(crate) fn admit(&self) -> Result<(), Refusal> {
        match self.state() {
            State::Starting => Err(Refusal::NotReady),
            State::Draining => Err(Refusal::Draining),
            State::Ready if self.clients.load(Ordering::Relaxed) >= self.max_connections => {
                Err(Refusal::Full)
            }
            State::Ready => Ok(()),
        }
    }

    /// Counts a socket from an address until the permit is dropped. It is refused, and that counted, if the address has
    /// as many as it may, or if there are so many that sockets which never upgrade would take the files that registry,
    /// links and operators need.
    pub(crate) fn permit(self: &Arc<Self>, from: IpAddr) -> Option<Permit> {
        let arrived = self.gate.arrive(from).and_then(|(peer, place)| {
            let most = self.max_connections + self.max_connections / 20 + SPARE_SOCKETS;
            let permit = Permit { admission: Arc::clone(self), client: false, peer, place };
            (self.sockets.fetch_add(1, Ordering::Relaxed) < most).then_some(permit).ok_or(Refusal::Full)
        });
        arrived.inspect_err(|refusal| refusal.count()).ok()
    }

    /// Clients connected, those that are being closed included.
    pub(crate) fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Resolves when no client is left.
    pub(crate) async fn emptied(&self) {
        loop {
            let notified = self.emptied.notified();
            if self.clients.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// An accepted socket, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    client: bool,
    peer: Peer,
    /// Its place among the connections of its address.
    place: Option<Place<IpAddr>>,
}

impl Permit {
    /// Where the socket comes from.
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }

    /// Its address turned out to be this one.
    pub(crate) fn at(mut self, place: Place<IpAddr>) -> Self {
        self.place = Some(place);
        self
    }

    /// The socket became a WebSocket.
    pub(crate) fn into_client(mut self) -> Self {
        self.client = true;
        self.admission.clients.fetch_add(1, Ordering::Relaxed);
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.sockets.fetch_sub(1, Ordering::Relaxed);
        if self.client && self.admission.clients.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.admission.emptied.notify_waiters();
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
        let missing = missing_managers(ingest, &managers.borrow().clone());
        if missing.as_ref().is_some_and(Vec::is_empty) {
            info!(managers = ingest.managers().len(), "Ready: linked and filled.");
            return;
        }
        if Instant::now() >= give_up {
            counter!("connect_node_link_wait_expired_total").increment(1);
            let missing = missing.unwrap_or_default();
            warn!(?missing, ?link_wait, "Ready without every manager: --link-wait has passed.");
            return;
        }
    }
}

/// The managers that this node has to be linked by and filled from before it takes clients, and is not yet;
/// `None` while it waits for any manager at all, or for the registry.
pub(crate) fn missing_managers(ingest: &Ingest, registered: &Snapshot) -> Option<Vec<String>> {
    let mut filled: BTreeSet<u64> =
        ingest.managers().into_iter().filter(|m| m.linked && m.filled).map(|m| m.manager).collect();
    if registered.source == Source::Unknown {
        return None;
    }
    let ids: Vec<ManagerId> = registered.records.keys().filter_map(|id| id.parse().ok()).collect();
    if ids.is_empty() {
        return filled.pop_first().map(|_| Vec::new());
    }
    Some(ids.into_iter().filter(|id| !filled.contains(&id.0)).map(|id| id.to_string()).collect())
}
