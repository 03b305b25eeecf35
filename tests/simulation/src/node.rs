//! One node process: the product's ingest and shards, each shard with its own event loop that may lag.

use std::{ops::RangeInclusive, pin::pin, rc::Rc, sync::Arc};

use connect_node::{
    ShardMetrics,
    auth::ClientAuth,
    inbox::Inbox,
    ingest::{Ingest, IngestSettings, Owner},
    key::Keys,
    limits::Limits,
    position::Marks,
    shard::state::{Now, Shard, ShardSettings},
    tickets::TicketKeys,
    window::WindowLimits,
};
use tokio::sync::Notify;

use crate::{
    client::{Client, Wants},
    naive::Naive,
    numbers::{Numbers, position_of},
    quotes::Quote,
    socket::Wire,
    stage::{Clock, MILLI, SECOND, Stage},
    truth::{Accepted, Position, Target, Truth},
};

/// How long a record outlives its process.
pub(crate) const LEASE: u64 = 1_500 * MILLI;

/// What ingest has of a shard.
type End = (Arc<Inbox>, Arc<Notify>);

/// The fleet's.
fn ticket_keys() -> TicketKeys {
    TicketKeys::from_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap_or_default()
}

/// A shard and what its thread would have.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) shard: Shard<Wire>,
    pub(crate) inbox: Arc<Inbox>,
    wake: Arc<Notify>,
    pub(crate) clients: Vec<Client>,
    /// How long after its wake the loop turns, at most; microseconds.
    pub(crate) lag: u64,
    pub(crate) turns_at: u64,
    /// The loop is in the middle of flushing.
    pub(crate) flushing: bool,
    pub(crate) newest_arrival: u64,
    /// What was placed when its clients were last looked at.
    pub(crate) looked_at: Rc<Position>,
}

/// See the file.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its place in the fleet; the process that comes after it has the same.
    pub(crate) place: usize,
    pub(crate) name: String,
    pub(crate) instance: String,
    pub(crate) alive: bool,
    pub(crate) draining: bool,
    pub(crate) frozen: bool,
    /// When it went on after it stood still.
    pub(crate) woke_at: u64,
    pub(crate) started_at: u64,
    pub(crate) clock: Clock,
    /// Knows managers from the registry.
    pub(crate) dynamic: bool,
    pub(crate) registered: Vec<u64>,
    pub(crate) learned: Option<u64>,
    /// Version of the registry in which its record was new last.
    pub(crate) recorded: Option<u64>,
    pub(crate) keys: Keys,
    /// One; naive: one for each shard.
    pub(crate) ingests: Vec<Arc<Ingest>>,
    pub(crate) numbers: Numbers,
    pub(crate) seats: Vec<Seat>,
    /// The link that speaks for each manager.
    pub(crate) owners: Vec<Owner>,
}

impl Node {
    pub(crate) fn new(stage: &mut Stage, place: usize, serial: usize) -> Self {
        let keys = Keys::default();
        let numbers = Numbers::new(&keys);
        let dynamic = !stage.chance.one_in(6);
        let name = format!("n{place}");
        let settings = IngestSettings {
            registry: dynamic,
            lease: LEASE,
            window: WindowLimits { bytes: 64 << 20, age: 120 * SECOND },
        };
        let ends: Vec<End> = (0..stage.chance.between(1, 3)).map(|_| End::default()).collect();
        let pairs = |ends: &[End]| -> (Vec<_>, Vec<_>) { ends.iter().cloned().unzip() };
        let ingest = |ends: &[End]| {
            let (inboxes, wakes) = pairs(ends);
            Arc::new(Ingest::new(inboxes, wakes, keys.clone(), settings.clone()))
        };
        let own = (Arc::clone(&numbers.inbox), Arc::new(Notify::new()));
        let ingests: Vec<_> = if stage.is(Naive::ArrivalPerShard) {
            let first = ingest(&[ends[0].clone(), own]);
            [first].into_iter().chain(ends[1..].iter().map(|end| ingest(std::slice::from_ref(end)))).collect()
        } else {
            vec![ingest(&[&ends[..], &[own]].concat())]
        };
        let seats = ends
            .into_iter()
            .enumerate()
            .map(|(at, end)| {
                let ingest = Arc::clone(ingests.get(at).unwrap_or(&ingests[0]));
                Seat::new(stage, &name, keys.clone(), ingest, end)
            })
            .collect();
        Self {
            place,
            instance: format!("{name}.{serial}"),
            name,
            alive: true,
            draining: false,
            frozen: false,
            woke_at: 0,
            started_at: stage.now,
            clock: Clock::any(&mut stage.chance, stage.skew),
            dynamic,
            registered: Vec::new(),
            learned: None,
            recorded: None,
            keys,
            ingests,
            numbers,
            seats,
            owners: Vec::new(),
        }
    }

