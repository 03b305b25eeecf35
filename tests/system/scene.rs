//! A node, somebody who behaves, and room for somebody who does not.

use std::time::Duration;

use pushcast_tests::{
    eventually::{equal, eventually},
    fleet::Node,
    listener::Listener,
    raw::{End, Raw},
};

const WITHIN: Duration = Duration::from_secs(20);

/// A node with somebody on it who does nothing wrong.
pub(crate) struct Scene {
    pub(crate) node: Node,
    bystander: Listener,
}

impl Scene {
    pub(crate) async fn new(flags: &[(&str, &str)]) -> Self {
        let node = Node::alone("n1", flags).await;
        let bystander = node.listen("bystander", &["r"]).await;
        Self { node, bystander }
    }

    pub(crate) fn ws(&self) -> &str {
        &self.node.addr.ws
    }

    pub(crate) async fn json(&self) -> Raw {
        Raw::json(self.ws(), "/ws").await
    }

    /// A client that is connected and in room `r`.
    pub(crate) async fn connected(&self) -> Raw {
        let mut raw = Raw::json(self.ws(), "/ws?rooms=r").await;
        raw.connected().await;
        raw
    }

    /// The bystander still gets what is pushed, and is alone once everybody else was closed.
    pub(crate) async fn nobody_else_noticed(mut self) {
        eventually("only the bystander is left", WITHIN, async || {
            equal(self.node.metrics().await.sum("connect_node_connections", &[]), 1.0)
        })
        .await;
        assert_eq!(self.node.push_here("r", "still here").await, 1);
        assert_eq!(self.bystander.next_text().await, "still here");
    }
}

/// Refused with close code 4504 after an error frame with this code.
pub(crate) fn assert_refused(end: &End, error: &str, what: &str) {
    assert_eq!((end.code, end.error.as_deref()), (Some(4504), Some(error)), "{what}: {end:?}");
    assert!(!end.reason.is_empty(), "{what}");
}
