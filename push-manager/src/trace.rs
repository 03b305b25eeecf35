//! For whoever watches a manager at work: what it accepts, and what its nodes make of that. Sampled, so that
//! watching costs the same however much is pushed, and nothing while nobody does.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use pushcast_common::id::ManagerId;
use pushcast_proto::connectnode::v1::{Message, message::Target};
use tokio::sync::broadcast;

use crate::{api::Api, clock::SECOND, push::message_id};

/// Events kept for a watcher that is slow; it loses the oldest beyond.
const EVENTS_KEPT: usize = 4096;

/// Pushes traced whose acknowledgements may still come; a node that takes longer than these is not traced.
const AWAITED: usize = 256;

/// Ids of a push to several users that are told: as many as a watcher may have in sight.
const IDS_TOLD: usize = 60;

/// Pushes traced at once after a quiet while.
const BURST: u64 = 10;

/// What a watcher is told.
#[derive(Clone, Debug)]
pub enum Traced {
    /// A push was accepted.
    Accepted(Arc<TracedPush>),
    /// A node has placed a traced push.
    Acked(TracedAck),
}

/// An accepted push.
#[derive(Debug)]
pub struct TracedPush {
    /// Its number.
    pub seq: u64,
    /// Its identity, as clients see it.
    pub message_id: String,
    /// How it came.
    pub api: Api,
    /// Tenant.
    pub app: String,
    /// Whom it is for.
    pub target: TracedTarget,
    /// `Service/NotifyType`.
    pub uri: String,
    /// The content.
    pub content: Bytes,
    /// Names of the nodes it goes to, sorted.
    pub nodes: Vec<String>,
}

/// Whom a push is for.
#[derive(Debug)]
pub enum TracedTarget {
    /// A room.
    Room(String),
    /// A user.
    User(String),
    /// Several users: the first of them, and how many there are in all.
    Users(Vec<String>, usize),
    /// Everyone.
    Everyone,
}

/// What a node made of a push.
#[derive(Clone, Debug)]
pub struct TracedAck {
    /// The push.
    pub seq: u64,
    /// The node.
    pub node: String,
    /// Connections it was placed in; 0: it was filtered there.
    pub recipients: u32,
    /// Microseconds since it was accepted.
    pub after: u64,
}

/// A handle to watch a manager with; clones share it. Give it to [`crate::run_with`].
#[derive(Clone, Debug)]
pub struct Tracer {
    events: broadcast::Sender<Traced>,
    per_second: u64,
}

impl Tracer {
    /// Traces at most this many pushes a second.
    pub fn new(per_second: u64) -> Self {
        Self { events: broadcast::Sender::new(EVENTS_KEPT), per_second: per_second.max(1) }
    }

    /// Everything traced from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Traced> {
        self.events.subscribe()
    }
}

/// Decides what is traced.
#[derive(Debug)]
pub(crate) struct Sampler {
    tracer: Tracer,
    /// Pushes that may be traced now, in units of 1/`SECOND` for each of `per_second`.
    credit: u64,
    credited_at: u64,
    /// Seqs and accept times of traced pushes, ascending.
    awaited: VecDeque<(u64, u64)>,
}

impl Sampler {
    pub(crate) fn new(tracer: Tracer) -> Self {
        Self { tracer, credit: BURST * SECOND, credited_at: 0, awaited: VecDeque::new() }
    }

    /// Whether a push accepted now (microseconds of the monotonic clock) is to be traced.
    pub(crate) fn takes(&mut self, now: u64) -> bool {
        if self.tracer.events.receiver_count() == 0 {
            return false;
        }
        let earned = now.saturating_sub(self.credited_at).saturating_mul(self.tracer.per_second);
        self.credit = self.credit.saturating_add(earned).min(BURST * SECOND);
        self.credited_at = now;
        let takes = self.credit >= SECOND;
        if takes {
            self.credit -= SECOND;
        }
        takes
    }

