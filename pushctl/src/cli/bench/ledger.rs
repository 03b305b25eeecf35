//! What was pushed, what is to come of it, and what has come.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    time::{Duration, Instant},
};

use pushcast_proto::pushmanager::v1::PushAnswer;
use tokio::sync::Notify;
use tonic::Status;

use super::tally::Tally;

/// A push under way.
#[derive(Debug)]
struct Flight {
    due: Instant,
    audience: u32,
    expected: Option<u32>,
    received: u32,
    first: Option<Instant>,
    median: Option<Instant>,
    last: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// By number, from `base` on; none: it has landed.
    flights: VecDeque<Option<Flight>>,
    base: u64,
    /// The first push that counts.
    counted_from: u64,
    tally: Tally,
}

/// The pushes under way and the tally of those that landed. One thread's.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    state: RefCell<State>,
    in_flight: Cell<usize>,
    /// Deliveries that sockets wait for.
    awaited: Cell<u64>,
    changed: Notify,
}

impl Ledger {
    /// Pushes whose deliveries have not all arrived.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Deliveries that sockets wait for, about.
    pub(super) fn awaited(&self) -> u64 {
        self.awaited.get()
    }

    /// Waits until fewer than `most` pushes are in flight. One waits at a time.
    pub(super) async fn room_for_one(&self, most: usize) {
        while self.in_flight.get() >= most {
            self.changed.notified().await;
        }
    }

    /// A push that was due then is handed over now, for so many sockets. Answers with its number; they are 0, 1, 2 …
    pub(super) fn send(&self, due: Instant, audience: u32) -> u64 {
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        let flight =
            Flight { due, audience, expected: None, received: 0, first: None, median: None, last: now };
        state.flights.push_back(Some(flight));
        let number = state.base + state.flights.len() as u64 - 1;
        state.tally.offered += 1;
        state.tally.sent_late.record(now.saturating_duration_since(due));
        self.in_flight.set(self.in_flight.get() + 1);
        self.awaited.set(self.awaited.get() + u64::from(audience));
        number
    }

    /// A socket has it.
    pub(super) fn delivered(&self, number: u64, at: Instant) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if number < state.counted_from {
            return;
        }
        state.tally.received += 1;
        state.tally.last_at = Some(at);
        let Some(Some(flight)) = state.at(number) else {
            state.tally.late += 1;
            return;
        };
        flight.received += 1;
        flight.last = at;
        flight.first.get_or_insert(at);
        if flight.received == flight.audience.div_ceil(2) {
            flight.median = Some(at);
        }
        if flight.received <= flight.audience {
            self.awaited.set(self.awaited.get().saturating_sub(1));
        }
        let (delay, landed) = (at.saturating_duration_since(flight.due), flight.has_landed());
        state.tally.each.record(delay);
        if landed {
            self.land(state, number);
        }
    }

    /// The manager says what became of it.
    pub(super) fn answered(&self, number: u64, outcome: Result<PushAnswer, Status>) {
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if number < state.counted_from {
            return;
        }
        let Some(Some(flight)) = state.at(number) else { return };
        let (delay, answer) = (now.saturating_duration_since(flight.due), outcome);
        let expected = answer.as_ref().map_or(0, |answer| answer.recipients);
        flight.expected = Some(expected);
        let landed = flight.has_landed();
        let tally = &mut state.tally;
        tally.last_at = Some(now);
        match answer {
            Ok(answer) => {
                tally.answered += 1;
                tally.expected += u64::from(expected);
                tally.with_pending += u64::from(!answer.pending_nodes.is_empty());
                tally.answer.record(delay);
            }
            Err(status) => tally.refused(&status),
        }
        if landed {
            self.land(state, number);
        }
    }

    /// Gives up on answered pushes of which nothing has come for that long: their sockets are gone.
    pub(super) fn give_up_after(&self, silence: Duration) {
        let Some(before) = Instant::now().checked_sub(silence) else { return };
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let is_lost = |flight: &Flight| flight.expected.is_some() && flight.last < before;
        let lost: Vec<u64> = (state.base..)
            .zip(&state.flights)
            .filter(|(_, flight)| flight.as_ref().is_some_and(is_lost))
            .map(|(number, _)| number)
            .collect();
        for number in lost {
            state.tally.given_up += 1;
            self.land(state, number);
        }
    }

    /// What follows counts, what was before does not; nor what still comes of it.
    pub(super) fn start_counting(&self) {
        let mut state = self.state.borrow_mut();
        let next = state.base + state.flights.len() as u64;
        *state = State { base: next, counted_from: next, ..State::default() };
        self.in_flight.set(0);
        self.awaited.set(0);
        self.changed.notify_one();
    }

    /// What came of the pushes so far.
    pub(super) fn tally(&self) -> Tally {
        self.state.borrow().tally.clone()
    }

    /// Deliveries received and pushes answered so far, for who watches.
    pub(super) fn so_far(&self) -> (u64, u64) {
        let state = self.state.borrow();
        (state.tally.received, state.tally.answered)
    }

    /// Takes a flight out. Its delays are known if all of it arrived.
    fn land(&self, state: &mut State, number: u64) {
        let Some(slot) = state.at(number) else { return };
        let Some(flight) = slot.take() else { return };
        while matches!(state.flights.front(), Some(None)) {
            state.flights.pop_front();
            state.base += 1;
        }
        let missing = u64::from(flight.audience.saturating_sub(flight.received));
        self.awaited.set(self.awaited.get().saturating_sub(missing));
        self.in_flight.set(self.in_flight.get() - 1);
        self.changed.notify_one();
        let Some(first) = flight.first.filter(|_| flight.has_landed()) else { return };
        let since_due = |at: Instant| at.saturating_duration_since(flight.due);
        state.tally.first.record(since_due(first));
        state.tally.last.record(since_due(flight.last));
        if let Some(median) = flight.median {
            state.tally.median.record(since_due(median));
        }
    }
}

