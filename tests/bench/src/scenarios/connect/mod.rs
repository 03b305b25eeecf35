//! How many clients one core takes in a second: handshakes, nothing else going on.

mod acceptor;

use std::{net::SocketAddr, thread, time::Duration};

use acceptor::Acceptor;
use anyhow::Context as _;

use super::{CONTENT, Failures, Settings, progress};
use crate::{
    askers::Askers,
    clock::Nanos,
    cores,
    peers::{Plan, Server, ours::Ours, room_name},
    procfs::{CoreTime, spent},
    statistics::Series,
    swarm::Hello,
};

/// Connections that are open together at the end of a leg: both ends of the bare loop's are files of this process, and
/// 20,000 of these are the usual limit.
const LEG: usize = 5000;

/// Legs that count, so 10,000 handshakes in a round.
const LEGS: usize = 2;

/// Before anything is counted.
const WARM: usize = 500;

/// Handshakes of a round.
pub(crate) const HANDSHAKES: usize = LEG * LEGS;

/// Clients in one room.
const ROOM: usize = 10;

/// Long enough for what a server does behind its last answer, or its last close.
const SETTLE: Duration = Duration::from_millis(50);

/// Who takes the clients in, and how they say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// accept(), read() and one write() of as many bytes as a node answers, in a loop.
    Bare,
    /// A node; user and room are in the URL.
    Url,
    /// A node; a connect frame behind the upgrade says it, as the client libraries do: a round trip more.
    Frame,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Bare, Self::Url, Self::Frame];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare loop of accept(), read(), write()",
            Self::Url => "Pushcast, user and room in the URL",
            Self::Frame => "Pushcast, upgrade, then a connect frame",
        }
    }
}

/// What some handshakes took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shaken {
    handshakes: usize,
    wall: Duration,
    /// Of the server, for the handshakes and for closing all of them.
    cpu: Duration,
    closing: Duration,
    /// How busy the load's core was while hands were shaken, 0 to 1.
    pub(crate) load: f64,
}

impl Shaken {
    pub(crate) fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.handshakes as f64
    }

    pub(crate) fn micros_of_closing(&self) -> f64 {
        self.closing.as_secs_f64() * 1e6 / self.handshakes as f64
    }

    /// What one core does if it does nothing else, whether or not the load could ask for so many.
    pub(crate) fn per_core_second(&self) -> f64 {
        self.handshakes as f64 / self.cpu.as_secs_f64()
    }

    /// What was reached.
    pub(crate) fn per_second(&self) -> f64 {
        self.handshakes as f64 / self.wall.as_secs_f64()
    }
}

/// By way and round.
#[derive(Debug, Default)]
pub(crate) struct Handshakes(Vec<(Way, usize, Shaken)>);

impl Handshakes {
    /// One figure, by round.
    pub(crate) fn series(&self, way: Way, figure: impl Fn(&Shaken) -> f64) -> Series {
        let those = self.0.iter().filter(|(other, ..)| *other == way);
        those.map(|(_, round, shaken)| (*round, figure(shaken))).collect()
    }
}

pub(crate) fn run(settings: Settings, failures: &mut Failures) -> Handshakes {
    let mut all = Handshakes::default();
    for round in 0..settings.rounds {
        for way in Way::ALL {
            let what = format!("{}, handshakes, round {}", way.name(), round + 1);
            progress(&what);
            if let Some(shaken) = failures.note(&what, cores::on_load_core(|| measure(way))) {
                all.0.push((way, round, shaken));
            }
        }
    }
    all
}

fn measure(way: Way) -> anyhow::Result<Shaken> {
    if way == Way::Bare {
        let acceptor = Acceptor::start(&[&[WARM][..], &[LEG; LEGS]].concat())?;
        return shake(acceptor.addr, &Acceptor::hello, &|| acceptor.cpu());
    }
    let directory = tempfile::tempdir()?;
    let plan =
        Plan { directory: directory.path(), sockets: LEG, rooms: LEG / ROOM, content: CONTENT, in_flight: 1 };
    let ours = Ours::start(plan)?;
    let hello = |n: usize| match way {
        Way::Bare | Way::Url => ours.hello(n, n % plan.rooms),
        Way::Frame => ours.hello_in(n, vec![room_name(n % plan.rooms)]),
    };
    shake(ours.addr(), &hello, &|| ours.cpu())
}

/// All legs. What closing takes is taken apart: who comes may stay for hours.
fn shake(
    server: SocketAddr,
    hello: &dyn Fn(usize) -> Hello,
    cpu: &dyn Fn() -> anyhow::Result<Duration>,
) -> anyhow::Result<Shaken> {
    // Written before they are needed: the load has enough to do.
    let hellos: Vec<Hello> = (0..LEG).map(hello).collect();
    drop(Askers::connect(server, &hellos[..WARM])?);
    thread::sleep(SETTLE);
    let mut shaken = Shaken {
        handshakes: 0,
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        closing: Duration::ZERO,
        load: 0.0,
    };
    for leg in 0..LEGS {
        let (before, load, begun) = (cpu()?, CoreTime::now(cores::LOAD)?, Nanos::now());
        let askers = Askers::connect(server, &hellos).with_context(|| format!("leg {}", leg + 1))?;
        shaken.wall += Nanos::now().since(begun);
        shaken.load += CoreTime::now(cores::LOAD)?.busy_since(load) / LEGS as f64;
        thread::sleep(SETTLE);
        let open = cpu()?;
        shaken.cpu += spent(before, open)?;
        shaken.handshakes += askers.len();
        drop(askers);
        thread::sleep(SETTLE * 2);
        shaken.closing += spent(open, cpu()?)?;
    }
    Ok(shaken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_is_priced_by_the_servers_time_alone() {
        let shaken = Shaken {
            handshakes: 1000,
            wall: Duration::from_millis(100),
            cpu: Duration::from_millis(40),
            closing: Duration::from_millis(5),
            load: 1.0,
        };
        assert!((shaken.micros() - 40.0).abs() < 1e-9);
        assert!((shaken.micros_of_closing() - 5.0).abs() < 1e-9);
        assert!((shaken.per_core_second() - 25_000.0).abs() < 1e-6);
        assert!((shaken.per_second() - 10_000.0).abs() < 1e-6);
    }
}
