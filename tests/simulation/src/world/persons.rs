//! Persons read what they were sent, and come back when their connection ends.

use pushcast_proto::{
    client::v1::{Connected, ServerFrame, server_frame::Frame},
    connectnode::v1::control,
};

use super::World;
use crate::{
    client::{Point, Stay, Wants, is_for},
    findings::Check,
    naive::Naive,
    person::{Chapter, Letter, What, Whereabouts},
    stage::{Event, MILLI, SECOND},
    truth::{Accepted, Id, Position, ROOMS, Target, USERS},
};

/// Close code: another node may have what a client missed.
const MOVED: u16 = 4003;

impl World {
    /// Something is on its way to whoever is at this connection.
    pub(super) fn post(&mut self, person: usize, node: usize, shard: usize, client: usize, what: What) {
        let here = Whereabouts::At { node, shard, client };
        if self.persons[person].place != here {
            return;
        }
        let seat = &self.nodes[node].seats[shard];
        let point = match &what {
            What::Frame(frame) if matches!(frame.frame, Some(Frame::Ok(_))) => {
                seat.clients[client].answered.clone().unwrap_or_else(|| Point::at(&seat.placed()))
            }
            _ => Point { after: (*seat.clients[client].looked_at).clone(), until: seat.placed() },
        };
        if let (What::Push(frame, _), true) = (&what, self.stage.is(Naive::PositionOnReceipt))
            && let Some(Frame::Push(push)) = &frame.frame
        {
            self.persons[person].progress.pushed(push);
        }
        let sent_at = self.stage.now;
        self.persons[person].letters.push_back(Letter { what, point, sent_at });
        self.read_soon(person);
    }

    pub(super) fn read_soon(&mut self, person: usize) {
        let lag = if self.is_calm() { 3 * MILLI } else { self.persons[person].lag };
        let at = self.stage.now + self.stage.chance.between(0, lag);
        if at < self.persons[person].reads_at {
            self.persons[person].reads_at = at;
            self.stage.at(at, Event::Reads(person));
        }
    }

    /// A person reads what came, or only the first of it.
    pub(super) fn reads(&mut self, index: usize) {
        self.persons[index].reads_at = u64::MAX;
        let some = self.persons[index].letters.len() as u64;
        let some =
            if self.stage.chance.one_in(4) && some > 1 { self.stage.chance.between(1, some) } else { some };
        for _ in 0..some {
            let Some(letter) = self.persons[index].letters.pop_front() else { break };
            self.read_letter(index, letter);
        }
        if !self.persons[index].letters.is_empty() {
            self.read_soon(index);
        }
    }

    pub(super) fn read_letter(&mut self, index: usize, letter: Letter) {
        let Letter { what, mut point, sent_at } = letter;
        // Where its node is behind what it has, it enters and leaves where it is itself.
        point.until.raise(&super::shards::wire_position(self.persons[index].progress.position()));
        self.stage.tell(|| match &what {
            What::Push(_, id) => format!("person {index} reads {id}"),
            What::Frame(frame) => format!("person {index} reads {:?}", frame.frame),
            other => format!("person {index} reads {other:?}"),
        });
        match what {
            What::Push(frame, id) => self.is_shown(index, &frame, id),
            What::Frame(frame) => match frame.frame {
                Some(Frame::Connected(connected)) => self.is_connected(index, &connected, &point, sent_at),
                Some(Frame::Heartbeat(beat)) => self.persons[index].progress.heartbeat(&beat),
                Some(Frame::Ticket(ticket)) => self.persons[index].progress.ticketed(ticket.ticket),
                Some(Frame::Ok(done)) => {
                    let rooms = rooms_of(&done.rooms);
                    self.persons[index].chapter.is_in(&rooms, &point, sent_at);
                }
                Some(Frame::Rooms(changed)) => {
                    let chapter = &mut self.persons[index].chapter;
                    let (joined, left) = (rooms_of(&changed.joined), rooms_of(&changed.left));
                    let mut rooms = chapter.rooms();
                    rooms.retain(|room| !left.contains(room));
                    rooms.extend(joined);
                    chapter.is_in(&rooms, &point, sent_at);
                }
                _ => {}
            },
            What::Close(code) => {
                if code == 4503 {
                    self.stage.findings.counts.replaced += 1;
                    self.persons[index].was_replaced = true;
                }
                let person = &mut self.persons[index];
                if person.resuming && code == MOVED {
                    person.attempt += 1;
                    self.stage.findings.counts.moved += 1;
                }
                self.is_away(index, code < 4500);
            }
            What::Broken => self.is_away(index, true),
        }
    }