    /// Tells of a push that is to be traced.
    pub(crate) fn accepted(
        &mut self,
        manager: ManagerId,
        api: Api,
        message: &Message,
        nodes: Vec<String>,
        now: u64,
    ) {
        self.awaited.push_back((message.seq, now));
        if self.awaited.len() > AWAITED {
            self.awaited.pop_front();
        }
        let push = TracedPush {
            seq: message.seq,
            message_id: message_id(manager, message.seq, &message.request_hash),
            api,
            app: message.app.clone(),
            target: target(message),
            uri: message.uri.clone(),
            content: message.content.clone(),
            nodes,
        };
        // The last watcher may have gone just now.
        let _unheard = self.tracer.events.send(Traced::Accepted(Arc::new(push)));
    }

    /// Tells what a node made of those pushes among its acknowledgements that are traced.
    pub(crate) fn acked(&self, node: &str, first: u64, recipients: &[u32], now: u64) {
        let from = self.awaited.partition_point(|&(seq, _)| seq < first);
        for &(seq, accepted_at) in self.awaited.range(from..) {
            let Some(&recipients) = recipients.get((seq - first) as usize) else { return };
            let after = now.saturating_sub(accepted_at);
            let ack = TracedAck { seq, node: node.to_owned(), recipients, after };
            let _unheard = self.tracer.events.send(Traced::Acked(ack));
        }
    }
}

fn target(message: &Message) -> TracedTarget {
    match &message.target {
        Some(Target::RoomId(room)) => TracedTarget::Room(room.clone()),
        Some(Target::UserId(user)) => TracedTarget::User(user.clone()),
        Some(Target::UserIds(users)) => {
            TracedTarget::Users(users.ids.iter().take(IDS_TOLD).cloned().collect(), users.ids.len())
        }
        Some(Target::Everyone(_) | Target::Control(_)) | None => TracedTarget::Everyone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(sampler: &mut Sampler, seq: u64, now: u64) -> bool {
        let message = Message { seq, target: Some(Target::RoomId("r".to_owned())), ..Message::default() };
        let takes = sampler.takes(now);
        if takes {
            sampler.accepted(ManagerId(1), Api::PushToRoom, &message, vec!["n1".to_owned()], now);
        }
        takes
    }

    #[test]
    fn nothing_is_traced_while_nobody_watches() {
        let tracer = Tracer::new(40);
        let mut sampler = Sampler::new(tracer.clone());
        assert!(!push(&mut sampler, 1, 0));
        let _watcher = tracer.subscribe();
        assert!(push(&mut sampler, 2, 0));
    }

    #[test]
    fn a_flood_is_sampled_at_the_rate_asked_for() {
        let tracer = Tracer::new(40);
        let _watcher = tracer.subscribe();
        let mut sampler = Sampler::new(tracer);
        // 10,000 pushes a second, for ten seconds.
        let traced = (1..=100_000).filter(|&seq| push(&mut sampler, seq, seq * 100)).count() as u64;
        assert!((400..=400 + BURST).contains(&traced), "{traced}");
        assert_eq!(sampler.awaited.len(), AWAITED);
    }

    #[test]
    fn acknowledgements_of_traced_pushes_alone_are_told() {
        let tracer = Tracer::new(1);
        let mut watcher = tracer.subscribe();
        let mut sampler = Sampler::new(tracer);
        sampler.credit = 2 * SECOND;
        assert_eq!([1, 2, 3].map(|seq| push(&mut sampler, seq, 5)), [true, true, false]);
        sampler.acked("n1", 2, &[7, 8], 9);
        let told: Vec<_> = std::iter::from_fn(|| watcher.try_recv().ok()).collect();
        let [Traced::Accepted(one), Traced::Accepted(two), Traced::Acked(ack)] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert_eq!((one.seq, two.seq), (1, 2));
        assert_eq!((ack.seq, ack.recipients, ack.after), (2, 7, 4));
    }
}
