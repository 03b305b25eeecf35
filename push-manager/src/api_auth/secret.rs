//! A key as its holder has it, and the hash of it that the manager's file has.
//!
//! A key has 256 random bits, so nobody finds it by trying, and one fast hash keeps it as well as a slow one would:
//! slow and salted hashes are for passwords, which people choose. Looking a key up by its hash also tells nothing by
//! the time it takes: whoever tries keys cannot choose what their hashes begin with.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// What every key begins with, so that people and scanners know one where it should not be.
pub const PREFIX: &str = "pck_";

const RANDOM_BYTES: usize = 32;

/// Longer ones are no keys, and not worth hashing.
const MAX_BYTES: usize = 256;

/// A key that was just made; nobody can ask for it again.
pub struct NewKey {
    /// For its holder: `pck_<name>_<secret>`.
    pub key: String,
    /// For the file, in hex.
    pub hash: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl NewKey {
    /// A key for the caller of this name.
    pub fn random(name: &str) -> Self {
        let secret: [u8; RANDOM_BYTES] = rand::random();
        let key = format!("{PREFIX}{name}_{}", URL_SAFE_NO_PAD.encode(secret));
        let hash = blake3::hash(key.as_bytes()).to_hex().to_string();
        Self { key, hash }
    }
}

/// The hash of what a caller sent; `None` if that cannot be a key.
pub(super) fn hash(key: &[u8]) -> Option<blake3::Hash> {
    (!key.is_empty() && key.len() <= MAX_BYTES).then(|| blake3::hash(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_caller_and_is_another_one_every_time() {
        let (one, other) = (NewKey::random("checkout"), NewKey::random("checkout"));
        assert_ne!(one.key, other.key);
        let secret = one.key.strip_prefix("pck_checkout_").unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(secret).unwrap().len(), 32);
        assert_eq!(hash(one.key.as_bytes()).unwrap().to_hex().as_str(), one.hash);
        assert!(!format!("{one:?}").contains(secret));
    }

    #[test]
    fn what_is_too_long_to_be_a_key_is_not_hashed() {
        assert!(hash(b"").is_none());
        assert!(hash(&[b'x'; MAX_BYTES]).is_some());
        assert!(hash(&[b'x'; MAX_BYTES + 1]).is_none());
    }
}
