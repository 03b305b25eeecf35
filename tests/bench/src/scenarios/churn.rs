//! As many connections as one process may hold, which join rooms and leave them all the time: what that costs, and that
//! nothing of it stays in memory.

use std::{io::Write as _, time::Duration};

use anyhow::{bail, ensure};
use prost::Message as _;
use pushcast_proto::client::v1::{ClientFrame, Join, Leave, Pong, ServerFrame, client_frame, server_frame};

use super::{CONTENT, Failures, progress};
use crate::{
    askers::Askers,
    clock::Nanos,
    cores,
    peers::{Plan, Server, ours::Ours, room_name},
    procfs::{CoreTime, spent},
    swarm::Hello,
    wire,
};

/// Connections, if the limit of open files allows it.
pub(crate) const SOCKETS: usize = 19_000;

/// Files that the node and the load each need beside the connections.
const OTHER_FILES: u64 = 1000;

/// Joins and leaves a second: a little more than the 10,000 that are to be reached, so that a moment in which either side
/// stood still does not make it less.
const RATE: f64 = 10_200.0;

/// How long the same rooms are joined and left.
const SAME: Duration = Duration::from_secs(20);

/// How long every room that is joined is another one.
const FRESH: Duration = Duration::from_secs(10);

/// By then every connection has joined and left once: what it needs for that it has from then on.
pub(crate) const EARLY: Duration = Duration::from_secs(5);

/// A question is not answered for so long: it never is.
const STALL: Duration = Duration::from_secs(10);

/// Which rooms are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rooms {
    /// Each connection always the same one, which it shares with one other: there are always some that nobody is in,
    /// and these go from the tables and come back.
    Same,
    /// One that was never there before.
    Fresh,
}

/// What some seconds of joining and leaving took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leg {
    /// Joins and leaves that were answered.
    pub(crate) done: u64,
    pub(crate) wall: Duration,
    /// Of the node.
    cpu: Duration,
    /// Resident memory of the node at first, after [`EARLY`], and at the end.
    pub(crate) memory: [u64; 3],
    /// How busy the load's core was, 0 to 1.
    pub(crate) load: f64,
}

impl Leg {
    pub(crate) fn per_second(&self) -> f64 {
        self.done as f64 / self.wall.as_secs_f64()
    }

    pub(crate) fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.done as f64
    }

    /// Bytes a second by which the node grew since [`EARLY`].
    pub(crate) fn growth(&self) -> f64 {
        let [_, early, end] = self.memory;
        (end as f64 - early as f64) / (self.wall - EARLY).as_secs_f64()
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Churn {
    pub(crate) sockets: usize,
    /// Open files that a process may have, if that is why there are no more sockets.
    pub(crate) limit: Option<u64>,
    pub(crate) same: Leg,
    pub(crate) fresh: Leg,
}

/// Once: memory does not vary with the noise of the machine.
pub(crate) fn run(failures: &mut Failures) -> Option<Churn> {
    let what = "joins and leaves";
    progress(what);
    failures.note(what, cores::on_load_core(measure))
}

fn measure() -> anyhow::Result<Churn> {
    let (files, _) = rlimit::getrlimit(rlimit::Resource::NOFILE)?;
    let sockets = SOCKETS.min(usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX));
    let directory = tempfile::tempdir()?;
    let plan = Plan { directory: directory.path(), sockets, rooms: sockets, content: CONTENT, in_flight: 1 };
    // Shipped, it takes a tenth fewer than it may have files.
    let ours = Ours::start_with(plan, &["--max-connections", &sockets.to_string()])?;
    let mut crowd = Crowd::connect(&ours, sockets)?;
    // Until what handshakes took for themselves is given back and everybody had a heartbeat: a first one takes some memory.
    crowd.rest(ours.settles_in())?;
    let same = crowd.go_on(&ours, Rooms::Same, SAME)?;
    let fresh = crowd.go_on(&ours, Rooms::Fresh, FRESH)?;
    Ok(Churn { sockets, limit: (sockets < SOCKETS).then_some(files), same, fresh })
}

/// Those who join and leave.
struct Crowd {
    askers: Askers,
    /// The room each is in, if it is in one.
    inside: Vec<Option<String>>,
    asked: u64,
    answered: u64,
    pong: Vec<u8>,
}

