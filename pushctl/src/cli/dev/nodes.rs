//! The nodes of the fleet: each is stopped, killed and started again on its own.

use std::{pin::pin, time::Duration};

use anyhow::{Context as _, anyhow};
use connect_node::tickets::TicketKeys;
use pushcast_common::{registry::Registry, shutdown::Shutdown};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinError, JoinSet},
};
use tracing::warn;

use super::{
    addresses::{NodeAddresses, same},
    seat::Seat,
};

/// Clients of a stopping node are sent away over this time; there are not many, and somebody waits.
const DRAIN_SPREAD: Duration = Duration::from_millis(300);

/// What a client knows of the time is this fresh when somebody kills its node: the fleet is young, and nobody can be
/// made whole who knows only of its first seconds.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Requests of pages that may wait; each takes no time to begin.
const REQUESTS: usize = 16;

/// How every node of this fleet is configured.
fn config(address: &NodeAddresses, ticket_keys: TicketKeys) -> connect_node::Config {
    connect_node::Config {
        ws_addr: same(address.ws),
        grpc_addr: same(address.grpc),
        http_addr: same(address.http),
        node_id: Some(address.id.clone()),
        drain_spread: DRAIN_SPREAD,
        heartbeat: HEARTBEAT,
        ticket_keys,
        local_pages_only: true,
        ..connect_node::Config::local()
    }
}

/// What may be asked of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// To send its clients elsewhere and end.
    Drain,
    /// To be gone from one moment to the next.
    Kill,
    /// To run again.
    Start,
}

/// How a node stands with those who look after it; when it is up, it says itself whether it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Up,
    Draining,
    Stopped,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this fleet has no node {0:?}")]
    Unknown(String),
    #[error("{0}")]
    NotNow(String),
    #[error("{0}")]
    CannotStart(String),
    #[error("the fleet is stopping")]
    Ending,
}

struct Request {
    node_id: String,
    order: Order,
    answer: oneshot::Sender<Result<Standing, Refusal>>,
}

/// The nodes as pages know them. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Nodes {
    requests: mpsc::Sender<Request>,
    standings: watch::Receiver<Vec<Standing>>,
}

impl Nodes {
    /// Has a node do something. Returns when a drain has begun, a killed node is gone, a started one runs.
    pub(super) async fn order(&self, node_id: String, order: Order) -> Result<Standing, Refusal> {
        let (answer, answered) = oneshot::channel();
        let request = Request { node_id, order, answer };
        self.requests.send(request).await.map_err(|_ended| Refusal::Ending)?;
        answered.await.unwrap_or(Err(Refusal::Ending))
    }

    /// How they stand, in the order of their addresses.
    pub(super) fn standings(&mut self) -> Vec<Standing> {
        self.standings.borrow_and_update().clone()
    }

