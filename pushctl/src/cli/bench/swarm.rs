//! Many sockets on one thread: an epoll of their own inside the runtime's, one buffer to read into, no task, timer or
//! allocation for a socket that only receives. Reading has to be cheaper than the sending that it measures.

use std::{io, os::fd::OwnedFd, rc::Rc, time::Instant};

use pushctl::format::Format;
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
};
use tokio::{io::unix::AsyncFd, task::yield_now};

use super::{
    descriptors,
    ends::{End, Ended},
    marker::Marker,
    shared::Shared,
    socket::{SCRATCH, Socket},
    upgrade::Target,
    wire::Counts,
};

/// Sockets served in one turn, at most: about a millisecond, after which others of this thread have theirs.
const EVENTS: usize = 512;
/// After a turn as long as this one the others are asked; a shorter one ends in waiting anyway.
const LONG_TURN: usize = 64;

/// Many sockets. Dropping it closes them.
pub(super) struct Swarm {
    epoll: AsyncFd<OwnedFd>,
    targets: Vec<Target>,
    sockets: Vec<Option<Socket>>,
    vacant: Vec<usize>,
    open: usize,
    shared: Shared,
    scratch: Vec<u8>,
    events: Vec<Event>,
    happened: Happened,
}

/// What is rare, since the last look.
#[derive(Debug, Default)]
pub(super) struct Happened {
    /// Handshakes that came to their end, with the time since which each counts.
    pub(super) connected: Vec<(usize, Instant)>,
    /// Sockets that ended.
    pub(super) ended: Vec<Ended>,
}

impl Swarm {
    /// One without sockets. Needs a tokio runtime.
    pub(super) fn new(targets: Vec<Target>, format: Format, marker: Marker) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll: descriptors::readable(epoll)?,
            targets,
            sockets: Vec::new(),
            vacant: Vec::new(),
            open: 0,
            shared: Shared::new(format, marker),
            scratch: vec![0; SCRATCH],
            events: Vec::with_capacity(EVENTS),
            happened: Happened::default(),
        })
    }

    /// The nodes.
    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// What all sockets have read; goes on counting.
    pub(super) fn counts(&self) -> Rc<Counts> {
        Rc::clone(&self.shared.counts)
    }

    /// Sockets that have been told `connected` and have not ended.
    pub(super) fn open_sockets(&self) -> usize {
        self.open
    }

    /// All sockets, those under way included.
    pub(super) fn sockets(&self) -> usize {
        self.sockets.len() - self.vacant.len()
    }

    /// The node of the first socket whose handshake has not come to its end.
    pub(super) fn awaited_node(&self) -> Option<usize> {
        self.sockets.iter().flatten().find(|socket| !socket.is_open()).map(|socket| socket.target)
    }

    /// What happened since the last look.
    pub(super) fn happened(&mut self) -> Happened {
        std::mem::take(&mut self.happened)
    }

    /// Begins a connection to a node; its handshake counts since `due`. An error is of this process: no descriptor, no
    /// port.
    pub(super) fn connect(&mut self, target: usize, request: Vec<u8>, due: Instant) -> io::Result<()> {
        let socket = Socket::open(self.targets[target].addr, target, due, request)?;
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            self.sockets.len() - 1
        });
        // Edge-triggered: a socket that was read to its end costs nothing until there is more.
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, socket.stream(), EventData::new_u64(slot as u64), flags)?;
        self.sockets[slot] = Some(socket);
        Ok(())
    }

    /// Says goodbye on one socket; the node ends it.
    pub(super) fn leave(&mut self, slot: usize) {
        if let Some(socket) = &mut self.sockets[slot]
            && let Err(end) = socket.leave()
        {
            self.end(slot, end);
        }
    }

    /// Waits until there is something to read and reads it; `pushed` is called for every delivery with its push's number
    /// and the time. Answers with how many sockets it was. Cancel-safe.
    pub(super) async fn turn(&mut self, mut pushed: impl FnMut(u64, Instant)) -> io::Result<usize> {
        let mut ready = self.epoll.readable().await?;
        self.events.clear();
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let found = epoll::wait(ready.get_inner(), spare_capacity(&mut self.events), Some(&at_once))?;
        if found < self.events.capacity() {
            // All there was. What comes from now on makes the epoll ready anew.
            ready.clear_ready();
        }
        drop(ready);
        let events = std::mem::take(&mut self.events);
        for event in &events {
            let (slot, flags) = (event.data.u64() as usize, event.flags);
            let Some(socket) = self.sockets.get_mut(slot).and_then(Option::as_mut) else { continue };
            match socket.serve(flags, &mut self.scratch, &mut self.shared, &mut pushed) {
                Ok(false) => {}
                Ok(true) => {
                    self.open += 1;
                    self.happened.connected.push((slot, socket.due));
                }
                Err(end) => self.end(slot, end),
            }
        }
        self.events = events;
        if found >= LONG_TURN {
            yield_now().await;
        }
        Ok(found)
    }

    /// One that dies in the middle of connecting has told nobody before.
    fn end(&mut self, slot: usize, how: End) {
        // Closing the descriptor takes it out of the epoll.
        let Some(socket) = self.sockets[slot].take() else { return };
        self.vacant.push(slot);
        let was_open = socket.is_open();
        self.open -= usize::from(was_open);
        self.happened.ended.push(Ended { target: socket.target, was_open, how });
    }
}
