use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use pushcast_proto::connectnode::v1::{Message, MessageBatch, UserIds, message::Target};
use tokio::sync::Notify;

use super::*;
use crate::{batch::Batch, key::Keys};

const SECOND: u64 = 1_000_000;

/// A window fed as ingest feeds it.
struct Feed {
    window: Window,
    keys: Keys,
    arrivals: u64,
    seqs: BTreeMap<u64, u64>,
    now: u64,
}

impl Feed {
    fn new(bytes: usize) -> Self {
        let window = Window::new(WindowLimits { bytes, age: 100 * SECOND });
        Self { window, keys: Keys::default(), arrivals: 0, seqs: BTreeMap::new(), now: 1000 * SECOND }
    }

    /// A batch of one manager, a message a millisecond.
    fn push(&mut self, manager: u64, targets: &[Target]) {
        let seq = self.seqs.entry(manager).or_default();
        let mut messages = Vec::new();
        for target in targets {
            *seq += 1;
            self.now += 1000;
            messages.push(Message {
                seq: *seq,
                accepted_at: self.now,
                target: Some(target.clone()),
                content: Bytes::from(vec![7; 50]),
                ..Message::default()
            });
        }
        let bytes = MessageBatch { messages }.encode_to_vec();
        let batch = Batch::decode(Bytes::from(bytes), &self.keys).expect("a batch");
        let placed = Arc::new(Notify::new());
        let placement = Placement::new(batch, Some(manager), self.arrivals + 1, 0, 1, placed);
        self.arrivals += targets.len() as u64;
        self.window.insert(&Arc::new(placement), |_| {});
    }

    fn find(&self, rooms: &[&str], floor: &Floor) -> Vec<(u64, u64)> {
        let keys: Vec<Key> = rooms.iter().map(|room| self.keys.room(b"", room.as_bytes())).collect();
        let found = self.window.find(&keys, floor, None, u64::MAX, usize::MAX).expect("the start is there");
        found.into_iter().map(|arrival| self.window.get(arrival).expect("just found").identities[0]).collect()
    }
}

fn room(name: &str) -> Target {
    Target::RoomId(name.to_owned())
}

#[test]
fn what_a_client_missed_is_found_behind_its_position_and_in_its_rooms() {
    let mut feed = Feed::new(8 << 20);
    feed.push(1, &[room("a"), room("b"), room("a")]);
    feed.push(2, &[room("a")]);
    feed.push(1, &[room("b"), room("a")]);
    let floor = Floor::new([(1, 1), (2, 0)], 0, 0);
    assert_eq!(feed.find(&["a"], &floor), [(1, 3), (2, 1), (1, 5)]);
    assert_eq!(feed.find(&["a", "b"], &floor), [(1, 2), (1, 3), (2, 1), (1, 4), (1, 5)]);
    assert_eq!(feed.find(&["c"], &floor), []);
    let all = Floor::new([(1, 5), (2, 1)], 0, 0);
    assert_eq!(feed.find(&["a", "b"], &all), []);
    let beyond = Floor::new([(1, u64::MAX), (2, 900)], 0, 0);
    assert_eq!(feed.find(&["a", "b"], &beyond), []);
}

#[test]
fn of_a_manager_that_is_not_named_what_is_later_than_the_time_is_found() {
    let mut feed = Feed::new(8 << 20);
    feed.push(1, &[room("a")]);
    let between = feed.now;
    feed.push(1, &[room("a")]);
    assert_eq!(feed.find(&["a"], &Floor::new([], between + 499, 500)), [(1, 1), (1, 2)]);
    assert_eq!(feed.find(&["a"], &Floor::new([], between + 500, 500)), [(1, 2)]);
    assert_eq!(feed.find(&["a"], &Floor::new([], between + SECOND, 500)), []);
}

#[test]
fn a_message_to_several_users_is_found_by_each() {
    let mut feed = Feed::new(8 << 20);
    feed.push(1, &[Target::UserIds(UserIds { ids: vec!["u".to_owned(), "v".to_owned()] })]);
    for user in ["u", "v"] {
        let key = feed.keys.user(b"", user.as_bytes());
        assert_eq!(feed.window.find(&[key], &Floor::default(), None, u64::MAX, 9), Some(vec![1]));
    }
}

