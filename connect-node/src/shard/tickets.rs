//! Issues tickets: at connect, at each change of membership, at half of a ticket's life, and at the end of a drain.

use pushcast_proto::{
    client::v1::{ServerFrame, Ticket as TicketFrame, server_frame},
    connectnode::v1::{Reached, Stay, Ticket},
};

use super::{
    connection::{Phase, Way},
    frames::encode,
    slab::SlabKey,
    state::{Now, Shard},
    transport::Transport,
};
use crate::{
    floor::Floor,
    tickets::{LIFE, MAX_TICKET},
};

/// Milliseconds after which a ticket is replaced.
pub(super) const RENEW_MILLIS: u64 = LIFE / 2 / 1000;

impl<T: Transport> Shard<T> {
    /// A fresh ticket as a frame; none without a key, for a connection that is in no table, or for one that is older
    /// than a hole. Who is in so many rooms that a ticket could not come back in one frame gets an empty one, which
    /// takes the place of what it had.
    pub(super) fn ticket_frame(&mut self, key: SlabKey, now: Now) -> Option<Vec<u8>> {
        if !self.settings.ticket_keys.is_some() {
            return None;
        }
        if self.is_held(key) {
            return None;
        }
        let reached = self.reached(key, now);
        let (app, user_id) = self.tables.identity(key.index)?;
        let stay = |(room, since): (&str, u64)| Stay { room_id: room.to_owned(), since };
        let mut ticket = Ticket {
            app: app.to_owned(),
            user_id: user_id.to_owned(),
            rooms: self.tables.stays_of(key.index).map(stay).collect(),
            position: reached.position().map(|(manager, seq)| Reached { manager, seq }).collect(),
            as_of: reached.as_of(),
            issued_at: now.micros,
            ..Ticket::default()
        };
        let connection = self.connections.get_mut(key)?;
        ticket.connection_id = connection.id;
        ticket.generation = connection.generation;
        ticket.login_at = connection.login_at;
        if let Some(extras) = &connection.extras {
            ticket.left = extras.left.iter().map(|(room, at)| stay((room, *at))).collect();
        }
        connection.ticket_at = now.millis;
        let format = connection.format;
        let mut ticket = self.settings.ticket_keys.sign(&ticket)?;
        // It has to come back in a frame, beside the rest of what that says.
        if ticket.len() > MAX_TICKET.min(self.settings.limits.max_frame / 4 * 3) {
            ticket.clear();
        }
        let frame = server_frame::Frame::Ticket(TicketFrame { ticket });
        Some(encode(format, &ServerFrame { id: 0, frame: Some(frame) }))
    }

    /// What has been queued to a connection: where the shard is, or less while it is being brought there.
    fn reached(&mut self, key: SlabKey, now: Now) -> Floor {
        let as_of = if self.placing { self.as_of } else { self.quote_as_of(now) };
        // While a part of what was taken is placed, the marks are ahead.
        let marks = if self.placing { &self.placed_marks } else { &self.taken.marks };
        let connection = self.connections.get_mut(key);
        let (floor, replaying) = match &connection {
            Some(connection) => (connection.floor().cloned(), connection.special.is(Way::Replaying)),
            None => (None, false),
        };
        match floor {
            Some(floor) if replaying => floor,
            Some(mut floor) => {
                floor.raise(marks.position(), as_of);
                floor
            }
            None => Floor::new(marks.position(), as_of, 0),
        }
    }

    /// Sends a fresh ticket to a connection whose old one is at half of its life.
    pub(super) fn renew_ticket(&mut self, key: SlabKey, now: Now) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.phase != Phase::Open
            || connection.special.is(Way::Held)
            || now.millis < connection.ticket_at + RENEW_MILLIS
        {
            return;
        }
        // Also where there is no key now, so that it is not asked for all the time.
        connection.ticket_at = now.millis;
        if let Some(frame) = self.ticket_frame(key, now) {
            self.send(key.index, &frame, now);
        }
    }
}
