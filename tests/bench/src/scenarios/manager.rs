//! The push-manager alone on a core, its nodes being sinks that acknowledge cheaply.

use std::time::{Duration, Instant};

use anyhow::ensure;
use pushctl::push::{Push, PushClient};
use tokio::task::JoinSet;

use super::{CONTENT, Failures, Settings, progress};
use crate::{
    caller::{Caller, Pace},
    cores,
    peers::{ours, room_name},
    process::Program,
    procfs::{CoreTime, spent},
    sinks::Sinks,
    statistics::Series,
};

/// Nodes, for pushes per second.
const NODES: usize = 3;

/// Sizes of the fleet.
pub(crate) const FLEET: [usize; 6] = [1, 3, 10, 30, 100, 300];

/// Unary calls in flight.
pub(crate) const CALLS: usize = 64;

/// What a stream has under way for pushes per second.
pub(crate) const FAST: Pace = Pace { items: 64, requests: 16 };

/// How batches come about while the fleet grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batches {
    /// One request of 16 pushes in flight: each makes one batch, and every link waits in between.
    Single,
    /// Eight requests of 64 in flight: links take what there is when they have sent the batch before.
    Piped,
}

impl Batches {
    pub(crate) const ALL: [Self; 2] = [Self::Single, Self::Piped];

    /// Messages of a single batch.
    pub(crate) const SINGLE: usize = 16;

    fn pace(self) -> Pace {
        match self {
            Self::Single => Pace { items: Self::SINGLE, requests: 1 },
            Self::Piped => Pace { items: 64, requests: 8 },
        }
    }
}

/// What a run of pushes took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) pushes: u64,
    pub(crate) wall: Duration,
    /// Of the manager.
    pub(crate) cpu: Duration,
    /// Batches and messages that all sinks received.
    pub(crate) batches: u64,
    pub(crate) messages: u64,
    /// How busy the load's core was, 0 to 1.
    pub(crate) load: f64,
}

impl Run {
    pub(crate) fn pushes_per_second(&self) -> f64 {
        self.pushes as f64 / self.wall.as_secs_f64()
    }

    pub(crate) fn micros_per_push(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.pushes as f64
    }

    pub(crate) fn messages_per_batch(&self) -> f64 {
        self.messages as f64 / self.batches.max(1) as f64
    }
}

/// A run with a fleet of this size.
#[derive(Debug, Clone, Copy)]
struct Point {
    nodes: usize,
    batches: Batches,
    round: usize,
    run: Run,
}

#[derive(Debug, Default)]
pub(crate) struct Manager {
    stream: Vec<(usize, Run)>,
    unary: Vec<(usize, Run)>,
    points: Vec<Point>,
}

impl Manager {
    /// One figure of the pushes through a PushStream, by round.
    pub(crate) fn stream(&self, figure: impl Fn(&Run) -> f64) -> Series {
        self.stream.iter().map(|(round, run)| (*round, figure(run))).collect()
    }

    /// The same of unary pushes.
    pub(crate) fn unary(&self, figure: impl Fn(&Run) -> f64) -> Series {
        self.unary.iter().map(|(round, run)| (*round, figure(run))).collect()
    }

    /// One figure with a fleet of this size, by round.
    pub(crate) fn at(&self, nodes: usize, batches: Batches, figure: impl Fn(&Run) -> f64) -> Series {
        let points = self.points.iter().filter(|point| point.nodes == nodes && point.batches == batches);
        points.map(|point| (point.round, figure(&point.run))).collect()
    }

    /// Microseconds of manager CPU that one more node costs per message: what this fleet takes beyond a fleet of one,
    /// so that accepting a push, which costs the same for any fleet, is not in it.
    pub(crate) fn one_more_node(&self, nodes: usize, batches: Batches) -> Series {
        let alone = |round| {
            let is_it = |point: &&Point| point.nodes == 1 && point.batches == batches && point.round == round;
            Some(self.points.iter().find(is_it)?.run.micros_per_push())
        };
        let points = self.points.iter().filter(|point| point.nodes == nodes && point.batches == batches);
        let beyond = |point: &Point| {
            let others = nodes.checked_sub(1).filter(|others| *others > 0)? as f64;
            Some((point.round, (point.run.micros_per_push() - alone(point.round)?) / others))
        };
        points.filter_map(beyond).collect()
    }
}

