//! What a token says, and what that allows.

use std::time::Duration;

use pushcast_common::id::{check_app, check_id};
use serde::Deserialize;
use serde_json::Value;

use super::Refused;

/// Most rooms and prefixes that a token may name: they are kept for as long as the connection is.
const MAX_ROOMS: usize = 1000;

/// The claims that are looked at; `iss` and `aud` were checked with the signature. As values, so that a claim of the
/// wrong kind is told apart from text that is no JSON.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    sub: Value,
    #[serde(default)]
    app: Value,
    #[serde(default)]
    rooms: Value,
    #[serde(default)]
    exp: Value,
    #[serde(default)]
    nbf: Value,
}

/// What a client may do, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Who it is.
    pub user: String,
    /// Its tenant; empty is the default one.
    pub app: String,
    /// Which rooms it may enter by itself.
    pub rooms: AllowedRooms,
    /// When the token is of no use any more, microseconds since 1970; clocks that are apart are allowed for.
    pub ends_at: u64,
}

/// Rooms that a client may enter by itself; its business server may put it into others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedRooms(Box<[String]>);

impl AllowedRooms {
    /// As the token names them.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether a room is named, or begins like one that is named with a `*` at its end.
    pub fn allows(&self, room: &str) -> bool {
        self.0.iter().any(|named| match named.strip_suffix('*') {
            Some(prefix) => room.starts_with(prefix),
            None => named == room,
        })
    }
}

impl Claims {
    /// What they allow at `now`, microseconds since 1970.
    pub(super) fn pass(self, leeway: Duration, now: u64) -> Result<Pass, Refused> {
        let leeway = leeway.as_micros() as u64;
        // Without an end a token that leaks is good for ever.
        let ends_at = micros(&self.exp).ok_or(Refused::Claims)?.saturating_add(leeway);
        let begins_at = if self.nbf.is_null() { 0 } else { micros(&self.nbf).ok_or(Refused::Claims)? };
        if now >= ends_at {
            return Err(Refused::Expired);
        }
        if begins_at > now.saturating_add(leeway) {
            return Err(Refused::NotYetValid);
        }
        let Value::String(user) = self.sub else { return Err(Refused::Claims) };
        let app = match self.app {
            Value::Null => String::new(),
            Value::String(app) => app,
            _ => return Err(Refused::Claims),
        };
        check_id("sub", &user).map_err(|_| Refused::Claims)?;
        check_app(&app).map_err(|_| Refused::Claims)?;
        Ok(Pass { user, app, rooms: allowed(self.rooms)?, ends_at })
    }
}

fn allowed(rooms: Value) -> Result<AllowedRooms, Refused> {
    let rooms = match rooms {
        Value::Null => return Ok(AllowedRooms::default()),
        Value::Array(rooms) if rooms.len() <= MAX_ROOMS => rooms,
        _ => return Err(Refused::Claims),
    };
    let text = |room| match room {
        Value::String(room) => Ok(room),
        _ => Err(Refused::Claims),
    };
    Ok(AllowedRooms(rooms.into_iter().map(text).collect::<Result<_, _>>()?))
}

/// A NumericDate (RFC 7519: seconds since 1970, fractions allowed) in microseconds.
fn micros(date: &Value) -> Option<u64> {
    let seconds = date.as_f64().filter(|seconds| *seconds >= 0.0)?;
    // A number too large for this is the largest.
    Some((seconds * 1e6) as u64)
}
