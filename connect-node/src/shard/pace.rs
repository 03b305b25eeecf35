//! How much a client may have: frames and bytes by time, and connections at once.

use super::{
    session::{code, error_frame},
    slab::SlabKey,
    state::{Now, Shard},
    transport::Transport,
};
use crate::{close::CloseReason, limits::SAVED_SECONDS, metrics};

/// So many times its connections may a user have for a moment when they resume.
const WHILE_RESUMING: u32 = 2;

impl<T: Transport> Shard<T> {
    /// Counts bytes that a client sent. False if they were too many: it is closed.
    pub(super) fn may_send_bytes(&mut self, key: SlabKey, bytes: usize, now: Now) -> bool {
        let Some(rate) = self.settings.limits.bytes else { return true };
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        connection.bytes_left.take(rate, bytes, nanos(now)) || self.too_fast(key, "bytes", now)
    }

    /// Counts a frame that a client sent, pongs included. False if it was one too many: the client is closed.
    pub(super) fn may_send_frame(&mut self, key: SlabKey, now: Now) -> bool {
        let Some(rate) = self.settings.limits.frames else { return true };
        let Some(connection) = self.connections.get_mut(key) else { return false };
        connection.frames_left.take(rate, 1, nanos(now)) || self.too_fast(key, "frames", now)
    }

    fn too_fast(&mut self, key: SlabKey, what: &'static str, now: Now) -> bool {
        metrics::limited(what);
        let message =
            format!("more {what} per second than a client may send, for more than {SAVED_SECONDS} s");
        let error = error_frame(0, code::RESOURCE_EXHAUSTED, &message);
        self.refuse_as(CloseReason::TooFast, key, &error, now);
        false
    }

    /// Counts a connection for its user. What it has to be told instead of being let in, if the user has as many as one
    /// may.
    ///
    /// One that resumes continues one that may not be gone yet, here or on another shard: it is let in beyond, up to as
    /// many again.
    pub(super) fn take_place(
        &mut self,
        key: SlabKey,
        (app, user): (&str, &str),
        resumes: bool,
    ) -> Result<(), String> {
        let Some((book, most)) = &self.settings.limits.users else { return Ok(()) };
        let whose = self.keys.user(app.as_bytes(), user.as_bytes());
        let Some(connection) = self.connections.get_mut(key) else { return Ok(()) };
        if connection.place.as_ref().is_some_and(|place| place.key() == whose) {
            return Ok(());
        }
        connection.place =
            book.enter(whose, if resumes { most.saturating_mul(WHILE_RESUMING) } else { *most });
        if connection.place.is_some() {
            return Ok(());
        }
        metrics::limited("user_connections");
        Err(format!("this user has {most} connections on this node, as many as one may"))
    }
}

fn nanos(now: Now) -> u64 {
    now.millis * 1_000_000
}
