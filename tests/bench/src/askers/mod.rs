//! Sockets that ask and are answered, on one thread: the swarm only counts what it gets.

mod handshake;

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    os::fd::OwnedFd,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    io::Errno,
};

use crate::clock::timespec;

/// Events taken at once; who asks gets a turn after that many sockets at the latest.
const EVENTS: usize = 512;

/// Read at once from one socket: an answer has some hundred bytes.
const BUFFER: usize = 16 * 1024;

struct Asker {
    stream: TcpStream,
    /// The beginning of an answer that is cut.
    carried: Vec<u8>,
}

/// Dropping it closes all sockets.
pub(crate) struct Askers {
    sockets: Vec<Asker>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

impl Askers {
    /// Without sockets.
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            sockets: Vec::new(),
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; BUFFER],
        })
    }

    /// Takes a socket on, the next in number.
    fn add(&mut self, stream: TcpStream) -> anyhow::Result<()> {
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(self.sockets.len() as u64), EventFlags::IN)?;
        self.sockets.push(Asker { stream, carried: Vec::new() });
        Ok(())
    }

    /// Sockets taken on.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Has socket `n` say this.
    pub(crate) fn ask(&self, n: usize, bytes: &[u8]) -> anyhow::Result<()> {
        say(&self.sockets[n].stream, bytes).with_context(|| format!("socket {n}"))
    }

    /// Waits until somebody is answered, and for so long at most. `take` is given a socket's number, the socket, and what
    /// it has read; it says how many bytes of that it took, and is asked again until it took none: what is left is the
    /// beginning of something. Returns how many sockets were read.
    pub(crate) fn turn(
        &mut self,
        timeout: Duration,
        mut take: impl FnMut(usize, &TcpStream, &[u8]) -> anyhow::Result<usize>,
    ) -> anyhow::Result<usize> {
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timespec(timeout))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the sockets"),
        }
        for event in &self.events {
            let n = event.data.u64() as usize;
            let Asker { stream, carried } = &mut self.sockets[n];
            let kept = carried.len();
            self.buffer[..kept].copy_from_slice(carried);
            carried.clear();
            let read = match (&*stream).read(&mut self.buffer[kept..]) {
                Ok(0) => bail!("the server closed socket {n}"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error).with_context(|| format!("reading socket {n}")),
            };
            let mut bytes = &self.buffer[..kept + read];
            loop {
                let taken = take(n, stream, bytes).with_context(|| format!("socket {n}"))?;
                bytes = &bytes[taken..];
                if taken == 0 || bytes.is_empty() {
                    break;
                }
            }
            carried.extend_from_slice(bytes);
        }
        Ok(self.events.len())
    }
}

/// A question is short and its socket's buffer empty: one that cannot be written whole meets a server that is stuck.
pub(crate) fn say(mut stream: &TcpStream, bytes: &[u8]) -> anyhow::Result<()> {
    stream.write_all(bytes).context("the server does not read what it is asked")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_answer_is_taken_when_all_of_it_is_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut askers = Askers::new().unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        askers.add(stream).unwrap();
        askers.ask(0, b"?").unwrap();
        let mut asked = [0; 1];
        server.read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"?");

        // Answers are of two bytes here.
        let mut answers = Vec::new();
        for piece in [&b"a"[..], b"bc", b"d", b"efg"] {
            server.write_all(piece).unwrap();
            let turned = askers.turn(Duration::from_secs(5), |n, _, bytes| {
                let Some(answer) = bytes.get(..2) else { return Ok(0) };
                answers.push((n, answer.to_vec()));
                Ok(2)
            });
            assert_eq!(turned.unwrap(), 1);
        }
        assert_eq!(answers, [(0, b"ab".to_vec()), (0, b"cd".to_vec()), (0, b"ef".to_vec())]);
        drop(server);
        let error = askers.turn(Duration::from_secs(5), |_, _, bytes| Ok(bytes.len())).unwrap_err();
        assert!(error.to_string().contains("closed socket 0"), "{error}");
    }
}