pub(crate) fn run(settings: Settings, failures: &mut Failures) -> Manager {
    let mut figures = Manager::default();
    for round in 0..settings.rounds {
        let what = format!("pushes per second, round {}", round + 1);
        progress(&what);
        let measured = on_runtime(async || {
            let fleet = Fleet::start(NODES).await?;
            Ok((fleet.stream(FAST, settings.each).await?, fleet.unary(settings.each).await?))
        });
        if let Some((stream, unary)) = failures.note(&what, measured) {
            figures.stream.push((round, stream));
            figures.unary.push((round, unary));
        }
        for nodes in FLEET {
            let what = format!("manager with {nodes} node(s), round {}", round + 1);
            progress(&what);
            let measured = on_runtime(async || {
                let fleet = Fleet::start(nodes).await?;
                let mut points = Vec::new();
                for batches in Batches::ALL {
                    // Half the time: there are twelve of these.
                    let run = fleet.stream(batches.pace(), settings.each / 2).await?;
                    points.push(Point { nodes, batches, round, run });
                }
                Ok(points)
            });
            figures.points.extend(failures.note(&what, measured).unwrap_or_default());
        }
    }
    figures
}

fn on_runtime<T: Send>(work: impl AsyncFnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    cores::on_load_core(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work())
    })
}

/// A manager and its sinks.
struct Fleet {
    manager: Program,
    grpc: String,
    sinks: Sinks,
    _directory: tempfile::TempDir,
}

impl Fleet {
    async fn start(nodes: usize) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let sinks = Sinks::start(nodes).await?;
        let listed = sinks.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let path = directory.path().to_owned();
        // It waits, and the sinks have to answer meanwhile.
        let started = tokio::task::spawn_blocking(move || {
            let flags = ["--nodes", &listed];
            let started = ours::start("push-manager", "push-manager", Some(cores::SERVER), &flags, &path)?;
            ours::wait_until_ready(&started.1.http)?;
            anyhow::Ok(started)
        });
        let (manager, at) = started.await??;
        Ok(Self { manager, grpc: at.grpc, sinks, _directory: directory })
    }

    async fn stream(&self, pace: Pace, each: Duration) -> anyhow::Result<Run> {
        let mut caller = Caller::open(&self.grpc).await?;
        let room = |n| room_name(n as usize % 1000);
        caller.push(pace, each / 8, room).await?;
        self.measure(async || caller.push(pace, each, room).await).await
    }

    async fn unary(&self, each: Duration) -> anyhow::Result<Run> {
        let client = PushClient::new(&self.grpc)?;
        self.measure(async || {
            let until = Instant::now() + each;
            let mut callers = JoinSet::new();
            for n in 0..CALLS {
                let (client, room) = (client.clone(), room_name(n));
                callers.spawn(async move {
                    let mut pushes = 0;
                    while Instant::now() < until {
                        client.push(Push::to_room(room.clone(), vec![b'x'; CONTENT]), None).await?;
                        pushes += 1;
                    }
                    anyhow::Ok(pushes)
                });
            }
            let mut pushes = 0;
            while let Some(caller) = callers.join_next().await {
                pushes += caller??;
            }
            Ok(pushes)
        })
        .await
    }

    async fn measure(&self, push: impl AsyncFnOnce() -> anyhow::Result<u64>) -> anyhow::Result<Run> {
        let (cpu, load) = (self.manager.cpu()?, CoreTime::now(cores::LOAD)?);
        let ((batches, messages), begun) = (self.sinks.received.so_far(), Instant::now());
        let pushes = push().await?;
        let wall = begun.elapsed();
        ensure!(pushes > 0, "no push was answered");
        let after = self.sinks.received.so_far();
        Ok(Run {
            pushes,
            wall,
            cpu: spent(cpu, self.manager.cpu()?)?,
            batches: after.0 - batches,
            messages: after.1 - messages,
            load: CoreTime::now(cores::LOAD)?.busy_since(load),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_node_is_what_a_fleet_takes_beyond_one() {
        let run = |micros: u64| Run {
            pushes: 1000,
            wall: Duration::from_secs(1),
            cpu: Duration::from_micros(micros * 1000),
            batches: 10,
            messages: 1000,
            load: 0.5,
        };
        let point = |nodes, run| Point { nodes, batches: Batches::Piped, round: 0, run };
        let manager = Manager { points: vec![point(1, run(3)), point(11, run(8))], ..Manager::default() };
        assert_eq!(manager.one_more_node(11, Batches::Piped).median(), Some(0.5));
        assert_eq!(manager.one_more_node(1, Batches::Piped).median(), None);
        assert_eq!(manager.one_more_node(11, Batches::Single).median(), None);
    }
}
