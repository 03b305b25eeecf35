//! What clients do: they come, enter and leave rooms, answer heartbeats, read slowly, fall silent, go.

use std::{
    collections::{HashSet, VecDeque},
    rc::Rc,
};

use connect_node::shard::{connection::Connection, frames::Format};
use pushcast_proto::client::v1::{ClientFrame, Connect, Join, Leave, Pong, client_frame::Frame};
use pushctl::progress::Progress;

use super::World;
use crate::{
    client::Client,
    findings::Check,
    naive::Naive,
    person::{Chapter, Person, Whereabouts},
    socket::{Socket, Wire},
    stage::{Event, MILLI},
    truth::{APPS, ROOMS, USERS},
};

/// Connections that a shard has at most at a time.
const MAX_OPEN: usize = 4;

impl World {
    pub(super) fn clients_act(&mut self) {
        let pause = if self.is_calm() { 200 } else { 60 };
        self.stage.within(0, 2 * pause * MILLI, Event::ClientActs);
        let alive = self.open_nodes();
        for node in &alive {
            self.answer_heartbeats(*node);
        }
        let Some(node) = self.stage.chance.pick(&alive) else { return };
        let seats = self.nodes[node].seats.len();
        let shard = self.stage.chance.below(seats as u64) as usize;
        let clients = &self.nodes[node].seats[shard].clients;
        let open: Vec<usize> =
            (0..clients.len()).filter(|at| clients[*at].is_open() && clients[*at].from.is_some()).collect();
        match self.stage.chance.pick(&open) {
            Some(client) if open.len() >= MAX_OPEN || !self.stage.chance.one_in(3) => {
                self.client_acts(node, shard, client);
            }
            _ => self.connect(node, shard),
        }
    }

    fn answer_heartbeats(&mut self, node: usize) {
        for shard in 0..self.nodes[node].seats.len() {
            for client in 0..self.nodes[node].seats[shard].clients.len() {
                let of = &mut self.nodes[node].seats[shard].clients[client];
                if std::mem::take(&mut of.owes_pong) && of.answers && of.is_open() {
                    self.say(node, shard, client, Frame::Pong(Pong {}));
                }
            }
        }
    }

    /// Somebody new comes.
    fn connect(&mut self, node: usize, shard: usize) {
        let chance = &mut self.stage.chance;
        let lag = chance.pick(&[0, 2 * MILLI, 2 * MILLI, 200 * MILLI, 1_500 * MILLI]).unwrap_or(0);
        let person = Person {
            name: format!("person {}", self.persons.len()).into(),
            app: usize::from(chance.one_in(5)),
            user: chance.below(USERS.len() as u64) as usize,
            format: if chance.one_in(6) { Format::Json } else { Format::Protobuf },
            progress: Progress::default(),
            attempt: 0,
            resuming: false,
            place: Whereabouts::Away,
            letters: VecDeque::new(),
            lag,
            reads_at: u64::MAX,
            seen: HashSet::new(),
            chapter: Chapter::default(),
            asks: (0..ROOMS.len()).filter(|_| chance.one_in(3)).collect(),
            returns: !chance.one_in(5),
            connection_id: 0,
            connections: HashSet::new(),
            was_replaced: false,
            acted: [0; ROOMS.len()],
        };
        self.persons.push(person);
        self.connect_person(self.persons.len() - 1, node, shard);
    }

    /// A person leaves its connection, and comes back twice with the same ticket.
    fn two_of_one(&mut self, index: usize) {
        let twin = Person {
            name: format!("person {} (twin of {index})", self.persons.len()).into(),
            place: Whereabouts::Away,
            letters: VecDeque::new(),
            reads_at: u64::MAX,
            returns: true,
            ..self.persons[index].clone()
        };
        self.persons.push(twin);
        self.is_cut(index);
        self.stage.within(0, 300 * MILLI, Event::Returns(self.persons.len() - 1));
    }

    /// A person connects, with what it knows of its connection before.
    pub(super) fn connect_person(&mut self, index: usize, node: usize, shard: usize) {
        let person = &mut self.persons[index];
        let (app, user, format) = (person.app, person.user, person.format);
        let mut resume = person.progress.resume(person.attempt);
        if let Some(resume) = resume.as_mut().filter(|_| self.stage.is(Naive::PositionIsNotSent)) {
            resume.position.clear();
            resume.as_of = 0;
        }
        person.resuming = resume.is_some();
        let rooms = person.asks.clone();
        let now = self.nodes[node].now(&self.stage);
        let socket = Rc::new(Socket::default());
        let connection = Connection::new(Wire(Rc::clone(&socket)), format, now.millis);
        let seat = &mut self.nodes[node].seats[shard];
        let key = seat.shard.open(connection);
        let keys = {
            let tables = seat.shard.tables();
            let mut keys = tables.keys_to_connect(APPS[app], USERS[user]);
            keys.extend(tables.keys_to_join(APPS[app], rooms.iter().map(|room| ROOMS[*room])));
            keys
        };
        let client = seat.clients.len();
        let name =
            format!("client {client} of shard {shard} of {} (person {index})", self.nodes[node].instance);
        self.persons[index].place = Whereabouts::At { node, shard, client };
        let fresh = resume.is_none();
        let seat = &mut self.nodes[node].seats[shard];
        seat.clients.push(Client::new(&name, key, socket, format, (app, user), index));
        let connect = Connect {
            user_id: USERS[user].to_owned(),
            app: APPS[app].to_owned(),
            rooms: rooms.iter().map(|room| ROOMS[*room].to_owned()).collect(),
            resume,
            ..Connect::default()
        };
        self.stage.tell(|| format!("person {index} connects to {name}: {connect:?}"));
        self.feed(node, shard, client, Frame::Connect(connect));
        if fresh {
            self.add_interest_late(node, shard, keys);
        }
        self.read(node, shard, client);
        let of = &self.nodes[node].seats[shard].clients[client];
        if of.from.is_none() && of.closed.is_none() && !self.nodes[node].draining {
            self.stage.broken(Check::Deliveries, format!("{name} got no connected"));
        }
        self.after_shard(node, shard);
        self.turn_soon(node, shard);
        // It may have to hand up a claim.
        let ups: Vec<usize> = (0..self.links.len())
            .filter(|link| self.links[*link].node == node && self.links[*link].node_up)
            .collect();
        ups.into_iter().for_each(|link| self.acknowledge_soon(link));
    }

