use proptest::prelude::*;
use prost::Message as _;
use pushcast_proto::connectnode::v1::{MessageBatch, message::Target};

use super::*;

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

fn decode(batch: &Batch) -> Vec<Message> {
    MessageBatch::decode(batch.records.clone()).unwrap().messages
}

#[test]
fn times_are_strictly_increasing_even_when_the_clock_steps_back() {
    let mut log = Log::new(LogLimits { bytes: 1 << 20, age: 1 << 40 });
    let first = log.append(&mut message(1), Api::Broadcast, at(50));
    assert_eq!(first, Accepted { seq: 1, accepted_at: 1050 });
    let second = log.append(&mut message(1), Api::Broadcast, Now { wall: 3, mono: 60 });
    assert_eq!(second, Accepted { seq: 2, accepted_at: 1051 });
    let through = log.through(at(100));
    assert_eq!(through, 1100);
    assert!(log.append(&mut message(1), Api::Broadcast, at(100)).accepted_at > through);
}

#[test]
fn age_evicts_without_further_messages_and_names_the_gap() {
    let mut log = Log::new(LogLimits { bytes: 1 << 20, age: 100 });
    assert_eq!(log.next_eviction(), None);
    log.append(&mut message(1), Api::Broadcast, at(0));
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
    log.append(&mut message(5), Api::Broadcast, at(0));
    log.append(&mut message(5000), Api::PushToRoom, at(1));
    assert_eq!((log.oldest(), log.newest()), (2, 2));
    let Range::Batch(batch) = log.range(2, 100) else { panic!() };
    assert_eq!(decode(&batch).len(), 1);
    assert_eq!(log.api(2), Some(Api::PushToRoom));
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
                    let accepted = log.append(&mut one, Api::ALL[size % 4], Now { wall, mono });
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
                            let apis: Vec<Api> = log.apis(batch.first, batch.last).collect();
                            let want: Vec<Api> = got.iter().map(|m| Api::ALL[m.content.len() % 4]).collect();
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
            prop_assert!(log.bytes() <= bytes || log.segments.len() == 1);
            for seq in log.oldest()..=log.newest() {
                prop_assert_eq!(log.accepted_at(seq), Some(all[seq as usize - 1].accepted_at));
            }
        }
    }
}
