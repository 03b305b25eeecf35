//! A schedule: who there is, what happens to them, and when it ends.
//!
//! In reading order: `links` is what connects managers and nodes; `manager_side` and `node_side` are the two
//! halves of a link, `acks` what the node acknowledges on it; `shards` turns event loops and reads what clients got; `clients` lets them act, `persons` lets them come back;
//! `faults` is what goes wrong; `members` is processes and registry; `ending` checks what has to hold at the
//! end; `naive_forms` is what replaces a mechanism.

mod acks;
mod clients;
mod ending;
mod faults;
mod links;
mod manager_side;
mod members;
mod naive_forms;
mod node_side;
mod persons;
mod shards;

use crate::{
    findings::{Findings, Report},
    manager::{Manager, Push},
    naive::Naive,
    node::Node,
    person::Person,
    pipe::Link,
    registry::Registry,
    stage::{BEGIN, Event, MILLI, Process, SECOND, Stage},
    truth::{APPS, Id, ROOMS, Target, USERS},
};
use pushcast_proto::connectnode::v1::{Control, Kick, control};

/// How long nothing goes wrong at the end: longer than any lease, back-off, lag and readiness together.
const CALM: u64 = 6 * SECOND;

/// See the file.
#[derive(Debug)]
pub(crate) struct World {
    seed: u64,
    stage: Stage,
    registry: Registry,
    managers: Vec<Manager>,
    nodes: Vec<Node>,
    links: Vec<Link>,
    persons: Vec<Person>,
    /// The process at each node's address.
    places: Vec<usize>,
    /// Until when a manager and a place cannot reach each other.
    partitions: Vec<(usize, usize, u64)>,
    /// From here on nothing goes wrong any more.
    calm_at: u64,
    /// Until here nothing happens but what happens by itself.
    busy_at: u64,
    /// Pushes that may be repeated.
    requests: Vec<(u64, Id, Target)>,
    /// When the registry lost everything.
    wiped_at: Vec<u64>,
    /// Until when nobody hears of the registry.
    silent_until: u64,
    push_every: u64,
    fault_every: u64,
}

impl World {
    pub(crate) fn new(seed: u64, naive: Option<Naive>, story: bool) -> Self {
        let mut stage = Stage::new(seed, naive, story);
        let chance = &mut stage.chance;
        // Mostly a fleet that has stood for a while, so that it knows what was before.
        let busy_at = BEGIN + if chance.one_in(4) { 0 } else { 7 * SECOND };
        let calm_at = busy_at + chance.between(3 * SECOND, 7 * SECOND);
        let push_every = chance.pick(&[60 * MILLI, 200 * MILLI, 500 * MILLI]).unwrap_or(SECOND);
        let fault_every = chance.pick(&[200 * MILLI, 600 * MILLI, 2 * SECOND]).unwrap_or(SECOND);
        Self {
            seed,
            stage,
            registry: Registry::default(),
            managers: Vec::new(),
            nodes: Vec::new(),
            links: Vec::new(),
            persons: Vec::new(),
            places: Vec::new(),
            partitions: Vec::new(),
            calm_at,
            busy_at,
            requests: Vec::new(),
            wiped_at: Vec::new(),
            silent_until: 0,
            push_every,
            fault_every,
        }
    }

    pub(crate) fn run(mut self) -> Report {
        let (managers, places) = (self.stage.chance.between(1, 3), self.stage.chance.between(1, 3));
        for place in 0..places as usize {
            self.places.push(usize::MAX);
            self.start_node(place);
        }
        for _ in 0..managers {
            self.start_manager();
        }
        let busy_at = self.busy_at;
        let (acts, fails) = (self.stage.chance.below(SECOND), self.stage.chance.between(SECOND, 2 * SECOND));
        self.stage.at(busy_at + acts, Event::ClientActs);
        self.stage.at(busy_at + fails, Event::Fault);
        let end = self.calm_at + CALM;
        while let Some(event) = self.stage.next(end) {
            self.happen(event);
        }
        self.end();
        let Findings { violations, counts, story } = self.stage.findings;
        Report { seed: self.seed, violations, counts, story: story.unwrap_or_default() }
    }

    fn is_calm(&self) -> bool {
        self.stage.now >= self.calm_at
    }

    fn happen(&mut self, event: Event) {
        if tells(&event) {
            self.stage.tell(|| format!("{event:?}"));
        }
        let Some(event) = self.unless_frozen(event) else { return };
        match event {
            Event::Drained(node) => self.end_node(node),
            Event::Push(manager) => self.push(manager),
            Event::Settle(manager) => {
                if self.managers[manager].alive {
                    self.managers[manager].on_time(&mut self.stage);
                }
            }
            Event::MayTakePushes(manager) => self.may_take_pushes(manager),
            Event::Stopped(manager) => self.stopped(manager),
            Event::Dial { manager, key } => self.dial(manager, key),
            Event::Pump(link) => self.pump(link),
            Event::Arrive { link, side } => self.arrive(link, side),
            Event::Notice { link, side } => self.notice(link, side),
            Event::Acknowledge(link) => self.acknowledge(link),
            Event::Beat(link) => self.beat(link),
            Event::Turn { node, shard } => self.turn(node, shard),
            Event::Sweep(node) => self.sweep(node),
            Event::MayTakeClients(node) => self.may_take_clients(node),
            Event::ClientActs => self.clients_act(),
            Event::Writable { node, shard, client } => self.writable(node, shard, client),
            Event::Reads(person) => self.reads(person),
            Event::Returns(person) => self.returns(person),
            Event::Fault => self.fault(),
            Event::Register(process) => self.register(process),
            Event::Unregister(process) => self.unregister(process),
            Event::Learn(process, news) => self.learn(process, news),
            Event::Restart(process) => self.restart(process),
            Event::LateInterest { node, shard, keys } => self.late_interest(node, shard, &keys),
            Event::Alone { node, batch } => self.alone(node, batch),
            Event::ShardFrame { link, shard, frame } => self.shard_frame(link, shard, frame),
        }
    }

