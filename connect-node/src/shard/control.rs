//! Obeys controls: messages that change who is in which room, or end connections (DESIGN 6, rules 15 and 17).
//!
//! They come in the order of messages, so what is pushed to a room right behind the control that puts somebody into
//! it reaches them. Per connection and room the newest decision wins, a client's own included, so a late copy undoes
//! nothing.

use pushcast_proto::{
    client::v1::{RoomsChanged, ServerFrame, server_frame},
    connectnode::v1::{Claim, Control, Kick, control},
};
use rand::{RngExt as _, seq::SliceRandom};

use super::{
    connection::{Claimed, Phase, Way},
    frames::encode,
    slab::SlabKey,
    state::{Now, Shard},
    transport::Transport,
};
use crate::{close::CloseReason, placement::Placement};

/// Time over which the connections that are older than a hole are closed, milliseconds.
const MOVE_WITHIN: u64 = 2_000;

/// Rooms left lately that are remembered for one connection: who leaves more in ten minutes may be put back by a
/// control that was late.
pub(super) const MOST_LEFT: usize = 64;

/// How long a late control may come after, microseconds: as long as controls are kept.
const LATE: u64 = crate::controls::KEEP;

/// A control on its way, as far as it has to be told from others.
#[derive(Debug, Clone, Copy)]
struct Decided {
    accepted_at: u64,
    manager: u64,
    seq: u64,
    arrival: u64,
}

impl<T: Transport> Shard<T> {
    /// Obeys a control. Returns how many connections it was for.
    pub(super) fn obey(&mut self, placement: &Placement, index: usize, control: &Control, now: Now) -> u32 {
        let message = placement.batch().message(index);
        let decided = Decided {
            accepted_at: message.accepted_at,
            manager: placement.manager().unwrap_or_default(),
            seq: message.seq,
            arrival: placement.arrival(index),
        };
        let keys = self.connections_of(message.app, control);
        let mut changed = 0;
        for key in keys {
            let done = match &control.action {
                Some(control::Action::Join(room)) => self.put_into(key, room, decided, now),
                Some(control::Action::Leave(room)) => self.take_out_of(key, room, decided.accepted_at, now),
                Some(control::Action::Kick(kick)) => self.kick(key, kick, decided.accepted_at, now),
                Some(control::Action::Claim(claim)) => self.claimed(key, claim, decided, now),
                None => false,
            };
            changed += u32::from(done);
        }
        if matches!(control.action, Some(control::Action::Join(_))) {
            // What the inbox added when it queued this; whoever was put in has interest of their own now.
            let joins = placement.batch().joins();
            if let Ok(at) = joins.binary_search_by_key(&(index as u32), |(at, _)| *at) {
                self.inbox.unsubscribe(&[joins[at].1]);
            }
        }
        changed
    }

    /// The open connections a control is for.
    fn connections_of(&mut self, app: &[u8], control: &Control) -> Vec<SlabKey> {
        let slots: Vec<u32> = match &control.whose {
            Some(control::Whose::UserId(user)) => {
                let user = user.as_bytes();
                self.tables.user(self.keys.user(app, user), app, user).to_vec()
            }
            Some(control::Whose::ConnectionId(id)) => self.by_id.get(id).copied().into_iter().collect(),
            None => Vec::new(),
        };
        let of_app = |slot: &u32| self.tables.identity(*slot).is_some_and(|(of, _)| of.as_bytes() == app);
        let slots: Vec<u32> = slots.into_iter().filter(of_app).collect();
        let open = |key: &SlabKey| -> bool {
            self.connections.get(*key).is_some_and(|c| c.phase == Phase::Open && !c.special.is(Way::Held))
        };
        slots.into_iter().filter_map(|slot| self.connections.key_at(slot)).filter(open).collect()
    }

