//! From the socket to whole client frames.
//!
//! Reads into the shard's one buffer; tungstenite takes the frames out of it and writes pongs and close
//! replies into the connection's outbox.

use std::io::{self, Read, Write};

use tokio_tungstenite::tungstenite::{self, Error, error::CapacityError};

use super::{
    outbox::Outbox,
    slab::SlabKey,
    state::{Now, Shard},
    transport::Transport,
};
use crate::{close::CloseReason, metrics};

impl<T: Transport> Shard<T> {
    /// Reads what the socket has, one buffer full at most, and handles it. True if there may be more: others
    /// get their turn first.
    pub(super) fn read(&mut self, key: SlabKey, now: Now) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let mut scratch = std::mem::take(&mut self.scratch);
        let more = match connection.transport.receive(&mut scratch) {
            Ok(0) => {
                self.drop_connection(key, CloseReason::Client);
                false
            }
            Ok(read) => {
                self.feed(key, &scratch[..read], now);
                read == scratch.len()
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) => {
                tracing::debug!(%error, "Receiving failed.");
                self.drop_connection(key, CloseReason::Client);
                false
            }
        };
        self.scratch = scratch;
        more
    }

    /// Takes bytes of a client, whole frames or not, and handles the frames they complete, one by one: what
    /// answers a frame comes before what answers the next.
    pub fn feed(&mut self, key: SlabKey, bytes: &[u8], now: Now) {
        if self.connections.get(key).is_none_or(|connection| connection.is_closing()) {
            return;
        }
        if !self.may_send_bytes(key, bytes.len(), now) {
            return;
        }
        let mut rest = bytes;
        let failure = loop {
            let Some(connection) = self.connections.get_mut(key).filter(|c| !c.is_closing()) else { return };
            let mut wire = Wire { input: rest, out: &mut connection.outbox };
            let read = connection.websocket.read(&mut wire);
            rest = wire.input;
            match read {
                Ok(message) => {
                    connection.last_seen = now.millis;
                    if !self.may_send_frame(key, now) {
                        return;
                    }
                    self.handle(key, message, now);
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => break None,
                Err(error) => break Some(error),
            }
        };
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
        if reason == CloseReason::TooBig {
            metrics::limited("frame_size");
        }
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
struct Wire<'i, 'o> {
    input: &'i [u8],
    out: &'o mut Outbox,
}

impl Read for Wire<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Wire<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
