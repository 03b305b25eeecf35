//! What a node process lets in, seen by one more inbox that is interested in everything: check `Numbers`,
//! and the arrival numbers that check `Arrivals` compares with.

use std::{collections::HashMap, sync::Arc};

use connect_node::{
    inbox::{Inbox, Taken},
    key::{EVERYONE, Key, Keys},
};

use crate::{
    findings::Check,
    stage::Stage,
    truth::{APPS, Id, Position, ROOMS, Truth, USERS},
};

/// How one manager stands with a node process, as it really is.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// The seq that has to come next; `None` before a Fill.
    pub(crate) next: Option<u64>,
    /// What Gaps said is lost.
    pub(crate) gaps: Vec<(u64, u64)>,
    /// Acknowledgements the manager said it holds.
    pub(crate) confirmed: u64,
    /// Newest seq ever acknowledged to it.
    pub(crate) acked: u64,
    /// There was a time when the manager had accepted messages and the node could not know of it: `as_of`
    /// makes no promise about that manager any more.
    pub(crate) exempt: bool,
    /// The link that speaks for it.
    pub(crate) link: Option<usize>,
    pub(crate) unlinked_at: u64,
    pub(crate) closed: bool,
}

/// The inbox, and what came out of it.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) inbox: Arc<Inbox>,
    taken: Taken,
    /// Messages in the order of arrival, without those that are for nobody.
    pub(crate) arrived: Vec<Id>,
    /// Where every message stands in the order of arrival, those too that only clients that resume may get.
    order: HashMap<Id, usize>,
    newest_arrival: u64,
    /// What came first of each request, kept from everybody or not.
    pub(crate) requests: HashMap<u64, Id>,
    /// By manager id.
    pub(crate) standings: HashMap<u64, Standing>,
    /// When the node began to take clients. What was accepted before is for none of them.
    pub(crate) open_since: Option<u64>,
    /// The largest `as_of` quoted by this process.
    pub(crate) claimed: u64,
}

impl Numbers {
    pub(crate) fn new(keys: &Keys) -> Self {
        let inbox = Arc::new(Inbox::default());
        let mut taken = Taken::default();
        inbox.subscribe(&all_keys(keys), &mut taken);
        Self {
            inbox,
            taken,
            arrived: Vec::new(),
            order: HashMap::new(),
            newest_arrival: 0,
            requests: HashMap::new(),
            standings: HashMap::new(),
            open_since: None,
            claimed: 0,
        }
    }

    pub(crate) fn standing(&mut self, manager: u64) -> &mut Standing {
        self.standings.entry(manager).or_default()
    }

    pub(crate) fn is_exempt(&self, manager: u64) -> bool {
        self.standings.get(&manager).is_some_and(|standing| standing.exempt)
    }

    /// Whether a message may be kept from everybody: nobody can have been there when it was accepted.
    pub(crate) fn is_before_clients(&self, real: u64) -> bool {
        self.open_since.is_none_or(|open| real < open)
    }

    /// A manager said where it starts.
    pub(crate) fn filled_from(&mut self, manager: u64, first: u64) {
        let standing = self.standing(manager);
        standing.next = Some(first);
        standing.confirmed = first - 1;
    }

    /// The node took messages; to be called before [`Self::look`], which does not see those that are for nobody.
    pub(crate) fn took(&mut self, truth: &Truth, ids: impl Iterator<Item = Id>) {
        for id in ids {
            self.put_in_order(id);
            if let Some(request) = truth.message(id).and_then(|message| message.request) {
                self.requests.entry(request).or_insert(id);
            }
        }
    }

