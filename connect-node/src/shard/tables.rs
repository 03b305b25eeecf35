//! Who is in which room, who is which user, on one shard.
//!
//! Owns both indexes and keeps them equal. Does no I/O, never awaits, knows connections only by their slot.
//! A room or user is in the tables exactly while somebody here is in it. Every place of every connection is interest
//! of its own in the inbox, so that it can be added before what is queued is placed, whatever that changes here.

use hashbrown::HashTable;

use crate::key::{Key, Keys};

/// Rooms, users and tenants of one shard.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    keys: Keys,
    rooms: Groups,
    users: Groups,
    apps: Groups,
    members: Vec<Option<Member>>,
    connections: usize,
}

/// One connection's places.
#[derive(Debug, Clone)]
struct Member {
    app: Place,
    user: Place,
    rooms: Vec<Stay>,
}

/// A room a connection is in.
#[derive(Debug, Clone, Copy)]
struct Stay {
    place: Place,
    /// Since when, microseconds since 1970: a control that is older does not end it.
    since: u64,
}

/// Where a connection stands in a group.
#[derive(Debug, Clone, Copy)]
struct Place {
    group: u32,
    at: u32,
}

/// Groups of one kind, found by key.
#[derive(Debug, Clone, Default)]
struct Groups {
    index: HashTable<u32>,
    groups: Vec<Option<Group>>,
    free: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Group {
    key: Key,
    /// The tenant's group; its own slot for a tenant.
    app: u32,
    id: Box<str>,
    /// Slots of connections, dense, in no order.
    members: Vec<u32>,
}

impl Tables {
    /// Empty tables whose keys are those of `keys`.
    pub fn new(keys: Keys) -> Self {
        Self { keys, ..Self::default() }
    }

    /// Connections in the tables.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Rooms with somebody in them.
    pub fn rooms(&self) -> usize {
        self.rooms.index.len()
    }

    /// Users with a connection.
    pub fn users(&self) -> usize {
        self.users.index.len()
    }

    /// The keys a connection of `user` is found by besides its rooms. To be subscribed before `connect`.
    pub fn keys_to_connect(&self, app: &str, user: &str) -> Vec<Key> {
        let (app, user) = (app.as_bytes(), user.as_bytes());
        vec![crate::key::EVERYONE, self.keys.app(app), self.keys.user(app, user)]
    }

    /// The keys of `rooms`. To be subscribed before `join`.
    pub fn keys_to_join<'a>(&self, app: &str, rooms: impl IntoIterator<Item = &'a str>) -> Vec<Key> {
        rooms.into_iter().map(|room| self.keys.room(app.as_bytes(), room.as_bytes())).collect()
    }

    /// Puts a connection in. Its slot must not be in.
    pub fn connect(&mut self, slot: u32, app: &str, user: &str) {
        let app_key = self.keys.app(app.as_bytes());
        let app_group = match self.find_app(app) {
            Some(group) => group,
            None => self.apps.insert(app_key, 0, app),
        };
        let user_key = self.keys.user(app.as_bytes(), user.as_bytes());
        let user_group = self.users.find_or_insert(user_key, app_group, user);
        let member = Member {
            app: self.apps.enter(app_group, slot),
            user: self.users.enter(user_group, slot),
            rooms: Vec::new(),
        };
        let at = slot as usize;
        if self.members.len() <= at {
            self.members.resize_with(at + 1, || None);
        }
        self.members[at] = Some(member);
        self.connections += 1;
    }

    /// Takes a connection out of everything. Returns the keys it was found by, to be unsubscribed.
    pub fn disconnect(&mut self, slot: u32) -> Vec<Key> {
        let Some(member) = self.members.get_mut(slot as usize).and_then(Option::take) else {
            return Vec::new();
        };
        let mut gone = vec![crate::key::EVERYONE];
        for stay in member.rooms {
            gone.extend(Self::leave_room(&mut self.rooms, &mut self.members, stay.place));
        }
        let (key, moved) = self.users.leave(member.user);
        gone.extend(key);
        if let Some(moved) = moved.and_then(|slot| self.members[slot as usize].as_mut()) {
            moved.user.at = member.user.at;
        }
        let (key, moved) = self.apps.leave(member.app);
        gone.extend(key);
        if let Some(moved) = moved.and_then(|slot| self.members[slot as usize].as_mut()) {
            moved.app.at = member.app.at;
        }
        self.connections -= 1;
        gone
    }

