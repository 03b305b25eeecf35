//! How far a client has come: what another node needs to go on where it was.

use std::collections::BTreeMap;

use pushcast_proto::client::v1::{Connected, Heartbeat, Push, Resume};

/// Managers a position names before those are dropped that the node no longer does. Every manager that was ever
/// started has an id of its own, and a node takes 256.
const MANAGERS: usize = 200;

/// What a client knows for resuming. It covers what the application has been handed and nothing else: sent is
/// not received. So events go in one by one, in the order of the stream, as they are handed out.
///
/// Position and time only go forward, each by the larger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    ticket: Option<String>,
    position: BTreeMap<String, u64>,
    as_of: u64,
}

impl Progress {
    /// The last ticket, if there is one that is good for the present connection or the last one.
    pub fn ticket(&self) -> Option<&str> {
        self.ticket.as_deref()
    }

    /// Manager id to the last seq processed.
    pub const fn position(&self) -> &BTreeMap<String, u64> {
        &self.position
    }

    /// Milliseconds since 1970: everything accepted before has been processed. 0 while unknown.
    pub const fn as_of(&self) -> u64 {
        self.as_of
    }

    /// What to resume with at this try; nothing without a ticket.
    pub fn resume(&self, attempt: u32) -> Option<Resume> {
        let ticket = self.ticket.clone()?;
        Some(Resume { ticket, position: self.position.clone(), as_of: self.as_of, attempt })
    }

    /// A connection stands. One that recovered nothing has nothing to do with what was before.
    pub fn connected(&mut self, connected: &Connected) {
        if connected.recovered != Some(true) {
            *self = Self::default();
        }
        self.reached(&connected.position, connected.as_of);
    }

    /// A ticket came; it replaces the one before.
    pub fn ticketed(&mut self, ticket: String) {
        self.ticket = Some(ticket);
    }

    /// A heartbeat came, behind everything it covers.
    pub fn heartbeat(&mut self, heartbeat: &Heartbeat) {
        self.reached(&heartbeat.position, heartbeat.as_of);
        if self.position.len() > MANAGERS {
            // Forgetting one loses nothing: what it had accepted after `as_of` would come again, and be dropped.
            self.position.retain(|manager, _| heartbeat.position.contains_key(manager));
        }
    }

    /// A push came, new or not. One manager's come in the order of their seqs on a connection, replayed or live.
    pub fn pushed(&mut self, push: &Push) {
        // A push to one node alone has no identity.
        if !push.manager.is_empty() {
            self.manager_reached(&push.manager, push.seq);
        }
    }

    fn reached(&mut self, position: &BTreeMap<String, u64>, as_of: u64) {
        for (manager, &seq) in position {
            self.manager_reached(manager, seq);
        }
        self.as_of = self.as_of.max(as_of);
    }

    fn manager_reached(&mut self, manager: &str, seq: u64) {
        match self.position.get_mut(manager) {
            Some(reached) => *reached = seq.max(*reached),
            None => {
                self.position.insert(manager.to_owned(), seq);
            }
        }
    }
}

/// Goes on with what an earlier process kept.
impl From<Resume> for Progress {
    fn from(Resume { ticket, position, as_of, .. }: Resume) -> Self {
        Self { ticket: (!ticket.is_empty()).then_some(ticket), position, as_of }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(seqs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        seqs.iter().map(|&(manager, seq)| (manager.to_owned(), seq)).collect()
    }

    fn push(manager: &str, seq: u64) -> Push {
        Push { manager: manager.to_owned(), seq, ..Push::default() }
    }

    fn connected(recovered: bool, seqs: &[(&str, u64)], as_of: u64) -> Connected {
        Connected { recovered: Some(recovered), position: position(seqs), as_of, ..Connected::default() }
    }

    #[test]
    fn without_a_ticket_there_is_nothing_to_resume_with() {
        let mut progress = Progress::default();
        progress.connected(&connected(false, &[("a", 3)], 100));
        assert_eq!(progress.resume(0), None);
        progress.ticketed("t1".to_owned());
        progress.pushed(&push("a", 4));
        progress.pushed(&push("", 9));
        let resume = progress.resume(2).unwrap();
        assert_eq!((resume.ticket.as_str(), resume.as_of, resume.attempt), ("t1", 100, 2));
        assert_eq!(resume.position, position(&[("a", 4)]));
        assert_eq!(Progress::from(resume), progress);
    }

    #[test]
    fn a_recovered_connection_goes_on_and_another_starts_anew() {
        let mut progress = Progress::default();
        progress.ticketed("t1".to_owned());
        progress.pushed(&push("a", 9));
        progress.connected(&connected(true, &[("a", 7), ("b", 2)], 50));
        assert_eq!(progress.ticket(), Some("t1"));
        assert_eq!((progress.position(), progress.as_of()), (&position(&[("a", 9), ("b", 2)]), 50));
        progress.connected(&connected(false, &[("b", 1)], 40));
        assert_eq!(progress.ticket(), None);
        assert_eq!((progress.position(), progress.as_of()), (&position(&[("b", 1)]), 40));
    }

    #[test]
    fn managers_of_the_past_do_not_pile_up_for_ever() {
        let mut progress = Progress::default();
        for manager in 0..=MANAGERS {
            progress.pushed(&push(&format!("{manager:016x}"), 1));
        }
        progress.heartbeat(&Heartbeat { position: position(&[("a", 1)]), as_of: 1 });
        assert_eq!(progress.position(), &position(&[("a", 1)]));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(String, u64),
        Heartbeat(BTreeMap<String, u64>, u64),
        Recovered(BTreeMap<String, u64>, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let seqs = || prop::collection::btree_map("[abc]", 0..20u64, 0..3);
        prop_oneof![
            ("[abc]", 0..20u64).prop_map(|(manager, seq)| Step::Push(manager, seq)),
            (seqs(), 0..20u64).prop_map(|(position, as_of)| Step::Heartbeat(position, as_of)),
            (seqs(), 0..20u64).prop_map(|(position, as_of)| Step::Recovered(position, as_of)),
        ]
    }

    proptest! {
        #[test]
        fn it_is_the_largest_of_everything(steps in prop::collection::vec(step(), 0..20)) {
            let mut progress = Progress::default();
            let mut all: Vec<(String, u64)> = Vec::new();
            let mut latest = 0;
            for step in steps {
                match step {
                    Step::Push(manager, seq) => {
                        progress.pushed(&push(&manager, seq));
                        all.push((manager, seq));
                    }
                    Step::Heartbeat(position, as_of) => {
                        all.extend(position.clone());
                        latest = latest.max(as_of);
                        progress.heartbeat(&Heartbeat { position, as_of });
                    }
                    Step::Recovered(position, as_of) => {
                        all.extend(position.clone());
                        latest = latest.max(as_of);
                        let connected =
                            Connected { recovered: Some(true), position, as_of, ..Connected::default() };
                        progress.connected(&connected);
                    }
                }
            }
            // Sorted by seq, so that the largest is collected last.
            all.sort_by_key(|&(_, seq)| seq);
            let largest: BTreeMap<String, u64> = all.into_iter().collect();
            prop_assert_eq!(progress.position(), &largest);
            prop_assert_eq!(progress.as_of(), latest);
        }
    }
}
