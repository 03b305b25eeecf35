use bytes::Bytes;
use prost::Message as _;
use pushcast_proto::connectnode::v1::{
    Ack, Claim, Control, HandUp, Kick, Message, MessageBatch, UserCounts,
    control::{Action, Whose},
    message::Target,
};

use super::*;
use crate::{api::Api, log::LogLimits};

struct Bench {
    log: Log,
    link: LinkState,
    identity: Identity,
    mono: u64,
}

impl Bench {
    fn new() -> Self {
        let identity = Identity { manager_id: 7, version: "1".into(), ..Identity::default() };
        let log = Log::new(LogLimits { bytes: 1 << 20, age: 100 * SECOND });
        Self { log, link: LinkState::new(), identity, mono: 0 }
    }

    fn now(&self) -> Now {
        Now { wall: 1_000_000 + self.mono, mono: self.mono }
    }

    fn push(&mut self, n: usize) {
        for _ in 0..n {
            let mut message = Message {
                target: Some(Target::RoomId("r".into())),
                content: Bytes::from_static(b"x"),
                ..Message::default()
            };
            self.log.append(&mut message, Some(Api::PushToRoom), self.now());
        }
    }

    fn join(&mut self) {
        let mut message = control(user("u"), Action::Join("r".into()));
        self.log.append(&mut message, None, self.now());
    }

    fn hand_up(&mut self, message: Message) -> Result<Event, LinkError> {
        self.receive(link_response::Frame::HandUp(HandUp { message: Some(message) }))
    }

    fn beat(&mut self, sent_at: u64) {
        let beat = NodeHeartbeat { sent_at, ..NodeHeartbeat::default() };
        self.receive(link_response::Frame::Heartbeat(beat)).unwrap();
    }

    fn lose_log(&mut self) {
        self.mono += 200 * SECOND;
        self.log.evict(self.mono);
    }

    fn next(&mut self) -> Next {
        let now = self.now();
        self.link.next_frame(&mut self.log, &self.identity, now)
    }

    fn frames(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Next::Frame(frame) = self.next() {
            frames.push(frame);
        }
        frames
    }

    /// What is sent beside heartbeats, as text.
    fn sent(&mut self) -> Vec<String> {
        let name = |frame: Frame| match frame {
            Frame::Hello(h) => {
                Some(format!("hello {}..{} acked {}", h.oldest_seq, h.newest_seq, h.acked_seq))
            }
            Frame::Fill(f) => Some(format!("fill {}..{}", f.first_seq, f.last_seq)),
            Frame::Controls(c) => Some(format!("controls {:?}", seqs(c.batch))),
            Frame::Batch(b) => {
                let seqs = seqs(b);
                Some(format!("batch {}..{}", seqs[0], seqs[seqs.len() - 1]))
            }
            Frame::Gap(g) => Some(format!("gap {}..{}", g.from, g.to)),
            Frame::Close(c) => Some(format!("close {}", c.newest_seq)),
            Frame::Heartbeat(_) => None,
        };
        self.frames().into_iter().filter_map(name).collect()
    }

    fn start(&mut self, instance: &str, from: From) -> Result<Started, LinkError> {
        let start = Start { node_id: "n1".into(), instance: instance.into(), from: Some(from), sent_at: 0 };
        match self.receive(link_response::Frame::Start(start))? {
            Event::Started(started) => Ok(started),
            other => panic!("{other:?}"),
        }
    }

    fn ack(&mut self, first_seq: u64, n: usize) -> Result<Acked, LinkError> {
        let ack = Ack { first_seq, recipients: vec![1; n], ..Ack::default() };
        match self.receive(link_response::Frame::Ack(ack))? {
            Event::Acked(acked) => Ok(acked),
            other => panic!("{other:?}"),
        }
    }

    fn receive(&mut self, frame: link_response::Frame) -> Result<Event, LinkError> {
        let now = self.now();
        self.link.received(LinkResponse { frame: Some(frame) }, &self.log, now)
    }

    fn linked(n: usize) -> Self {
        let mut bench = Self::new();
        bench.link.opened();
        bench.sent();
        bench.start("a", From::FillBytes(0)).unwrap();
        bench.push(n);
        bench.sent();
        bench
    }

