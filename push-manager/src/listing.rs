//! ListNodes: what the manager knows of the nodes, and what each of them says it holds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use pushcast_common::fleet_auth::FleetAuth;
use pushcast_proto::{
    connectnode::v1::{QueryRequest, QueryResponse, connect_node_service_client::ConnectNodeServiceClient},
    pushmanager::v1::{ListNodesResponse, Node},
};
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::{
    connection,
    hub::{Hub, NodeView},
};

/// A node that says nothing for this long is named as silent.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Asks the nodes. Its connections are not those of the links, so that a question never waits behind a
/// batch.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    hub: Arc<Hub>,
    auth: FleetAuth,
    /// By address; those of nodes that went are dropped with the next question.
    channels: Arc<Mutex<HashMap<String, Channel>>>,
}

impl Listing {
    pub(crate) fn new(hub: Arc<Hub>, auth: FleetAuth) -> Self {
        Self { hub, auth, channels: Arc::default() }
    }

    pub(crate) async fn nodes(&self) -> ListNodesResponse {
        let (views, newest_seq) = self.hub.nodes();
        let asked: Vec<(NodeView, Option<Channel>)> = self.with_channels(views);
        let asking = asked.into_iter().map(|(view, channel)| async move {
            let answer = match channel {
                Some(channel) => ask(channel).await,
                None => None,
            };
            (view, answer)
        });
        let mut response = ListNodesResponse {
            manager_id: self.hub.id.to_string(),
            newest_seq,
            ..ListNodesResponse::default()
        };
        for (view, answer) in join_all(asking).await {
            if answer.is_none() {
                response.silent_nodes.push(view.node.name().to_owned());
            }
            response.nodes.push(shown(&view, answer));
        }
        response
    }

    /// A channel for each linked node; the others have nothing to say.
    fn with_channels(&self, views: Vec<NodeView>) -> Vec<(NodeView, Option<Channel>)> {
        let mut channels = self.channels.lock().expect("no code under this lock panics");
        channels.retain(|addr, _| views.iter().any(|view| view.node.addr == *addr));
        let mut with_channel = |view: NodeView| {
            if view.node.linked.is_none() {
                return (view, None);
            }
            let channel = match channels.get(&view.node.addr) {
                Some(channel) => Some(channel.clone()),
                None => connection::lazy(&view.node.addr, self.auth.clone()).ok(),
            };
            if let Some(channel) = &channel {
                channels.insert(view.node.addr.clone(), channel.clone());
            }
            (view, channel)
        };
        views.into_iter().map(&mut with_channel).collect()
    }
}

async fn ask(channel: Channel) -> Option<QueryResponse> {
    let mut client = ConnectNodeServiceClient::new(channel);
    let answer = timeout(ANSWER_WITHIN, client.query(QueryRequest::default())).await;
    Some(answer.ok()?.ok()?.into_inner())
}

fn shown(view: &NodeView, answer: Option<QueryResponse>) -> Node {
    let node = &view.node;
    let record = node.record.as_ref();
    let answer = answer.unwrap_or_default();
    // Its own word is fresher than its record.
    let own_or = |own: String, listed: &str| if own.is_empty() { listed.to_owned() } else { own };
    Node {
        node_id: node.name().to_owned(),
        grpc_addr: node.addr.clone(),
        ws_url: record.map(|record| record.ws_url.clone()).unwrap_or_default(),
        state: own_or(answer.state, record.map_or("", |record| record.state.as_str())),
        version: own_or(answer.version, record.map_or("", |record| &record.version)),
        zone: record.map(|record| record.zone.clone()).unwrap_or_default(),
        link: view.link.to_owned(),
        lag: view.lag,
        connections: answer.connections,
        rooms: answer.rooms,
        users: answer.users,
    }
}
