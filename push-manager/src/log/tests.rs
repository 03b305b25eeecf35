use proptest::prelude::*;
use prost::Message as _;
use pushcast_proto::connectnode::v1::{
    Claim, Control, MessageBatch,
    control::{Action, Whose},
    message::Target,
};

use super::{segment::Segment, *};

fn message(size: usize) -> Message {
    Message {
        target: Some(Target::RoomId("r".into())),
        content: Bytes::from(vec![7; size]),
        ..Message::default()
    }
}

fn at(mono: u64) -> Now {
    Now { wall: 1_000 + mono, mono }
}

/// Some of each kind, and some that are no pushes.
fn api_of(size: usize) -> Option<Api> {
    Api::ALL.get(size % 5).copied()
}

fn control(action: Action) -> Message {
    let control = Control { whose: Some(Whose::UserId("u".into())), action: Some(action) };
    Message { target: Some(Target::Control(control)), ..Message::default() }
}

fn join(room: &str) -> Message {
    control(Action::Join(room.into()))
}

/// Seqs of the controls before `first_seq` that are kept.
fn controls(log: &Log, first_seq: u64) -> Vec<u64> {
    let batches = log.controls_before(first_seq).batches;
    batches
        .into_iter()
        .flat_map(|batch| MessageBatch::decode(batch).unwrap().messages)
        .map(|m| m.seq)
        .collect()
}

fn decode(batch: &Batch) -> Vec<Message> {
    MessageBatch::decode(batch.records.clone()).unwrap().messages
}

#[test]
fn times_are_strictly_increasing_even_when_the_clock_steps_back() {
    let mut log = Log::new(LogLimits { bytes: 1 << 20, age: 1 << 40 });
    let first = log.append(&mut message(1), Some(Api::Broadcast), at(50));
    assert_eq!(first, Accepted { seq: 1, accepted_at: 1050 });
    let second = log.append(&mut message(1), Some(Api::Broadcast), Now { wall: 3, mono: 60 });
    assert_eq!(second, Accepted { seq: 2, accepted_at: 1051 });
    let through = log.through(at(100));
    assert_eq!(through, 1100);
    assert!(log.append(&mut message(1), Some(Api::Broadcast), at(100)).accepted_at > through);
}

#[test]
fn age_evicts_without_further_messages_and_names_the_gap() {
    let mut log = Log::new(LogLimits { bytes: 1 << 20, age: 100 });
    assert_eq!(log.next_eviction(), None);
    log.append(&mut message(1), Some(Api::Broadcast), at(0));
    let due = log.next_eviction().unwrap();
    log.evict(due - 1);
    assert_eq!(log.oldest(), 1);
    log.evict(due);
    assert_eq!((log.oldest(), log.newest(), log.bytes()), (2, 1, 0));
    assert_eq!(log.range(1, 10), Range::Gap { from: 1, to: 1 });
    assert_eq!(log.range(2, 10), Range::UpToDate);
    assert_eq!(log.accepted_at(1), None);
}

#[test]
fn a_big_message_travels_alone_and_is_kept_however_small_the_log() {
    let mut log = Log::new(LogLimits { bytes: 1000, age: 1 << 40 });
    log.append(&mut message(5), Some(Api::Broadcast), at(0));
    log.append(&mut message(5000), Some(Api::PushToRoom), at(1));
    assert_eq!((log.oldest(), log.newest()), (2, 2));
    let Range::Batch(batch) = log.range(2, 100) else { panic!() };
    assert_eq!(decode(&batch).len(), 1);
    assert_eq!(log.apis(2, 2).collect::<Vec<_>>(), [Some(Api::PushToRoom)]);
}