    fn reconnect(&mut self) -> Vec<String> {
        self.link.closed();
        assert_eq!(self.sent(), [""; 0]);
        self.link.opened();
        self.sent()
    }
}

fn user(id: &str) -> Option<Whose> {
    Some(Whose::UserId(id.into()))
}

fn control(whose: Option<Whose>, action: Action) -> Message {
    let control = Control { whose, action: Some(action) };
    Message { target: Some(Target::Control(control)), ..Message::default() }
}

fn seqs(batch: Bytes) -> Vec<u64> {
    MessageBatch::decode(batch).unwrap().messages.iter().map(|m| m.seq).collect()
}

fn rooms(acked: &Acked) -> u64 {
    acked.counted[Api::PushToRoom.index()].nodes
}

#[test]
fn a_fresh_node_is_filled_with_what_fits_and_fills_are_not_counted() {
    let mut b = Bench::new();
    b.push(10);
    b.link.opened();
    assert_eq!(b.sent(), ["hello 1..10 acked 0"]);
    b.push(2);
    assert_eq!(b.sent(), [""; 0]);
    let record = 20;
    let started = b.start("a", From::FillBytes(3 * record)).unwrap();
    let first = started.not_for_it + 1;
    assert!((7..=9).contains(&first), "{first}");
    assert_eq!(b.sent(), [format!("fill {first}..10"), format!("batch {first}..12")]);
    let acked = b.ack(first, (13 - first) as usize).unwrap();
    assert_eq!(rooms(&acked), 2);
    assert_eq!(b.link.acked(), 12);
}

#[test]
fn without_a_fill_nothing_accepted_after_hello_is_missed() {
    let mut b = Bench::new();
    b.push(10);
    b.link.opened();
    b.sent();
    b.push(5);
    b.start("a", From::FillBytes(0)).unwrap();
    assert_eq!(b.sent(), ["fill 11..10", "batch 11..15"]);
}

#[test]
fn a_reconnecting_process_continues_where_it_says() {
    let mut b = Bench::linked(10);
    b.ack(1, 4).unwrap();
    assert_eq!(b.reconnect(), ["hello 1..10 acked 4"]);
    assert_eq!(b.start("a", From::AfterSeq(7)).unwrap().not_for_it, 0);
    assert_eq!(b.sent(), ["batch 8..10"]);
    assert_eq!(rooms(&b.ack(5, 6).unwrap()), 6);
    assert_eq!(b.link.acked(), 10);
}

#[test]
fn another_process_of_the_node_starts_anew() {
    let mut b = Bench::linked(10);
    b.ack(1, 10).unwrap();
    b.reconnect();
    b.start("b", From::FillBytes(0)).unwrap();
    b.push(1);
    assert_eq!(b.sent(), ["fill 11..10", "batch 11..11"]);
    assert_eq!(rooms(&b.ack(11, 1).unwrap()), 1);
}

#[test]
fn a_process_that_knows_this_manager_from_before_may_repeat_counts_once() {
    let mut b = Bench::new();
    b.push(10);
    b.link.opened();
    b.sent();
    assert_eq!(b.start("z", From::AfterSeq(8)).unwrap().not_for_it, 8);
    assert_eq!(b.sent(), ["batch 9..10"]);
    assert_eq!(rooms(&b.ack(4, 6).unwrap()), 1);
    assert_eq!(b.ack(4, 1), Err(LinkError::AckNotNext { first: 4, expected: 10 }));
    b.ack(10, 1).unwrap();
}

#[test]
fn a_process_that_was_forgotten_may_leave_out_gaps_when_it_repeats_and_we_hold_nothing_before() {
    let mut b = Bench::new();
    b.push(12);
    b.link.opened();
    b.sent();
    // It had a Gap 5..6 from us once, which went with what we knew of it.
    b.start("z", From::AfterSeq(10)).unwrap();
    b.sent();
    b.ack(3, 2).unwrap();
    assert_eq!(b.ack(4, 1), Err(LinkError::AckNotNext { first: 4, expected: 11 }));
    b.reconnect();
    b.start("z", From::AfterSeq(12)).unwrap();
    b.ack(7, 4).unwrap();
    assert_eq!(b.ack(9, 1), Err(LinkError::AckNotNext { first: 9, expected: 11 }));
    b.ack(11, 2).unwrap();
    assert_eq!(b.link.acked(), 12);
}