    /// Puts a connection into a room, `since` a time in microseconds. False if it was in, which then counts from the
    /// later time, or the slot is not in the tables.
    pub fn join(&mut self, slot: u32, room: &str, since: u64) -> bool {
        let Some(app) = self.app_group(slot) else { return false };
        let key = self.keys.room(self.apps.id(app).as_bytes(), room.as_bytes());
        let group = self.rooms.find_or_insert(key, app, room);
        let Some(member) = self.members[slot as usize].as_mut() else { return false };
        if let Some(stay) = member.rooms.iter_mut().find(|stay| stay.place.group == group) {
            stay.since = stay.since.max(since);
            return false;
        }
        let place = self.rooms.enter(group, slot);
        // Most connections are in one or two rooms; growing by doubling would waste more than it saves.
        member.rooms.reserve_exact(1);
        member.rooms.push(Stay { place, since });
        true
    }

    /// Takes a connection out of a room. Returns the room's key if it was in.
    pub fn leave(&mut self, slot: u32, room: &str) -> Option<Key> {
        let app = self.app_group(slot)?;
        let key = self.keys.room(self.apps.id(app).as_bytes(), room.as_bytes());
        let group = self.rooms.find(key, app, room)?;
        let rooms = &mut self.members[slot as usize].as_mut()?.rooms;
        let at = rooms.iter().position(|stay| stay.place.group == group)?;
        let place = rooms.swap_remove(at).place;
        Self::leave_room(&mut self.rooms, &mut self.members, place)
    }

    /// A connection's tenant and user.
    pub fn identity(&self, slot: u32) -> Option<(&str, &str)> {
        let member = self.members.get(slot as usize)?.as_ref()?;
        Some((self.apps.id(member.app.group), self.users.id(member.user.group)))
    }

    /// How many rooms a connection is in.
    pub fn rooms_len(&self, slot: u32) -> usize {
        self.members.get(slot as usize).and_then(Option::as_ref).map_or(0, |member| member.rooms.len())
    }

    /// Whether a connection is in a room.
    pub fn is_in(&self, slot: u32, room: &str) -> bool {
        self.in_since(slot, room).is_some()
    }

    /// Since when a connection is in a room, if it is.
    pub fn in_since(&self, slot: u32, room: &str) -> Option<u64> {
        let member = self.members.get(slot as usize)?.as_ref()?;
        let key = self.keys.room(self.apps.id(member.app.group).as_bytes(), room.as_bytes());
        let group = self.rooms.find(key, member.app.group, room)?;
        member.rooms.iter().find(|stay| stay.place.group == group).map(|stay| stay.since)
    }

    /// A connection's rooms, and since when it is in each.
    pub fn stays_of(&self, slot: u32) -> impl Iterator<Item = (&str, u64)> {
        let member = self.members.get(slot as usize).and_then(Option::as_ref);
        member
            .into_iter()
            .flat_map(|member| &member.rooms)
            .map(|stay| (self.rooms.id(stay.place.group), stay.since))
    }

    /// The keys a connection is found by.
    pub fn keys_of(&self, slot: u32) -> Vec<Key> {
        let Some(member) = self.members.get(slot as usize).and_then(Option::as_ref) else {
            return Vec::new();
        };
        let mut keys = vec![crate::key::EVERYONE];
        keys.extend(self.apps.key(member.app.group));
        keys.extend(self.users.key(member.user.group));
        keys.extend(member.rooms.iter().filter_map(|stay| self.rooms.key(stay.place.group)));
        keys
    }

    /// A connection's rooms, sorted.
    pub fn rooms_of(&self, slot: u32) -> Vec<&str> {
        let member = self.members.get(slot as usize).and_then(Option::as_ref);
        let mut rooms: Vec<_> = member
            .iter()
            .flat_map(|member| &member.rooms)
            .map(|stay| self.rooms.id(stay.place.group))
            .collect();
        rooms.sort_unstable();
        rooms
    }

    /// Slots of the connections in a room.
    pub fn room(&self, key: Key, app: &[u8], room: &[u8]) -> &[u32] {
        self.members_of(&self.rooms, key, app, room)
    }

    /// Slots of a user's connections.
    pub fn user(&self, key: Key, app: &[u8], user: &[u8]) -> &[u32] {
        self.members_of(&self.users, key, app, user)
    }

    /// Slots of a tenant's connections.
    pub fn app(&self, key: Key, app: &[u8]) -> &[u32] {
        match self.apps.find_bytes(key, app, |_| true) {
            Some(group) => self.apps.members(group),
            None => &[],
        }
    }