    /// A manager accepts one message, or a burst.
    fn push(&mut self, manager: usize) {
        if !self.managers[manager].open || self.is_calm() {
            return;
        }
        let burst = if self.stage.chance.one_in(12) { self.stage.chance.between(5, 25) } else { 1 };
        for _ in 0..burst {
            if !self.managers[manager].answers.has_nodes() {
                break;
            }
            let push = self.what_to_push(manager);
            let accepted_at = self.managers[manager].push(&mut self.stage, push);
            self.nobody_claimed(manager, accepted_at);
        }
        self.pump_all(manager);
        let pause = self.push_every;
        self.stage.within(0, 2 * pause, Event::Push(manager));
    }

    /// A push, now and then one that was pushed before, or a decision.
    fn what_to_push(&mut self, manager: usize) -> Push {
        if self.stage.chance.one_in(10)
            && let Some(target) = self.decision()
        {
            self.stage.findings.counts.decisions += 1;
            return Push { target, content: None, request: None };
        }
        let target = self.target();
        if !self.stage.chance.one_in(4) {
            return Push { target, content: None, request: None };
        }
        let own = Id { manager, seq: self.managers[manager].log.newest() + 1 };
        let known = self.stage.chance.index(self.requests.len()).filter(|_| self.stage.chance.one_in(2));
        match known.map(|at| self.requests[at].clone()) {
            Some((request, content, target)) if !self.stage.chance.one_in(8) => {
                self.stage.findings.counts.retries += 1;
                Push { target, content: Some(content), request: Some(request) }
            }
            Some((request, ..)) => {
                self.stage.findings.counts.conflicts += 1;
                self.stage.truth.conflicting.insert(request);
                Push { target, content: None, request: Some(request) }
            }
            None => {
                let request = self.requests.len() as u64 + 1;
                self.requests.push((request, own, target.clone()));
                Push { target, content: None, request: Some(request) }
            }
        }
    }

    /// What a business server decides about somebody.
    fn decision(&mut self) -> Option<Target> {
        let person = self.stage.chance.index(self.persons.len())?;
        let person = &self.persons[person];
        let (app, user) = (person.app, person.user);
        let chance = &mut self.stage.chance;
        let whose = if person.connection_id != 0 && chance.one_in(3) {
            control::Whose::ConnectionId(person.connection_id)
        } else {
            control::Whose::UserId(USERS[user].to_owned())
        };
        let room = ROOMS[chance.below(ROOMS.len() as u64) as usize].to_owned();
        let action = match chance.below(12) {
            0 => control::Action::Kick(Kick { reason: String::new(), reconnect: chance.one_in(2) }),
            1..=6 => control::Action::Join(room),
            _ => control::Action::Leave(room),
        };
        self.stage.truth.decided.insert((app, user));
        Some(Target::Control { app, control: Control { whose: Some(whose), action: Some(action) } })
    }

    /// No `as_of` that was quoted may cover a message that is accepted only now.
    pub(crate) fn nobody_claimed(&mut self, manager: usize, accepted_at: u64) {
        let id = self.managers[manager].id;
        for node in self.nodes.iter_mut().filter(|node| node.alive) {
            node.note_knowledge(id, self.stage.now);
            let claimed = node.numbers.claimed.saturating_sub(self.stage.skew);
            if accepted_at <= claimed && !node.numbers.is_exempt(id) {
                let what =
                    format!("{} quoted as_of {claimed}, now m{manager} accepts at {accepted_at}", node.name);
                self.stage.broken(crate::findings::Check::AsOf, what);
            }
        }
    }

    fn target(&mut self) -> Target {
        let chance = &mut self.stage.chance;
        // Most of it in one tenant and one room, so that messages meet members.
        let app = if chance.one_in(5) { 1 } else { 0 };
        let room = chance.below(ROOMS.len() as u64) as usize;
        let user = chance.below(USERS.len() as u64) as usize;
        debug_assert!(app < APPS.len());
        match chance.below(10) {
            0 => Target::User { app, user },
            1 => Target::Users { app, users: vec![user, (user + 1) % USERS.len()] },
            2 => Target::App { app },
            3 => Target::Everyone,
            _ => Target::Room { app, room },
        }
    }

    /// Whether a manager reaches a place.
    fn reaches(&mut self, manager: usize, place: usize) -> bool {
        let now = self.stage.now;
        self.partitions.retain(|(_, _, until)| *until > now);
        !self.partitions.iter().any(|(m, p, _)| (*m, *p) == (manager, place))
    }

    fn is_alive(&self, process: Process) -> bool {
        match process {
            Process::Manager(manager) => self.managers[manager].alive,
            Process::Node(node) => self.nodes[node].alive,
        }
    }
}

/// Whether an event says something by itself.
fn tells(event: &Event) -> bool {
    !matches!(
        event,
        Event::Settle(_)
            | Event::Pump(_)
            | Event::Arrive { .. }
            | Event::Acknowledge(_)
            | Event::Beat(_)
            | Event::Sweep(_)
            | Event::Turn { .. }
            | Event::MayTakeClients(_)
            | Event::MayTakePushes(_)
            | Event::ClientActs
            | Event::Reads(_)
            | Event::Fault
    )
}