    /// Looks at what came in. Returns up to where everything came before a hole, if one did.
    pub(crate) fn look(&mut self, stage: &mut Stage, node: &str) -> Option<Position> {
        let mut taken = std::mem::take(&mut self.taken);
        self.inbox.take(&mut taken);
        for delivery in taken.deliveries.drain(..) {
            let placement = &delivery.placement;
            for index in &delivery.wanted {
                let index = *index as usize;
                let message = placement.batch().message(index);
                let id = match placement.manager() {
                    Some(manager) => stage.truth.id_of(manager, message.seq),
                    None => Id::of_content(message.content),
                };
                self.arrive(placement.arrival(index), id, stage, node);
            }
            placement.finish_shard();
        }
        let hole = (!taken.holes.is_empty()).then(|| position_of(&taken.marks));
        self.taken = taken;
        hole
    }

    fn arrive(&mut self, arrival: u64, id: Option<Id>, stage: &mut Stage, node: &str) {
        if arrival <= self.newest_arrival {
            let newest = self.newest_arrival;
            stage.broken(Check::Arrivals, format!("{node} numbered {arrival} after {newest}"));
        }
        self.newest_arrival = arrival;
        let id = id.filter(|id| stage.truth.message(*id).is_some());
        let Some(id) = id else {
            stage.broken(Check::Numbers, format!("{node} got a message that nobody accepted"));
            return;
        };
        self.put_in_order(id);
        self.arrived.push(id);
        if let Some(request) = stage.truth.message(id).and_then(|message| message.request) {
            let first = *self.requests.entry(request).or_insert(id);
            if first != id {
                stage.broken(Check::Requests, format!("{node} takes {id}, which repeats {first}"));
            }
        }
        match self.standing(stage.truth.managers[id.manager].id).next {
            None => stage.broken(Check::Numbers, format!("{node} got {id} before a Fill")),
            Some(next) if id.seq < next => {
                stage.broken(Check::Numbers, format!("{node} got {id} again, or late: {next} was due"));
            }
            Some(next) => {
                if let Some(missing) = self.first_missing(stage, id.manager, next, id.seq) {
                    stage.broken(Check::Numbers, format!("{node} got {id} but not {missing} before it"));
                }
                self.standing(stage.truth.managers[id.manager].id).next = Some(id.seq + 1);
            }
        }
    }

    /// The first seq from `next` to before `end` that nothing allows to be missing.
    pub(crate) fn first_missing(&self, stage: &Stage, manager: usize, next: u64, end: u64) -> Option<u64> {
        let standing = self.standings.get(&stage.truth.managers[manager].id)?;
        (next..end).find(|seq| {
            let lost = standing.gaps.iter().any(|(from, to)| (from..=to).contains(&seq));
            let accepted = stage.truth.message(Id { manager, seq: *seq });
            let first = accepted.and_then(|accepted| self.requests.get(&accepted.request?));
            let repeats = first.is_some_and(|first| *first != Id { manager, seq: *seq });
            // The first of it may have been before clients.
            let others = accepted.and_then(|accepted| stage.truth.identities.get(&accepted.request?));
            let repeats = repeats || others.is_some_and(|others| others.len() > 1);
            !lost && !repeats && !accepted.is_some_and(|accepted| self.is_before_clients(accepted.real))
        })
    }

    fn put_in_order(&mut self, id: Id) {
        let next = self.order.len();
        self.order.entry(id).or_insert(next);
    }

    /// Where a message stands in the order of arrival.
    pub(crate) fn place_of(&self, id: Id) -> Option<usize> {
        self.order.get(&id).copied()
    }
}

/// A product's marks as a position.
pub(crate) fn position_of(marks: &connect_node::position::Marks) -> Position {
    Position(marks.position().collect())
}

fn all_keys(keys: &Keys) -> Vec<Key> {
    let mut all = vec![EVERYONE];
    for app in APPS {
        let app = app.as_bytes();
        all.push(keys.app(app));
        all.extend(ROOMS.iter().map(|room| keys.room(app, room.as_bytes())));
        all.extend(USERS.iter().map(|user| keys.user(app, user.as_bytes())));
    }
    all
}
