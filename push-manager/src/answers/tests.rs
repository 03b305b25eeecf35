use proptest::prelude::*;

use super::*;

const MS: u64 = 1000;

fn answers(nodes: &[&str]) -> Answers<u64> {
    let mut answers = Answers::new(5 * SECOND);
    for (i, name) in nodes.iter().enumerate() {
        answers.add_node(NodeKey(i as u32), name);
        answers.link(NodeKey(i as u32), 0);
    }
    answers
}

fn advance(answers: &mut Answers<u64>, now: u64) -> Vec<Answer> {
    let mut done = Vec::new();
    answers.advance(now, |one| {
        assert_eq!(one.waiter, one.answer.seq);
        done.push(one.answer);
    });
    done
}

fn pending(answer: &Answer) -> Vec<&str> {
    answer.pending.iter().map(|name| &**name).collect()
}

#[test]
fn a_push_is_answered_when_the_last_node_has_it() {
    let mut a = answers(&["a", "b"]);
    a.accept(1, 0, 0, None, Some(1));
    a.accept(2, 0, 0, None, Some(2));
    assert!(advance(&mut a, 0).is_empty());
    a.acked(NodeKey(0), 1, &[2, 0], &[]);
    assert!(advance(&mut a, MS).is_empty());
    a.acked(NodeKey(1), 1, &[1], &[]);
    let done = advance(&mut a, MS);
    assert_eq!(done.len(), 1);
    assert_eq!((done[0].nodes(), done[0].acked, done[0].delivered_nodes, done[0].recipients), (2, 2, 2, 3));
    a.acked(NodeKey(1), 2, &[0], &[]);
    let done = advance(&mut a, MS);
    assert_eq!((done[0].seq, done[0].delivered_nodes, done[0].recipients), (2, 0, 0));
    // One more look, when what was kept to judge slowness can go.
    assert_eq!(a.next_due(), SECOND);
    assert!(advance(&mut a, SECOND).is_empty());
    assert_eq!((a.next_due(), a.tallies.len()), (u64::MAX, 0));
}

#[test]
fn a_slow_node_is_pending_after_a_second_and_delays_nobody_afterwards() {
    let mut a = answers(&["slow", "fast"]);
    a.accept(1, 0, 0, None, Some(1));
    a.acked(NodeKey(1), 1, &[1], &[]);
    assert!(advance(&mut a, SECOND - 1).is_empty());
    assert_eq!(a.next_due(), SECOND);
    let done = advance(&mut a, SECOND);
    assert_eq!((done[0].nodes(), done[0].acked, pending(&done[0])), (2, 1, vec!["slow"]));
    a.accept(2, SECOND + MS, 0, None, Some(2));
    assert!(advance(&mut a, SECOND + MS).is_empty());
    a.acked(NodeKey(1), 2, &[1], &[]);
    assert_eq!(pending(&advance(&mut a, SECOND + 2 * MS)[0]), ["slow"]);
    // It catches up and is waited for again, with a second for its oldest message.
    a.acked(NodeKey(0), 1, &[1], &[]);
    a.accept(3, SECOND + 3 * MS, 0, None, Some(3));
    a.acked(NodeKey(1), 3, &[1], &[]);
    assert!(advance(&mut a, SECOND + 3 * MS).is_empty());
    assert_eq!(a.next_due(), 2 * SECOND + MS);
    assert_eq!(pending(&advance(&mut a, 2 * SECOND + MS)[0]), ["slow"]);
}

#[test]
fn nobody_linked_answers_at_once_and_names_everyone() {
    let mut a = answers(&["b", "a"]);
    a.unlink(NodeKey(0));
    a.unlink(NodeKey(1));
    a.accept(1, 0, 0, None, Some(1));
    let done = advance(&mut a, 0);
    assert_eq!((done[0].nodes(), done[0].acked, pending(&done[0])), (2, 0, vec!["a", "b"]));
    // Not even a deadline that is over makes this an error.
    a.accept(2, 5, 0, Some(5), Some(2));
    assert_eq!(advance(&mut a, 5)[0].end, End::Complete);
}

#[test]
fn a_node_whose_start_is_behind_the_push_is_neither_acked_nor_pending() {
    let mut a = answers(&["a"]);
    a.accept(1, 0, 0, None, Some(1));
    a.add_node(NodeKey(7), "new");
    a.link(NodeKey(7), 1);
    a.acked(NodeKey(0), 1, &[1], &[]);
    let done = advance(&mut a, MS);
    assert_eq!((done[0].nodes(), done[0].acked), (1, 1));
}