impl Crowd {
    /// Every second one is in its room at first, so that joins and leaves alternate, and as many are always inside.
    fn connect(ours: &Ours, sockets: usize) -> anyhow::Result<Self> {
        let inside: Vec<Option<String>> =
            (0..sockets).map(|n| (n % 2 == 1).then(|| room_name(n / 2))).collect();
        let hello = |(n, room): (usize, &Option<String>)| ours.hello_in(n, room.iter().cloned().collect());
        let hellos: Vec<Hello> = inside.iter().enumerate().map(hello).collect();
        let askers = Askers::connect(ours.addr(), &hellos)?;
        Ok(Self { askers, inside, asked: 0, answered: 0, pong: frame(0, client_frame::Frame::Pong(Pong {})) })
    }

    /// Answers heartbeats for so long, and does nothing else.
    fn rest(&mut self, time: Duration) -> anyhow::Result<()> {
        let begun = Nanos::now();
        while Nanos::now().since(begun) < time {
            self.turn()?;
        }
        Ok(())
    }

    /// Joins and leaves for so long, one connection after the other, each when it is due.
    fn go_on(&mut self, ours: &Ours, rooms: Rooms, time: Duration) -> anyhow::Result<Leg> {
        let (first, all) = (self.asked, (time.as_secs_f64() * RATE) as u64);
        let before = ours.memory()?;
        let (cpu, load, begun) = (ours.cpu()?, CoreTime::now(cores::LOAD)?, Nanos::now());
        let (mut early, mut last) = (None, begun);
        while self.answered < first + all {
            let now = Nanos::now();
            let elapsed = now.since(begun);
            let due = ((elapsed.as_secs_f64() * RATE) as u64).min(all);
            while self.asked < first + due {
                self.ask(rooms)?;
            }
            if early.is_none() && elapsed >= EARLY {
                early = Some(ours.memory()?);
            }
            let answered = self.answered;
            self.turn()?;
            if self.answered > answered {
                last = Nanos::now();
            } else if now.since(last) > STALL {
                bail!("{} of {} joins and leaves are answered", self.answered - first, self.asked - first);
            }
        }
        let (wall, end) = (last.since(begun), ours.memory()?);
        Ok(Leg {
            done: all,
            wall,
            cpu: spent(cpu, ours.cpu()?)?,
            memory: [before, early.unwrap_or(end), end],
            load: CoreTime::now(cores::LOAD)?.busy_since(load),
        })
    }

    /// Has the next one leave the room it is in, or join one.
    fn ask(&mut self, rooms: Rooms) -> anyhow::Result<()> {
        let n = (self.asked % self.inside.len() as u64) as usize;
        self.asked += 1;
        let asked = match self.inside[n].take() {
            Some(room) => client_frame::Frame::Leave(Leave { rooms: vec![room] }),
            None => {
                let room = match rooms {
                    Rooms::Same => room_name(n / 2),
                    Rooms::Fresh => format!("fresh-{:08}", self.asked),
                };
                self.inside[n] = Some(room.clone());
                client_frame::Frame::Join(Join { rooms: vec![room] })
            }
        };
        // 0 would ask for no answer.
        self.askers.ask(n, &frame(1, asked))
    }

    /// Reads answers for a millisecond.
    fn turn(&mut self) -> anyhow::Result<()> {
        let (answered, pong) = (&mut self.answered, &self.pong);
        self.askers.turn(Duration::from_millis(1), |_, mut stream, bytes| {
            let Some((payload, end)) = wire::server_frame(bytes) else { return Ok(0) };
            match ServerFrame::decode(payload)?.frame {
                Some(server_frame::Frame::Ok(_)) => *answered += 1,
                Some(server_frame::Frame::Heartbeat(_)) => stream.write_all(pong)?,
                Some(server_frame::Frame::Error(error)) => {
                    bail!("a join or leave was refused: {} ({})", error.message, error.code)
                }
                _ => {}
            }
            Ok(end)
        })?;
        ensure!(self.answered <= self.asked, "more was answered than was asked");
        Ok(())
    }
}

fn frame(id: u32, frame: client_frame::Frame) -> Vec<u8> {
    wire::client_frame(&ClientFrame { id, frame: Some(frame) }.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_what_comes_after_everybody_had_a_turn() {
        let leg = Leg {
            done: 200_000,
            wall: Duration::from_secs(20),
            cpu: Duration::from_secs(2),
            memory: [1 << 20, 2 << 20, (2 << 20) + 1500],
            load: 0.2,
        };
        assert!((leg.growth() - 100.0).abs() < 1e-9);
        assert!((leg.micros() - 10.0).abs() < 1e-9);
        assert!((leg.per_second() - 10_000.0).abs() < 1e-9);
    }
}
