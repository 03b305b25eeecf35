//! Which nodes the sockets go to.

use pushcast_proto::pushmanager::v1::ListNodesResponse;
use pushctl::{client::ConnectError, push::PushClient};

use super::{
    super::{
        failures::{call_failed, connect_tip},
        output::{Misuse, counted, remark, with_tip},
    },
    upgrade::Target,
};

/// The nodes of these URLs, or without any those that the manager's nodes publish.
pub(super) async fn find(urls: &[String], client: &PushClient, manager: &str) -> anyhow::Result<Vec<Target>> {
    let urls = if urls.is_empty() {
        let listed = client.nodes().await.map_err(|status| call_failed(manager, &status))?;
        published(&listed)?
    } else if urls.iter().any(String::is_empty) {
        let what = "--url: an address is empty; commas part nodes, and nothing stands between two";
        return Err(Misuse(what.to_owned()).into());
    } else {
        urls.to_vec()
    };
    let mut targets = Vec::with_capacity(urls.len());
    for url in &urls {
        targets.push(Target::resolve(url).await.map_err(not_connected)?);
    }
    Ok(targets)
}

/// An error of connecting, with what to do about it; one about what was said on the command line is a misuse.
pub(super) fn not_connected(error: ConnectError) -> anyhow::Error {
    let tip = connect_tip(&error);
    let error = match &error {
        ConnectError::BadUrl { .. } => Misuse(error.to_string()).into(),
        _ => anyhow::Error::from(error),
    };
    match tip {
        Some(tip) => with_tip(error, tip),
        None => error,
    }
}

fn published(listed: &ListNodesResponse) -> anyhow::Result<Vec<String>> {
    if listed.nodes.is_empty() {
        let error = anyhow::anyhow!("the manager knows no nodes");
        return Err(with_tip(
            error,
            "start a connect-node, or see whether it and the manager have the same etcd",
        ));
    }
    let (urls, without): (Vec<_>, Vec<_>) = listed
        .nodes
        .iter()
        .partition(|node| !node.ws_url.is_empty() && node.state == "ready" && node.link == "linked");
    let names: Vec<&str> = without.iter().map(|node| node.node_id.as_str()).collect();
    if urls.is_empty() {
        let error = anyhow::anyhow!(
            "of {} the manager knows, none is ready and publishes where clients connect",
            counted(listed.nodes.len() as u64, "node")
        );
        return Err(with_tip(
            error,
            "--url ws://host:8000/ws says it, once for each node; `pushctl nodes` shows them",
        ));
    }
    if !names.is_empty() {
        remark(&format!(
            "left out, since not ready, not linked, or without a published address: {}",
            names.join(", ")
        ));
    }
    Ok(urls.into_iter().map(|node| node.ws_url.clone()).collect())
}

#[cfg(test)]
mod tests {
    use pushcast_proto::pushmanager::v1::Node;

    use super::*;

    fn node(ws_url: &str, state: &str) -> Node {
        Node {
            ws_url: ws_url.to_owned(),
            state: state.to_owned(),
            link: "linked".to_owned(),
            ..Node::default()
        }
    }

    #[test]
    fn nodes_that_are_ready_and_say_where_they_are_take_the_sockets() {
        let nodes = vec![node("ws://a:1/ws", "ready"), node("", "ready"), node("ws://b:1/ws", "draining")];
        let listed = ListNodesResponse { nodes, ..ListNodesResponse::default() };
        assert_eq!(published(&listed).unwrap(), ["ws://a:1/ws"]);
    }

    #[test]
    fn without_any_it_is_said_what_to_give() {
        let listed = |nodes| ListNodesResponse { nodes, ..ListNodesResponse::default() };
        let words =
            |error: anyhow::Error| error.chain().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        assert!(words(published(&listed(vec![])).unwrap_err()).contains("knows no nodes"));
        let error = words(published(&listed(vec![node("", "ready")])).unwrap_err());
        assert!(error.contains("of 1 node") && error.contains("--url ws://host:8000/ws"), "{error}");
    }
}