#[test]
fn controls_outlive_the_messages_around_them() {
    let mut log = Log::new(LogLimits { bytes: 1 << 20, age: 100 });
    for n in 1..=4 {
        log.append(&mut message(1), Some(Api::Broadcast), at(n));
        log.append(&mut join("r"), None, at(n));
    }
    log.append(&mut control(Action::Claim(Claim { generation: 1, nonce: 2, resumed_at: 0 })), None, at(5));
    log.evict(1_000_000);
    assert_eq!((log.oldest(), log.newest()), (10, 9));
    assert_eq!(controls(&log, 10), [2, 4, 6, 8]);
    assert_eq!(controls(&log, 6), [2, 4]);
    assert_eq!(controls(&log, 2), [0; 0]);
    assert_eq!(log.controls_before(10).left_out_at, 0);
    // The first of the same batch went with the last: they were kept together.
    let due = log.next_eviction().unwrap();
    assert_eq!(due, 4 + CONTROL_LIMITS.age + 1);
    log.evict(due);
    assert_eq!(log.next_eviction(), None);
    let old = log.controls_before(10);
    assert_eq!((old.batches.len(), old.left_out_at), (0, 1_008));
}

#[test]
fn controls_are_bounded_and_the_newest_dropped_is_remembered() {
    let limits = LogLimits { bytes: 4_000, age: 1 << 40 };
    let mut log = Log::with_control_limits(LogLimits { bytes: 1 << 20, age: 1 << 40 }, limits);
    for n in 1..=200 {
        log.append(&mut join(&"r".repeat(100)), None, at(n));
        assert!(log.controls.bytes() <= limits.bytes, "{}", log.controls.bytes());
    }
    let kept = controls(&log, 201);
    assert!((10..40).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept, (kept[0]..=200).collect::<Vec<_>>());
    assert_eq!(log.controls_before(201).left_out_at, log.accepted_at(kept[0] - 1).unwrap());
    // What comes with the log anyway is not left out.
    let early = log.controls_before(3);
    assert_eq!((early.batches.len(), early.left_out_at), (0, log.accepted_at(2).unwrap()));
    assert_eq!(log.controls_before(1).left_out_at, 0);
}

#[test]
fn what_is_before_a_seq_has_a_time_though_it_is_gone() {
    let mut log = Log::new(LogLimits { bytes: 1 << 20, age: 100 });
    assert_eq!(log.evicted_before(1), 0);
    for n in 1..=3 {
        log.append(&mut message(1), Some(Api::Broadcast), at(n));
    }
    // Still here.
    assert_eq!((log.evicted_before(1), log.evicted_before(2), log.evicted_before(4)), (0, 1_001, 1_003));
    log.append(&mut message(1), Some(Api::Broadcast), at(1_000));
    log.evict(1_000);
    assert_eq!(log.oldest(), 4);
    // The newest that is gone stands for all of them.
    assert_eq!((log.evicted_before(1), log.evicted_before(2), log.evicted_before(4)), (0, 1_003, 1_003));
    assert_eq!(log.evicted_before(5), 2_000);
    log.evict(10_000);
    assert_eq!((log.oldest(), log.evicted_before(5)), (5, 2_000));
}

