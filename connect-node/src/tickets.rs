//! Tickets: what a client holds so that a node it never met can take it back.
//!
//! A ticket is `v1::Ticket` under a keyed BLAKE3 hash, in base64 that fits a URL. Only nodes with the same key read
//! it; nothing in it is secret, nothing in it can be changed. Owns the keys, which may be exchanged while it runs:
//! the first signs, all verify.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message as _;
use pushcast_common::followed_file::FollowedFile;
use pushcast_proto::connectnode::v1::Ticket;
use tracing::{info, warn};

/// How long a ticket can be used after it was issued, microseconds (DESIGN 6, rule 18).
pub const LIFE: u64 = 600_000_000;

/// Clocks of nodes may be apart: a ticket from the near future is one.
const CLOCK_ALLOWANCE: u64 = 60_000_000;

/// Longest ticket that is issued and looked at, bytes: it has to come back in a client's frame of 128 KiB, beside the
/// rooms that it asks for. A thousand rooms with names of 50 bytes fit.
pub(crate) const MAX_TICKET: usize = 96 * 1024;

/// Fewest bytes of a key: what the hash takes.
const KEY_BYTES: usize = 32;

const VERSION: u8 = 1;

/// Version, which key, hash.
const HEAD: usize = 1 + 4 + 32;

/// Why a ticket is not taken; the value of the metric label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadTicket {
    /// This node has no key.
    NoKey,
    /// Not a ticket of this fleet, or changed.
    Forged,
    /// Older than ten minutes.
    Expired,
}

/// One key.
#[derive(Clone)]
struct Key {
    id: [u8; 4],
    key: [u8; 32],
}

impl Key {
    fn new(secret: &[u8]) -> Self {
        let key = blake3::derive_key("pushcast 2026-11 ticket signature", secret);
        let id = blake3::derive_key("pushcast 2026-11 ticket key id", secret);
        Self { id: [id[0], id[1], id[2], id[3]], key }
    }

    fn sign(&self, body: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.key, body)
    }
}

/// The keys of a node; clones share them. The default has none: then no ticket is issued or taken.
#[derive(Clone, Default)]
pub struct TicketKeys(Arc<RwLock<Vec<Key>>>);

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TicketKeys").field(&self.fingerprint()).finish()
    }
}

impl TicketKeys {
    /// One key that nobody else has.
    pub fn random() -> Self {
        let secret: [u8; KEY_BYTES] = rand::random();
        Self(Arc::new(RwLock::new(vec![Key::new(&secret)])))
    }

