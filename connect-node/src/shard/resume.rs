//! Takes a client back that was connected before, here or at another node (DESIGN 6, rules 10 to 14).
//!
//! Membership first: the rooms of its ticket, then what was decided about it since. Then whether this node can make
//! it whole; a node that cannot sends it to a neighbour a few times before it says so.

use pushcast_common::id::ManagerId;
use pushcast_proto::{
    client::v1::{Connect, Resume},
    connectnode::v1::{Control, Stay, Ticket, control},
};

use super::{
    replay::Entered,
    state::{Now, Shard},
    transport::Transport,
};
use crate::{
    floor::{Floor, MAX_POSITION},
    history::Missing,
    tickets::BadTicket,
};

/// Tries of a client that an incomplete node sends on to a neighbour.
pub(super) const MOVES: u32 = 3;

/// A room a connection enters when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entering {
    pub(super) room: String,
    /// Microseconds since 1970.
    pub(super) since: u64,
}

/// A client that shows a ticket.
#[derive(Debug)]
pub(super) struct Returning {
    pub(super) ticket: Ticket,
    /// What it has already; `None` if it cannot be believed.
    pub(super) floor: Option<Floor>,
    pub(super) rooms: Vec<Entering>,
    pub(super) left: Vec<(String, u64)>,
    /// Into more than that nobody puts it.
    pub(super) most_rooms: usize,
    /// Rooms it was put into while it was away.
    pub(super) entered: Vec<Entered>,
    /// It was kicked while it was away; why.
    pub(super) kicked: Option<String>,
}

/// Why a client is not taken back as who it was; the value of the metric label `reason`.
pub(super) fn bad_ticket_label(bad: BadTicket) -> &'static str {
    match bad {
        BadTicket::NoKey => "no_key",
        BadTicket::Forged => "ticket",
        BadTicket::Expired => "expired",
    }
}

impl<T: Transport> Shard<T> {
    /// What a client that resumes shows; an error is the label of why it is taken for a new one.
    pub(super) fn returning(
        &self,
        connect: &Connect,
        resume: &Resume,
        now: Now,
    ) -> Result<Returning, &'static str> {
        if resume.ticket.is_empty() {
            return Err("no_ticket");
        }
        let ticket =
            self.settings.ticket_keys.verify(&resume.ticket, now.micros).map_err(bad_ticket_label)?;
        let same_user = connect.user_id.is_empty() || connect.user_id == ticket.user_id;
        if ticket.app != connect.app || !same_user {
            return Err("identity");
        }
        let allowance = self.ingest.allowance();
        let signed = Floor::new(
            ticket.position.iter().map(|reached| (reached.manager, reached.seq)),
            ticket.as_of,
            allowance,
        );
        let mut returning = Returning {
            floor: floor_of(&signed, resume),
            rooms: ticket.rooms.iter().map(entering).collect(),
            left: ticket.left.iter().map(|stay| (stay.room_id.clone(), stay.since)).collect(),
            most_rooms: self.settings.limits.max_rooms,
            entered: Vec::new(),
            kicked: None,
            ticket,
        };
        let Ticket { app, user_id, connection_id, .. } = &returning.ticket;
        for obeyed in self.ingest.controls_since(app, user_id, *connection_id, &signed) {
            let by = (obeyed.manager, obeyed.seq);
            returning.obey(&obeyed.control, obeyed.accepted_at, obeyed.arrival, by);
        }
        Ok(returning)
    }

    /// Whether a client can be told that it missed nothing, once interest in its keys is there.
    pub(super) fn what_is_missing(&self, returning: &Returning, now: Now) -> Option<Missing> {
        let Ticket { app, user_id, issued_at, as_of, .. } = &returning.ticket;
        let Some(floor) = &returning.floor else { return Some(Missing::Position) };
        let mut keys = self.tables.keys_to_connect(app, user_id);
        let rooms = returning.rooms.iter().map(|entering| entering.room.as_str());
        keys.extend(self.tables.keys_to_join(app, rooms));
        self.ingest.missing(floor, &keys, (*issued_at).min(*as_of), now.micros)
    }
}

