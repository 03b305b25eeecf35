//! One socket of the swarm: from connecting to its end.

use std::{
    cell::Cell,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use pushcast_proto::client::v1::{Connected, Error, ServerFrame, server_frame};
use rustix::event::epoll::EventFlags;
use socket2::{Domain, Protocol, Type};

use super::{
    ends::End,
    frames::{Intake, LONGEST_READ, Taken},
    head::{Kind, masked},
    shared::Shared,
    upgrade::{self, Answer},
};

/// One buffer for all sockets: what one may have carried over, and as much again and more of what is new.
pub(super) const SCRATCH: usize = 256 << 10;
const _: () = assert!(SCRATCH as u64 > 2 * LONGEST_READ, "there is room behind what is carried over");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// TCP's own handshake is under way.
    Connecting,
    /// The upgrade has been asked for.
    Upgrading,
    /// It is a WebSocket, and `connected` has not come.
    Greeting,
    Open,
    /// We have said goodbye.
    Leaving,
}

/// A socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    stage: Stage,
    /// Which of the nodes it goes to.
    pub(super) target: usize,
    /// Since when its handshake counts.
    pub(super) due: Instant,
    request: Vec<u8>,
    intake: Intake,
    error: Option<Box<Error>>,
}

impl Socket {
    /// Begins to connect. `request` is sent as soon as that is possible.
    pub(super) fn open(addr: SocketAddr, target: usize, due: Instant, request: Vec<u8>) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&addr.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(IN_PROGRESS) => {}
            Err(error) => return Err(error),
        }
        let stage = Stage::Connecting;
        Ok(Self {
            stream: socket.into(),
            stage,
            target,
            due,
            request,
            intake: Intake::default(),
            error: None,
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether `connected` has come.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Leaving)
    }

    /// Says goodbye. The node ends it.
    pub(super) fn leave(&mut self) -> Result<(), End> {
        self.stage = Stage::Leaving;
        self.send(&masked(0x8, &1000_u16.to_be_bytes()))
    }

    /// Does what the kernel says can be done. `pushed` is called for every delivery of this run; answers with whether
    /// `connected` came.
    pub(super) fn serve(
        &mut self,
        flags: EventFlags,
        scratch: &mut [u8],
        shared: &mut Shared,
        pushed: impl FnMut(u64, Instant),
    ) -> Result<bool, End> {
        if self.stage == Stage::Connecting && !self.upgrade(flags)? {
            return Ok(false);
        }
        let was_open = self.is_open();
        if flags.intersects(EventFlags::IN | ENDED) {
            self.read(flags.intersects(ENDED), scratch, shared, pushed)?;
        }
        Ok(!was_open && self.is_open())
    }

    /// Asks for the upgrade, if there is a connection by now.
    fn upgrade(&mut self, flags: EventFlags) -> Result<bool, End> {
        if let Some(error) = self.stream.take_error().map_err(End::Unreachable)? {
            return Err(End::Unreachable(error));
        }
        if !flags.contains(EventFlags::OUT) {
            return Ok(false);
        }
        let request = std::mem::take(&mut self.request);
        self.stage = Stage::Upgrading;
        self.send(&request)?;
        Ok(true)
    }

    /// Reads what is there: one call in most cases, since less than what would fit means that there is no more.
    fn read(
        &mut self,
        to_the_end: bool,
        scratch: &mut [u8],
        shared: &mut Shared,
        mut pushed: impl FnMut(u64, Instant),
    ) -> Result<(), End> {
        loop {
            let carried = self.intake.carried();
            scratch[..carried.len()].copy_from_slice(&carried);
            let read = match self.stream.read(&mut scratch[carried.len()..]) {
                Ok(0) => return Err(self.ended("the node went away without a word".to_owned())),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.intake.keep(&carried);
                    return Ok(());
                }
                Err(error) => return Err(self.ended(error.to_string())),
            };
            let counted = &shared.counts.read;
            counted.set(counted.get() + read as u64);
            let filled = carried.len() + read;
            self.take(&scratch[..filled], shared, &mut pushed)?;
            if filled < scratch.len() && !to_the_end {
                return Ok(());
            }
        }
    }

    fn take(
        &mut self,
        mut bytes: &[u8],
        shared: &mut Shared,
        pushed: &mut impl FnMut(u64, Instant),
    ) -> Result<(), End> {
        if self.stage == Stage::Upgrading {
            match upgrade::answer(bytes) {
                Answer::Cut => {
                    self.intake.keep(bytes);
                    return Ok(());
                }
                Answer::Accepted(len) => {
                    let counted = &shared.counts.upgrades;
                    counted.set(counted.get() + len as u64);
                    self.stage = Stage::Greeting;
                    bytes = &bytes[len..];
                }
                Answer::Refused { status, retry_after, body } => {
                    return Err(End::Refused { status, retry_after, body });
                }
                Answer::NotHttp(reason) => return Err(End::NotHttp(reason)),
            }
        }
        // One look at the clock for all that one read brought: it was there at the same time.
        let now = Instant::now();
        let mut intake = std::mem::take(&mut self.intake);
        let mut end = Ok(());
        let (mut bytes_of_pushes, mut bytes_of_others) = (0, 0);
        let mut others: Vec<(Kind, &[u8])> = Vec::new();
        let taken = intake.take(bytes, &mut shared.marker, |taken| match taken {
            Taken::Push { number, bytes } => {
                bytes_of_pushes += bytes;
                pushed(number, now);
            }
            Taken::Other { kind, payload, bytes } => {
                bytes_of_others += bytes;
                others.push((kind, payload));
            }
        });
        self.intake = intake;
        let counts = &shared.counts;
        counts.pushes.set(counts.pushes.get() + bytes_of_pushes);
        counts.others.set(counts.others.get() + bytes_of_others);
        for (kind, payload) in others {
            if end.is_ok() {
                end = self.other(kind, payload, shared);
            }
        }
        end.and(taken.map_err(End::from))
    }

    fn other(&mut self, kind: Kind, payload: &[u8], shared: &Shared) -> Result<(), End> {
        match kind {
            Kind::Ping => self.send(&masked(0xa, payload)),
            Kind::Pong => Ok(()),
            // The answer to ours: the node ends the connection next.
            Kind::Close if self.stage == Stage::Leaving => Ok(()),
            Kind::Close => Err(self.closed(payload)),
            // Too long to be for us.
            Kind::Data if payload.is_empty() => Ok(()),
            Kind::Data => match shared.decode(payload) {
                Ok(frame) => self.frame(frame, shared),
                Err(error) => {
                    Err(End::Lost(format!("it sent a frame that is none of this protocol: {error}")))
                }
            },
        }
    }

    fn frame(&mut self, frame: ServerFrame, shared: &Shared) -> Result<(), End> {
        let count = |counter: &Cell<u64>| counter.set(counter.get() + 1);
        match frame.frame {
            Some(server_frame::Frame::Connected(Connected { .. })) => {
                if self.stage == Stage::Greeting {
                    self.stage = Stage::Open;
                }
                Ok(())
            }
            Some(server_frame::Frame::Heartbeat(_)) => {
                count(&shared.counts.heartbeats);
                self.send(&shared.pong)
            }
            Some(server_frame::Frame::Error(error)) => {
                self.error = Some(Box::new(error));
                Ok(())
            }
            Some(server_frame::Frame::Push(_)) => {
                count(&shared.counts.foreign);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The node closes it, with a code or without.
    fn closed(&mut self, payload: &[u8]) -> End {
        // It may be gone already.
        let _gone = self.send(&masked(0x8, &payload[..payload.len().min(2)]));
        let (code, reason) = match payload {
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
            // RFC 6455's word for a Close without a code.
            _ => (1005, &payload[..0]),
        };
        let reason = String::from_utf8_lossy(reason).into_owned();
        End::Closed { code, reason, error: self.error.take().map(|error| *error) }
    }

    fn ended(&self, reason: String) -> End {
        match self.stage {
            Stage::Leaving => End::Left,
            Stage::Connecting | Stage::Upgrading => {
                End::NotHttp(format!("it ended the connection without an answer: {reason}"))
            }
            Stage::Greeting | Stage::Open => End::Lost(reason),
        }
    }

    /// A few bytes into a socket that has hardly been written to; one that takes them not is stuck.
    fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        match self.stream.write(bytes) {
            Ok(written) if written == bytes.len() => Ok(()),
            Ok(_) => Err(End::Lost("the node does not read".to_owned())),
            // A reset shows at the next read, behind what came before it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(End::Lost("the node does not read".to_owned()))
            }
            Err(_) => Ok(()),
        }
    }
}

/// The peer has ended its side, or all is over.
const ENDED: EventFlags = EventFlags::RDHUP.union(EventFlags::HUP).union(EventFlags::ERR);

/// EINPROGRESS: a connect that goes on in the background.
const IN_PROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();