    fn put_into(&mut self, key: SlabKey, room: &str, decided: Decided, now: Now) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let left_at = connection.left_at(room);
        // Not for those who logged in later, nor for those who left later.
        if connection.login_at > decided.accepted_at || left_at.is_some_and(|at| at > decided.accepted_at) {
            return false;
        }
        if self.tables.rooms_len(key.index) >= self.settings.limits.max_rooms
            && !self.tables.is_in(key.index, room)
        {
            return false;
        }
        if !self.tables.join(key.index, room, decided.accepted_at) {
            return true;
        }
        let keys = self.tables.identity(key.index).map(|(app, _)| self.tables.keys_to_join(app, [room]));
        self.inbox.keep(&keys.unwrap_or_default());
        self.entered(key, room, decided.arrival, Some((decided.manager, decided.seq)));
        self.tell_rooms(key, RoomsChanged { joined: vec![room.to_owned()], left: Vec::new() }, now);
        true
    }

    fn take_out_of(&mut self, key: SlabKey, room: &str, accepted_at: u64, now: Now) -> bool {
        match self.tables.in_since(key.index, room) {
            // It entered later.
            Some(since) if since > accepted_at => return false,
            Some(_) => {}
            None => {
                self.note_left(key, room, accepted_at, now);
                return false;
            }
        }
        if let Some(gone) = self.tables.leave(key.index, room) {
            self.inbox.unsubscribe(&[gone]);
        }
        self.note_left(key, room, accepted_at, now);
        self.tell_rooms(key, RoomsChanged { joined: Vec::new(), left: vec![room.to_owned()] }, now);
        true
    }

    /// Remembers that a connection left a room, against late controls.
    pub(super) fn note_left(&mut self, key: SlabKey, room: &str, at: u64, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // A late copy takes nothing back.
        let at = at.max(connection.left_at(room).unwrap_or(0));
        let left = &mut connection.extras().left;
        left.retain(|(of, when)| of != room && when.saturating_add(LATE) > now.micros);
        if left.len() >= MOST_LEFT {
            left.remove(0);
        }
        left.push((room.to_owned(), at));
    }

    /// Tells a client that its rooms are others now, and gives it the ticket that says so, in one write.
    fn tell_rooms(&mut self, key: SlabKey, changed: RoomsChanged, now: Now) {
        let Some(format) = self.connections.get_mut(key).map(|connection| connection.format) else { return };
        let frame = server_frame::Frame::Rooms(changed);
        let mut bytes = self.ticket_frame(key, now).unwrap_or_default();
        bytes.extend_from_slice(&encode(format, &ServerFrame { id: 0, frame: Some(frame) }));
        self.send(key.index, &bytes, now);
    }

    fn kick(&mut self, key: SlabKey, kick: &Kick, accepted_at: u64, now: Now) -> bool {
        if self.connections.get_mut(key).is_none_or(|connection| connection.login_at >= accepted_at) {
            return false;
        }
        let reason = if kick.reconnect { CloseReason::Moved } else { CloseReason::Kicked };
        let text = if kick.reason.is_empty() { reason.text() } else { &kick.reason };
        self.close_saying(key, reason, text, now);
        true
    }

    fn claimed(&mut self, key: SlabKey, claim: &Claim, decided: Decided, now: Now) -> bool {
        let ours = (claim.resumed_at, decided.accepted_at, decided.manager, decided.seq);
        let Some(connection) = self.connections.get_mut(key) else { return false };
        let (id, generation) = (connection.id, connection.generation);
        if claim.generation < generation {
            // An old ticket was used somewhere: that connection has to hear of this one.
            self.claim(key, now);
            return false;
        }
        if claim.generation == generation {
            let Some(known) = connection.extras.as_mut().and_then(|extras| extras.claim.as_mut()) else {
                return self.moved(key, now);
            };
            let own_before = known.own;
            if claim.nonce == known.nonce {
                known.own = known.own.max(Some(ours));
            } else {
                known.rival = known.rival.max(Some(ours));
            }
            if known.own.is_some() && known.rival > known.own {
                return self.moved(key, now);
            }
            // An earlier rival may have come after our claim and know nothing of it: when it shows, or, if it showed
            // before our claim came down, then.
            let shows = claim.nonce != known.nonce && known.own.is_some();
            let showed = own_before.is_none() && known.own.is_some() && known.rival.is_some();
            if shows || showed {
                self.claim(key, now);
            }
            return false;
        }
        tracing::debug!(
            connection = format!("{id:016x}"),
            generation,
            claimed = claim.generation,
            "Replaced."
        );
        self.replaced(key, now)
    }

    /// Another one came from the same ticket, later. Its client may be this one's, which has given this one up, or
    /// somebody who would never hear of an end for good: it resumes as the next generation.
    pub(super) fn moved(&mut self, key: SlabKey, now: Now) -> bool {
        self.close(key, CloseReason::Moved, now);
        true
    }

    pub(super) fn replaced(&mut self, key: SlabKey, now: Now) -> bool {
        self.close(key, CloseReason::Replaced, now);
        true
    }

    /// Hands up that this connection is the one that counts.
    pub(super) fn claim(&mut self, key: SlabKey, now: Now) {
        let Some((app, _)) = self.tables.identity(key.index) else { return };
        let app = app.to_owned();
        let Some(connection) = self.connections.get_mut(key) else { return };
        let (id, generation) = (connection.id, connection.generation);
        // Once more if an older one comes to light: the same claim, so that it is no rival of its own.
        let first = Claimed { nonce: self.rng.random(), resumed_at: now.micros, own: None, rival: None };
        let claimed = connection.extras().claim.get_or_insert(first);
        let (nonce, resumed_at) = (claimed.nonce, claimed.resumed_at);
        self.ingest.claim(&app, id, Claim { generation, nonce, resumed_at });
    }

    /// Something is missing from here on: nothing more is delivered to those who are here, and they are closed, in
    /// random order, to resume elsewhere from before it.
    pub(super) fn hold_all(&mut self, now: Now) {
        let mut keys = self.connections.keys();
        keys.retain(|key| {
            let open =
                self.connections.get_mut(*key).filter(|c| c.phase == Phase::Open && !c.special.is(Way::Held));
            open.map(|connection| connection.special.set(Way::Held)).is_some()
        });
        keys.shuffle(&mut self.rng);
        let n = keys.len().max(1) as u64;
        let at = |turn: usize| now.millis + MOVE_WITHIN * turn as u64 / n;
        self.moving.extend(keys.into_iter().enumerate().map(|(turn, key)| (at(turn), key)));
        self.moving.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
    }
}
