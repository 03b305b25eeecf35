//! Hashes of rooms, users and tenants: computed once per message, then used by every inbox and table.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Hash of a target. Equal targets have equal keys; unequal ones nearly always differ.
pub type Key = u64;

/// The key every connection is interested in: a broadcast to all tenants.
pub const EVERYONE: Key = 0;

/// Makes keys. Clones make the same keys; two independent makers do not, so that nobody outside can choose
/// ids that collide.
#[derive(Debug, Clone, Default)]
pub struct Keys(RandomState);

impl Keys {
    /// The key of a room.
    pub fn room(&self, app: &[u8], room: &[u8]) -> Key {
        self.key(b'r', app, room)
    }

    /// The key of a user.
    pub fn user(&self, app: &[u8], user: &[u8]) -> Key {
        self.key(b'u', app, user)
    }

    /// The key of everyone of one tenant.
    pub fn app(&self, app: &[u8]) -> Key {
        self.key(b'a', app, b"")
    }

    fn key(&self, kind: u8, app: &[u8], id: &[u8]) -> Key {
        let mut hasher = self.0.build_hasher();
        // Ids hold no control characters, so that 0 parts tenant and id without ambiguity.
        hasher.write(&[kind]);
        hasher.write(app);
        hasher.write(&[0]);
        hasher.write(id);
        // 0 is taken by EVERYONE.
        hasher.finish().max(1)
    }
}