    /// Resolves when they stand otherwise than they were last seen to. Cancel-safe.
    pub(super) async fn changed(&mut self) {
        if self.standings.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Runs the nodes, and does what is asked of them.
#[derive(Debug)]
pub(super) struct Keeper {
    registry: Registry,
    /// The same for all, so that each takes the others' clients back.
    ticket_keys: TicketKeys,
    nodes: Vec<Node>,
    lives: JoinSet<(usize, anyhow::Result<()>)>,
    requests: mpsc::Receiver<Request>,
    standings: watch::Sender<Vec<Standing>>,
}

#[derive(Debug)]
struct Node {
    address: NodeAddresses,
    /// While it has a life.
    stops: Option<Stops>,
    /// Who is told when it is gone.
    killer: Option<oneshot::Sender<Result<Standing, Refusal>>>,
}

/// By what one life of a node is ended.
#[derive(Debug, Clone, Default)]
struct Stops {
    drain: Shutdown,
    kill: Shutdown,
}

impl Keeper {
    /// Starts every node.
    pub(super) fn start(
        addresses: &[NodeAddresses],
        listeners: Vec<connect_node::Listeners>,
        registry: Registry,
    ) -> (Self, Nodes) {
        let (requests, received) = mpsc::channel(REQUESTS);
        let (standings, seen) = watch::channel(vec![Standing::Up; addresses.len()]);
        let node = |address: &NodeAddresses| Node { address: address.clone(), stops: None, killer: None };
        let nodes = addresses.iter().map(node).collect();
        let (ticket_keys, lives) = (TicketKeys::random(), JoinSet::new());
        let mut keeper = Self { registry, ticket_keys, nodes, lives, requests: received, standings };
        for (index, listeners) in listeners.into_iter().enumerate() {
            keeper.begin(index, listeners);
        }
        (keeper, Nodes { requests, standings: seen })
    }

    /// Goes on until `shutdown` begins and every node has drained; fails when one ends by itself.
    pub(super) async fn run(mut self, shutdown: Shutdown) -> anyhow::Result<()> {
        while !shutdown.is_begun() {
            tokio::select! {
                () = shutdown.begun() => {}
                Some(request) = self.requests.recv() => self.obey(request),
                Some(ended) = self.lives.join_next() => self.take_end(ended)?,
            }
        }
        self.requests.close();
        for stops in self.nodes.iter().filter_map(|node| node.stops.as_ref()) {
            stops.drain.begin();
        }
        loop {
            tokio::select! {
                ended = self.lives.join_next() => match ended {
                    Some(ended) => {
                        let (_, ended) = ended?;
                        ended?;
                    }
                    None => return Ok(()),
                },
                () = shutdown.forced() => {
                    self.nodes.iter().filter_map(|node| node.stops.as_ref()).for_each(|stops| stops.drain.force_now());
                    while self.lives.join_next().await.is_some() {}
                }
            }
        }
    }

    fn obey(&mut self, Request { node_id, order, answer }: Request) {
        let Some(index) = self.nodes.iter().position(|node| node.address.id == node_id) else {
            let _nobody_waits = answer.send(Err(Refusal::Unknown(node_id)));
            return;
        };
        let standing = self.standings.borrow()[index];
        let node = &mut self.nodes[index];
        let not_now = |why: &str| Err(Refusal::NotNow(format!("{node_id} {why}")));
        let done = match (order, standing, &node.stops) {
            (Order::Drain, Standing::Up, Some(stops)) => {
                stops.drain.begin();
                Ok(Standing::Draining)
            }
            (Order::Kill, Standing::Up | Standing::Draining, Some(stops)) => {
                stops.kill.begin();
                node.killer = Some(answer);
                return self.stands(index, Standing::Stopped);
            }
            (Order::Start, Standing::Stopped, None) => self.start_again(index),
            (Order::Start, Standing::Stopped, Some(_)) => not_now("has not ended yet"),
            (Order::Start, Standing::Up, _) => not_now("is running"),
            (Order::Drain | Order::Start, Standing::Draining, _) => not_now("is draining"),
            (Order::Drain | Order::Kill, ..) => not_now("is stopped"),
        };
        if let Ok(standing) = done {
            self.stands(index, standing);
        }
        let _nobody_waits = answer.send(done);
    }

    fn start_again(&mut self, index: usize) -> Result<Standing, Refusal> {
        let listeners =
            self.nodes[index].address.bind().map_err(|error| Refusal::CannotStart(error.to_string()))?;
        self.begin(index, listeners);
        Ok(Standing::Up)
    }

    fn begin(&mut self, index: usize, listeners: connect_node::Listeners) {
        let stops = Stops::default();
        let node = &mut self.nodes[index];
        node.stops = Some(stops.clone());
        let config = config(&node.address, self.ticket_keys.clone());
        let life = live(config, node.address.id.clone(), listeners, self.registry.clone(), stops);
        self.lives.spawn(async move { (index, life.await) });
    }

    /// A node has ended: as it was told to, or the fleet fails.
    fn take_end(&mut self, ended: Result<(usize, anyhow::Result<()>), JoinError>) -> anyhow::Result<()> {
        let (index, ended) = ended?;
        let node = &mut self.nodes[index];
        node.stops = None;
        if self.standings.borrow()[index] == Standing::Up {
            return Err(ended.err().unwrap_or_else(|| anyhow!("node {} ended by itself", node.address.id)));
        }
        if let Err(error) = ended {
            warn!("{error:#}");
        }
        if let Some(killer) = self.nodes[index].killer.take() {
            let _nobody_waits = killer.send(Ok(Standing::Stopped));
        }
        self.stands(index, Standing::Stopped);
        Ok(())
    }

    fn stands(&self, index: usize, standing: Standing) {
        self.standings.send_modify(|standings| standings[index] = standing);
    }
}

/// One life of a node.
///
/// Dropping [`connect_node::run`] would not end it: its threads, and with one shard everything else of it, are not of
/// the task that runs it, and would keep their sockets. So a killed node is forced to stop: its clients' sockets are
/// dropped without a Close, its links end without acknowledging what is left, and its record stays where it is. What a
/// killed process could not do and this one does is to end its HTTP/2 streams in order.
async fn live(
    config: connect_node::Config,
    node_id: String,
    listeners: connect_node::Listeners,
    fleet: Registry,
    Stops { drain, kill }: Stops,
) -> anyhow::Result<()> {
    let mut seat = Seat::take(fleet).await?;
    let mut running = pin!(connect_node::run(config, listeners, seat.registry(), drain.clone()));
    let ended = tokio::select! {
        biased;
        () = kill.begun() => None,
        ended = &mut running => Some(ended),
        failed = seat.mirror() => Some(failed.map(|never| match never {}).map_err(Into::into)),
    };
    let ended = match ended {
        Some(ended) => {
            seat.leave().await;
            ended
        }
        None => {
            drop(seat);
            drain.force_now();
            running.await
        }
    };
    ended.with_context(|| format!("node {node_id}"))
}