#[test]
fn a_gap_is_said_and_skipped_by_the_acknowledgements() {
    let mut b = Bench::linked(3);
    b.push(4);
    b.lose_log();
    b.push(2);
    assert_eq!(b.sent(), ["gap 4..7", "batch 8..9"]);
    assert_eq!(b.ack(1, 4), Err(LinkError::AckInGap(4)));
    b.ack(1, 2).unwrap();
    assert_eq!(b.ack(8, 1), Err(LinkError::AckNotNext { first: 8, expected: 3 }));
    b.ack(3, 1).unwrap();
    assert_eq!(b.ack(4, 1), Err(LinkError::AckInGap(4)));
    let acked = b.ack(8, 0).unwrap();
    assert_eq!(acked.lost, [(4, 7)]);
    assert_eq!(rooms(&b.ack(8, 2).unwrap()), 2);
}

#[test]
fn two_gaps_in_a_row_may_be_passed_at_once_or_one_by_one() {
    for one_by_one in [false, true] {
        let mut b = Bench::linked(3);
        b.ack(1, 3).unwrap();
        b.push(1);
        b.lose_log();
        assert_eq!(b.sent(), ["gap 4..4"]);
        b.push(1);
        b.lose_log();
        assert_eq!(b.sent(), ["gap 5..5"]);
        if one_by_one {
            assert_eq!(b.ack(5, 0).unwrap().lost, [(4, 4)]);
            assert_eq!(b.ack(6, 0).unwrap().lost, [(5, 5)]);
        } else {
            assert_eq!(b.ack(6, 0).unwrap().lost, [(4, 4), (5, 5)]);
        }
        assert_eq!(b.link.acked(), 5);
    }
}

#[test]
fn a_gap_the_node_never_saw_is_said_again() {
    let mut b = Bench::linked(3);
    b.ack(1, 3).unwrap();
    b.push(4);
    b.lose_log();
    b.push(1);
    assert_eq!(b.sent(), ["gap 4..7", "batch 8..8"]);
    b.reconnect();
    b.start("a", From::AfterSeq(3)).unwrap();
    assert_eq!(b.sent(), ["gap 4..7", "batch 8..8"]);
    assert_eq!(rooms(&b.ack(8, 1).unwrap()), 1);
    b.push(1);
    b.sent();
    b.reconnect();
    b.start("a", From::AfterSeq(9)).unwrap();
    b.ack(9, 1).unwrap();
}

#[test]
fn strangers_are_told_what_is_wrong_and_change_nothing() {
    let mut b = Bench::new();
    b.push(5);
    b.link.opened();
    b.sent();
    let ack = Ack { first_seq: 1, recipients: vec![1], ..Ack::default() };
    assert_eq!(b.receive(link_response::Frame::Ack(ack)), Err(LinkError::BeforeStart));
    assert_eq!(b.start("a", From::AfterSeq(6)), Err(LinkError::StartAhead { claimed: 6, sent: 5 }));
    let nobody = Start { instance: "a".into(), from: Some(From::FillBytes(0)), ..Start::default() };
    assert_eq!(b.receive(link_response::Frame::Start(nobody)), Err(LinkError::BadId("node_id")));
    let nowhere = Start { node_id: "n".into(), instance: "a".into(), ..Start::default() };
    assert_eq!(b.receive(link_response::Frame::Start(nowhere)), Err(LinkError::NoStartingPoint));
    b.start("a", From::FillBytes(u64::MAX)).unwrap();
    assert_eq!(b.start("a", From::FillBytes(0)), Err(LinkError::StartTwice));
    assert_eq!(b.ack(1, 1), Err(LinkError::AckAhead { last: 1, sent: 0 }));
    assert_eq!(b.sent(), ["fill 1..5", "batch 1..5"]);
    assert_eq!(b.ack(2, 1), Err(LinkError::AckNotNext { first: 2, expected: 1 }));
    assert_eq!(b.ack(0, 1), Err(LinkError::AckNotNext { first: 0, expected: 1 }));
    assert_eq!(b.ack(u64::MAX, 9), Err(LinkError::AckNotNext { first: u64::MAX, expected: 1 }));
    assert_eq!(b.ack(1, 6), Err(LinkError::AckAhead { last: 6, sent: 5 }));
    let counts = UserCounts { seq: 3, recipients: vec![1] };
    let ack = Ack { first_seq: 1, recipients: vec![1], by_user: vec![counts], ..Ack::default() };
    assert_eq!(b.receive(link_response::Frame::Ack(ack)), Err(LinkError::CountsOutside(3)));
    let beat = NodeHeartbeat { received_seq: 6, ..NodeHeartbeat::default() };
    assert_eq!(
        b.receive(link_response::Frame::Heartbeat(beat)),
        Err(LinkError::HeartbeatAhead { claimed: 6, sent: 5 })
    );
    b.ack(1, 5).unwrap();
    b.reconnect();
    assert_eq!(b.start("a", From::AfterSeq(2)), Err(LinkError::StartBehind { claimed: 2, acked: 5 }));
    assert_eq!(b.start("a", From::AfterSeq(5)).unwrap().not_for_it, 0);
}

