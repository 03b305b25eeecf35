//! Everything that can go wrong, by name.

mod etcd;
mod links;
mod managers;
mod mix;
mod nodes;
mod rolling;
mod window;

use crate::{play::Size, report::Report};

/// How a scenario is to be played.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// With the full numbers.
    pub full: bool,
    /// What chance is made of.
    pub seed: u64,
}

impl How {
    /// One of two values.
    pub fn pick<T>(self, short: T, full: T) -> T {
        if self.full { full } else { short }
    }

    fn size(self) -> Size {
        Size {
            clients: self.pick(60, 1_000),
            per_room: 10,
            per_second: self.pick(200, 2_000),
            content: 64,
            managers: 2,
            nodes: 3,
        }
    }
}

/// All names, in the order in which they are played.
pub const NAMES: [&str; 14] = [
    "kill-node",
    "kill-manager",
    "freeze-node",
    "link",
    "link-throttled",
    "etcd-down",
    "etcd-wiped",
    "etcd-slow",
    "rolling-nodes",
    "rolling-managers",
    "rolling-all",
    "small-window",
    "small-window-bytes",
    "mix",
];

/// Plays one.
///
/// # Panics
/// If there is none of that name, or the machine does not let it be played.
pub async fn play(name: &str, how: How) -> Report {
    match name {
        "kill-node" => nodes::killed(how).await,
        "kill-manager" => managers::killed(how).await,
        "freeze-node" => nodes::frozen(how).await,
        "link" => links::bad(how).await,
        "link-throttled" => links::throttled(how).await,
        "etcd-down" => etcd::down(how).await,
        "etcd-wiped" => etcd::wiped(how).await,
        "etcd-slow" => etcd::slow(how).await,
        "rolling-nodes" => rolling::nodes(how).await,
        "rolling-managers" => rolling::managers(how).await,
        "rolling-all" => rolling::all(how).await,
        "small-window" => window::too_young(how).await,
        "small-window-bytes" => window::too_small(how).await,
        "mix" => mix::all_at_once(how).await,
        other => panic!("no scenario is called {other}"),
    }
}
