//! The callers there are now, found by what proves them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use super::{key::Key, line::KeyLine, proof::Proof};

/// The keys of the file as it was last good.
#[derive(Debug)]
pub(super) struct Keyring(RwLock<HashMap<Proof, Arc<Key>>>);

/// What a new file made of the keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) keys: usize,
    pub(super) added: usize,
    pub(super) revoked: usize,
}

impl Keyring {
    pub(super) fn new(lines: Vec<KeyLine>) -> Self {
        let keys = lines.into_iter().map(|line| (line.proof.clone(), Arc::new(Key::new(line)))).collect();
        Self(RwLock::new(keys))
    }

    /// The key a caller sent, if it is one.
    pub(super) fn find(&self, sent: &[u8]) -> Option<Arc<Key>> {
        self.get(&Proof::of_key(sent)?)
    }

    /// The caller with the first of a certificate's names that there is a line for.
    pub(super) fn find_certificate(&self, names: &[String]) -> Option<Arc<Key>> {
        names.iter().find_map(|name| self.get(&Proof::Certificate(name.clone())))
    }

    fn get(&self, proof: &Proof) -> Option<Arc<Key>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(proof).cloned()
    }

    /// Puts these in place of what there is. A key that stays is the same one, with its new line; one that goes is
    /// revoked.
    pub(super) fn exchange(&self, lines: Vec<KeyLine>) -> Change {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *keys);
        let mut added = 0;
        for line in lines {
            let proof = line.proof.clone();
            let key = match before.remove(&proof) {
                Some(key) => {
                    key.change(line);
                    key
                }
                None => {
                    added += 1;
                    Arc::new(Key::new(line))
                }
            };
            keys.insert(proof, key);
        }
        let change = Change { keys: keys.len(), added, revoked: before.len() };
        drop(keys);
        // Wakes the streams, so not under the lock.
        before.values().for_each(|key| key.revoke());
        change
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{proof::Way, secret::NewKey},
        *,
    };

    fn line(key: &NewKey, name: &str) -> KeyLine {
        KeyLine::parse(&format!("name={name} blake3={} apps=* methods=*", key.hash), Way::Keys).unwrap()
    }

    #[test]
    fn keys_are_found_by_what_their_holders_send() {
        let (a, b) = (NewKey::random("a"), NewKey::random("b"));
        let ring = Keyring::new(vec![line(&a, "a")]);
        assert!(ring.find(a.key.as_bytes()).is_some());
        for wrong in [b.key.as_str(), "", "pck_a_", a.hash.as_str(), &a.key[..a.key.len() - 1]] {
            assert!(ring.find(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn certificates_are_found_by_any_of_their_names_and_keys_are_none() {
        let line = |text| KeyLine::parse(text, Way::Mtls).unwrap();
        let ring = Keyring::new(vec![line("name=a cert=a.shop apps=* methods=*")]);
        let find = |names: &[&str]| {
            ring.find_certificate(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())
        };
        assert!(find(&["x.shop", "a.shop"]).is_some());
        assert!(find(&["x.shop"]).is_none() && find(&[]).is_none());
        assert!(ring.find(b"a.shop").is_none());
    }

    #[test]
    fn a_key_that_stays_is_the_same_and_one_that_goes_is_revoked() {
        let (a, b, c) = (NewKey::random("a"), NewKey::random("b"), NewKey::random("c"));
        let ring = Keyring::new(vec![line(&a, "a"), line(&b, "b")]);
        let find = |key: &NewKey| ring.find(key.key.as_bytes());
        let (key_a, key_b) = (find(&a).unwrap(), find(&b).unwrap());
        let change = ring.exchange(vec![line(&b, "b2"), line(&c, "a")]);
        assert_eq!(change, Change { keys: 2, added: 1, revoked: 1 });
        assert!(key_a.revoked().is_cancelled() && !key_b.revoked().is_cancelled());
        assert!(find(&a).is_none() && find(&c).is_some());
        assert!(Arc::ptr_eq(&key_b, &find(&b).unwrap()));
        assert_eq!(format!("{key_b:?}"), "Key(\"b2\")");
    }
}