    fn is_connected(&mut self, index: usize, connected: &Connected, point: &Point, sent_at: u64) {
        let rooms = rooms_of(&connected.rooms);
        let position = super::shards::wire_position(&connected.position);
        if connected.recovered == Some(true) {
            self.stage.findings.counts.recovered += 1;
            let person = &mut self.persons[index];
            person.attempt = 0;
            person.resuming = false;
            person.chapter.resumes += 1;
            // Where it was put while it was away lies between.
            let mut until = point.until.clone();
            until.raise(&position);
            let between = Point { after: position, until };
            if self.stage.truth.decided.contains(&(person.app, person.user)) {
                // It may have been taken out, and put in again.
                person.chapter.is_in(&[], &between, sent_at);
            }
            person.chapter.is_in(&rooms, &between, sent_at);
        } else {
            self.stage.findings.counts.unrecovered += u64::from(self.persons[index].resuming);
            self.check_chapter(index, false);
            let person = &mut self.persons[index];
            let mut chapter = Chapter { from: position.clone(), since: sent_at, ..Chapter::default() };
            chapter.is_in(&rooms, &Point::at(&position), sent_at);
            person.chapter = chapter;
        }
        let person = &mut self.persons[index];
        person.progress.connected(connected);
        person.connection_id = u64::from_str_radix(&connected.connection_id, 16).unwrap_or_default();
        person.connections.insert(person.connection_id);
        if let Whereabouts::At { node, .. } = person.place {
            person.chapter.nodes.push((node, u64::MAX));
        }
    }

    fn is_shown(&mut self, index: usize, frame: &ServerFrame, id: Id) {
        let Some(Frame::Push(push)) = &frame.frame else { return };
        let person = &mut self.persons[index];
        if !self.stage.is(Naive::PositionOnReceipt) {
            let has = person.progress.position().get(&push.manager).is_some_and(|seq| *seq >= push.seq);
            person.progress.pushed(push);
            if has {
                let what = format!("{} is sent {id} once more, and said that it has it", person.name);
                self.stage.broken(Check::Repeats, what);
            }
        }
        let person = &mut self.persons[index];
        let Some(content) = self.stage.truth.message(id).map(|message| message.content) else { return };
        let manager = self.stage.truth.managers[id.manager].id;
        let who = std::rc::Rc::clone(&person.name);
        if let Some(room) = ROOMS.iter().position(|room| *room == push.room_id) {
            let mut here = person.chapter.stays.iter().filter(|(s, _)| s.room == room && s.to.is_none());
            let wrong = match here.next() {
                None => Some("a room it is not in"),
                Some((stay, _)) if stay.covers(manager, id.seq) == Wants::No => {
                    Some("a room from before it was in")
                }
                Some(_) => None,
            };
            if let Some(wrong) = wrong {
                self.stage.broken(Check::Permission, format!("{who} got {id} of {}, {wrong}", push.room_id));
            }
        }
        if !person.seen.insert(push.message_id.clone()) {
            self.stage.findings.counts.dropped_repeats += 1;
            person.chapter.contents.insert(content);
            return;
        }
        if !person.chapter.contents.insert(content) {
            self.stage.broken(Check::Repeats, format!("{who} is shown {content} again, as {id}"));
        }
        let newest = person.chapter.newest.entry(id.manager).or_insert(0);
        if id.seq <= *newest {
            let what = format!("{who} is shown {id} after {newest}");
            self.stage.broken(Check::Repeats, what);
        }
        *newest = id.seq;
    }

