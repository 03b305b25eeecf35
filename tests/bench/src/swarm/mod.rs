//! Thousands of sockets that read and count, on one thread: the same code for every server.

mod connect;
mod deframer;
mod group;
mod reading;

use std::{
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    time::Duration,
};

use anyhow::{bail, ensure};
pub(crate) use connect::{AT_ONCE, Hello};
pub(crate) use deframer::Counting;
use deframer::Deframer;
use group::Group;
use rustix::{
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags},
};

use crate::clock::Nanos;

/// Events taken at once; a publisher gets its turn after that many sockets at the latest.
const EVENTS: usize = 512;

/// Read at once from one socket: more than any window of messages under way takes.
const BUFFER: usize = 256 * 1024;

/// Nobody has sent anything for this long: it is quiet.
const QUIET: Duration = Duration::from_millis(200);

/// It never gets quiet, or a message never comes.
const PATIENCE: Duration = Duration::from_secs(15);

/// The events that are not of a socket `n`.
const ALARM: u64 = u64::MAX;
const ANSWERS: u64 = u64::MAX - 1;

/// A message has reached every socket of its room that counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Complete {
    pub(crate) room: usize,
    /// Messages of this room that are complete by now.
    pub(crate) messages: u64,
    pub(crate) at: Nanos,
}

struct Socket {
    stream: TcpStream,
    deframer: Deframer,
    room: usize,
    /// Messages since the last [`Swarm::arm`].
    got: u64,
    /// It reads, and counts for its room.
    watched: bool,
}

pub(crate) struct Swarm {
    sockets: Vec<Socket>,
    rooms: Vec<Group>,
    counting: Counting,
    /// Payload of one message, once that is known.
    size: u64,
    bytes: u64,
    complete: Vec<Complete>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    alarm: OwnedFd,
    answers: Option<TcpStream>,
    last_answer: String,
}

impl Swarm {
    /// Connects so many sockets, socket `n` in room `n % rooms`, and waits until nothing comes any more.
    pub(crate) fn connect(
        server: SocketAddr,
        counting: Counting,
        count: usize,
        rooms: usize,
        hello: &dyn Fn(usize) -> Hello,
    ) -> anyhow::Result<Self> {
        let alarm = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &alarm, EventData::new_u64(ALARM), EventFlags::IN)?;
        let mut swarm = Self {
            sockets: Vec::with_capacity(count),
            rooms: (0..rooms).map(|_| Group::default()).collect(),
            counting,
            size: 0,
            bytes: 0,
            complete: Vec::new(),
            epoll,
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; BUFFER],
            alarm,
            answers: None,
            last_answer: String::new(),
        };
        for (n, (stream, rest)) in connect::connect(server, count, hello)?.into_iter().enumerate() {
            epoll::add(&swarm.epoll, &stream, EventData::new_u64(n as u64), EventFlags::IN)?;
            let mut deframer = Deframer::default();
            if !matches!(counting, Counting::Bytes(_)) {
                deframer.largest(&rest);
            }
            swarm.sockets.push(Socket { stream, deframer, room: n % rooms, got: 0, watched: true });
        }
        swarm.read_until_quiet()?;
        Ok(swarm)
    }

    /// Reads and drops what comes on this one, too: the answers to a publisher.
    pub(crate) fn drop_answers(&mut self, answers: TcpStream) -> anyhow::Result<()> {
        epoll::add(&self.epoll, &answers, EventData::new_u64(ANSWERS), EventFlags::IN)?;
        self.answers = Some(answers);
        Ok(())
    }

    /// Takes the next message as one per socket, and its size as that of all that follow.
    pub(crate) fn learn(&mut self, publish: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.size = 0;
        self.arm(1);
        for room in &mut self.rooms {
            room.published = 1;
        }
        publish()?;
        let begun = Nanos::now();
        while self.rooms.iter().any(|room| room.complete == 0) {
            if Nanos::now().since(begun) > PATIENCE {
                let without = self.sockets.iter().filter(|socket| socket.got == 0).count();
                bail!(
                    "a first message reached all but {without} of {} sockets within {PATIENCE:?}{}",
                    self.sockets.len(),
                    self.what_the_publisher_heard()
                );
            }
            self.turn(Some(QUIET))?;
        }
        self.read_until_quiet()
    }

    /// Starts counting anew, with at most so many messages under way in each room.
    pub(crate) fn arm(&mut self, under_way: usize) {
        let mut members = vec![0; self.rooms.len()];
        for socket in &mut self.sockets {
            socket.got = 0;
            members[socket.room] += u32::from(socket.watched);
        }
        for (room, members) in self.rooms.iter_mut().zip(members) {
            room.arm(members, under_way);
        }
        self.bytes = 0;
        self.complete.clear();
    }

    /// Only sockets for which this is true read from now on, and count after the next [`Swarm::arm`].
    pub(crate) fn watch_only(&mut self, watched: impl Fn(usize) -> bool) -> anyhow::Result<()> {
        for (n, socket) in self.sockets.iter_mut().enumerate() {
            match (socket.watched, watched(n)) {
                (true, false) => epoll::delete(&self.epoll, &socket.stream)?,
                (false, true) => {
                    epoll::add(&self.epoll, &socket.stream, EventData::new_u64(n as u64), EventFlags::IN)?;
                }
                (true, true) | (false, false) => {}
            }
            socket.watched = watched(n);
        }
        Ok(())
    }

    /// The socket itself, for its options.
    pub(crate) fn stream(&self, n: usize) -> &TcpStream {
        &self.sockets[n].stream
    }

    /// Notes that a message to this room was published. Fails when more are under way than were foreseen.
    pub(crate) fn published(&mut self, room: usize) -> anyhow::Result<()> {
        ensure!(self.rooms[room].has_space(), "the server is too far behind the publisher");
        self.rooms[room].published += 1;
        Ok(())
    }

    /// Messages published and not complete, of all rooms.
    pub(crate) fn under_way(&self) -> u64 {
        self.rooms.iter().map(|room| room.published - room.complete).sum()
    }

    /// Deliveries of complete messages since the last [`Swarm::arm`].
    pub(crate) fn deliveries(&self) -> u64 {
        self.rooms.iter().map(|room| room.complete * u64::from(room.members)).sum()
    }

    /// Bytes read since the last [`Swarm::arm`].
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fails unless every socket got exactly so many messages since the last [`Swarm::arm`].
    pub(crate) fn check_all_got(&self, messages: u64) -> anyhow::Result<()> {
        let wrong: Vec<u64> =
            self.sockets.iter().map(|socket| socket.got).filter(|got| *got != messages).collect();
        let least = wrong.iter().min().copied().unwrap_or(messages);
        ensure!(
            wrong.is_empty(),
            "{} sockets did not get {messages} messages, one of them {least}",
            wrong.len()
        );
        Ok(())
    }

    /// What was completed since the last call.
    pub(crate) fn take_complete(&mut self) -> Vec<Complete> {
        std::mem::take(&mut self.complete)
    }

    /// Has the next turns end at this time, once.
    pub(crate) fn wake_at(&self, at: Nanos) -> anyhow::Result<()> {
        let once = Itimerspec { it_interval: Nanos(0).timespec(), it_value: at.timespec() };
        rustix::time::timerfd_settime(&self.alarm, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }
}
