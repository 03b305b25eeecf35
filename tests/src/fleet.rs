//! A fleet: one etcd, some managers, some nodes.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use pushcast_proto::connectnode::v1::{
    PushMessageBatchRequest, connect_node_service_client::ConnectNodeServiceClient,
};
use pushctl::{client::Options, push::PushClient};
use tonic::transport::Channel;

use crate::{
    etcd::Etcd,
    eventually::{check, equal, eventually},
    http,
    listener::Listener,
    metrics::{Metrics, scrape},
    processes::{Addresses, Process},
    proxy::Proxy,
};

/// A fleet stands within this time, however busy the machine is: twice the node's own `--link-wait`.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// The allowance for clocks (5 s), and twice the second in which a manager with nothing to send says what time it is: what a
/// node vouches for is as old as the last it heard.
const COMPLETE_FOR: Duration = Duration::from_secs(7);

/// Flags with their values.
pub type Flags<'a> = &'a [(&'a str, &'a str)];

/// The lease of every test's records, and so the time after which a dead process is forgotten.
pub const LEASE: Duration = Duration::from_secs(2);

/// A key file for the nodes of a fleet, with a key of its own; removed when dropped.
#[derive(Debug)]
pub struct TicketKey(tempfile::NamedTempFile);

impl TicketKey {
    /// One with a random key.
    ///
    /// # Panics
    /// If no file can be made.
    #[allow(clippy::new_without_default, reason = "every one is another one")]
    pub fn new() -> Self {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let key = Self(file);
        key.write(&[rand::random()]);
        key
    }

    /// Puts these keys into it, the signing one first.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn write(&self, keys: &[[u8; 32]]) {
        let lines: Vec<String> = keys.iter().map(|key| BASE64_STANDARD.encode(key)).collect();
        std::fs::write(self.0.path(), lines.join("\n")).expect("it is ours");
    }

    /// Where it is.
    ///
    /// # Panics
    /// Never: temporary files have names that are UTF-8.
    pub fn path(&self) -> &str {
        self.0.path().to_str().expect("its name is ours")
    }
}

/// A push-manager.
#[derive(Debug)]
pub struct Manager {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub addr: Addresses,
}

impl Manager {
    /// Starts one and waits until it listens (not until it is ready). Flags given replace the defaults:
    /// free ports and open doors.
    pub async fn start(name: &str, flags: Flags<'_>) -> Self {
        let defaults = [
            ("--grpc-addr", "127.0.0.1:0"),
            ("--http-addr", "127.0.0.1:0"),
            ("--api-auth", "none"),
            ("--fleet-auth", "none"),
        ];
        let mut process = Process::start_ours(name, "push-manager", merged(&defaults, flags));
        let addr = process.listening().await;
        Self { process, addr }
    }

    /// A client of it.
    ///
    /// # Panics
    /// Never: the address is the process's own.
    pub fn client(&self) -> PushClient {
        PushClient::new(&self.addr.grpc).expect("a process names valid addresses")
    }

    /// Waits until it takes pushes.
    pub async fn ready(&self) {
        wait_ready(&self.addr.http).await;
    }

    /// What it counts.
    pub async fn metrics(&self) -> Metrics {
        scrape(&self.addr.http).await
    }

    /// Waits until it is linked to exactly these nodes.
    pub async fn knows(&self, node_ids: &[&str], within: Duration) {
        let client = self.client();
        let mut expected: Vec<String> = node_ids.iter().map(|&id| id.to_owned()).collect();
        expected.sort();
        eventually("the manager is linked to exactly the right nodes", within, async || {
            let nodes = client.nodes().await.map_err(|status| status.to_string())?.nodes;
            let linked =
                nodes.iter().filter(|node| node.link == "linked").map(|node| node.node_id.clone()).collect();
            check(nodes.len() == expected.len(), || format!("{nodes:?}"))?;
            equal::<Vec<String>>(linked, expected.clone())
        })
        .await;
    }
}

