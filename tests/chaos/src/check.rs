//! Compares what was sent with what came.
//!
//! A client's life is cut into chapters: a connect with `recovered: false` begins a new one. Within a chapter nothing
//! may be missing that was accepted for the client and sent after the chapter began; what is missing between two
//! chapters the client was told of, and it is counted apart. Where a chapter ended nobody can say to the message,
//! except on a stream of which something later came.
//!
//! Order is promised for one stream through one manager, as long as nothing of it is sent again: a retry through
//! another manager may overtake. So the order of messages that were sent once is looked at, for each stream.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use crate::book::{Name, Sent, To, Told};

/// What happened to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// A connection stood.
    Connected {
        /// After it did.
        at: Instant,
        /// It was told that it missed nothing.
        recovered: bool,
    },
    /// A message was handed to the application.
    Got(Name),
    /// A message without a name, or one that nobody sent.
    Strange,
    /// The session ended for good.
    Ended,
}

/// A client's notes, in order.
#[derive(Debug, Clone, Default)]
pub struct Diary {
    /// Its number as a user.
    pub user: u32,
    /// Its room.
    pub room: u32,
    /// What happened.
    pub notes: Vec<Note>,
}

/// What is wrong, and how much went right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Messages that a manager took.
    pub accepted: u64,
    /// Messages whose callers never became certain.
    pub uncertain: u64,
    /// Messages handed to clients.
    pub delivered: u64,
    /// Messages a client should have got and did not, where it was not told.
    pub lost: u64,
    /// Messages a client got again.
    pub duplicated: u64,
    /// Messages behind later ones of their stream.
    pub out_of_order: u64,
    /// Messages for somebody else or of nobody, and sessions that ended.
    pub strange: u64,
    /// Messages missing between chapters, where the client was told.
    pub missed_and_told: u64,
    /// Connections after the first.
    pub resumes: u64,
    /// Those of them that were told that something may be missing.
    pub unrecovered: u64,
    /// Some of what is wrong.
    pub examples: Vec<String>,
}

/// Examples shown at most.
const EXAMPLES: usize = 12;

impl Verdict {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.out_of_order + self.strange + self.uncertain == 0
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text());
        }
    }
}

/// Everything that was sent, by whom it is for.
#[derive(Debug)]
pub struct Index<'a> {
    sent: &'a [Vec<Sent>],
    by_target: HashMap<To, Vec<Name>>,
}

impl<'a> Index<'a> {
    /// Sorts what was sent: callers' pushes by number.
    pub fn new(sent: &'a [Vec<Sent>]) -> Self {
        let mut by_target: HashMap<To, Vec<Name>> = HashMap::new();
        for (caller, pushes) in sent.iter().enumerate() {
            for (number, push) in pushes.iter().enumerate() {
                let name = Name { caller: caller as u32, number: number as u32 };
                by_target.entry(push.to).or_default().push(name);
            }
        }
        Self { sent, by_target }
    }

    fn get(&self, name: Name) -> Option<&Sent> {
        self.sent.get(name.caller as usize)?.get(name.number as usize)
    }

    fn of(&self, target: To) -> &[Name] {
        self.by_target.get(&target).map_or(&[], Vec::as_slice)
    }
}

/// Compares all of it.
pub fn check<'a>(index: &Index<'_>, diaries: impl IntoIterator<Item = &'a Diary>) -> Verdict {
    let mut verdict = Verdict::default();
    for push in index.sent.iter().flatten() {
        verdict.accepted += u64::from(push.accepted());
        verdict.uncertain += u64::from(push.told != Told::Certain);
    }
    for diary in diaries {
        read(index, diary, &mut verdict);
    }
    verdict
}

struct Chapter {
    began: Instant,
    /// The newest that came of each stream, of what was sent once.
    newest: HashMap<(u32, u32), u32>,
}

