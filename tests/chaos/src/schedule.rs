//! Faults by chance, the same for the same seed.

use std::{collections::BTreeMap, fmt, time::Duration};

use futures::future::join_all;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{Instant, sleep, sleep_until};

use crate::stage::Stage;

/// What can happen. Nodes and managers by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; another one starts after the time.
    KillNode(usize, Duration),
    /// SIGKILL; another one starts after the time.
    KillManager(usize, Duration),
    /// SIGSTOP for the time.
    FreezeNode(usize, Duration),
    /// Drained; another one starts at once.
    DrainNode(usize),
    /// Ended in order; another one starts at once.
    StopManager(usize),
    /// No connection to the node's gRPC for the time.
    CutLink(usize, Duration),
    /// 200 ms later each way.
    DelayLink(usize, Duration),
    /// Open sockets that carry nothing.
    SilentLink(usize, Duration),
    /// 64 KiB/s.
    ThrottleLink(usize, Duration),
    /// No etcd for the time.
    EtcdDown(Duration),
    /// etcd comes back empty.
    EtcdWiped,
    /// 300 ms later each way.
    EtcdSlow(Duration),
}

/// A fault and when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// After the start.
    pub at: Duration,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6.1} s {:?}", self.at.as_secs_f64(), self.fault)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Node(usize),
    Manager(usize),
    Etcd,
}

impl Fault {
    fn place(self) -> Place {
        match self {
            Self::KillNode(node, _)
            | Self::FreezeNode(node, _)
            | Self::DrainNode(node)
            | Self::CutLink(node, _)
            | Self::DelayLink(node, _)
            | Self::SilentLink(node, _)
            | Self::ThrottleLink(node, _) => Place::Node(node),
            Self::KillManager(manager, _) | Self::StopManager(manager) => Place::Manager(manager),
            Self::EtcdDown(_) | Self::EtcdWiped | Self::EtcdSlow(_) => Place::Etcd,
        }
    }

    /// How long its place is in trouble, recovery included.
    fn lasts(self) -> Duration {
        let recovery = Duration::from_secs(match self {
            Self::KillNode(..) | Self::KillManager(..) => 4,
            Self::DrainNode(_) | Self::StopManager(_) | Self::EtcdWiped => 5,
            _ => 1,
        });
        match self {
            Self::KillNode(_, time)
            | Self::KillManager(_, time)
            | Self::FreezeNode(_, time)
            | Self::CutLink(_, time)
            | Self::DelayLink(_, time)
            | Self::SilentLink(_, time)
            | Self::ThrottleLink(_, time)
            | Self::EtcdDown(time)
            | Self::EtcdSlow(time) => time + recovery,
            Self::DrainNode(_) | Self::StopManager(_) | Self::EtcdWiped => recovery,
        }
    }

    async fn happen(self, stage: &Stage) {
        match self {
            Self::KillNode(node, time) => {
                stage.nodes[node].kill().await;
                sleep(time).await;
                stage.nodes[node].start().await;
            }
            Self::KillManager(manager, time) => {
                stage.managers[manager].kill().await;
                sleep(time).await;
                stage.managers[manager].start().await;
            }
            Self::FreezeNode(node, time) => stage.nodes[node].freeze(time).await,
            Self::DrainNode(node) => {
                stage.nodes[node].drain().await;
                stage.nodes[node].start().await;
            }
            Self::StopManager(manager) => {
                stage.managers[manager].stop().await;
                stage.managers[manager].start().await;
            }
            Self::CutLink(node, time) => {
                stage.nodes[node].line.drop_all();
                sleep(time).await;
                stage.nodes[node].line.heal();
            }
            Self::DelayLink(node, time) => {
                stage.nodes[node].line.delay(Duration::from_millis(200));
                sleep(time).await;
                stage.nodes[node].line.heal();
            }
            Self::SilentLink(node, time) => {
                stage.nodes[node].line.go_silent();
                sleep(time).await;
                stage.nodes[node].line.cut();
                stage.nodes[node].line.heal();
            }
            Self::ThrottleLink(node, time) => {
                stage.nodes[node].line.throttle(64 << 10);
                sleep(time).await;
                stage.nodes[node].line.heal();
            }
            Self::EtcdDown(time) => {
                let mut etcd = stage.etcd.lock().await;
                etcd.stop();
                sleep(time).await;
                etcd.restart().await;
            }
            Self::EtcdWiped => {
                let mut etcd = stage.etcd.lock().await;
                etcd.stop();
                etcd.wipe();
                etcd.restart().await;
            }
            Self::EtcdSlow(time) => {
                stage.etcd_line.delay(Duration::from_millis(300));
                sleep(time).await;
                stage.etcd_line.heal();
            }
        }
    }
}