/// A connect-node.
#[derive(Debug)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub addr: Addresses,
    /// What stands between it and the managers.
    pub proxy: Option<Proxy>,
}

impl Node {
    /// Starts one and waits until it listens (not until it is ready). Flags given replace the defaults:
    /// free ports, open doors and a short drain.
    pub async fn start(id: &str, flags: Flags<'_>) -> Self {
        let defaults = [
            ("--node-id", id),
            ("--ws-addr", "127.0.0.1:0"),
            ("--grpc-addr", "127.0.0.1:0"),
            ("--http-addr", "127.0.0.1:0"),
            ("--auth", "none"),
            ("--fleet-auth", "none"),
            ("--drain-spread", "1s"),
            // All clients of a test have one.
            ("--max-connections-per-address", "none"),
        ];
        let mut process = Process::start_ours(id, "connect-node", merged(&defaults, flags));
        let addr = process.listening().await;
        Self { id: id.to_owned(), process, addr, proxy: None }
    }

    /// One that managers reach only through a proxy.
    pub async fn start_behind_proxy(id: &str, flags: Flags<'_>) -> Self {
        let proxy = Proxy::start();
        let advertised = proxy.addr();
        let mut flags = flags.to_vec();
        flags.push(("--advertise-addr", &advertised));
        let node = Self::start(id, &flags).await;
        proxy.set_target(&node.addr.grpc);
        Self { proxy: Some(proxy), ..node }
    }

    /// One without etcd and without managers, ready for clients: all a test of the client's side needs.
    pub async fn alone(id: &str, flags: Flags<'_>) -> Self {
        let mut flags = flags.to_vec();
        flags.push(("--link-wait", "100ms"));
        let node = Self::start(id, &flags).await;
        node.ready().await;
        node
    }

    /// Waits until it takes clients.
    pub async fn ready(&self) {
        wait_ready(&self.addr.http).await;
    }

    /// What it counts.
    pub async fn metrics(&self) -> Metrics {
        scrape(&self.addr.http).await
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("ws://{}/ws", self.addr.ws)
    }

    /// Options of a client of this node.
    pub fn options(&self, user: &str, rooms: &[&str]) -> Options {
        Options {
            user_id: user.to_owned(),
            rooms: rooms.iter().map(|&room| room.to_owned()).collect(),
            ..Options::new(self.url())
        }
    }

    /// Pushes to a room on this node alone, by the node's own service; answers with the recipients.
    ///
    /// # Panics
    /// If the node refuses.
    pub async fn push_here(&self, room: &str, content: &str) -> u32 {
        let mut client = self.service().await;
        let request = PushMessageBatchRequest {
            room_id: room.to_owned(),
            content: content.to_owned().into(),
            ..PushMessageBatchRequest::default()
        };
        client.push_message_batch(request).await.expect("the node pushes").into_inner().recipients
    }

    /// A client of the node's own gRPC service.
    ///
    /// # Panics
    /// If it cannot be reached.
    pub async fn service(&self) -> ConnectNodeServiceClient<Channel> {
        let url = format!("http://{}", self.addr.grpc);
        ConnectNodeServiceClient::connect(url).await.expect("the node listens")
    }

    /// Connects a client.
    pub async fn listen(&self, user: &str, rooms: &[&str]) -> Listener {
        Listener::connect(self.options(user, rooms)).await
    }
}

/// Defaults, replaced by what is given, as arguments.
fn merged(defaults: &[(&str, &str)], flags: Flags<'_>) -> Vec<String> {
    let mut all: BTreeMap<&str, &str> = defaults.iter().copied().collect();
    all.extend(flags.iter().copied());
    all.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect()
}

async fn wait_ready(http_addr: &str) {
    eventually("the process is ready", READY_TIMEOUT, async || {
        let response = http::get(http_addr, "/readyz").await?;
        check(response.status == 200, || format!("{}: {}", response.status, response.text()))
    })
    .await;
}