    /// The keys in the text of a key file: one in base64 per line, 32 bytes or more; empty lines are left out.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let keys = Self::default();
        keys.replace(read_keys(text)?);
        Ok(keys)
    }

    /// Whether there is a key.
    pub fn is_some(&self) -> bool {
        !self.read().is_empty()
    }

    /// What tells the signing key apart, 8 hex digits; empty without one.
    pub fn fingerprint(&self) -> String {
        self.read()
            .first()
            .map_or_else(String::new, |key| key.id.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Signs a ticket; `None` without a key.
    pub fn sign(&self, ticket: &Ticket) -> Option<String> {
        let body = ticket.encode_to_vec();
        let keys = self.read();
        let key = keys.first()?;
        let mut bytes = Vec::with_capacity(HEAD + body.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&key.id);
        bytes.extend_from_slice(key.sign(&body).as_bytes());
        bytes.extend_from_slice(&body);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a ticket that one of these keys signed and that has not expired at `now`, microseconds.
    pub fn verify(&self, ticket: &str, now: u64) -> Result<Ticket, BadTicket> {
        let keys = self.read();
        if keys.is_empty() {
            return Err(BadTicket::NoKey);
        }
        if ticket.len() > MAX_TICKET {
            return Err(BadTicket::Forged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(ticket).map_err(|_| BadTicket::Forged)?;
        if bytes.len() < HEAD || bytes[0] != VERSION {
            return Err(BadTicket::Forged);
        }
        let (head, body) = bytes.split_at(HEAD);
        let key = keys.iter().find(|key| key.id == head[1..5]).ok_or(BadTicket::Forged)?;
        let signature = blake3::Hash::from_slice(&head[5..]).map_err(|_| BadTicket::Forged)?;
        // In constant time, as blake3 compares hashes.
        if key.sign(body) != signature {
            return Err(BadTicket::Forged);
        }
        let ticket = Ticket::decode(body).map_err(|_| BadTicket::Forged)?;
        let expired = ticket.issued_at.saturating_add(LIFE) < now;
        if expired || ticket.issued_at > now.saturating_add(CLOCK_ALLOWANCE) {
            return Err(BadTicket::Expired);
        }
        Ok(ticket)
    }

    fn replace(&self, keys: Vec<Key>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Key>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the keys like the file, for ever. A file that cannot be used leaves them as they are.
pub(crate) async fn follow(mut file: FollowedFile, keys: TicketKeys) {
    loop {
        file.changed().await;
        let path = file.path();
        let read = std::fs::read_to_string(path).map_err(|error| error.to_string());
        match read.and_then(|text| read_keys(&text)) {
            Ok(new) => {
                let count = new.len();
                keys.replace(new);
                info!(path = %path.display(), keys = count, signing = keys.fingerprint(), "Ticket keys are read anew.");
            }
            Err(error) => {
                warn!(path = %path.display(), error, "The ticket keys stay as they are: the file cannot be used.");
            }
        }
    }
}

fn read_keys(text: &str) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let secret =
            STANDARD.decode(line.trim()).map_err(|error| format!("line {number}: not base64: {error}"))?;
        if secret.len() < KEY_BYTES {
            return Err(format!("line {number}: {} bytes, at least {KEY_BYTES} are needed", secret.len()));
        }
        keys.push(Key::new(&secret));
    }
    if keys.is_empty() { Err("it holds no key".to_owned()) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "IAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn ticket() -> Ticket {
        Ticket { user_id: "u".to_owned(), issued_at: 5_000_000, ..Ticket::default() }
    }

    #[test]
    fn what_was_signed_is_read_and_what_was_changed_is_not() {
        let keys = TicketKeys::from_text(OLD).expect("a key");
        let signed = keys.sign(&ticket()).expect("there is a key");
        assert_eq!(keys.verify(&signed, 6_000_000), Ok(ticket()));
        for at in 0..signed.len() {
            let mut changed = signed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            if changed != signed {
                assert_eq!(keys.verify(&changed, 6_000_000), Err(BadTicket::Forged), "{at}");
            }
            assert_eq!(keys.verify(&signed[..at], 6_000_000), Err(BadTicket::Forged), "cut at {at}");
        }
        assert_eq!(keys.verify("", 0), Err(BadTicket::Forged));
        assert_eq!(keys.verify(&"A".repeat(MAX_TICKET + 1), 0), Err(BadTicket::Forged));
    }

    #[test]
    fn tickets_end_after_ten_minutes() {
        let keys = TicketKeys::random();
        let signed = keys.sign(&ticket()).expect("there is a key");
        assert!(keys.verify(&signed, 5_000_000 + LIFE).is_ok());
        assert_eq!(keys.verify(&signed, 5_000_001 + LIFE), Err(BadTicket::Expired));
    }

    #[test]
    fn an_old_key_verifies_until_it_is_retired() {
        let signed = TicketKeys::from_text(OLD).and_then(|old| old.sign(&ticket()).ok_or_else(String::new));
        let signed = signed.expect("a key");
        let rotated = TicketKeys::from_text(&format!("{NEW}\n\n{OLD}\n")).expect("two keys");
        assert!(rotated.verify(&signed, 5_000_000).is_ok());
        assert_ne!(rotated.sign(&ticket()), Some(signed.clone()));
        let retired = TicketKeys::from_text(NEW).expect("a key");
        assert_eq!(retired.verify(&signed, 5_000_000), Err(BadTicket::Forged));
        assert_eq!(TicketKeys::default().verify(&signed, 5_000_000), Err(BadTicket::NoKey));
    }

    #[test]
    fn a_bad_key_file_is_told_by_line() {
        for (text, says) in [("", "no key"), ("\nAAEC\n", "line 2: 3 bytes"), ("%", "line 1: not base64")] {
            let error = TicketKeys::from_text(text).expect_err("bad");
            assert!(error.contains(says), "{error}");
        }
    }
}
