//! What happens when sockets become readable: the part that costs time for each delivery.

use std::{
    io::{ErrorKind, Read as _},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rustix::{buffer::spare_capacity, event::epoll, io::Errno};

use super::{ALARM, ANSWERS, Complete, Counting, PATIENCE, QUIET, Swarm};
use crate::clock::{Nanos, timespec};

impl Swarm {
    /// Waits for sockets to become readable, or for the alarm or the timeout, and reads them. Returns how many were
    /// read.
    pub(crate) fn turn(&mut self, timeout: Option<Duration>) -> anyhow::Result<usize> {
        let timeout = timeout.map(timespec);
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the sockets"),
        }
        let events = std::mem::take(&mut self.events);
        let mut read = 0;
        for event in &events {
            match event.data.u64() {
                ALARM => {
                    let mut expirations = [0; 8];
                    let _known = rustix::io::read(&self.alarm, &mut expirations);
                }
                ANSWERS => self.read_answers()?,
                n => {
                    self.read(n as usize)?;
                    read += 1;
                }
            }
        }
        self.events = events;
        Ok(read)
    }

    fn read(&mut self, n: usize) -> anyhow::Result<()> {
        let socket = &mut self.sockets[n];
        let read = match (&socket.stream).read(&mut self.buffer) {
            Ok(0) => bail!("the server closed socket {n}"),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).with_context(|| format!("reading socket {n}")),
        };
        self.bytes += read as u64;
        let bytes = &self.buffer[..read];
        let before = socket.got;
        if let Counting::InFrames(least) = self.counting
            && self.size == 0
        {
            // What comes before a first message was published is talk about the connection.
            let size = socket.deframer.largest(bytes);
            if size >= u64::from(least) && self.rooms[socket.room].published == 1 {
                self.size = size;
                socket.got = 1;
            }
        } else {
            socket.got += socket.deframer.messages(self.counting, self.size, bytes);
        }
        if socket.got == before || !socket.watched {
            return Ok(());
        }
        let room = &mut self.rooms[socket.room];
        match room.arrive(before, socket.got) {
            Some(true) => {
                let complete = Complete { room: socket.room, messages: room.complete, at: Nanos::now() };
                self.complete.push(complete);
                Ok(())
            }
            Some(false) => Ok(()),
            // While nothing is armed: what is read is not of a measurement.
            None if room.published == 0 => {
                socket.got = 0;
                Ok(())
            }
            None => bail!("socket {n} got {} messages of {}", socket.got, room.published),
        }
    }

    fn read_answers(&mut self) -> anyhow::Result<()> {
        let Some(mut answers) = self.answers.as_ref() else { return Ok(()) };
        let read = answers.read(&mut self.buffer).context("reading the publisher's answers")?;
        self.last_answer = String::from_utf8_lossy(&self.buffer[..read.min(100)]).into_owned();
        ensure!(read > 0, "the server closed the publisher's connection{}", self.what_the_publisher_heard());
        Ok(())
    }

    /// For error messages.
    pub(crate) fn what_the_publisher_heard(&self) -> String {
        match self.last_answer.lines().next() {
            Some(line) => format!("; the publisher heard last: {line:?}"),
            None => String::new(),
        }
    }

    /// Reads what comes until nothing does for a while.
    pub(crate) fn read_until_quiet(&mut self) -> anyhow::Result<()> {
        let begun = Nanos::now();
        while self.turn(Some(QUIET))? > 0 {
            ensure!(Nanos::now().since(begun) < PATIENCE, "the server still sends after {PATIENCE:?}");
        }
        Ok(())
    }
}