#[test]
fn heartbeats_come_every_second_also_when_busy_and_promise_only_what_was_sent() {
    let mut b = Bench::linked(1);
    b.mono += SECOND;
    b.push(3);
    let Next::Frame(Frame::Heartbeat(beat)) = b.next() else {
        panic!("a heartbeat is due before the batch");
    };
    assert_eq!((beat.newest_seq, beat.sent_seq, beat.acked_seq), (4, 1, 0));
    assert_eq!(beat.through, b.log.accepted_at(2).unwrap() - 1);
    assert_eq!(b.sent(), ["batch 2..4"]);
    b.mono += SECOND;
    let now = b.now();
    let Frame::Heartbeat(beat) = b.frames().remove(0) else { panic!() };
    assert_eq!((beat.sent_seq, beat.through), (4, now.wall));
    assert_eq!(b.next(), Next::Wait(Some(b.mono + SECOND)));
}

#[test]
fn close_waits_for_the_last_acknowledgement() {
    let mut b = Bench::linked(2);
    b.link.close_when_done();
    b.ack(1, 1).unwrap();
    assert_eq!(b.sent(), [""; 0]);
    b.ack(2, 1).unwrap();
    assert_eq!(b.sent(), ["close 2"]);
    assert_eq!(b.next(), Next::End);
    assert!(b.link.is_closed());
}