#[derive(Clone, Debug)]
enum Step {
    Append { size: usize, after: u64, back: bool },
    Range { back: u64, max: usize },
    Through,
    Evict { after: u64 },
    Fit { bytes: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..300usize, 0..40u64, any::<bool>())
            .prop_map(|(size, after, back)| Step::Append { size, after, back }),
        2 => (0..40u64, 0..900usize).prop_map(|(back, max)| Step::Range { back, max }),
        1 => Just(Step::Through),
        1 => (0..300u64).prop_map(|after| Step::Evict { after }),
        1 => (0..2000u64).prop_map(|bytes| Step::Fit { bytes }),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn behaves_as_a_plain_list(steps in steps(), bytes in 600..6000u64, age in 100..2000u64) {
        let mut log = Log::new(LogLimits { bytes, age });
        let mut all: Vec<Message> = Vec::new();
        let mut mono = 0;
        let mut promised = 0;
        for step in steps {
            match step {
                Step::Append { size, after, back } => {
                    mono += after;
                    let wall = if back { mono / 2 } else { 1000 + mono };
                    let mut one = message(size);
                    let accepted = log.append(&mut one, api_of(size), Now { wall, mono });
                    prop_assert_eq!(accepted.seq, all.len() as u64 + 1);
                    prop_assert!(accepted.accepted_at > promised);
                    promised = accepted.accepted_at;
                    all.push(one);
                }
                Step::Range { back, max } => {
                    let next = (all.len() as u64 + 2).saturating_sub(back).max(1);
                    match log.range(next, max) {
                        Range::UpToDate => prop_assert!(next > all.len() as u64),
                        Range::Gap { from, to } => {
                            prop_assert_eq!(from, next);
                            prop_assert_eq!(to + 1, log.oldest());
                        }
                        Range::Batch(batch) => {
                            prop_assert_eq!(batch.first, next);
                            let got = decode(&batch);
                            prop_assert_eq!(&got[..], &all[next as usize - 1..batch.last as usize]);
                            prop_assert!(batch.records.len() <= max || got.len() == 1);
                            let apis: Vec<Option<Api>> = log.apis(batch.first, batch.last).collect();
                            let want: Vec<Option<Api>> =
                                got.iter().map(|m| api_of(m.content.len())).collect();
                            prop_assert_eq!(apis, want);
                        }
                    }
                }
                Step::Through => {
                    promised = log.through(Now { wall: 1000 + mono, mono });
                    prop_assert!(all.last().is_none_or(|m| m.accepted_at <= promised));
                }
                Step::Evict { after } => {
                    mono += after;
                    log.evict(mono);
                    prop_assert!(log.next_eviction().is_none_or(|due| due > mono));
                }
                Step::Fit { bytes } => {
                    let last = log.newest();
                    let first = log.newest_fitting(bytes, last);
                    let size = |from: u64| -> usize {
                        all[from as usize - 1..].iter().map(Segment::record_len).sum()
                    };
                    prop_assert!(first >= log.oldest() && first <= last + 1);
                    prop_assert!(first > last || size(first) as u64 <= bytes);
                    prop_assert!(first <= log.oldest() || size(first - 1) as u64 > bytes);
                }
            }
            prop_assert!(log.bytes() <= bytes || log.messages.segments().count() == 1);
            for seq in log.oldest()..=log.newest() {
                prop_assert_eq!(log.accepted_at(seq), Some(all[seq as usize - 1].accepted_at));
            }
        }
    }

    #[test]
    fn controls_are_those_of_a_plain_list(
        steps in prop::collection::vec((0..4u8, 0..400usize, 0..60u64, 0..40u64), 1..150),
        bytes in 1_000..8_000u64,
        age in 200..3_000u64,
    ) {
        let mut log = Log::with_control_limits(LogLimits { bytes: 3_000, age: 500 }, LogLimits { bytes, age });
        // Accept times by seq, and seqs and accept times of controls.
        let mut all = vec![0];
        let mut controls_ever: Vec<(u64, u64)> = Vec::new();
        let mut mono = 0;
        for (kind, size, after, back) in steps {
            mono += after;
            let mut one = if kind == 0 { join(&"r".repeat(size)) } else { message(size) };
            let accepted = log.append(&mut one, api_of(size).filter(|_| kind != 0), at(mono));
            all.push(accepted.accepted_at);
            if kind == 0 {
                controls_ever.push((accepted.seq, accepted.accepted_at));
            }
            log.evict(mono);
            prop_assert!(log.next_eviction().is_none_or(|due| due > mono));

            let first = (log.newest() + 1).saturating_sub(back).max(1);
            let got = controls(&log, first);
            let old: Vec<_> = controls_ever.iter().copied().filter(|&(seq, _)| seq < first).collect();
            // What is kept is the newest part, in order.
            let left_out = old.len() - got.len();
            prop_assert_eq!(&got, &old[left_out..].iter().map(|&(seq, _)| seq).collect::<Vec<_>>());
            // The time said covers every control left out.
            let newest_left_out = old[..left_out].last().map_or(0, |&(_, at)| at);
            let said = log.controls_before(first).left_out_at;
            prop_assert!(said >= newest_left_out);
            if first > log.newest() {
                prop_assert_eq!(said, newest_left_out);
            }
            let before = all[first as usize - 1];
            prop_assert!(log.evicted_before(first) >= before);
            if first >= log.oldest() {
                prop_assert_eq!(log.evicted_before(first), before);
                prop_assert!(said <= before);
            }
        }
    }
}
