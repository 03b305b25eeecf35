//! Shards' event loops, and what clients read. Checks what each client was sent as it comes.

use std::rc::Rc;

use pushcast_proto::client::v1::{Push, ServerFrame, server_frame::Frame};

use super::{World, persons::rooms_of};
use crate::{
    client::{Asked, Client, Point, Received},
    findings::Check,
    naive::Naive,
    node::{Node, Seat},
    person::What,
    quotes::{self, Quote},
    stage::{Event, MILLI, Stage},
    truth::{APPS, Id, Position, ROOMS, Target, USERS},
};

/// How long a connection older than a hole may stay: 2 s, until its shard takes its inbox, and until it sweeps.
const MOVED_WITHIN: u64 = 2_000 * MILLI + 1_500 * MILLI + 300 * MILLI;

impl World {
    /// What follows whenever something came into a node: its own inbox is looked at, and the loops that were
    /// woken will turn.
    pub(super) fn look(&mut self, node: usize) {
        let me = &mut self.nodes[node];
        if let Some(hole) = me.numbers.look(&mut self.stage, &me.name) {
            self.stage.findings.counts.holes += 1;
            let clients = me.seats.iter_mut().flat_map(|seat| &mut seat.clients);
            for client in clients.filter(|client| client.from.is_some() && client.is_open()) {
                client.held.get_or_insert_with(|| hole.clone());
                client.held_at = self.stage.now;
            }
        }
        for shard in 0..self.nodes[node].seats.len() {
            if self.nodes[node].seats[shard].take_wake() {
                self.turn_soon(node, shard);
            }
        }
        self.acknowledge_placed(node);
    }

    pub(super) fn turn_soon(&mut self, node: usize, shard: usize) {
        let lag = if self.is_calm() { 3 * MILLI } else { self.nodes[node].seats[shard].lag };
        let at = self.stage.now + self.stage.chance.between(0, lag);
        let seat = &mut self.nodes[node].seats[shard];
        if at < seat.turns_at {
            seat.turns_at = at;
            self.stage.at(at, Event::Turn { node, shard });
        }
    }

    /// One turn of a shard's loop; sometimes others get their turn in the middle of its flush.
    pub(super) fn turn(&mut self, node: usize, shard: usize) {
        let now = self.nodes[node].now(&self.stage);
        let me = &mut self.nodes[node];
        if !me.alive {
            return;
        }
        let seat = &mut me.seats[shard];
        seat.turns_at = u64::MAX;
        let sends = if self.stage.chance.one_in(4) { 1 } else { 256 };
        seat.flushing = seat.shard.turn(sends, now);
        if seat.flushing {
            self.turn_soon(node, shard);
        } else {
            self.quote_marks(node, shard);
        }
        self.after_shard(node, shard);
    }

    pub(super) fn sweep(&mut self, node: usize) {
        let now = self.nodes[node].now(&self.stage);
        if !self.nodes[node].alive {
            return;
        }
        for shard in 0..self.nodes[node].seats.len() {
            let seat = &mut self.nodes[node].seats[shard];
            if !seat.shard.is_empty() {
                if !self.stage.is(Naive::NobodyIsMoved) {
                    seat.shard.sweep(now);
                }
                self.after_shard(node, shard);
                self.turn_soon(node, shard);
            }
        }
        if self.stage.chance.one_in(8) {
            let me = &self.nodes[node];
            for ingest in &me.ingests {
                ingest.expire(me.clock.read(self.stage.now));
            }
            if !self.nodes[node].dynamic {
                self.note_knowledge_of_all(node);
            }
        }
        self.stage.at(self.stage.now + 250 * MILLI, Event::Sweep(node));
    }

    /// Reads what clients were sent, and sees who left the tables.
    pub(super) fn after_shard(&mut self, node: usize, shard: usize) {
        let arrival = self.nodes[node].seats[shard].shard.placed_arrival();
        let before = std::mem::replace(&mut self.nodes[node].seats[shard].newest_arrival, arrival);
        if arrival < before {
            let what = format!("{} placed up to {before}, then {arrival}", self.nodes[node].name);
            self.stage.broken(Check::Arrivals, what);
        }
        let frozen = self.nodes[node].woke_at + MOVED_WITHIN > self.stage.now;
        let placed = self.nodes[node].seats[shard].placed();
        if *self.nodes[node].seats[shard].looked_at != placed {
            self.nodes[node].seats[shard].looked_at = Rc::new(placed);
        }
        for client in 0..self.nodes[node].seats[shard].clients.len() {
            self.read(node, shard, client);
            let Seat { shard, clients, looked_at, .. } = &mut self.nodes[node].seats[shard];
            let client = &mut clients[client];
            let late =
                self.stage.now > client.held_at + MOVED_WITHIN && !self.stage.is(Naive::ArrivalPerShard);
            if client.held.is_some() && client.is_open() && late && !frozen {
                let what = format!("{} is older than a hole and still there", client.name);
                self.stage.findings.broken(Check::Holes, self.stage.now - crate::stage::BEGIN, what);
            }
            if client.from.is_some()
                && client.is_open()
                && shard.tables().identity(client.key.index).is_none()
            {
                client.end(&crate::numbers::position_of(shard.marks()));
            }
            if !client.socket.refuses() {
                client.looked_at = Rc::clone(looked_at);
            }
        }
        self.look(node);
    }