impl Returning {
    /// What was decided while it was away.
    fn obey(&mut self, control: &Control, accepted_at: u64, arrival: u64, by: (u64, u64)) {
        match &control.action {
            Some(control::Action::Join(room)) => {
                let left_later = self.left.iter().any(|(of, at)| of == room && *at > accepted_at);
                let late = self.ticket.login_at > accepted_at || left_later;
                let full = self.rooms.len() >= self.most_rooms;
                match self.rooms.iter_mut().find(|entering| entering.room == *room) {
                    Some(entering) => {
                        // Its ticket may name the room that this put it into, and be older than this.
                        if entering.since == accepted_at {
                            self.entered.push(Entered { room: room.clone(), arrival, by: Some(by) });
                        }
                        entering.since = entering.since.max(accepted_at);
                    }
                    None if late || full => {}
                    None => {
                        self.rooms.push(Entering { room: room.clone(), since: accepted_at });
                        self.entered.push(Entered { room: room.clone(), arrival, by: Some(by) });
                    }
                }
            }
            Some(control::Action::Leave(room)) => {
                let entered_later =
                    |entering: &Entering| entering.room == *room && entering.since > accepted_at;
                if !self.rooms.iter().any(entered_later) {
                    self.rooms.retain(|entering| entering.room != *room);
                    self.entered.retain(|entered| entered.room != *room);
                    let before = self.left.iter().find(|(of, _)| of == room).map_or(0, |(_, at)| *at);
                    self.left.retain(|(of, _)| of != room);
                    self.left.push((room.clone(), accepted_at.max(before)));
                }
            }
            // One that may reconnect has done so.
            Some(control::Action::Kick(kick)) if !kick.reconnect && self.ticket.login_at < accepted_at => {
                self.kicked = Some(kick.reason.clone());
            }
            Some(control::Action::Kick(_) | control::Action::Claim(_)) | None => {}
        }
    }
}

fn entering(stay: &Stay) -> Entering {
    Entering { room: stay.room_id.clone(), since: stay.since }
}

/// The larger of what was signed and what the client says it has.
fn floor_of(signed: &Floor, resume: &Resume) -> Option<Floor> {
    if resume.position.len() > MAX_POSITION {
        return None;
    }
    let mut position = Vec::with_capacity(resume.position.len());
    for (manager, seq) in &resume.position {
        position.push((manager.parse::<ManagerId>().ok()?.0, *seq));
    }
    let mut floor = signed.clone();
    floor.raise(position, resume.as_of.saturating_mul(1000));
    Some(floor)
}

#[cfg(test)]
mod tests {
    use pushcast_proto::connectnode::v1::Kick;

    use super::*;

    fn returning() -> Returning {
        Returning {
            ticket: Ticket { login_at: 100, ..Ticket::default() },
            floor: None,
            rooms: vec![Entering { room: "r".to_owned(), since: 200 }],
            left: vec![("old".to_owned(), 300)],
            most_rooms: 128,
            entered: Vec::new(),
            kicked: None,
        }
    }

    fn control(action: control::Action) -> Control {
        Control { action: Some(action), whose: None }
    }

    fn rooms(of: &Returning) -> Vec<&str> {
        of.rooms.iter().map(|entering| entering.room.as_str()).collect()
    }

    #[test]
    fn of_two_decisions_about_a_room_the_newer_one_holds() {
        let mut returning = returning();
        let leave = |room: &str| control(control::Action::Leave(room.to_owned()));
        let join = |room: &str| control(control::Action::Join(room.to_owned()));
        returning.obey(&leave("r"), 150, 1, (1, 1));
        assert_eq!(rooms(&returning), ["r"], "it entered later");
        returning.obey(&join("old"), 250, 2, (1, 2));
        assert_eq!(rooms(&returning), ["r"], "it left later");
        returning.obey(&leave("old"), 150, 1, (1, 1));
        returning.obey(&join("old"), 250, 2, (1, 2));
        assert_eq!(rooms(&returning), ["r"], "a late copy takes back nothing of that");
        returning.obey(&leave("r"), 400, 3, (1, 3));
        returning.obey(&join("new"), 500, 4, (1, 4));
        assert_eq!(rooms(&returning), ["new"]);
        assert_eq!(returning.entered.len(), 1);
        returning.obey(&join("r"), 90, 5, (1, 5));
        assert_eq!(rooms(&returning), ["new"], "that was for those before its login");
    }

    #[test]
    fn a_kick_counts_if_it_is_for_good_and_later_than_the_login() {
        let kick = |reconnect, at| {
            let mut returning = returning();
            let kick = Kick { reason: "spam".to_owned(), reconnect };
            returning.obey(&control(control::Action::Kick(kick)), at, 1, (1, 1));
            returning.kicked
        };
        assert_eq!(kick(false, 101).as_deref(), Some("spam"));
        assert_eq!(kick(false, 100), None);
        assert_eq!(kick(true, 101), None);
    }

    #[test]
    fn a_position_with_a_name_that_is_none_is_not_believed() {
        let resume = |name: &str| Resume { position: [(name.to_owned(), 1)].into(), ..Resume::default() };
        assert!(floor_of(&Floor::default(), &resume("00000000000000ff")).is_some());
        for name in ["ff", "", "00000000000000FF", "0000000000000000", "-000000000000001"] {
            assert_eq!(floor_of(&Floor::default(), &resume(name)), None, "{name}");
        }
        let many = (1..=257_u64).map(|n| (format!("{n:016x}"), 1)).collect();
        assert_eq!(floor_of(&Floor::default(), &Resume { position: many, ..Resume::default() }), None);
    }
}