    /// Slots of all connections.
    pub fn everyone(&self) -> impl Iterator<Item = u32> {
        self.apps.groups.iter().flatten().flat_map(|group| group.members.iter().copied())
    }

    fn members_of<'a>(&'a self, groups: &'a Groups, key: Key, app: &[u8], id: &[u8]) -> &'a [u32] {
        let same_app = |group: &Group| is_same(self.apps.id(group.app), app);
        match groups.find_bytes(key, id, same_app) {
            Some(group) => groups.members(group),
            None => &[],
        }
    }

    fn find_app(&self, app: &str) -> Option<u32> {
        self.apps.find_bytes(self.keys.app(app.as_bytes()), app.as_bytes(), |_| true)
    }

    fn app_group(&self, slot: u32) -> Option<u32> {
        Some(self.members.get(slot as usize)?.as_ref()?.app.group)
    }

    fn leave_room(rooms: &mut Groups, members: &mut [Option<Member>], place: Place) -> Option<Key> {
        let (key, moved) = rooms.leave(place);
        if let Some(moved) = moved.and_then(|slot| members[slot as usize].as_mut())
            && let Some(theirs) = moved.rooms.iter_mut().find(|stay| stay.place.group == place.group)
        {
            theirs.place.at = place.at;
        }
        key
    }
}

impl Groups {
    fn find(&self, key: Key, app: u32, id: &str) -> Option<u32> {
        self.find_bytes(key, id.as_bytes(), |group| group.app == app)
    }

    fn find_bytes(&self, key: Key, id: &[u8], same_app: impl Fn(&Group) -> bool) -> Option<u32> {
        let same = |slot: &u32| {
            self.groups[*slot as usize]
                .as_ref()
                .is_some_and(|group| group.key == key && is_same(&group.id, id) && same_app(group))
        };
        self.index.find(key, same).copied()
    }

    fn find_or_insert(&mut self, key: Key, app: u32, id: &str) -> u32 {
        match self.find(key, app, id) {
            Some(group) => group,
            None => self.insert(key, app, id),
        }
    }

    fn insert(&mut self, key: Key, app: u32, id: &str) -> u32 {
        let group = Group { key, app, id: id.into(), members: Vec::new() };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.groups[slot as usize] = Some(group);
                slot
            }
            None => {
                self.groups.push(Some(group));
                (self.groups.len() - 1) as u32
            }
        };
        let groups = &self.groups;
        let key_of = |slot: &u32| groups[*slot as usize].as_ref().map_or(0, |group| group.key);
        self.index.insert_unique(key, slot, key_of);
        slot
    }

    fn enter(&mut self, group: u32, slot: u32) -> Place {
        let Some(entered) = self.groups[group as usize].as_mut() else {
            return Place { group, at: 0 };
        };
        entered.members.push(slot);
        Place { group, at: (entered.members.len() - 1) as u32 }
    }

    /// Returns the key, and the slot of the connection that took the place.
    fn leave(&mut self, place: Place) -> (Option<Key>, Option<u32>) {
        let Some(group) = self.groups[place.group as usize].as_mut() else { return (None, None) };
        group.members.swap_remove(place.at as usize);
        let moved = group.members.get(place.at as usize).copied();
        let key = group.key;
        if !group.members.is_empty() {
            if group.members.capacity() > 4 * group.members.len() {
                group.members.shrink_to(2 * group.members.len());
            }
            return (Some(key), moved);
        }
        if let Ok(entry) = self.index.find_entry(key, |slot| *slot == place.group) {
            entry.remove();
        }
        self.groups[place.group as usize] = None;
        self.free.push(place.group);
        (Some(key), None)
    }

    fn members(&self, group: u32) -> &[u32] {
        self.groups[group as usize].as_ref().map_or(&[], |group| &group.members)
    }

    fn key(&self, group: u32) -> Option<Key> {
        self.groups[group as usize].as_ref().map(|group| group.key)
    }

    fn id(&self, group: u32) -> &str {
        self.groups[group as usize].as_ref().map_or("", |group| &group.id)
    }
}

/// Most tenants are the empty one. An empty string of a `Box` is at address 1, and glibc's `memcmp` for AVX loads from
/// there under a mask, which takes the processor over 100 ns to suppress.
fn is_same(ours: &str, asked: &[u8]) -> bool {
    ours.len() == asked.len() && (asked.is_empty() || ours.as_bytes() == asked)
}