impl State {
    fn at(&mut self, number: u64) -> Option<&mut Option<Flight>> {
        self.flights.get_mut(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }
}

impl Flight {
    /// Whether everything that the answer promises has come.
    fn has_landed(&self) -> bool {
        self.expected.is_some_and(|expected| self.received >= expected)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::delays::Delays, *};

    fn answer(recipients: u32) -> Result<PushAnswer, Status> {
        Ok(PushAnswer { recipients, ..PushAnswer::default() })
    }

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    fn p50(delays: &Delays) -> Option<f64> {
        delays.quantiles().map(|quantiles| (quantiles.p50 * 1e3).round())
    }

    #[test]
    fn a_push_is_in_flight_until_answered_and_received_by_all() {
        let (ledger, start) = (Ledger::default(), Instant::now());
        let number = ledger.send(start, 3);
        for millis in [10, 20, 40] {
            ledger.delivered(number, after(start, millis));
            assert_eq!(ledger.in_flight(), 1, "not answered yet");
        }
        assert_eq!(ledger.awaited(), 0);
        ledger.answered(number, answer(3));
        let tally = ledger.tally();
        assert_eq!((ledger.in_flight(), tally.expected, tally.received), (0, 3, 3));
        assert_eq!([&tally.first, &tally.median, &tally.last].map(p50), [Some(10.0), Some(20.0), Some(40.0)]);
        assert!(tally.adds_up());
    }

    #[test]
    fn an_answer_before_the_deliveries_lands_nothing() {
        let (ledger, start) = (Ledger::default(), Instant::now());
        let numbers = [ledger.send(start, 2), ledger.send(start, 2)];
        ledger.answered(numbers[0], answer(2));
        ledger.answered(numbers[1], answer(2));
        ledger.delivered(numbers[1], after(start, 5));
        ledger.delivered(numbers[1], after(start, 6));
        assert_eq!((ledger.in_flight(), ledger.awaited()), (1, 2));
        assert!(!ledger.tally().adds_up());
        ledger.delivered(numbers[0], after(start, 7));
        ledger.delivered(numbers[0], after(start, 8));
        assert_eq!((ledger.in_flight(), ledger.awaited()), (0, 0));
        assert!(ledger.tally().adds_up());
    }

    #[test]
    fn delays_count_from_when_a_push_was_due_and_not_from_when_it_was_sent() {
        let (ledger, start) = (Ledger::default(), Instant::now());
        let due = start.checked_sub(Duration::from_secs(2)).unwrap();
        let number = ledger.send(due, 1);
        ledger.answered(number, answer(1));
        ledger.delivered(number, after(start, 5));
        let tally = ledger.tally();
        assert!((2004.0..=2007.0).contains(&p50(&tally.last).unwrap()));
        assert!(p50(&tally.sent_late).unwrap() >= 2000.0);
    }

    #[test]
    fn a_refused_push_waits_for_nobody_and_is_told() {
        let ledger = Ledger::default();
        let number = ledger.send(Instant::now(), 5);
        ledger.answered(number, Err(Status::resource_exhausted("full")));
        let tally = ledger.tally();
        assert_eq!((ledger.in_flight(), ledger.awaited(), tally.refused), (0, 0, 1));
        assert_eq!(tally.refusals_in_words(), ["1 × RESOURCE_EXHAUSTED: full"]);
        assert!(!tally.adds_up());
    }

    #[test]
    fn what_never_comes_is_given_up_and_missing() {
        let ledger = Ledger::default();
        let numbers = [ledger.send(Instant::now(), 2), ledger.send(Instant::now(), 2)];
        ledger.answered(numbers[0], answer(2));
        std::thread::sleep(Duration::from_millis(2));
        ledger.give_up_after(Duration::from_secs(60));
        assert_eq!(ledger.in_flight(), 2);
        ledger.give_up_after(Duration::from_millis(1));
        let tally = ledger.tally();
        assert_eq!((ledger.in_flight(), tally.given_up), (1, 1), "the other one is not answered");
        assert!(!tally.adds_up() && tally.last.quantiles().is_none());
        ledger.delivered(numbers[0], Instant::now());
        let tally = ledger.tally();
        assert_eq!((tally.received, tally.late), (1, 1));
    }

    #[test]
    fn what_was_before_does_not_count() {
        let ledger = Ledger::default();
        let before = ledger.send(Instant::now(), 1);
        ledger.start_counting();
        let counted = ledger.send(Instant::now(), 1);
        assert_ne!(before, counted);
        for number in [before, counted] {
            ledger.delivered(number, Instant::now());
            ledger.answered(number, answer(1));
        }
        let tally = ledger.tally();
        assert_eq!((tally.offered, tally.expected, tally.received), (1, 1, 1));
        assert_eq!(ledger.in_flight(), 0);
    }

    #[tokio::test]
    async fn whoever_waits_for_room_is_woken() {
        let ledger = Ledger::default();
        let number = ledger.send(Instant::now(), 0);
        let landing = async {
            tokio::task::yield_now().await;
            ledger.answered(number, answer(0));
        };
        tokio::join!(ledger.room_for_one(1), landing);
        assert_eq!(ledger.in_flight(), 0);
    }
}
