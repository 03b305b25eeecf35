//! What is shown of the hub: gauges, the list of nodes, readiness.

use pushcast_common::registry::State;

use super::{Hub, links::Link};
use crate::{answers::NodeKey, metrics::LINK_STATES, nodes::Node};

/// One known node as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct NodeView {
    pub(crate) node: Node,
    /// `linked`, `linking` or `down`.
    pub(crate) link: &'static str,
    pub(crate) lag: u64,
}

impl Hub {
    /// All known nodes by name, and the newest seq.
    pub(crate) fn nodes(&self) -> (Vec<NodeView>, u64) {
        let (mut nodes, newest) = self.with(|core, _| {
            let newest = core.log.newest();
            let view = |(key, node): (NodeKey, &Node)| {
                let link = core.links.get(&key)?;
                let lag = link.lag(newest);
                Some(NodeView { node: node.clone(), link: LINK_STATES[link.state_index()], lag })
            };
            (core.nodes.iter().filter_map(view).collect::<Vec<_>>(), newest)
        });
        nodes.sort_unstable_by(|a, b| a.node.name().cmp(b.node.name()));
        (nodes, newest)
    }

    /// The name of a known node, for logs.
    pub(crate) fn node_name(&self, key: NodeKey) -> Option<String> {
        self.with(|core, _| core.nodes.get(key).map(|node| node.name().to_owned()))
    }

    /// Whether a node has said that it is going, or is gone.
    pub(crate) fn is_leaving(&self, key: NodeKey) -> bool {
        self.with(|core, _| {
            let record = core.nodes.get(key).map(|node| node.record.as_ref());
            record.is_none_or(|record| record.is_some_and(|record| record.state == State::Draining))
        })
    }

    /// Links that stand.
    pub(crate) fn n_linked(&self) -> usize {
        self.with(|core, _| core.links.values().filter(|link| link.state.is_linked()).count())
    }

    /// Brings the gauges up to date, for somebody who is about to read them.
    pub(crate) fn refresh_gauges(&self) {
        let metrics = &self.metrics;
        self.with(|core, now| {
            let newest = core.log.newest();
            metrics.log_bytes.set(core.log.bytes() as f64);
            metrics.log_age.set(crate::metrics::seconds(core.log.age(now.mono)));
            metrics.log_head.set(newest as f64);
            let offsets = core.links.values().map(|link| link.state.clock_offset());
            metrics.clock_offset.set(crate::metrics::seconds(offsets.max().unwrap_or(0)));
            metrics.known_nodes.set(core.nodes.len() as f64);
            let lags = core.links.values().map(|link| link.lag(newest));
            metrics.link_lag.set(lags.max().unwrap_or(0) as f64);
            for (index, gauge) in metrics.links.iter().enumerate() {
                gauge.set(core.links.values().filter(|link| link.state_index() == index).count() as f64);
            }
        });
    }
}

impl Link {
    /// Into [`LINK_STATES`].
    fn state_index(&self) -> usize {
        match (self.state.is_linked(), self.connecting) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        }
    }
}