#[test]
fn a_busy_room_does_not_make_a_quiet_one_unrecoverable() {
    let mut feed = Feed::new(2 << 20);
    feed.push(1, &[room("quiet")]);
    let as_of = feed.now;
    for _ in 0..2_000 {
        feed.push(1, &[room("busy"), room("busy"), room("busy"), room("busy")]);
    }
    let key = |name: &str| feed.keys.room(b"", name.as_bytes());
    let floor = Floor::new([(1, 1)], as_of, 0);
    assert!(feed.window.reaches_back(&floor, &[key("quiet")], as_of));
    assert!(!feed.window.reaches_back(&floor, &[key("busy")], as_of));
    // By its position alone, whatever the clocks say: nothing of what it lacks has gone.
    let newest = feed.seqs[&1];
    let fresh = Floor::new([(1, newest - 4)], 0, 0);
    assert!(feed.window.reaches_back(&fresh, &[key("busy")], 0));
}

#[test]
fn a_cursor_that_the_window_has_passed_is_told_so() {
    let mut feed = Feed::new(2 << 20);
    feed.push(1, &[room("a")]);
    let key = feed.keys.room(b"", b"a");
    assert!(feed.window.find(&[key], &Floor::default(), Some(0), u64::MAX, 9).is_some());
    for _ in 0..20_000 {
        feed.push(1, &[room("a")]);
    }
    assert_eq!(feed.window.find(&[key], &Floor::default(), Some(0), u64::MAX, 9), None);
    let newest = feed.arrivals;
    assert_eq!(feed.window.find(&[key], &Floor::default(), Some(newest), u64::MAX, 9), Some(Vec::new()));
}

#[test]
fn old_messages_go_by_age_and_their_time_is_remembered() {
    let mut feed = Feed::new(8 << 20);
    feed.push(1, &[room("a")]);
    let accepted_at = feed.now;
    feed.window.expire(accepted_at + 100 * SECOND, |_| {});
    assert_eq!(feed.window.messages(), 1);
    feed.window.expire(accepted_at + 100 * SECOND + 1, |_| {});
    assert_eq!(feed.window.messages(), 0);
    let key = feed.keys.room(b"", b"a");
    let before = Floor::new([], accepted_at - 1, 0);
    assert!(!feed.window.reaches_back(&before, &[key], accepted_at - 1));
    assert!(feed.window.reaches_back(&before, &[key], accepted_at));
}

proptest! {
    #[test]
    fn it_never_takes_more_than_its_bound_and_finds_what_a_plain_list_finds(
        batches in prop::collection::vec((1_u64..4, prop::collection::vec(0_usize..6, 1..40)), 1..120),
        seqs in prop::collection::vec(0_u64..400, 3),
    ) {
        const ROOMS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
        const BYTES: usize = 1_200_000;
        let mut feed = Feed::new(BYTES);
        let mut plain = Vec::new();
        for (manager, rooms) in &batches {
            let targets: Vec<Target> = rooms.iter().map(|at| room(ROOMS[*at])).collect();
            let first = feed.seqs.get(manager).copied().unwrap_or(0) + 1;
            plain.extend(rooms.iter().zip(first..).map(|(room, seq)| (*room, *manager, seq)));
            feed.push(*manager, &targets);
            prop_assert!(feed.window.bytes() <= BYTES);
        }
        let kept = plain.split_off(plain.len() - feed.window.messages());
        let floor = Floor::new((1..).zip(seqs.iter().copied()), u64::MAX, 0);
        for (at, name) in ROOMS.iter().enumerate() {
            let expected: Vec<(u64, u64)> = kept
                .iter()
                .filter(|(room, manager, seq)| *room == at && floor.seq(*manager).is_none_or(|has| *seq > has))
                .map(|(_, manager, seq)| (*manager, *seq))
                .collect();
            let found = feed.find(&[name], &floor);
            // What is found may begin a little early: what is covered is left out by whoever asks.
            let lacking: Vec<_> = found
                .into_iter()
                .filter(|(manager, seq)| floor.seq(*manager).is_none_or(|has| *seq > has))
                .collect();
            prop_assert_eq!(lacking, expected);
        }
    }
}