#[test]
fn a_fill_says_what_it_leaves_out_and_old_controls_come_before_everything_else() {
    let mut b = Bench::new();
    b.push(1);
    b.join();
    b.mono += 1;
    b.push(1);
    b.lose_log();
    b.join();
    b.push(2);
    b.link.opened();
    b.sent();
    b.push(1);
    // Room for one of the messages said at Hello.
    assert_eq!(b.start("a", From::FillBytes(20)).unwrap().not_for_it, 5);
    // Nothing that happens now takes a control away from this node.
    b.mono += 3_600 * SECOND;
    b.log.evict(b.mono);
    let left_out_at = b.log.evicted_before(6);
    let names: Vec<String> = b
        .frames()
        .into_iter()
        .map(|frame| match frame {
            Frame::Fill(f) => {
                assert_eq!((f.first_seq, f.last_seq, f.controls_left_out_at), (6, 6, 0));
                assert_eq!(f.left_out_at, 1_000_002 + 200 * SECOND);
                assert!(f.left_out_at < left_out_at);
                "fill".to_owned()
            }
            Frame::Controls(c) => format!("controls {:?}", seqs(c.batch)),
            Frame::Heartbeat(_) => "heartbeat".to_owned(),
            Frame::Gap(g) => format!("gap {}..{}", g.from, g.to),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["fill", "controls [2]", "controls [4]", "gap 6..7", "heartbeat"]);
}

#[test]
fn a_node_that_has_something_of_this_manager_gets_no_controls_before_it() {
    let mut b = Bench::new();
    b.join();
    b.push(1);
    b.link.opened();
    b.sent();
    b.start("a", From::AfterSeq(1)).unwrap();
    assert_eq!(b.sent(), ["batch 2..2"]);
    b.reconnect();
    b.start("b", From::FillBytes(0)).unwrap();
    // A link that breaks takes with it what was still to be sent.
    b.reconnect();
    b.start("b", From::AfterSeq(2)).unwrap();
    assert_eq!(b.sent(), [""; 0]);
}

#[test]
fn controls_are_acknowledged_and_not_counted() {
    let mut b = Bench::linked(1);
    b.join();
    b.push(1);
    assert_eq!(b.sent(), ["batch 2..3"]);
    assert_eq!(rooms(&b.ack(1, 3).unwrap()), 2);
}

#[test]
fn conflicts_are_told_and_not_counted() {
    let mut b = Bench::linked(4);
    let mut ack = |conflicts: &[u64]| {
        let ack =
            Ack { first_seq: 1, recipients: vec![0; 4], conflicts: conflicts.to_vec(), ..Ack::default() };
        b.receive(link_response::Frame::Ack(ack))
    };
    assert_eq!(ack(&[3, 2]), Err(LinkError::ConflictsUnordered(2)));
    assert_eq!(ack(&[2, 2]), Err(LinkError::ConflictsUnordered(2)));
    assert_eq!(ack(&[0, 2]), Err(LinkError::ConflictOutside(0)));
    assert_eq!(ack(&[2, 5]), Err(LinkError::ConflictOutside(5)));
    let Ok(Event::Acked(acked)) = ack(&[2, 4]) else { panic!() };
    assert_eq!((acked.conflicts.as_slice(), rooms(&acked)), (&[2, 4][..], 2));
}

#[test]
fn only_app_and_control_of_what_is_handed_up_are_believed() {
    let mut b = Bench::linked(1);
    let kick = Action::Kick(Kick { reason: "x".repeat(120), reconnect: true });
    let claim = Action::Claim(Claim { generation: 3, nonce: 4, resumed_at: 0 });
    for good in [
        control(user("u"), Action::Join("r".into())),
        control(Some(Whose::ConnectionId(7)), Action::Leave("r".into())),
        control(user("u"), kick),
        control(Some(Whose::ConnectionId(7)), claim),
    ] {
        let good = Message { app: "a".into(), ..good };
        let more = Message {
            seq: 9,
            accepted_at: 9,
            content: Bytes::from_static(b"x"),
            request_id: "1".into(),
            request_hash: Bytes::from_static(b"x"),
            ..good.clone()
        };
        assert_eq!(b.hand_up(more), Ok(Event::HandedUp(good)));
    }
}

#[test]
fn a_control_that_cannot_be_logged_ends_the_link() {
    let mut b = Bench::new();
    b.link.opened();
    b.sent();
    let join = |whose| control(whose, Action::Join("r".into()));
    assert_eq!(b.hand_up(join(user("u"))), Err(LinkError::BeforeStart));
    b.start("a", From::FillBytes(0)).unwrap();
    let nothing = Control { whose: user("u"), action: None };
    let kick = Action::Kick(Kick { reason: "x".repeat(121), reconnect: false });
    let bad = [
        ("control", Message::default()),
        ("control", Message { target: Some(Target::RoomId("r".into())), ..Message::default() }),
        ("app", Message { app: "\n".into(), ..join(user("u")) }),
        ("whose", join(None)),
        ("user_id", join(user(""))),
        ("action", Message { target: Some(Target::Control(nothing)), ..Message::default() }),
        ("room_id", control(user("u"), Action::Join(String::new()))),
        ("room_id", control(user("u"), Action::Leave("x".repeat(129)))),
        ("reason", control(user("u"), kick)),
        ("connection_id", control(user("u"), Action::Claim(Claim::default()))),
    ];
    for (field, message) in bad {
        assert_eq!(b.hand_up(message), Err(LinkError::BadHandUp(field)));
    }
    let none = link_response::Frame::HandUp(HandUp { message: None });
    assert_eq!(b.receive(none), Err(LinkError::BadHandUp("message")));
}

#[test]
fn the_largest_clock_offset_of_a_connection_is_kept() {
    let mut b = Bench::linked(0);
    assert_eq!(b.link.clock_offset(), 0);
    let wall = b.now().wall;
    b.beat(wall - 5);
    b.beat(wall + 3);
    b.beat(0);
    assert_eq!(b.link.clock_offset(), 5);
    b.reconnect();
    assert_eq!(b.link.clock_offset(), 0);
}
