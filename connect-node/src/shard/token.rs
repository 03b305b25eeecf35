//! What a connection's token allows, and what becomes of the connection when it expires.

use std::{borrow::Cow, sync::Arc};

use pushcast_proto::client::v1::{Connect, ServerFrame, TokenExpiring, server_frame};

use super::{
    connection::{Grant, Phase},
    frames::encode,
    session::error_frame,
    slab::SlabKey,
    state::{Now, Shard},
    transport::Transport,
};
use crate::{
    auth::{ClientAuth, Pass, Refused},
    close::CloseReason,
    metrics,
};

impl<T: Transport> Shard<T> {
    /// Keeps a token that came with the upgrade for the connect frame.
    pub fn bring_token(&mut self, key: SlabKey, token: String) {
        if matches!(self.settings.auth, ClientAuth::Jwt(_))
            && let Some(connection) = self.connections.get_mut(key)
        {
            connection.extras().token = token;
        }
    }

    /// A connect frame as it counts: with tokens, user and app are the token's, and what it allows holds from here on.
    pub(super) fn authenticated<'a>(
        &mut self,
        key: SlabKey,
        connect: &'a Connect,
        now: Now,
    ) -> Result<Cow<'a, Connect>, Refused> {
        let ClientAuth::Jwt(jwt) = &self.settings.auth else { return Ok(Cow::Borrowed(connect)) };
        let jwt = Arc::clone(jwt);
        let Some(connection) = self.connections.get_mut(key) else { return Err(Refused::Missing) };
        let mut connect = connect.clone();
        // It is of no use afterwards, and as large as four idle connections.
        let brought = std::mem::take(&mut connection.extras().token);
        if connect.token.is_empty() {
            connect.token = brought;
        }
        let Pass { user, app, rooms, ends_at } = jwt.check(&connect.token, now.micros)?;
        let says = |given: &str, is: &str| given.is_empty() || given == is;
        if !says(&connect.user_id, &user) || !says(&connect.app, &app) {
            return Err(Refused::Identity);
        }
        (connect.user_id, connect.app) = (user, app);
        let warn_at = warn_at(self.settings.token_warning, ends_at, now);
        connection.extras().grant = Some(Grant { rooms, ends_at, warn_at });
        if connect.resume.is_some() {
            // Its rooms are the ticket's; those it asks for count where the ticket does not.
            connect.rooms.retain(|room| connection.may_enter(room));
        } else if !connect.rooms.iter().all(|room| connection.may_enter(room)) {
            return Err(Refused::Room);
        }
        Ok(Cow::Owned(connect))
    }

    /// Tells a client why it is not let in, and closes.
    pub(super) fn unauthorized(&mut self, key: SlabKey, id: u32, refused: Refused, now: Now) {
        metrics::token_refused(refused);
        let reason = match refused {
            Refused::KeyNotYetKnown => CloseReason::TryLater,
            _ => CloseReason::Unauthorized,
        };
        let error = error_frame(id, refused.code(), &refused.to_string());
        self.refuse_as(reason, key, &error, now);
    }

    /// Whether a connection may enter all of these rooms by itself; if not, it is told.
    pub(super) fn may_join<'a>(
        &mut self,
        key: SlabKey,
        id: u32,
        mut rooms: impl Iterator<Item = &'a str>,
        now: Now,
    ) -> bool {
        let Some(connection) = self.connections.get(key) else { return false };
        let may = rooms.all(|room| connection.may_enter(room));
        if !may {
            self.refuse_request(key, id, Refused::Room, now);
        }
        may
    }

    /// Takes a newer token in place of the one before.
    pub(super) fn on_renew(&mut self, key: SlabKey, id: u32, token: &str, now: Now) {
        if let ClientAuth::Jwt(jwt) = &self.settings.auth {
            let pass = jwt.check(token, now.micros).and_then(|pass| {
                let same = self.tables.identity(key.index) == Some((pass.app.as_str(), pass.user.as_str()));
                if same { Ok(pass) } else { Err(Refused::Identity) }
            });
            let Pass { rooms, ends_at, .. } = match pass {
                Ok(pass) => pass,
                Err(refused) => {
                    self.refuse_request(key, id, refused, now);
                    return;
                }
            };
            let warn_at = warn_at(self.settings.token_warning, ends_at, now);
            let Some(connection) = self.connections.get_mut(key) else { return };
            let before = connection.extras().grant.as_ref().map_or(0, |grant| grant.ends_at);
            // One that ends no later is no reason to be warned once more.
            let warn_at = if ends_at > before { warn_at } else { u64::MAX };
            connection.extras().grant = Some(Grant { rooms, ends_at, warn_at });
            metrics::token_renewed();
            if let Some(at) = self.token_due(key, now) {
                self.check_at(key, at);
            }
        }
        self.answer_rooms(key, id, now);
    }

    fn refuse_request(&mut self, key: SlabKey, id: u32, refused: Refused, now: Now) {
        metrics::token_refused(refused);
        self.answer_error(key, id, refused.code(), &refused.to_string(), now);
    }

    /// Warns a connection whose token is about to expire, and ends one whose token has.
    pub(super) fn check_token(&mut self, key: SlabKey, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.phase != Phase::Open {
            return;
        }
        let format = connection.format;
        let Some(grant) = connection.extras.as_mut().and_then(|extras| extras.grant.as_mut()) else { return };
        let left = grant.ends_at.saturating_sub(now.micros).div_ceil(1000);
        if left == 0 {
            self.close(key, CloseReason::TokenExpired, now);
        } else if now.micros >= grant.warn_at {
            grant.warn_at = u64::MAX;
            let expiring = TokenExpiring { in_ms: u32::try_from(left).unwrap_or(u32::MAX) };
            let frame = server_frame::Frame::TokenExpiring(expiring);
            self.send(key.index, &encode(format, &ServerFrame { id: 0, frame: Some(frame) }), now);
        }
    }

    /// When the token of a connection has to be looked at next, milliseconds of the shard's clock.
    pub(super) fn token_due(&self, key: SlabKey, now: Now) -> Option<u64> {
        let grant = self.connections.get(key)?.extras.as_ref()?.grant.as_ref()?;
        let next = grant.ends_at.min(grant.warn_at);
        Some(now.millis.saturating_add(next.saturating_sub(now.micros).div_ceil(1000)))
    }
}

/// When to warn of a token's end: `warning` milliseconds before, but not before half of what is left of it is over, so
/// that whoever gets tokens that live short is not warned all the time.
fn warn_at(warning: u64, ends_at: u64, now: Now) -> u64 {
    let left = ends_at.saturating_sub(now.micros);
    ends_at - warning.saturating_mul(1000).min(left / 2)
}