/// Faults for so long. Several at once, but one at a place, and one node and one manager are always well.
pub fn schedule(seed: u64, length: Duration, nodes: usize, managers: usize) -> Vec<Step> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut busy: BTreeMap<Place, Duration> = BTreeMap::new();
    let mut steps = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_millis(random.random_range(500..4_000));
        let node = random.random_range(0..nodes);
        let manager = random.random_range(0..managers);
        let time = Duration::from_millis(random.random_range(500..6_000));
        let fault = match random.random_range(0..14) {
            0..3 => Fault::KillNode(node, time / 3),
            3 => Fault::KillManager(manager, time / 3),
            4 | 5 => Fault::FreezeNode(node, time),
            6 => Fault::DrainNode(node),
            7 => Fault::StopManager(manager),
            8 => Fault::CutLink(node, time),
            9 => Fault::DelayLink(node, time),
            10 => Fault::SilentLink(node, time),
            11 => Fault::ThrottleLink(node, time),
            12 => Fault::EtcdDown(time * 2),
            _ if time < Duration::from_secs(3) => Fault::EtcdWiped,
            _ => Fault::EtcdSlow(time),
        };
        if at + fault.lasts() > length {
            return steps;
        }
        busy.retain(|_, until| *until > at);
        let place = fault.place();
        let in_trouble = |of: fn(&Place) -> bool| busy.keys().filter(|place| of(place)).count();
        let possible = match place {
            Place::Node(_) => in_trouble(|place| matches!(place, Place::Node(_))) + 1 < nodes,
            Place::Manager(_) => in_trouble(|place| matches!(place, Place::Manager(_))) + 1 < managers,
            Place::Etcd => true,
        };
        if possible && !busy.contains_key(&place) {
            busy.insert(place, at + fault.lasts());
            steps.push(Step { at, fault });
        }
    }
}

/// Lets all of it happen, and waits until it has.
pub async fn play(steps: &[Step], stage: &Stage) {
    let start = Instant::now();
    let happening = steps.iter().map(|step| async move {
        sleep_until(start + step.at).await;
        step.fault.happen(stage).await;
    });
    join_all(happening).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_schedule() {
        let length = Duration::from_secs(300);
        let steps = schedule(7, length, 3, 2);
        assert_eq!(steps, schedule(7, length, 3, 2));
        assert_ne!(steps, schedule(8, length, 3, 2));
        assert!(steps.len() > 30, "{}", steps.len());
    }

    #[test]
    fn one_node_and_one_manager_are_always_well_and_every_fault_comes() {
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let steps = schedule(seed, Duration::from_secs(300), 3, 2);
            for step in &steps {
                kinds.insert(format!("{:?}", step.fault).split('(').next().unwrap_or_default().to_owned());
                let during = |other: &&Step| other.at <= step.at && step.at < other.at + other.fault.lasts();
                let places: Vec<Place> =
                    steps.iter().filter(during).map(|other| other.fault.place()).collect();
                let count = |of: fn(&Place) -> bool| places.iter().filter(|place| of(place)).count();
                assert!(count(|place| matches!(place, Place::Node(_))) < 3);
                assert!(count(|place| matches!(place, Place::Manager(_))) < 2);
            }
        }
        assert_eq!(kinds.len(), 12, "{kinds:?}");
    }
}
