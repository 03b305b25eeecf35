//! From the socket to whole client frames.
//!
//! Reads into the shard's one buffer; tungstenite takes the frames out of it and writes pongs and close
//! replies into the connection's outbox.

use std::io::{self, Read, Write};

use tokio_tungstenite::tungstenite::{self, Error, error::CapacityError};

use super::{
    connection::Phase,
    outbox::Outbox,
    slab::SlabKey,
    state::{Now, Shard},
    transport::Transport,
};
use crate::close::CloseReason;

/// Reads of one connection before others get their turn.
const READS_PER_TURN: usize = 4;

impl<T: Transport> Shard<T> {
    /// Reads what the socket has and handles it. True if there may be more.
    pub(super) fn read(&mut self, key: SlabKey, now: Now) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut more = true;
        for _ in 0..READS_PER_TURN {
            let Some(connection) = self.connections.get_mut(key) else { break };
            match connection.transport.receive(&mut scratch) {
                Ok(0) => {
                    self.drop_connection(key, CloseReason::Client);
                    more = false;
                }
                Ok(read) => {
                    self.feed(key, &scratch[..read], now);
                    more = read == scratch.len();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => more = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "Receiving failed.");
                    self.drop_connection(key, CloseReason::Client);
                    more = false;
                }
            }
            if !more {
                break;
            }
        }
        self.scratch = scratch;
        more
    }

    /// Takes bytes of a client, whole frames or not, and handles the frames they complete.
    pub fn feed(&mut self, key: SlabKey, bytes: &[u8], now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_closing() {
            return;
        }
        let mut messages = std::mem::take(&mut self.messages);
        let mut wire = Wire { input: bytes, out: &mut connection.outbox };
        let failure = loop {
            match connection.websocket.read(&mut wire) {
                Ok(message) => messages.push(message),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) => break Some(error),
            }
        };
        if !messages.is_empty() {
            connection.last_seen = now.millis;
        }
        for message in messages.drain(..) {
            self.handle(key, message, now);
        }
        self.messages = messages;
        if let Some(error) = failure {
            self.fail(key, &error, now);
        } else if self.writable(key, now)
            && let Some(connection) = self.connections.get_mut(key)
            && !connection.outbox.is_empty()
        {
            self.blocked(key, now);
        }
    }

    fn fail(&mut self, key: SlabKey, error: &Error, now: Now) {
        let reason = match error {
            // tungstenite put its own Close, the answer to the client's, into the outbox.
            Error::ConnectionClosed | Error::AlreadyClosed => CloseReason::Client,
            Error::Capacity(CapacityError::MessageTooLong { .. }) => CloseReason::TooBig,
            Error::Utf8(_) => CloseReason::NotUtf8,
            Error::Io(_)
            | Error::Tls(_)
            | Error::Capacity(_)
            | Error::Protocol(_)
            | Error::WriteBufferFull(_)
            | Error::AttackAttempt
            | Error::Url(_)
            | Error::Http(_)
            | Error::HttpFormat(_) => CloseReason::Protocol,
        };
        tracing::debug!(%error, "A client ended its stream.");
        if reason == CloseReason::Client
            && let Some(connection) = self.connections.get_mut(key)
        {
            // Nothing may follow the Close that is in the outbox.
            connection.forget_pending();
        }
        self.close(key, reason, now);
    }

    fn handle(&mut self, key: SlabKey, message: tungstenite::Message, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if matches!(connection.phase, Phase::Closing { .. }) {
            return;
        }
        match message {
            tungstenite::Message::Text(text) => self.on_text(key, text.as_str(), now),
            tungstenite::Message::Binary(bytes) => self.on_binary(key, &bytes, now),
            // Pings were answered by tungstenite; a Close too, and an error follows it.
            tungstenite::Message::Ping(_)
            | tungstenite::Message::Pong(_)
            | tungstenite::Message::Close(_)
            | tungstenite::Message::Frame(_) => {}
        }
    }
}

/// What tungstenite takes for a socket.
struct Wire<'a> {
    input: &'a [u8],
    out: &'a mut Outbox,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