    /// A person's connection has ended.
    pub(super) fn is_away(&mut self, index: usize, returns: bool) {
        let now = self.stage.now;
        let person = &mut self.persons[index];
        if let Some((_, until)) = person.chapter.nodes.last_mut() {
            *until = now;
        }
        self.stage.findings.counts.unread += person.letters.len() as u64;
        person.letters.clear();
        let returns = returns && person.returns;
        person.place = if returns { Whereabouts::Away } else { Whereabouts::Gone };
        if !returns {
            self.check_chapter(index, false);
            return;
        }
        let most = if self.is_calm() || self.stage.chance.one_in(2) { 100 * MILLI } else { 2 * SECOND };
        self.stage.within(0, most, Event::Returns(index));
    }

    /// The socket of a person is cut without a word. What it has not read is lost; its node sees it soon, or when
    /// it misses an answer.
    pub(super) fn is_cut(&mut self, index: usize) {
        let Whereabouts::At { node, shard, client } = self.persons[index].place else { return };
        let of = &mut self.nodes[node].seats[shard].clients[client];
        of.answers = false;
        of.owes_pong = false;
        if self.stage.chance.one_in(2) {
            of.socket.break_off();
        }
        self.is_away(index, true);
    }

    /// A node process is gone, and with it what it had sent and nobody read.
    pub(super) fn all_are_cut_from(&mut self, node: usize) {
        for index in 0..self.persons.len() {
            if !self.persons[index].is_at(node) {
                continue;
            }
            let letters = self.persons[index].letters.len() as u64;
            let kept = self.stage.chance.between(0, letters) as usize;
            self.stage.findings.counts.unread += letters - kept as u64;
            let person = &mut self.persons[index];
            person.letters.truncate(kept);
            let point = Point::at(&Position::default());
            person.letters.push_back(Letter { what: What::Broken, point, sent_at: self.stage.now });
            self.read_soon(index);
        }
    }

    /// A person that is away tries a node.
    pub(super) fn returns(&mut self, index: usize) {
        if self.persons[index].place != Whereabouts::Away {
            return;
        }
        let open = self.open_nodes();
        let Some(node) = self.stage.chance.pick(&open) else {
            self.stage.within(100 * MILLI, 300 * MILLI, Event::Returns(index));
            return;
        };
        let shard = self.stage.chance.index(self.nodes[node].seats.len()).unwrap_or(0);
        self.connect_person(index, node, shard);
    }

    /// Nodes that take clients.
    pub(super) fn open_nodes(&self) -> Vec<usize> {
        let open = |node: &crate::node::Node| {
            node.alive && !node.draining && !node.frozen && node.numbers.open_since.is_some()
        };
        (0..self.nodes.len()).filter(|node| open(&self.nodes[*node])).collect()
    }

