//! Who a client is: what its token says, if tokens are asked for.
//!
//! A [`Pass`] is what a checked token allows. Checking costs no I/O and takes no lock that anybody holds for long, so
//! that a shard does it in the middle of its work. Keys come from a file or an address and may change at any time
//! ([`source`]); how a token is read is the `jsonwebtoken` crate's affair, what may be in it is [`claims`]'.

mod claims;
mod keys;
mod refused;
mod settings;
mod source;

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

pub use claims::{AllowedRooms, Pass};
pub use keys::{KeySet, secret_in};
pub use refused::Refused;
pub(crate) use settings::JwtArgs;
pub use source::Source;
pub(crate) use source::follow;

/// Longest token that is looked at, bytes: the head of an HTTP request has to hold it, too.
const MAX_TOKEN: usize = 16 * 1024;

/// How long an unknown key is not asked for again once all keys were fetched: clients with invented key ids must not
/// have this node ask without end.
const COOL_DOWN: Duration = Duration::from_secs(10);

/// How often a starting node looks whether it has keys.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How clients prove who they are.
#[derive(Debug, Clone, Default)]
pub enum ClientAuth {
    /// They do not: what they say is believed.
    #[default]
    Open,
    /// By a token.
    Jwt(Arc<Jwt>),
}

/// What a token must say besides being signed by a known key.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// Who may have issued it; anybody if empty.
    pub issuers: Vec<String>,
    /// For whom it may be meant. If empty, it must not be meant for anybody in particular.
    pub audiences: Vec<String>,
    /// How far clocks may be apart.
    pub leeway: Duration,
}

/// The keys that tokens are signed with, and what is expected of them.
pub struct Jwt {
    keys: RwLock<Arc<KeySet>>,
    expected: Expected,
    /// When the keys were last fetched, microseconds since 1970; `u64::MAX` if they come from a file, which is looked
    /// at all the time.
    fetched_at: AtomicU64,
    /// Somebody showed a key that is not known.
    wanted: Notify,
}

impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt").field("expected", &self.expected).finish_non_exhaustive()
    }
}

impl Jwt {
    /// `keys` are those known now; with `fetches` there may be more at an address.
    pub fn new(keys: KeySet, expected: Expected, fetches: bool) -> Self {
        let fetched_at = AtomicU64::new(if fetches { 0 } else { u64::MAX });
        Self { keys: RwLock::new(Arc::new(keys)), expected, fetched_at, wanted: Notify::new() }
    }

    /// What a token allows at `now`, microseconds since 1970.
    pub fn check(&self, token: &str, now: u64) -> Result<Pass, Refused> {
        if token.is_empty() {
            return Err(Refused::Missing);
        }
        if token.len() > MAX_TOKEN {
            return Err(Refused::Malformed);
        }
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        let claims = keys.verify(token, &self.expected).map_err(|refused| match refused {
            Refused::UnknownKey if self.may_be_fetched(now) => Refused::KeyNotYetKnown,
            // The new key of a server whose keys have no ids, perhaps; the next try will tell.
            Refused::Signature | Refused::Algorithm => {
                self.may_be_fetched(now);
                refused
            }
            refused => refused,
        })?;
        claims.pass(self.expected.leeway, now)
    }

    /// Whether the key may be there by the client's next try; if so, it is sent for.
    fn may_be_fetched(&self, now: u64) -> bool {
        let fetched_at = self.fetched_at.load(Ordering::Relaxed);
        let stale = fetched_at.saturating_add(COOL_DOWN.as_micros() as u64) <= now;
        if stale {
            self.wanted.notify_one();
        }
        stale
    }

    /// How many keys there are; without one nobody can be let in.
    pub(crate) fn len(&self) -> usize {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Resolves when there is a key.
    pub(crate) async fn until_there_are_keys(&self) {
        while self.len() == 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Resolves once a key is wanted that is not known.
    async fn wanted(&self) {
        self.wanted.notified().await;
    }

    fn replace(&self, keys: KeySet) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn fetched(&self, now: u64) {
        self.fetched_at.store(now, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