    fn client_acts(&mut self, node: usize, shard: usize, client: usize) {
        let rooms: Vec<usize> = (0..ROOMS.len()).filter(|_| self.stage.chance.one_in(2)).collect();
        let names = rooms.iter().map(|room| ROOMS[*room].to_owned()).collect();
        let action = self.stage.chance.below(20);
        let of = &self.nodes[node].seats[shard].clients[client];
        let decided = self.stage.truth.decided.contains(&(of.app, of.user));
        let person = self.nodes[node].seats[shard].clients[client].person;
        if self.persons[person].place != (Whereabouts::At { node, shard, client }) {
            return;
        }
        match action {
            0..=7 if !rooms.is_empty() => {
                let of = &self.nodes[node].seats[shard];
                let app = APPS[of.clients[client].app];
                let keys = of.shard.tables().keys_to_join(app, rooms.iter().map(|room| ROOMS[*room]));
                self.feed(node, shard, client, Frame::Join(Join { rooms: names }));
                self.add_interest_late(node, shard, keys);
                let placed = self.nodes[node].seats[shard].placed();
                rooms.iter().for_each(|room| self.persons[person].acted[*room] = self.stage.now);
                let of = &mut self.nodes[node].seats[shard].clients[client];
                let point = of.point_of_request(&placed, decided);
                of.asks(rooms, Vec::new(), placed, point);
            }
            8..=13 if !rooms.is_empty() => {
                self.feed(node, shard, client, Frame::Leave(Leave { rooms: names }));
                let placed = self.nodes[node].seats[shard].placed();
                rooms.iter().for_each(|room| self.persons[person].acted[*room] = self.stage.now);
                let of = &mut self.nodes[node].seats[shard].clients[client];
                let point = of.point_of_request(&placed, decided);
                of.asks(Vec::new(), rooms, placed, point);
            }
            14 if !self.is_calm() => {
                let now = self.nodes[node].now(&self.stage);
                let seat = &mut self.nodes[node].seats[shard];
                seat.shard.feed(seat.clients[client].key, &Client::encode_close(), now);
                self.is_cut(person);
            }
            16 | 17 if !self.is_calm() => {
                let bytes = self.stage.chance.below(200) as usize;
                self.nodes[node].seats[shard].clients[client].socket.refuse_after(bytes);
                self.stage.within(10 * MILLI, 800 * MILLI, Event::Writable { node, shard, client });
            }
            15 if !self.is_calm() && self.stage.chance.one_in(6) => self.two_of_one(person),
            19 if !self.is_calm() && self.stage.chance.one_in(2) => self.is_cut(person),
            18 if self.stage.chance.one_in(4) && !self.is_calm() => {
                self.nodes[node].seats[shard].clients[client].answers = false;
            }
            _ => self.feed(node, shard, client, Frame::Pong(Pong {})),
        }
        self.after_shard(node, shard);
        self.turn_soon(node, shard);
    }

    /// A client's socket accepts again: the shard sends what waits.
    pub(super) fn writable(&mut self, node: usize, shard: usize, client: usize) {
        let now = self.nodes[node].now(&self.stage);
        let me = &mut self.nodes[node];
        if me.alive {
            let seat = &mut me.seats[shard];
            seat.clients[client].socket.accept_all();
            seat.shard.feed(seat.clients[client].key, &[], now);
            self.after_shard(node, shard);
        }
    }

    fn say(&mut self, node: usize, shard: usize, client: usize, frame: Frame) {
        self.feed(node, shard, client, frame);
        self.after_shard(node, shard);
        self.turn_soon(node, shard);
    }

    fn feed(&mut self, node: usize, shard: usize, client: usize, frame: Frame) {
        let now = self.nodes[node].now(&self.stage);
        let seat = &mut self.nodes[node].seats[shard];
        let client = &seat.clients[client];
        let bytes = client.encode(&ClientFrame { id: 1, frame: Some(frame) });
        seat.shard.feed(client.key, &bytes, now);
    }
}
