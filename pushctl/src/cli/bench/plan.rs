//! What is to be done, with every default filled in.

use std::time::Duration;

use pushctl::format::Format;

use super::{
    super::arguments::FormatArgument,
    arguments::{LoadArguments, ScenarioArguments},
};

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Plan {
    /// Pushes to rooms, or with rooms of nobody to the manager alone.
    Pushes(Pushes),
    /// Connections that hold.
    Idle { sockets: u32, format: Format },
    /// Connections that come and go.
    Connect { at_once: u32, pace: Pace, format: Format },
}

/// Pushes and who receives them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pushes {
    /// What it is called on the command line.
    pub(super) scenario: &'static str,
    pub(super) rooms: u32,
    /// Sockets in each room.
    pub(super) members: u32,
    /// Bytes.
    pub(super) content: usize,
    pub(super) format: Format,
    pub(super) pace: Pace,
    /// Pushes whose deliveries have not all arrived, at most.
    pub(super) in_flight: usize,
    /// A call for each push instead of a stream.
    pub(super) unary: bool,
    pub(super) warm_up: Duration,
    /// Whether sockets may be read a little later and then more of them at once.
    pub(super) may_linger: bool,
}

/// When the next one is due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pace {
    /// As soon as there is room for it: a closed loop.
    FlatOut,
    /// So many a second, whatever becomes of those before: an open loop.
    PerSecond(f64),
}

impl Pace {
    fn of(rate: Option<f64>) -> Self {
        rate.map_or(Self::FlatOut, Self::PerSecond)
    }

    /// The rate asked for, if one was.
    pub(super) fn rate(self) -> Option<f64> {
        match self {
            Self::FlatOut => None,
            Self::PerSecond(rate) => Some(rate),
        }
    }
}

impl Plan {
    pub(super) fn of(scenario: &ScenarioArguments) -> Self {
        match *scenario {
            ScenarioArguments::Fanout { sockets, in_flight, rate, ref load } => {
                Self::Pushes(Pushes::new("fanout", (1, sockets), Pace::of(rate), in_flight, load))
            }
            ScenarioArguments::Rooms { rooms, members, in_flight, rate, ref load } => {
                Self::Pushes(Pushes::new("rooms", (rooms, members), Pace::of(rate), in_flight, load))
            }
            ScenarioArguments::Latency { sockets, rate, in_flight, ref load } => {
                let pushes = Pushes::new("latency", (1, sockets), Pace::PerSecond(rate), in_flight, load);
                Self::Pushes(Pushes { may_linger: false, ..pushes })
            }
            ScenarioArguments::Manager { in_flight, unary, rate, content, warm_up } => {
                let load = LoadArguments { content, format: FormatArgument::Json, warm_up };
                let pushes = Pushes::new("manager", (1, 0), Pace::of(rate), in_flight, &load);
                Self::Pushes(Pushes { unary, ..pushes })
            }
            ScenarioArguments::Idle { sockets, format } => Self::Idle { sockets, format: format.into() },
            ScenarioArguments::Connect { at_once, rate, format } => {
                Self::Connect { at_once, pace: Pace::of(rate), format: format.into() }
            }
        }
    }

    pub(super) const fn scenario(&self) -> &'static str {
        match self {
            Self::Pushes(pushes) => pushes.scenario,
            Self::Idle { .. } => "idle",
            Self::Connect { .. } => "connect",
        }
    }

    /// Sockets open at the same time.
    pub(super) fn sockets(&self) -> u64 {
        match self {
            Self::Pushes(pushes) => pushes.sockets(),
            Self::Idle { sockets, .. } => u64::from(*sockets),
            Self::Connect { at_once, .. } => u64::from(*at_once),
        }
    }

    /// How sockets and nodes speak, where there are sockets.
    pub(super) fn format(&self) -> Option<Format> {
        match self {
            Self::Pushes(pushes) => (pushes.members > 0).then_some(pushes.format),
            Self::Idle { format, .. } | Self::Connect { format, .. } => Some(*format),
        }
    }
}

impl Pushes {
    fn new(
        scenario: &'static str,
        (rooms, members): (u32, u32),
        pace: Pace,
        in_flight: u32,
        load: &LoadArguments,
    ) -> Self {
        Self {
            scenario,
            rooms,
            members,
            content: load.content as usize,
            format: load.format.into(),
            pace,
            in_flight: in_flight as usize,
            unary: false,
            warm_up: load.warm_up,
            may_linger: true,
        }
    }

    pub(super) fn sockets(&self) -> u64 {
        u64::from(self.rooms) * u64::from(self.members)
    }
}

impl From<FormatArgument> for Format {
    fn from(argument: FormatArgument) -> Self {
        match argument {
            FormatArgument::Json => Self::Json,
            FormatArgument::Protobuf => Self::Protobuf,
        }
    }
}
