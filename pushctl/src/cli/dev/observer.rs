//! Looks at the fleet for the pages: asks the manager and the nodes as anybody could, reads the metrics, and
//! passes on what the manager's tracer tells.

use std::{collections::HashMap, time::Duration};

use futures::future::join_all;
use push_manager::trace::{Traced, TracedTarget, Tracer};
use pushcast_common::telemetry;
use pushcast_proto::{
    connectnode::v1::{
        Connection, QueryRequest, connect_node_service_client::ConnectNodeServiceClient, query_request::About,
    },
    pushmanager::v1::Node,
};
use pushctl::{
    figures::{Figures, Sample},
    push::PushClient,
};
use serde_json::{Value, json};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use tonic::transport::{Channel, Endpoint};

use super::{
    addresses::{Addresses, NodeAddresses},
    banner,
    feed::Feed,
    nodes::{Nodes, Standing},
};

/// How often the fleet is looked at while a page is open: what somebody does shows at once.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Looks from one set of figures to the next.
const LOOKS_PER_FIGURES: u32 = 2;

/// People of one node that a page is told of.
const PEOPLE_SHOWN: u32 = 60;

/// A node that says nothing for this long is shown without its people.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Characters of a text that a page is told of.
const TEXT_SHOWN: usize = 120;

pub(super) struct Observer {
    feed: Feed,
    tracer: Tracer,
    addresses: Addresses,
    standings: Nodes,
    manager: PushClient,
    nodes: HashMap<String, ConnectNodeServiceClient<Channel>>,
}

impl Observer {
    pub(super) fn new(
        addresses: &Addresses,
        standings: Nodes,
        tracer: Tracer,
        feed: Feed,
    ) -> anyhow::Result<Self> {
        let mut nodes = HashMap::new();
        for node in &addresses.nodes {
            let channel = Endpoint::from_shared(format!("http://{}", node.grpc))?.connect_lazy();
            nodes.insert(node.id.clone(), ConnectNodeServiceClient::new(channel));
        }
        let manager = PushClient::new(&addresses.grpc.to_string())?;
        Ok(Self { feed, tracer, addresses: addresses.clone(), standings, manager, nodes })
    }

    /// Never returns; drop it at the end. Looks at nothing while nobody watches.
    pub(super) async fn run(self) {
        loop {
            self.feed.watched().await;
            let mut watch = Watch::begin(&self).await;
            let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut n_looks = 0_u32;
            while self.feed.is_watched() {
                tokio::select! {
                    traced = watch.traced.recv() => match traced {
                        Ok(traced) => watch.tell_traced(&traced),
                        Err(RecvError::Lagged(_)) => {}
                        // The manager has ended, and with it all there is to watch.
                        Err(RecvError::Closed) => return std::future::pending().await,
                    },
                    () = watch.standings.changed() => {
                        watch.look().await;
                    }
                    _ = looks.tick() => {
                        watch.look().await;
                        n_looks = n_looks.wrapping_add(1);
                        if n_looks.is_multiple_of(LOOKS_PER_FIGURES) {
                            watch.tell_figures();
                        }
                    }
                }
            }
        }
    }
}

/// From the first page that is opened to the last one that is closed.
struct Watch<'a> {
    observer: &'a Observer,
    feed: &'a Feed,
    standings: Nodes,
    traced: broadcast::Receiver<Traced>,
    /// The newest push that was told of or counted as skipped.
    known_up_to: u64,
    /// Pushes before it that were not traced, and of which pages have not been told yet.
    skipped: u64,
    /// When pages were last told what was skipped.
    looked_at: Instant,
    /// When it looked before that, and the newest seq it saw last.
    looked_before: Instant,
    listed: u64,
    scraped: (Instant, Sample),
}

impl<'a> Watch<'a> {
    async fn begin(observer: &'a Observer) -> Self {
        let traced = observer.tracer.subscribe();
        let scraped = (Instant::now(), scrape());
        let mut watch = Self {
            observer,
            feed: &observer.feed,
            standings: observer.standings.clone(),
            traced,
            known_up_to: u64::MAX,
            skipped: 0,
            looked_at: Instant::now(),
            looked_before: Instant::now(),
            listed: 0,
            scraped,
        };
        // What was pushed before concerns no page: it is known, and nobody is told.
        let newest = watch.look().await;
        watch.known_up_to = newest.unwrap_or(0);
        watch
    }

    fn tell_traced(&mut self, traced: &Traced) {
        match traced {
            Traced::Accepted(push) => {
                self.skipped += push.seq.saturating_sub(self.known_up_to.saturating_add(1));
                self.known_up_to = self.known_up_to.max(push.seq);
                let text = std::str::from_utf8(&push.content).ok();
                self.feed.tell(
                    "push",
                    &json!({
                        "seq": push.seq,
                        "message_id": push.message_id,
                        "api": push.api.name(),
                        "app": push.app,
                        "target": target(&push.target),
                        "uri": push.uri,
                        "bytes": push.content.len(),
                        "text": text.map(|text| text.chars().take(TEXT_SHOWN).collect::<String>()),
                        "nodes": push.nodes,
                    }),
                );
            }
            Traced::Acked(ack) => self.feed.tell(
                "ack",
                &json!({
                    "seq": ack.seq,
                    "node_id": ack.node,
                    "recipients": ack.recipients,
                    "after_us": ack.after,
                }),
            ),
        }
    }

