//! What a schedule found: the checks by name, the violations, and how much of what it is for really happened.

use std::fmt;

/// A promise that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Check {
    /// Every node process gets every number of every manager once, in order; holes only where a Gap said so
    /// or before its Fill.
    Numbers,
    /// No connection misses a message that is for it, gets one twice, out of its manager's order, or one
    /// that is not for it.
    Deliveries,
    /// A quoted position is never ahead of what was placed for that connection.
    Positions,
    /// `as_of` never covers a message that was not queued to that connection.
    AsOf,
    /// Positions and `as_of` never go back on a connection.
    NeverBack,
    /// Every seq is acknowledged once on each link, with the connections it really was placed in.
    Acknowledgements,
    /// Every push is answered in time, with what was acknowledged and who is pending.
    Answers,
    /// All shards of a node place in the order of the node's arrival numbers.
    Arrivals,
    /// Manager and node never end a link for what the other says, except one that was taken over.
    Conversation,
    /// What a person missed between two connections came when the second one said `recovered`.
    Recovered,
    /// Nothing is shown to a person twice, and each manager's messages in order.
    Repeats,
    /// Nothing comes from a room that a person is not in, or was not in when it was pushed.
    Permission,
    /// In the end a person is in the rooms that the newest decisions say.
    Membership,
    /// A push that is repeated is one message, with one count; another one under its request_id is none.
    Requests,
    /// Of two connections that resume from one ticket one stays.
    Claims,
    /// At a hole whoever is older is moved on within 2 s.
    Holes,
    /// Once faults end, everything arrives, is acknowledged and answered, and `as_of` moves on.
    Progress,
}

impl Check {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Numbers,
        Self::Deliveries,
        Self::Positions,
        Self::AsOf,
        Self::NeverBack,
        Self::Acknowledgements,
        Self::Answers,
        Self::Arrivals,
        Self::Conversation,
        Self::Recovered,
        Self::Repeats,
        Self::Permission,
        Self::Membership,
        Self::Requests,
        Self::Claims,
        Self::Holes,
        Self::Progress,
    ];
}

/// A promise that was broken.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Which.
    pub check: Check,
    /// Virtual microseconds since the start of the schedule.
    pub at: u64,
    /// How.
    pub what: String,
}

/// What happened in a schedule, so that a test can see that the schedules reach what they are for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Events of the schedule.
    pub events: u64,
    /// Messages accepted.
    pub accepted: u64,
    /// Messages read by clients.
    pub delivered: u64,
    /// Positions quoted to clients.
    pub quoted: u64,
    /// Links that broke.
    pub breaks: u64,
    /// Frames lost with a link.
    pub lost_frames: u64,
    /// Frames refused because a newer link took over.
    pub superseded: u64,
    /// Batches that held messages which had arrived before.
    pub duplicates: u64,
    /// Gaps.
    pub gaps: u64,
    /// Fills that brought messages from before the link.
    pub fills: u64,
    /// Processes that crashed.
    pub crashes: u64,
    /// Managers that said Close to a node.
    pub closes: u64,
    /// Acknowledgements that were repeated on a new link.
    pub repeated_acks: u64,
    /// Answers that named a pending node.
    pub pending_answers: u64,
    /// Sends that a client's socket refused.
    pub refused_sends: u64,
    /// Controls that nodes handed up.
    pub handed_up: u64,
    /// Holes at nodes.
    pub holes: u64,
    /// Resumes that recovered, and that did not.
    pub recovered: u64,
    /// See `recovered`.
    pub unrecovered: u64,
    /// Resumes that a node sent on to another one.
    pub moved: u64,
    /// Messages that came again to a person and were dropped by their id.
    pub dropped_repeats: u64,
    /// Frames that a node sent and a person never read.
    pub unread: u64,
    /// Messages lost with the manager that had not sent them to every node (rule 9).
    pub lost_with_manager: u64,
    /// Pushes that repeat another one's request_id, with the same content and with another.
    pub retries: u64,
    /// See `retries`.
    pub conflicts: u64,
    /// Decisions of business servers about rooms and connections.
    pub decisions: u64,
    /// Persons that another connection of theirs took the place of.
    pub replaced: u64,
    /// Nodes that were drained.
    pub drains: u64,
    /// Processes that stood still.
    pub freezes: u64,
}

impl Counts {
    /// Adds another schedule's.
    pub fn add(&mut self, other: &Self) {
        let mut other = *other;
        for ((_, mine), (_, theirs)) in self.named_mut().into_iter().zip(other.named_mut()) {
            *mine += *theirs;
        }
    }

    /// What never happened.
    pub fn never(&self) -> Vec<&'static str> {
        let mut all = *self;
        all.named_mut().into_iter().filter(|(_, n)| **n == 0).map(|(name, _)| name).collect()
    }

    fn named_mut(&mut self) -> [(&'static str, &mut u64); 29] {
        [
            ("events", &mut self.events),
            ("accepted", &mut self.accepted),
            ("delivered", &mut self.delivered),
            ("quoted", &mut self.quoted),
            ("breaks", &mut self.breaks),
            ("lost_frames", &mut self.lost_frames),
            ("superseded", &mut self.superseded),
            ("duplicates", &mut self.duplicates),
            ("gaps", &mut self.gaps),
            ("fills", &mut self.fills),
            ("crashes", &mut self.crashes),
            ("closes", &mut self.closes),
            ("repeated_acks", &mut self.repeated_acks),
            ("pending_answers", &mut self.pending_answers),
            ("refused_sends", &mut self.refused_sends),
            ("handed_up", &mut self.handed_up),
            ("holes", &mut self.holes),
            ("recovered", &mut self.recovered),
            ("unrecovered", &mut self.unrecovered),
            ("moved", &mut self.moved),
            ("dropped_repeats", &mut self.dropped_repeats),
            ("unread", &mut self.unread),
            ("lost_with_manager", &mut self.lost_with_manager),
            ("retries", &mut self.retries),
            ("conflicts", &mut self.conflicts),
            ("decisions", &mut self.decisions),
            ("replaced", &mut self.replaced),
            ("drains", &mut self.drains),
            ("freezes", &mut self.freezes),
        ]
    }
}

/// What a schedule led to.
#[derive(Debug)]
pub struct Report {
    /// The schedule.
    pub seed: u64,
    /// Broken promises, the first ones of each check.
    pub violations: Vec<Violation>,
    /// What happened, in numbers.
    pub counts: Counts,
    /// What happened, line by line; empty unless it was asked for.
    pub story: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "schedule {} (run it again with SIMULATION_SEED={})", self.seed, self.seed)?;
        for violation in &self.violations {
            let seconds = violation.at as f64 / 1e6;
            writeln!(f, "  {:?} broken at {seconds:.6} s: {}", violation.check, violation.what)?;
        }
        Ok(())
    }
}

/// Violations of one check that are kept: the first ones say most.
const KEPT_OF_EACH: usize = 3;

/// Collects while a schedule runs.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) violations: Vec<Violation>,
    pub(crate) counts: Counts,
    pub(crate) story: Option<Vec<String>>,
}

impl Findings {
    pub(crate) fn tell(&mut self, at: u64, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(format!("{:10.6} {}", at as f64 / 1e6, what()));
        }
    }

    pub(crate) fn broken(&mut self, check: Check, at: u64, what: String) {
        self.tell(at, || format!("{check:?} broken: {what}"));
        if self.violations.iter().filter(|violation| violation.check == check).count() < KEPT_OF_EACH {
            self.violations.push(Violation { check, at, what });
        }
    }
}
