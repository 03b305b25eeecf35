//! What links bring that is told in the manager's own log.

use tracing::{debug, info, warn};

use super::Hub;
use crate::{answers::NodeKey, link_state::Started, metrics::seconds};

/// What a frame brought that the manager's own log tells.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) started: Option<Started>,
    /// The seq a control got.
    pub(super) handed_up: Option<u64>,
    /// Microseconds, if they are worth a warning.
    pub(super) clock_offset: Option<u64>,
}

impl Hub {
    /// Not under the lock: a log that is not read must not stop the manager.
    pub(super) fn tell(&self, key: NodeKey, news: &News) {
        if let Some(started) = &news.started {
            info!(node = %started.node_id, instance = %started.instance, "Link is up.");
        }
        if let Some(seq) = news.handed_up {
            self.metrics.handed_up.increment(1);
            debug!(node = self.node_name(key), seq, "A node handed up a control.");
        }
        if let Some(offset) = news.clock_offset {
            let (node, seconds) = (self.node_name(key), seconds(offset));
            warn!(node, seconds, "A node's clock is far from this manager's.");
        }
    }
}