    pub(super) fn read(&mut self, node: usize, shard: usize, index: usize) {
        let client = &self.nodes[node].seats[shard].clients[index];
        self.stage.findings.counts.refused_sends += client.socket.take_refused();
        if client.socket.received().borrow().is_empty() {
            return;
        }
        let who = Rc::clone(&client.name);
        for received in client.take_frames() {
            match received {
                Received::Close(code) => {
                    let client = &mut self.nodes[node].seats[shard].clients[index];
                    client.closed = Some(code);
                    let person = client.person;
                    self.post(person, node, shard, index, What::Close(code));
                }
                Received::Unreadable => {
                    self.stage.broken(Check::Deliveries, format!("{who} got a frame it cannot read"));
                }
                Received::Frame(frame) => self.read_frame(node, shard, index, frame.frame, &who),
            }
        }
    }

    fn read_frame(&mut self, node: usize, shard: usize, index: usize, frame: Option<Frame>, who: &str) {
        match frame {
            Some(Frame::Ticket(ticket)) => self.pass_on(node, shard, index, Frame::Ticket(ticket)),
            Some(Frame::Rooms(changed)) => {
                let placed = self.nodes[node].seats[shard].placed();
                let client = &mut self.nodes[node].seats[shard].clients[index];
                let point = Point { after: (*client.looked_at).clone(), until: placed };
                client.enter(&rooms_of(&changed.joined), &point);
                client.leave(&rooms_of(&changed.left), &point);
                self.pass_on(node, shard, index, Frame::Rooms(changed));
            }
            Some(Frame::Push(push)) => {
                let client = &mut self.nodes[node].seats[shard].clients[index];
                match identify(&self.stage, client, &push) {
                    Ok(id) => {
                        quotes::delivered(&mut self.stage, client, id, who);
                        let frame = ServerFrame { id: 0, frame: Some(Frame::Push(push)) };
                        let what = What::Push(Box::new(frame), id);
                        let person = client.person;
                        self.post(person, node, shard, index, what);
                    }
                    Err(what) => self.stage.broken(Check::Deliveries, format!("{who} got {what}")),
                }
            }
            Some(Frame::Connected(connected)) => {
                let position = wire_position(&connected.position);
                let as_of = connected.as_of * MILLI;
                let recovered = connected.recovered == Some(true);
                let placed = self.nodes[node].seats[shard].placed();
                let client = &mut self.nodes[node].seats[shard].clients[index];
                let known = self.persons[client.person].chapter.rooms();
                let decided = self.stage.truth.decided.contains(&(client.app, client.user));
                client.from.get_or_insert(position.clone());
                client.since = placed.clone();
                client.connection_id = u64::from_str_radix(&connected.connection_id, 16).unwrap_or_default();
                client.unnamed_before = recovered.then_some(as_of);
                let mut until = placed;
                until.raise(&position);
                let between = Point { after: position.clone(), until };
                for room in rooms_of(&connected.rooms) {
                    let is_new = recovered && (decided || !known.contains(&room));
                    client.enter(&[room], &if is_new { between.clone() } else { Point::at(&position) });
                }
                let quote = Quote { position, as_of };
                self.quoted(node, shard, index, &quote, who);
                self.pass_on(node, shard, index, Frame::Connected(connected));
            }
            Some(Frame::Heartbeat(beat)) => {
                let told = Quote { position: wire_position(&beat.position), as_of: beat.as_of * MILLI };
                let quote = self.nodes[node].quote(&self.stage, shard, told);
                self.quoted(node, shard, index, &quote, who);
                let client = &mut self.nodes[node].seats[shard].clients[index];
                client.owes_pong = client.answers;
                self.pass_on(node, shard, index, Frame::Heartbeat(beat));
            }
            Some(Frame::Ok(done)) => {
                let client = &mut self.nodes[node].seats[shard].clients[index];
                let Some(Asked { rooms: awaited, placed, .. }) = client.is_answered() else {
                    return self
                        .stage
                        .broken(Check::Deliveries, format!("{who} got an ok that it did not ask for"));
                };
                client.answered = Some(Point::at(&placed));
                // What it was told meanwhile it did not know when it asked.
                let until = self.nodes[node].seats[shard].shard.marks();
                let between = Point { after: placed, until: crate::numbers::position_of(until) };
                let (told, client) =
                    (rooms_of(&done.rooms), &mut self.nodes[node].seats[shard].clients[index]);
                let gone: Vec<usize> =
                    client.rooms().into_iter().filter(|room| !told.contains(room)).collect();
                if client.awaited.is_empty() {
                    client.enter(&told, &between);
                    client.leave(&gone, &between);
                }
                let awaited: Vec<_> = awaited.iter().map(|room| ROOMS[*room]).collect();
                let decided = self.stage.truth.decided.contains(&(client.app, client.user));
                if awaited != done.rooms && !decided {
                    let what = format!("{who} was told it is in {:?}, it is in {awaited:?}", done.rooms);
                    self.stage.broken(Check::Deliveries, what);
                }
                self.pass_on(node, shard, index, Frame::Ok(done));
            }
            other => self.stage.broken(Check::Deliveries, format!("{who} got {other:?}")),
        }
    }