#[test]
fn a_node_that_acknowledged_and_went_still_counts_and_counts_once() {
    let mut a = answers(&["a", "b"]);
    a.accept(1, 0, 0, None, Some(1));
    a.acked(NodeKey(0), 1, &[3], &[]);
    a.acked(NodeKey(0), 1, &[3], &[]);
    a.remove_node(NodeKey(0));
    assert!(advance(&mut a, 0).is_empty());
    a.remove_node(NodeKey(1));
    let done = advance(&mut a, 0);
    assert_eq!((done[0].nodes(), done[0].acked, done[0].recipients), (1, 1, 3));
}

#[test]
fn the_callers_deadline_ends_only_its_own_wait() {
    let mut a = answers(&["a"]);
    a.accept(1, 0, 0, None, Some(1));
    a.accept(2, 0, 0, Some(20 * MS), Some(2));
    assert_eq!(a.next_due(), 20 * MS);
    let done = advance(&mut a, 20 * MS);
    assert_eq!((done.len(), done[0].seq, done[0].end), (1, 2, End::CallerDeadline));
    assert_eq!(a.next_due(), SECOND);
    a.acked(NodeKey(0), 1, &[1, 1], &[]);
    assert_eq!(advance(&mut a, 30 * MS).len(), 1);
}

#[test]
fn the_cap_ends_every_wait() {
    let mut a = Answers::new(100 * MS);
    a.add_node(NodeKey(0), "a");
    a.link(NodeKey(0), 0);
    a.accept(1, 0, 0, None, Some(1));
    a.accept(2, 50 * MS, 0, None, Some(2));
    let done = advance(&mut a, 100 * MS);
    assert_eq!((done.len(), done[0].end, pending(&done[0])), (1, End::Cap, vec!["a"]));
    assert_eq!(a.next_due(), 150 * MS);
}

#[test]
fn users_are_counted_over_all_nodes() {
    let mut a = answers(&["a", "b"]);
    a.accept(1, 0, 2, None, Some(1));
    a.acked(NodeKey(0), 1, &[3], &[UserCounts { seq: 1, recipients: vec![1, 2] }]);
    a.acked(NodeKey(1), 1, &[1], &[UserCounts { seq: 1, recipients: vec![0, 1, 9] }]);
    let done = advance(&mut a, 0);
    assert_eq!((done[0].by_user.as_slice(), done[0].recipients), (&[1, 3][..], 4));
}

#[test]
fn a_lost_message_stays_pending_where_it_is_lost_and_is_not_waited_for() {
    let mut a = answers(&["a", "b"]);
    a.accept(1, 0, 0, None, Some(1));
    a.acked(NodeKey(0), 1, &[1], &[]);
    a.lost(NodeKey(1), 1, 1);
    let done = advance(&mut a, 0);
    assert_eq!((done[0].acked, pending(&done[0])), (1, vec!["b"]));
}

#[test]
fn a_conflict_at_any_node_is_told_with_the_answer() {
    let mut a = answers(&["a", "b"]);
    for seq in 1..=3 {
        a.accept(seq, 0, 0, None, Some(seq));
    }
    a.conflicts(&[2]);
    a.acked(NodeKey(0), 1, &[1, 0, 1], &[]);
    assert!(advance(&mut a, 0).is_empty());
    a.acked(NodeKey(1), 1, &[1, 1, 1], &[]);
    let conflicts: Vec<bool> = advance(&mut a, 0).iter().map(|answer| answer.conflict).collect();
    assert_eq!(conflicts, [false, true, false]);
    // Too late, or never heard of.
    a.conflicts(&[1, 9]);
    assert!(advance(&mut a, SECOND).is_empty());
    a.conflicts(&[1]);
}

#[derive(Clone, Debug)]
enum Step {
    Accept { deadline: Option<u64> },
    Ack { node: u32, n: u64 },
    Link { node: u32 },
    Unlink { node: u32 },
    Remove { node: u32 },
    Wait { ms: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => prop::option::of(0..1500u64).prop_map(|deadline| Step::Accept { deadline }),
        5 => (0..3u32, 1..6u64).prop_map(|(node, n)| Step::Ack { node, n }),
        1 => (0..3u32).prop_map(|node| Step::Link { node }),
        1 => (0..3u32).prop_map(|node| Step::Unlink { node }),
        1 => (0..3u32).prop_map(|node| Step::Remove { node }),
        3 => (0..700u64).prop_map(|ms| Step::Wait { ms }),
    ];
    prop::collection::vec(step, 1..100)
}