    pub(crate) fn ingest(&self) -> &Ingest {
        &self.ingests[0]
    }

    pub(crate) fn now(&self, stage: &Stage) -> Now {
        Now { millis: (stage.now - self.started_at) / MILLI, micros: self.clock.read(stage.now) }
    }

    /// Connections of this process that a message was placed in, of one user or of all; fewest and most.
    pub(crate) fn recipients(
        &self,
        manager: u64,
        seq: u64,
        message: &Accepted,
        user: Option<usize>,
        truth: &Truth,
    ) -> RangeInclusive<u32> {
        let clients = self.seats.iter().flat_map(|seat| &seat.clients);
        let of_user = clients.filter(|client| user.is_none_or(|user| client.user == user));
        let (mut fewest, mut most) = (0, 0);
        for client in of_user {
            // What it was put into, or taken out of, it may not have been told yet.
            let untold = client.from.is_some()
                && client.socket.ever_refused()
                && matches!(message.target, Target::Room { .. })
                && truth.decided.contains(&(client.app, client.user));
            match client.counts(manager, seq, message) {
                _ if untold => most += 1,
                Wants::No => {}
                Wants::Maybe => most += 1,
                Wants::Yes => (fewest, most) = (fewest + 1, most + 1),
            }
        }
        fewest..=most
    }

    /// Notes whether the node can know of a manager that accepts messages now.
    pub(crate) fn note_knowledge(&mut self, manager: u64, now: u64) {
        let registered = self.dynamic && self.registered.contains(&manager);
        let dynamic = self.dynamic;
        let standing = self.numbers.standing(manager);
        // Without a registry a manager is gone 10 s after its link.
        let lately = !dynamic && standing.next.is_some() && now < standing.unlinked_at + 10 * SECOND;
        let known = (registered || lately || standing.link.is_some()) && !standing.closed;
        standing.exempt |= !known;
    }

    /// What a client is told; `told` is what the product says.
    pub(crate) fn quote(&self, stage: &Stage, shard: usize, told: Quote) -> Quote {
        let marks = self.seats[shard].shard.marks();
        let as_of = match stage.naive {
            Some(Naive::QuoteReceived) => return Quote { position: self.received(), ..told },
            Some(Naive::AsOfOfLinked) => self.as_of_of_linked(marks, self.clock.read(stage.now)),
            Some(Naive::AsOfOfNewest) => {
                let managers = told.position.0.iter();
                let through = managers.filter_map(|(manager, _)| Some(marks.get(*manager)?.through)).max();
                through.unwrap_or(self.clock.read(stage.now))
            }
            Some(Naive::AsOfWithoutMaximum) => marks.as_of(self.clock.read(stage.now)),
            _ => return told,
        };
        Quote { as_of: as_of / MILLI * MILLI, ..told }
    }

    fn received(&self) -> Position {
        let received = |owner: &Owner| Some((owner.manager, self.ingest().progress(*owner).ok()?.received));
        Position(self.owners.iter().filter_map(received).collect())
    }

    fn as_of_of_linked(&self, marks: &Marks, now: u64) -> u64 {
        let managers = self.ingest().managers();
        let linked = managers.iter().filter(|manager| manager.linked);
        linked.filter_map(|manager| Some(marks.get(manager.manager)?.through)).min().unwrap_or(now)
    }
}

impl Seat {
    fn new(stage: &mut Stage, node: &str, keys: Keys, ingest: Arc<Ingest>, (inbox, wake): End) -> Self {
        let chance = &mut stage.chance;
        let settings = ShardSettings {
            node_id: node.to_owned(),
            heartbeat: chance.between(1_000, 3_000),
            // Small ones are overrun by a client that refuses.
            outbox_bytes: if chance.one_in(4) { 400 } else { 1 << 20 },
            ticket_keys: ticket_keys(),
            auth: ClientAuth::Open,
            token_warning: 60_000,
            limits: Limits::default().of_clients(),
        };
        let seed = chance.number();
        let lag = match chance.below(6) {
            0 => 1_500 * MILLI,
            1 => 300 * MILLI,
            _ => 3 * MILLI,
        };
        Self {
            shard: Shard::new(settings, keys, ingest, Arc::clone(&inbox), ShardMetrics::new(0)).seeded(seed),
            inbox,
            wake,
            clients: Vec::new(),
            lag,
            turns_at: u64::MAX,
            flushing: false,
            newest_arrival: 0,
            looked_at: Rc::default(),
        }
    }

    /// What everything wanted here is placed up to.
    pub(crate) fn placed(&self) -> Position {
        position_of(self.shard.marks())
    }

    /// Whether its loop was woken since the last call.
    pub(crate) fn take_wake(&self) -> bool {
        take_permit(&self.wake)
    }
}

/// Whether somebody was notified, as its waiter would see it.
pub(crate) fn take_permit(notify: &Notify) -> bool {
    pin!(notify.notified()).enable()
}