/// What a fleet is to be made of.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// Push-managers, named m1, m2 …
    pub managers: usize,
    /// Connect-nodes, named n1, n2 …
    pub nodes: usize,
    /// Further flags of every manager.
    pub manager_flags: Flags<'a>,
    /// Further flags of every node.
    pub node_flags: Flags<'a>,
    /// Ids of nodes that managers reach only through a proxy.
    pub behind_proxy: &'a [&'a str],
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self { managers: 1, nodes: 3, manager_flags: &[], node_flags: &[], behind_proxy: &[] }
    }
}

/// A running fleet. Everything ends when it is dropped, etcd last.
#[derive(Debug)]
pub struct Fleet {
    /// The managers, m1 first.
    pub managers: Vec<Manager>,
    /// The nodes, n1 first.
    pub nodes: Vec<Node>,
    /// The registry.
    pub etcd: Etcd,
}

impl Fleet {
    /// One manager and three nodes, ready.
    pub async fn start() -> Self {
        Self::of(Plan::default()).await
    }

    /// A ready fleet after a plan.
    pub async fn of(plan: Plan<'_>) -> Self {
        let etcd = Etcd::start().await;
        let mut fleet = Self { managers: Vec::new(), nodes: Vec::new(), etcd };
        for number in 1..=plan.managers {
            fleet.add_manager(&format!("m{number}"), plan.manager_flags).await;
        }
        for number in 1..=plan.nodes {
            let id = format!("n{number}");
            let behind_proxy = plan.behind_proxy.contains(&id.as_str());
            fleet.add_node(&id, plan.node_flags, behind_proxy).await;
        }
        fleet.settled().await;
        fleet
    }

    /// The flags by which a process joins the fleet.
    pub fn registry_flags(etcd: &str) -> [(&str, &str); 2] {
        [("--etcd-endpoints", etcd), ("--etcd-lease", "2s")]
    }

    /// Starts another manager.
    pub async fn add_manager(&mut self, name: &str, flags: Flags<'_>) -> &Manager {
        let endpoint = self.etcd.endpoint();
        let mut all = Self::registry_flags(&endpoint).to_vec();
        all.extend_from_slice(flags);
        self.managers.push(Manager::start(name, &all).await);
        self.managers.last().expect("just pushed")
    }

    /// Starts another node.
    pub async fn add_node(&mut self, id: &str, flags: Flags<'_>, behind_proxy: bool) -> &Node {
        let endpoint = self.etcd.endpoint();
        let mut all = Self::registry_flags(&endpoint).to_vec();
        all.extend_from_slice(flags);
        let node =
            if behind_proxy { Node::start_behind_proxy(id, &all).await } else { Node::start(id, &all).await };
        self.nodes.push(node);
        self.nodes.last().expect("just pushed")
    }

    /// Waits until everything is ready, and every manager linked to every node.
    pub async fn settled(&self) {
        let ids: Vec<&str> = self.nodes.iter().map(|node| node.id.as_str()).collect();
        for manager in &self.managers {
            manager.ready().await;
        }
        for node in &self.nodes {
            node.ready().await;
        }
        for manager in &self.managers {
            manager.knows(&ids, READY_TIMEOUT).await;
        }
    }

    /// Waits until every node can make a client whole that connects from now on: what nobody can know of the time
    /// before the first manager is then longer ago than the 5 s that clocks may be apart.
    ///
    /// # Panics
    /// If a node does not say since when it is complete.
    pub async fn complete(&self) {
        for node in &self.nodes {
            eventually("the node is complete", READY_TIMEOUT, async || {
                let ready = http::get(&node.addr.http, "/readyz").await?.json();
                let since = ready["complete_since"].as_str().ok_or("no complete_since")?.to_owned();
                let since = humantime::parse_rfc3339(&since).map_err(|error| error.to_string())?;
                let ago = since.elapsed().unwrap_or_default();
                check(ago > COMPLETE_FOR, || format!("complete since {ago:?}"))
            })
            .await;
        }
    }

    /// A client of the first manager.
    pub fn pusher(&self) -> PushClient {
        self.managers[0].client()
    }
}
