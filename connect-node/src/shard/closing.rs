//! How connections end: politely with a Close and time for the peer to answer, or at once.

use pushcast_proto::client::v1::ServerFrame;

use super::{
    connection::Phase,
    frames::{encode, encode_close},
    session::error_frame,
    slab::SlabKey,
    state::{Now, Shard},
    transport::Transport,
};
use crate::close::CloseReason;

/// How long the peer may take to answer a Close before the socket is dropped, milliseconds.
const LINGER_MILLIS: u64 = 2_000;

/// How long a socket may take nothing of what waits for it, milliseconds.
pub(super) const STALL_MILLIS: u64 = 10_000;

impl<T: Transport> Shard<T> {
    /// Sends what waits, then a Close, and lets the peer answer. Nothing is delivered to it any more.
    pub(super) fn close(&mut self, key: SlabKey, reason: CloseReason, now: Now) {
        self.flush_slot(key.index, now);
        self.end(key, reason, reason.text(), now);
    }

    /// As `close`, with another text.
    pub(super) fn close_saying(&mut self, key: SlabKey, reason: CloseReason, text: &str, now: Now) {
        self.flush_slot(key.index, now);
        self.end(key, reason, text, now);
    }

    /// Tells the client what was wrong with its request and closes.
    pub(super) fn refuse(&mut self, key: SlabKey, id: u32, code: &str, message: &str, now: Now) {
        self.refuse_as(CloseReason::BadRequest, key, &error_frame(id, code, message), now);
    }

    /// Sends an error and closes.
    pub(super) fn refuse_as(&mut self, reason: CloseReason, key: SlabKey, error: &ServerFrame, now: Now) {
        if let Some(connection) = self.connections.get_mut(key) {
            let bytes = encode(connection.format, error);
            self.send(key.index, &bytes, now);
        }
        self.end(key, reason, reason.text(), now);
    }

    /// Closes a connection that takes too little: the frame begun is finished, the rest is dropped; the
    /// client gets it by reconnecting.
    pub(super) fn close_slow(&mut self, key: SlabKey, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_closing() {
            return;
        }
        self.metrics.slow_close();
        connection.forget_pending();
        connection.outbox.drop_unbegun(&connection.transport);
        self.end(key, CloseReason::SlowConsumer, CloseReason::SlowConsumer.text(), now);
    }

    /// Lets go of a connection at once. Its task ends at its next poll.
    pub(super) fn drop_connection(&mut self, key: SlabKey, reason: CloseReason) {
        self.leave_tables(key);
        let Some(connection) = self.connections.remove(key) else { return };
        self.waiting_bytes -= connection.counted_waiting;
        connection.wake();
        match connection.phase {
            Phase::Closing { .. } => {}
            Phase::New | Phase::Open => self.metrics.closed(reason),
        }
    }

    /// Notes that a socket refused part of what it was given.
    pub(super) fn blocked(&mut self, key: SlabKey, now: Now) {
        let limit = self.settings.outbox_bytes;
        self.count_waiting(key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.outbox.len() > limit && !connection.is_closing() {
            self.close_slow(key, now);
            return;
        }
        // While it is blocked its task asks again by itself.
        if connection.blocked_since == 0 {
            if let Some(waker) = &connection.waker {
                connection.transport.wake_when_writable(waker);
            }
            connection.blocked_since = now.millis.max(1);
            self.check_at(key, now.millis + STALL_MILLIS);
        }
    }

    /// The socket may accept again: sends what waits. False if the connection is gone.
    pub fn writable(&mut self, key: SlabKey, now: Now) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        match connection.outbox.flush(&connection.transport) {
            Ok(0) if !connection.outbox.is_empty() => {}
            Ok(_) if connection.outbox.is_empty() => {
                connection.blocked_since = 0;
                self.finish_if_closing(key, now);
            }
            Ok(_) => connection.blocked_since = now.millis.max(1),
            Err(error) => {
                tracing::debug!(%error, "Sending failed.");
                self.drop_connection(key, CloseReason::Client);
                return false;
            }
        }
        self.count_waiting(key);
        self.replay_on(key, now);
        self.connections.get_mut(key).is_some()
    }

    fn end(&mut self, key: SlabKey, reason: CloseReason, text: &str, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.is_closing() {
            return;
        }
        if let Some(code) = reason.code() {
            connection.outbox.push(&encode_close(code, text));
        }
        // A slow one gets its linger from now, the others from when everything is sent.
        let patience = if reason == CloseReason::SlowConsumer { LINGER_MILLIS } else { STALL_MILLIS };
        let until = now.millis + patience;
        connection.phase = Phase::Closing { reason, until, finished: false };
        connection.wake();
        tracing::debug!(connection = connection.wire_id(), ?reason, "Closing a client.");
        self.metrics.closed(reason);
        self.leave_tables(key);
        self.check_at(key, until);
        if self.writable(key, now)
            && let Some(connection) = self.connections.get_mut(key)
            && !connection.outbox.is_empty()
        {
            self.blocked(key, now);
        }
    }

    /// Once everything is sent: says so to the peer and gives it time to answer. Dropping the socket with
    /// unread input would reset it and destroy the Close on its way.
    fn finish_if_closing(&mut self, key: SlabKey, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Phase::Closing { reason, finished: false, .. } = connection.phase {
            let until = now.millis + LINGER_MILLIS;
            connection.phase = Phase::Closing { reason, until, finished: true };
            connection.transport.finish();
            self.check_at(key, until);
        }
    }

    fn leave_tables(&mut self, key: SlabKey) {
        let gone = self.tables.disconnect(key.index);
        if let Some(connection) = self.connections.get_mut(key) {
            // Its user may come again at once, however long it takes this one to be gone.
            connection.place = None;
            if self.by_id.get(&connection.id) == Some(&key.index) {
                self.by_id.remove(&connection.id);
            }
            // A claim for nobody would end the connection that came after this one.
            let claim = connection.extras.as_mut().and_then(|extras| extras.claim.take());
            if let Some(claim) = claim.filter(|claim| claim.own.is_none()) {
                self.ingest.withdraw_claim(claim.nonce);
            }
        }
        if !gone.is_empty() {
            self.inbox.unsubscribe(&gone);
        }
    }
}