    /// Tells of the fleet as it is now; returns the newest seq. A manager that is stopping does not answer; pages
    /// then learn that from their feed ending.
    async fn look(&mut self) -> Option<u64> {
        let standings = self.standings.standings();
        let listed = self.observer.manager.nodes().await.ok()?;
        let mut people: HashMap<String, Vec<Connection>> =
            join_all(self.observer.nodes.iter().map(sample)).await.into_iter().collect();
        let nodes: Vec<Value> = self
            .observer
            .addresses
            .nodes
            .iter()
            .zip(standings)
            .map(|(address, standing)| {
                let listed = listed.nodes.iter().find(|node| node.node_id == address.id);
                node(address, standing, listed, &people.remove(&address.id).unwrap_or_default())
            })
            .collect();
        self.feed.tell_fleet(&json!({
            "manager": {
                "id": listed.manager_id,
                "version": env!("CARGO_PKG_VERSION"),
                "grpc_addr": self.observer.addresses.grpc,
                "http_addr": self.observer.addresses.http,
                "newest_seq": listed.newest_seq,
                "pushctl": banner::own_name(),
            },
            "nodes": nodes,
            "silent_nodes": listed.silent_nodes,
        }));
        self.tell_skipped(listed.newest_seq);
        Some(listed.newest_seq)
    }

    fn tell_skipped(&mut self, newest_seq: u64) {
        // What was traced up to there is in the queue already, and is not to be taken for skipped.
        while let Ok(traced) = self.traced.try_recv() {
            self.tell_traced(&traced);
        }
        // A push that was accepted just now is traced once it is answered: only what was listed a look ago is due.
        let due = std::mem::replace(&mut self.listed, newest_seq);
        let after = due.saturating_sub(self.known_up_to);
        self.known_up_to += after;
        let skipped = std::mem::take(&mut self.skipped) + after;
        let last = std::mem::replace(&mut self.looked_at, Instant::now());
        let since = std::mem::replace(&mut self.looked_before, last);
        if skipped > 0 {
            self.feed.tell_since(since, "skipped", &json!({ "pushes": skipped }));
        }
    }

    fn tell_figures(&mut self) {
        let (at, now) = (Instant::now(), scrape());
        let figures = Figures::between(&self.scraped.1, &now, (at - self.scraped.0).as_secs_f64());
        let (since, _) = std::mem::replace(&mut self.scraped, (at, now));
        let millis = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e3);
        self.feed.tell_since(
            since,
            "figures",
            &json!({
                "pushes_per_s": figures.pushes_per_s,
                "deliveries_per_s": figures.deliveries_per_s.unwrap_or(0.0),
                "pushes": figures.pushes,
                "nodes": figures.nodes,
                "delivered": figures.delivered,
                "efficiency": figures.efficiency(),
                "efficiency_now": figures.efficiency_now(),
                "request_p50_ms": millis(figures.request.p50),
                "request_p99_ms": millis(figures.request.p99),
                "ack_p50_ms": millis(figures.ack.p50),
                "ack_p99_ms": millis(figures.ack.p99),
            }),
        );
    }
}

/// The metrics of this process, which are those of the manager and of all nodes together.
fn scrape() -> Sample {
    Sample::parse(&telemetry::recorder().render())
}

async fn sample((id, client): (&String, &ConnectNodeServiceClient<Channel>)) -> (String, Vec<Connection>) {
    let request =
        QueryRequest { about: Some(About::Anyone(true)), limit: PEOPLE_SHOWN, ..QueryRequest::default() };
    let mut client = client.clone();
    // A node that stands still must not keep the others from being shown.
    let answer = timeout(ANSWER_WITHIN, client.query(request)).await;
    let matches = answer.ok().and_then(Result::ok).map(|answer| answer.into_inner().matches);
    (id.clone(), matches.unwrap_or_default())
}

/// A node as the manager lists it, if it does, and as those who look after it know it.
fn node(address: &NodeAddresses, standing: Standing, listed: Option<&Node>, people: &[Connection]) -> Value {
    let link = listed.map_or("none", |node| &node.link);
    let listed_state = listed.map_or("", |node| &node.state);
    let state = match standing {
        Standing::Stopped => "stopped",
        Standing::Draining => "draining",
        // The record that a killed predecessor left says otherwise.
        Standing::Up if link != "linked" => "starting",
        Standing::Up => listed_state,
    };
    let listed = listed.cloned().unwrap_or_default();
    json!({
        "node_id": address.id,
        "ws_url": format!("ws://{}/ws", address.ws),
        "state": state,
        "link": link,
        "lag": listed.lag,
        "connections": listed.connections,
        "rooms": listed.rooms,
        "users": listed.users,
        "people": people.iter().map(person).collect::<Vec<_>>(),
    })
}

fn person(connection: &Connection) -> Value {
    json!({
        "connection_id": connection.connection_id,
        "user_id": connection.user_id,
        "app": connection.app,
        "rooms": connection.rooms,
    })
}

fn target(target: &TracedTarget) -> Value {
    let of = |kind: &str, ids: &[String], all: usize| json!({ "kind": kind, "ids": ids, "more": all.saturating_sub(ids.len()) });
    match target {
        TracedTarget::Room(room) => of("room", std::slice::from_ref(room), 1),
        TracedTarget::User(user) => of("user", std::slice::from_ref(user), 1),
        TracedTarget::Users(users, all) => of("users", users, *all),
        TracedTarget::Everyone => of("everyone", &[], 0),
    }
}