    /// Whether a person misses something that it was promised: all that is for it if it is `complete`, else what
    /// it was told that it has.
    fn check_chapter(&mut self, index: usize, complete: bool) {
        let person = &self.persons[index];
        let chapter = &person.chapter;
        if chapter.nodes.is_empty() {
            return;
        }
        let told = super::shards::wire_position(person.progress.position());
        let check = if chapter.resumes > 0 { Check::Recovered } else { Check::Deliveries };
        let mut missing = Vec::new();
        let mut excused = 0;
        for (manager, accepter) in self.stage.truth.managers.iter().enumerate() {
            let named = chapter.from.get(accepter.id);
            for (seq, message) in (1..).zip(&accepter.messages) {
                let id = Id { manager, seq };
                // What was accepted before may have been kept from everybody.
                let begun = message.real >= chapter.since && named.is_none_or(|from| seq > from);
                let due = complete || seq <= told.at(accepter.id);
                if !begun || !due || chapter.contents.contains(&message.content) {
                    continue;
                }
                // A retry is for nobody who came after the original.
                if self.came_before(chapter, id, message) {
                    continue;
                }
                if message.request.is_some_and(|request| self.stage.truth.conflicting.contains(&request)) {
                    continue;
                }
                let stays = |(stay, at): &(Stay, u64)| {
                    let from = stay.from.until.get(accepter.id).is_some() || message.real >= *at;
                    from.then(|| stay.clone())
                };
                let stays: Vec<Stay> = match &message.target {
                    crate::truth::Target::Room { room, .. } => chapter
                        .stays
                        .iter()
                        .filter(|(stay, _)| stay.room == *room)
                        .filter_map(stays)
                        .collect(),
                    _ => Vec::new(),
                };
                if is_for(&message.target, person.app, person.user, &stays, accepter.id, seq) != Wants::Yes {
                    continue;
                }
                if self.went_with_its_manager(chapter, id, message.real) {
                    excused += 1;
                } else {
                    missing.push(id);
                }
            }
        }
        self.stage.findings.counts.lost_with_manager += excused;
        if let Some(first) = missing.first() {
            let what =
                format!("{} misses {first} and {} more, told {told:?}", person.name, missing.len() - 1);
            self.stage.broken(check, what);
        }
    }

    /// Whether a message is another one's repeat at a node that the person was on, or was one before it came.
    fn came_before(&self, chapter: &Chapter, id: Id, message: &Accepted) -> bool {
        let Some(request) = message.request else { return false };
        let covered = |id: &Id| id.seq <= chapter.from.at(self.stage.truth.managers[id.manager].id);
        if self.stage.truth.identities.get(&request).is_some_and(|of| of.iter().any(covered)) {
            return true;
        }
        chapter.nodes.iter().any(|(node, _)| {
            self.nodes[*node].numbers.requests.get(&request).is_some_and(|first| *first != id)
        })
    }

    /// Rule 9: its manager ended while it was pending at a node that the person was on later.
    fn went_with_its_manager(&self, chapter: &Chapter, id: Id, accepted: u64) -> bool {
        let manager = &self.managers[id.manager];
        let Some(pending) = &manager.left_pending else { return false };
        chapter.nodes.iter().filter(|(_, until)| *until >= accepted).any(|(node, _)| {
            // A manager that came while the registry had lost the node's record did not know of it.
            let lately = |at: &u64| *at <= accepted && accepted < *at + 2 * SECOND;
            // Nor did one that ended before the news of its present record reached it.
            let unheard = self.nodes[*node].recorded.is_none_or(|at| manager.learned < Some(at));
            let unknown = || unheard || self.wiped_at.iter().any(lately);
            // What its log no longer had when it learned of a node counts as acknowledged by it.
            let pends = pending.get(node).is_some_and(|acked| *acked < id.seq) || unknown();
            pends && !self.nodes[*node].numbers.arrived.contains(&id)
        })
    }

    pub(super) fn persons_have_theirs(&mut self) {
        for index in 0..self.persons.len() {
            let Whereabouts::At { node, shard, client } = self.persons[index].place else { continue };
            while let Some(letter) = self.persons[index].letters.pop_front() {
                self.read_letter(index, letter);
            }
            let of = &self.nodes[node].seats[shard].clients[client];
            let here = self.persons[index].is_at(node) && self.nodes[node].alive && of.is_open();
            let waits = of.socket.refuses() || of.held.is_some() || self.persons[index].resuming;
            if here && !waits {
                self.check_chapter(index, true);
                self.check_rooms(index);
            }
        }
        self.one_of_each_stays();
    }