fn read(index: &Index<'_>, diary: &Diary, verdict: &mut Verdict) {
    let user = diary.user;
    let mut chapters: Vec<Chapter> = Vec::new();
    let mut got: HashSet<Name> = HashSet::new();
    for note in &diary.notes {
        match *note {
            Note::Connected { at, recovered } => {
                verdict.resumes += u64::from(!chapters.is_empty());
                if chapters.is_empty() || !recovered {
                    verdict.unrecovered += u64::from(!chapters.is_empty());
                    chapters.push(Chapter { began: at, newest: HashMap::new() });
                }
            }
            Note::Ended => {
                verdict.strange += 1;
                verdict.example(|| format!("the session of user {user} ended"));
            }
            Note::Strange => {
                verdict.strange += 1;
                verdict.example(|| format!("user {user} got something that nobody sent"));
            }
            Note::Got(name) => {
                verdict.delivered += 1;
                let sent = index.get(name).filter(|sent| match sent.to {
                    To::Room(room) => room == diary.room,
                    To::User(of) => of == user,
                    To::Everyone => true,
                });
                let (Some(sent), Some(chapter)) = (sent, chapters.last_mut()) else {
                    verdict.strange += 1;
                    verdict.example(|| format!("user {user} got {name:?}, which is not for it"));
                    continue;
                };
                if !got.insert(name) {
                    verdict.duplicated += 1;
                    verdict.example(|| format!("user {user} got {name:?} again"));
                    continue;
                }
                if sent.retried {
                    continue;
                }
                let newest = chapter.newest.entry((name.caller, sent.stream)).or_insert(name.number);
                if name.number < *newest {
                    verdict.out_of_order += 1;
                    let newest = *newest;
                    verdict.example(|| format!("user {user} got {name:?} behind {newest}"));
                }
                *newest = name.number.max(*newest);
            }
        }
    }
    for target in [To::Room(diary.room), To::User(user), To::Everyone] {
        for &name in index.of(target) {
            let Some(sent) = index.get(name).filter(|sent| sent.accepted() && !got.contains(&name)) else {
                continue;
            };
            let Some(at) = chapters.iter().rposition(|chapter| chapter.began <= sent.at) else { continue };
            let newest = chapters[at].newest.get(&(name.caller, sent.stream));
            let overtaken = !sent.retried && newest.is_some_and(|newest| *newest > name.number);
            if at + 1 == chapters.len() || overtaken {
                verdict.lost += 1;
                verdict.example(|| format!("user {user} never got {name:?}: {sent:?}"));
            } else {
                verdict.missed_and_told += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// One caller's pushes to room 1 on one stream, sent at 10, 20, 30 … ms.
    struct Scene {
        start: Instant,
        sent: Vec<Sent>,
    }

    impl Scene {
        fn of(count: u32) -> Self {
            let start = Instant::now();
            let sent = (1..=count).map(|number| Sent {
                stream: 0,
                at: start + Duration::from_millis(10 * u64::from(number)),
                to: To::Room(1),
                told: Told::Certain,
                retried: false,
            });
            Self { start, sent: sent.collect() }
        }

        fn connected(&self, millis: u64, recovered: bool) -> Note {
            Note::Connected { at: self.start + Duration::from_millis(millis), recovered }
        }

        fn verdict(&self, notes: Vec<Note>) -> Verdict {
            let sent = [self.sent.clone()];
            check(&Index::new(&sent), [&Diary { user: 7, room: 1, notes }])
        }
    }

    fn got(numbers: impl IntoIterator<Item = u32>) -> Vec<Note> {
        numbers.into_iter().map(|number| Note::Got(Name { caller: 0, number })).collect()
    }

    fn notes(parts: &[&[Note]]) -> Vec<Note> {
        parts.concat()
    }

    #[test]
    fn a_name_survives_its_content() {
        let name = Name { caller: 3, number: 70_000 };
        assert_eq!(Name::of(&name.content(100)), Some(name));
        assert_eq!(Name::of(&name.content(0)), Some(name));
        assert_eq!(Name::of(b"short"), None);
    }

    #[test]
    fn everything_in_order_is_clean() {
        let scene = Scene::of(4);
        let all =
            notes(&[&[scene.connected(0, false)], &got(0..2), &[scene.connected(25, true)], &got(2..4)]);
        let verdict = scene.verdict(all);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.accepted, verdict.delivered), (4, 4));
        assert_eq!((verdict.resumes, verdict.unrecovered, verdict.missed_and_told), (1, 0, 0));
    }

    #[test]
    fn what_never_came_is_lost() {
        let scene = Scene::of(4);
        for missing in 0..4 {
            let rest = got((0..4).filter(|number| *number != missing));
            let verdict = scene.verdict(notes(&[&[scene.connected(0, false)], &rest]));
            assert_eq!((verdict.lost, verdict.is_clean()), (1, false), "without {missing}");
        }
    }

    #[test]
    fn what_was_sent_before_the_client_came_or_not_accepted_is_not_lost() {
        let mut scene = Scene::of(4);
        let verdict = scene.verdict(notes(&[&[scene.connected(25, false)], &got(2..4)]));
        assert!(verdict.is_clean(), "{verdict:?}");
        scene.sent[3].told = Told::Nothing;
        let verdict = scene.verdict(notes(&[&[scene.connected(0, false)], &got(0..3)]));
        assert_eq!((verdict.lost, verdict.accepted, verdict.uncertain), (0, 3, 1));
        assert!(!verdict.is_clean(), "a caller that gave up proves nothing");
    }

    #[test]
    fn what_only_a_pending_answer_was_given_for_counts_as_accepted() {
        let mut scene = Scene::of(2);
        scene.sent[1].told = Told::Pending;
        let verdict = scene.verdict(notes(&[&[scene.connected(0, false)], &got(0..1)]));
        assert_eq!((verdict.lost, verdict.accepted, verdict.uncertain), (1, 2, 1));
    }

    #[test]
    fn what_came_twice_is_duplicated_though_connections_lie_between() {
        let scene = Scene::of(3);
        for recovered in [true, false] {
            let again = scene.connected(35, recovered);
            let all = notes(&[&[scene.connected(0, false)], &got(0..3), &[again], &got(2..3)]);
            assert_eq!(scene.verdict(all).duplicated, 1);
        }
    }

    #[test]
    fn what_came_behind_a_later_one_is_out_of_order_unless_it_was_sent_again() {
        let mut scene = Scene::of(4);
        let all = notes(&[&[scene.connected(0, false)], &got([0, 2, 1, 3])]);
        assert_eq!(scene.verdict(all.clone()).out_of_order, 1);
        scene.sent[1].retried = true;
        assert!(scene.verdict(all.clone()).is_clean());
        // Another stream is another order.
        scene.sent[1].retried = false;
        scene.sent[2].stream = 1;
        assert!(scene.verdict(all).is_clean());
    }

    #[test]
    fn a_client_that_was_told_so_has_lost_nothing() {
        let scene = Scene::of(6);
        let all =
            notes(&[&[scene.connected(0, false)], &got(0..2), &[scene.connected(45, false)], &got(4..6)]);
        let verdict = scene.verdict(all);
        assert!(verdict.is_clean(), "{verdict:?}");
        assert_eq!((verdict.missed_and_told, verdict.unrecovered, verdict.resumes), (2, 1, 1));
    }

    #[test]
    fn a_client_that_was_told_it_missed_nothing_and_did_has_lost_it() {
        let scene = Scene::of(6);
        let all =
            notes(&[&[scene.connected(0, false)], &got(0..2), &[scene.connected(45, true)], &got(4..6)]);
        let verdict = scene.verdict(all);
        assert_eq!((verdict.lost, verdict.missed_and_told), (2, 0));
    }

    #[test]
    fn a_hole_within_a_chapter_is_lost_whatever_is_said_later() {
        let scene = Scene::of(6);
        let all =
            notes(&[&[scene.connected(0, false)], &got([0, 2]), &[scene.connected(45, false)], &got(4..6)]);
        let verdict = scene.verdict(all);
        assert_eq!((verdict.lost, verdict.missed_and_told), (1, 1));
    }

    #[test]
    fn what_is_for_others_or_of_nobody_is_strange() {
        let mut scene = Scene::of(2);
        scene.sent[1].to = To::Room(2);
        let all =
            notes(&[&[scene.connected(0, false)], &got(0..2), &got(9..10), &[Note::Strange, Note::Ended]]);
        assert_eq!(scene.verdict(all).strange, 4);
    }

    #[test]
    fn users_and_everyone_are_targets_too() {
        let mut scene = Scene::of(3);
        scene.sent[0].to = To::User(7);
        scene.sent[1].to = To::Everyone;
        scene.sent[2].to = To::User(8);
        assert_eq!(scene.verdict(vec![scene.connected(0, false)]).lost, 2);
        assert!(scene.verdict(notes(&[&[scene.connected(0, false)], &got(0..2)])).is_clean());
    }
}