    /// Hands a frame to the person at a connection.
    fn pass_on(&mut self, node: usize, shard: usize, index: usize, frame: Frame) {
        let person = self.nodes[node].seats[shard].clients[index].person;
        let frame = ServerFrame { id: 0, frame: Some(frame) };
        self.post(person, node, shard, index, What::Frame(Box::new(frame)));
    }

    fn quoted(&mut self, node: usize, shard: usize, index: usize, quote: &Quote, who: &str) {
        let Node { seats, numbers, .. } = &mut self.nodes[node];
        quotes::quoted(&mut self.stage, numbers, &mut seats[shard].clients[index], quote, who);
    }

    /// Now and then: where a shard is right after it took its inbox, as the product would quote it, taken as
    /// told to every client that nothing waits for.
    fn quote_marks(&mut self, node: usize, shard: usize) {
        if !self.stage.chance.one_in(6) {
            return;
        }
        for index in 0..self.nodes[node].seats[shard].clients.len() {
            self.read(node, shard, index);
            let seat = &self.nodes[node].seats[shard];
            let client = &seat.clients[index];
            if client.from.is_none() || !client.is_open() || client.held.is_some() || client.socket.refuses()
            {
                continue;
            }
            let as_of = seat.shard.marks().as_of(self.nodes[node].clock.read(self.stage.now)) / MILLI * MILLI;
            let quote = self.nodes[node].quote(&self.stage, shard, Quote { position: seat.placed(), as_of });
            let Node { seats, numbers, .. } = &mut self.nodes[node];
            let client = &mut seats[shard].clients[index];
            let who = Rc::clone(&client.name);
            quotes::could_be_quoted(&mut self.stage, numbers, client, &quote, &who);
        }
    }
}

/// Which message a push frame is, if it says of it what is so.
fn identify(stage: &Stage, client: &Client, push: &Push) -> Result<Id, String> {
    let content = if push.text.is_empty() { &push.content[..] } else { push.text.as_bytes() };
    let content = Id::of_content(content).ok_or_else(|| format!("an unknown content: {push:?}"))?;
    let id = match u64::from_str_radix(&push.manager, 16) {
        Ok(manager) => stage.truth.id_of(manager, push.seq).ok_or_else(|| format!("nobody's {push:?}"))?,
        Err(_) => content,
    };
    let accepted = stage.truth.message(id).ok_or_else(|| format!("{id}, which nobody accepted"))?;
    if accepted.content != content {
        return Err(format!("{id} with the content of {content}"));
    }
    let (room, user) = match &accepted.target {
        Target::Room { room, .. } => (ROOMS[*room], ""),
        Target::User { .. } | Target::Users { .. } => ("", USERS[client.user]),
        Target::App { .. } | Target::Everyone | Target::Control { .. } => ("", ""),
    };
    let naive = stage.naive.is_some() && push.manager.is_empty();
    let same = push.message_id == accepted.message_id;
    debug_assert!(client.app < APPS.len());
    if (same || naive) && (push.room_id.as_str(), push.user_id.as_str()) == (room, user) {
        Ok(id)
    } else {
        Err(format!("{id} as {push:?}"))
    }
}

pub(super) fn wire_position(position: &std::collections::BTreeMap<String, u64>) -> Position {
    let of = |(id, seq): (&String, &u64)| Some((u64::from_str_radix(id, 16).ok()?, *seq));
    let mut position: Vec<_> = position.iter().filter_map(of).collect();
    position.sort_unstable();
    Position(position)
}