    /// Where the newest decision about a person and a room is clear, the person is there or not as it says.
    fn check_rooms(&mut self, index: usize) {
        let person = &self.persons[index];
        if self.stage.skew > 0 || self.managers.iter().any(|manager| manager.left_pending.is_some()) {
            return;
        }
        let now = self.stage.now;
        let rooms = person.chapter.rooms();
        let mut wrong = None;
        for (room, name) in ROOMS.iter().enumerate() {
            let messages = self.stage.truth.managers.iter().flat_map(|manager| &manager.messages);
            let about = messages.filter_map(|message| {
                let Target::Control { app, control } = &message.target else { return None };
                let mine = match &control.whose {
                    Some(control::Whose::UserId(user)) => *user == USERS[person.user],
                    Some(control::Whose::ConnectionId(id)) => *id == person.connection_id,
                    None => false,
                };
                let puts = match &control.action {
                    Some(control::Action::Join(of)) if of == name => true,
                    Some(control::Action::Leave(of)) if of == name => false,
                    _ => return None,
                };
                (mine && *app == person.app).then_some((message.at, puts))
            });
            let Some((at, puts)) = about.max() else { continue };
            // A person's own steps count by its node's clock, and it may have come too late for it.
            let acted = person.acted[room].max(person.chapter.since);
            if at > acted + SECOND && at + 4 * SECOND < now && rooms.contains(&room) != puts {
                wrong = Some(format!("{} is in {rooms:?}, of {name} the decision was {puts}", person.name));
            }
        }
        if let Some(what) = wrong {
            self.stage.broken(Check::Membership, what);
        }
    }

    /// Rule 9: a claim of this connection went with the manager that had logged it, before it reached these nodes.
    fn claim_went(&self, connection_id: u64, nodes: [usize; 2]) -> bool {
        self.managers.iter().filter(|manager| manager.left_pending.is_some()).any(|manager| {
            let messages = (1..).zip(&self.stage.truth.managers[manager.index].messages);
            let claims = messages.filter(|(_, message)| match &message.target {
                Target::Control { control, .. } => {
                    matches!(control.action, Some(control::Action::Claim(_)))
                        && control.whose == Some(control::Whose::ConnectionId(connection_id))
                }
                _ => false,
            });
            let lost = |(seq, _): (u64, &Accepted)| {
                let id = Id { manager: manager.index, seq };
                nodes.iter().any(|node| !self.nodes[*node].numbers.arrived.contains(&id))
            };
            claims.into_iter().any(lost)
        })
    }

    /// Of the connections of one id one is left, and not fewer because of each other.
    fn one_of_each_stays(&mut self) {
        let mut open: Vec<(u64, usize, String)> = Vec::new();
        for (at, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.alive) {
            for client in node.seats.iter().flat_map(|seat| &seat.clients) {
                if client.is_open() && client.from.is_some() {
                    open.push((client.connection_id, at, client.name.to_string()));
                }
            }
        }
        open.sort();
        let twins = |pair: &&[(u64, usize, String)]| {
            pair[0].0 == pair[1].0 && !self.claim_went(pair[0].0, [pair[0].1, pair[1].1])
        };
        if let Some(pair) = open.windows(2).find(twins) {
            let what = format!("{} and {} both stay", pair[0].2, pair[1].2);
            self.stage.broken(Check::Claims, what);
        }
        let is_there = |person: &crate::person::Person| person.place != Whereabouts::Gone;
        let lost = self.persons.iter().find(|person| {
            // Who replaced it may have got no ticket for that any more, and be another connection by now.
            let replaced = |by: &&crate::person::Person| {
                by.connections.contains(&person.connection_id) && (is_there(by) || !by.was_replaced)
            };
            person.was_replaced && !self.persons.iter().any(|by| replaced(&by))
        });
        if let Some(person) = lost {
            let what = format!("{} was replaced by nobody", person.name);
            self.stage.broken(Check::Claims, what);
        }
    }
}

pub(super) fn rooms_of(names: &[String]) -> Vec<usize> {
    names.iter().filter_map(|name| ROOMS.iter().position(|room| room == name)).collect()
}