/// The rule of DESIGN 4 as it is written, by looking at everything each time.
#[derive(Default)]
struct Naive {
    nodes: BTreeMap<u32, (bool, u64)>,
    /// Accept time, caller's deadline, nodes that acknowledged, whether it is answered.
    pushes: Vec<(u64, Option<u64>, u32, bool)>,
}

impl Naive {
    fn waited_for(&self, seq: u64, now: u64) -> bool {
        self.nodes.values().any(|&(linked, acked)| {
            let unacked_at = self.pushes.get(acked as usize).map(|push| push.0);
            linked && acked < seq && unacked_at.is_some_and(|at| now < at + PATIENCE)
        })
    }

    fn answered(&mut self, now: u64) -> BTreeMap<u64, (u32, usize)> {
        let ready: Vec<u64> = (1..=self.pushes.len() as u64)
            .filter(|&seq| {
                let (_, deadline, _, answered) = self.pushes[seq as usize - 1];
                !answered && (!self.waited_for(seq, now) || deadline.is_some_and(|at| at <= now))
            })
            .collect();
        ready
            .into_iter()
            .map(|seq| {
                let push = &mut self.pushes[seq as usize - 1];
                push.3 = true;
                (seq, (push.2, self.nodes.values().filter(|node| node.1 < seq).count()))
            })
            .collect()
    }
}

proptest! {
    #[test]
    fn answers_as_the_rule_says_at_every_moment(steps in steps()) {
        let mut a: Answers<u64> = Answers::new(5 * SECOND);
        let mut naive = Naive::default();
        let mut now = 0;
        let check = |a: &mut Answers<u64>, naive: &mut Naive, now: u64| {
            let got: BTreeMap<u64, (u32, usize)> =
                advance(a, now).iter().map(|one| (one.seq, (one.acked, one.pending.len()))).collect();
            assert_eq!(got, naive.answered(now));
        };
        for step in steps {
            match step {
                Step::Accept { deadline } => {
                    let seq = naive.pushes.len() as u64 + 1;
                    let deadline = deadline.map(|ms| now + ms * MS);
                    a.accept(seq, now, 0, deadline, Some(seq));
                    naive.pushes.push((now, deadline, 0, false));
                }
                Step::Ack { node, n } => {
                    let newest = naive.pushes.len() as u64;
                    let Some((_, acked)) = naive.nodes.get_mut(&node).filter(|node| node.0) else { continue };
                    let last = (*acked + n).min(newest);
                    for push in &mut naive.pushes[*acked as usize..last as usize] {
                        push.2 += 1;
                    }
                    let first = *acked + 1;
                    *acked = last;
                    let recipients = vec![1; (last + 1 - first) as usize];
                    if !a.acked(NodeKey(node), first, &recipients, &[]) {
                        prop_assert!(naive.answered(now).is_empty());
                        continue;
                    }
                }
                Step::Link { node } => {
                    let newest = naive.pushes.len() as u64;
                    match naive.nodes.get_mut(&node) {
                        Some((linked, _)) => {
                            *linked = true;
                            a.link(NodeKey(node), 0);
                        }
                        None => {
                            naive.nodes.insert(node, (true, newest));
                            a.add_node(NodeKey(node), "n");
                            a.link(NodeKey(node), newest);
                        }
                    }
                }
                Step::Unlink { node } => {
                    if let Some((linked, _)) = naive.nodes.get_mut(&node) {
                        *linked = false;
                    }
                    a.unlink(NodeKey(node));
                }
                Step::Remove { node } => {
                    naive.nodes.remove(&node);
                    a.remove_node(NodeKey(node));
                }
                Step::Wait { ms } => {
                    let until = now + ms * MS;
                    // Nothing may happen that `next_due` did not announce.
                    while a.next_due() <= until {
                        now = now.max(a.next_due());
                        check(&mut a, &mut naive, now);
                    }
                    now = until;
                    prop_assert!(naive.answered(now).is_empty());
                }
            }
            check(&mut a, &mut naive, now);
        }
    }
}
