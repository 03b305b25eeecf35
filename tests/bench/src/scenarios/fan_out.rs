//! One large room, or many small ones, through every server.

use std::time::Duration;

use super::{CONTENT, Failures, SOCKETS, Settings, installed, progress};
use crate::{
    cores,
    flight::{Flight, fly},
    peers::{Peer, Plan, populate},
    statistics::Series,
};

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    /// One room, one message in flight.
    One,
    Eight,
    ThirtyTwo,
    /// 500 rooms of ten, one message in flight in each.
    Rooms,
}

impl Case {
    /// Those with all sockets in one room.
    pub(crate) const ONE_ROOM: [Self; 3] = [Self::One, Self::Eight, Self::ThirtyTwo];

    pub(crate) fn in_flight(self) -> usize {
        match self {
            Self::One | Self::Rooms => 1,
            Self::Eight => 8,
            Self::ThirtyTwo => 32,
        }
    }

    fn rooms(self) -> usize {
        match self {
            Self::One | Self::Eight | Self::ThirtyTwo => 1,
            Self::Rooms => 500,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    peer: Peer,
    case: Case,
    round: usize,
    flight: Flight,
}

/// Every flight of every round.
#[derive(Debug, Default)]
pub(crate) struct FanOut(Vec<Sample>);

impl FanOut {
    /// One figure of one server in one case, by round.
    pub(crate) fn series(&self, peer: Peer, case: Case, figure: impl Fn(&Flight) -> f64) -> Series {
        let samples = self.0.iter().filter(|sample| sample.peer == peer && sample.case == case);
        samples.map(|sample| (sample.round, figure(&sample.flight))).collect()
    }
}

/// Before anything is counted, so that nobody is measured while it warms up.
const WARM_UP: Duration = Duration::from_millis(300);

/// Measures these cases, which share their sockets, for every server that is installed.
pub(crate) fn run(cases: &[Case], settings: Settings, failures: &mut Failures) -> FanOut {
    let mut fan_out = FanOut::default();
    for round in 0..settings.rounds {
        for peer in installed(&Peer::ALL, failures) {
            let what = format!("{}, fan-out, round {}", peer.name(), round + 1);
            progress(&what);
            let samples = cores::on_load_core(|| measure(peer, cases, round, settings));
            fan_out.0.extend(failures.note(&what, samples).unwrap_or_default());
        }
    }
    fan_out
}

fn measure(peer: Peer, cases: &[Case], round: usize, settings: Settings) -> anyhow::Result<Vec<Sample>> {
    let directory = tempfile::tempdir()?;
    let rooms = cases.iter().map(|case| case.rooms()).max().unwrap_or(1);
    let in_flight = cases.iter().map(|case| case.in_flight()).max().unwrap_or(1);
    let plan = Plan { directory: directory.path(), sockets: SOCKETS, rooms, content: CONTENT, in_flight };
    let server = peer.start(plan)?;
    let (mut swarm, mut publisher) = populate(server.as_ref(), plan)?;
    fly(server.as_ref(), &mut swarm, publisher.as_mut(), rooms, 1, WARM_UP)?;
    let mut samples = Vec::new();
    for &case in cases {
        let flight =
            fly(server.as_ref(), &mut swarm, publisher.as_mut(), rooms, case.in_flight(), settings.each)?;
        samples.push(Sample { peer, case, round, flight });
    }
    Ok(samples)
}
