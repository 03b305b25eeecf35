//! Pushes on a schedule, or as fast as their deliveries arrive, and their answers.

use std::{
    future::Future,
    io,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use pushcast_common::shutdown::Shutdown;
use pushctl::{
    pipeline::{PushResults, PushSender},
    push::{Push, PushClient},
};
use tokio::sync::mpsc;
use tonic::Status;

use super::{
    ledger::Ledger,
    marker::Marker,
    plan::{Pace, Pushes},
    timer::Timer,
};

/// How pushes go to the manager.
#[derive(Debug)]
pub(super) enum Way {
    /// All on one stream.
    Stream(PushSender),
    /// Each by a call of its own.
    Calls(mpsc::Sender<(u64, Push)>),
}

/// Where answers come from.
#[derive(Debug)]
pub(super) enum Answers {
    Stream(PushResults),
    Calls(PushClient, mpsc::Receiver<(u64, Push)>),
}

/// Opens the way to a manager that a plan takes.
pub(super) async fn open(client: &PushClient, pushes: &Pushes) -> Result<(Way, Answers), Status> {
    if pushes.unary {
        let (sender, queue) = mpsc::channel(pushes.in_flight);
        return Ok((Way::Calls(sender), Answers::Calls(client.clone(), queue)));
    }
    let (sender, results) = client.stream(pushes.in_flight).await?;
    Ok((Way::Stream(sender), Answers::Stream(results)))
}

impl Way {
    /// Answers with whether it could be handed over: if not, the answers say why.
    async fn send(&self, number: u64, push: Push) -> bool {
        match self {
            Self::Stream(sender) => sender.send(number, push).await.is_ok(),
            Self::Calls(sender) => sender.send((number, push)).await.is_ok(),
        }
    }
}

impl Answers {
    /// Hands every answer to the ledger. It ends when the way is dropped and all is answered, or with what broke it.
    pub(super) async fn keep_books(self, ledger: &Ledger) -> Result<(), Status> {
        match self {
            Self::Stream(mut results) => {
                while let Some((number, outcome)) = results.next().await? {
                    ledger.answered(number, outcome);
                }
                Ok(())
            }
            Self::Calls(client, queue) => calls(&client, queue, ledger).await,
        }
    }
}

async fn calls(
    client: &PushClient,
    mut queue: mpsc::Receiver<(u64, Push)>,
    ledger: &Ledger,
) -> Result<(), Status> {
    let mut under_way = FuturesUnordered::new();
    let mut is_open = true;
    while is_open || !under_way.is_empty() {
        tokio::select! {
            next = queue.recv(), if is_open => match next {
                Some((number, push)) => {
                    under_way.push(async move { (number, client.push(push, None).await) });
                }
                None => is_open = false,
            },
            Some((number, outcome)) = under_way.next() => match outcome {
                // The manager cannot be reached: the next call would say the same, and the next thousand.
                Err(status) if std::error::Error::source(&status).is_some() => return Err(status),
                outcome => ledger.answered(number, outcome),
            },
        }
    }
    Ok(())
}

/// Who pushes.
#[derive(Debug)]
pub(super) struct Pusher<'a> {
    pub(super) plan: &'a Pushes,
    pub(super) way: Way,
    pub(super) ledger: &'a Ledger,
    pub(super) marker: Marker,
    pub(super) rooms: Vec<String>,
    pub(super) timer: Timer,
    /// Ends pushing before its time, so that what is under way still arrives.
    pub(super) stop: &'a Shutdown,
}

impl Pusher<'_> {
    /// Pushes for that long, room after room. Answers with how many were due, if there was a schedule. An error is this
    /// machine's.
    pub(super) async fn push_for(&self, span: Duration) -> io::Result<Option<u64>> {
        let start = Instant::now();
        let end = start + span;
        match self.plan.pace {
            Pace::FlatOut => {
                while self.within(end, self.ledger.room_for_one(self.plan.in_flight)).await? {
                    let now = Instant::now();
                    if now >= end || !self.push(now).await {
                        break;
                    }
                }
                Ok(None)
            }
            Pace::PerSecond(rate) => {
                let schedule = Schedule { start, rate };
                for number in 0.. {
                    let due = schedule.due(number);
                    if due >= end {
                        break;
                    }
                    if !self.is_due(due).await? {
                        break;
                    }
                    let has_room = self.within(end, self.ledger.room_for_one(self.plan.in_flight)).await?;
                    if !has_room || !self.push(due).await {
                        break;
                    }
                }
                Ok(Some(schedule.due_before(end)))
            }
        }
    }

    async fn push(&self, due: Instant) -> bool {
        let number = self.ledger.send(due, self.plan.members);
        let room = &self.rooms[number as usize % self.rooms.len()];
        let push = Push::to_room(room.clone(), self.marker.content(number, self.plan.content));
        self.way.send(number, push).await
    }

    /// Waits until then, unless it is stopped before.
    async fn is_due(&self, due: Instant) -> io::Result<bool> {
        tokio::select! {
            biased;
            () = self.stop.begun() => Ok(false),
            is_due = self.timer.until(due) => is_due.map(|()| true),
        }
    }

    /// Whether it came about in time, and before a stop.
    async fn within(&self, end: Instant, what: impl Future<Output = ()>) -> io::Result<bool> {
        tokio::select! {
            biased;
            () = self.stop.begun() => Ok(false),
            () = what => Ok(true),
            late = self.timer.until(end) => late.map(|()| false),
        }
    }
}

/// When each push is due: it knows nothing of what became of those before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) start: Instant,
    /// A second.
    pub(super) rate: f64,
}

impl Schedule {
    /// When push 0, 1, 2 … is due.
    pub(super) fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// How many are due before that time.
    pub(super) fn due_before(&self, end: Instant) -> u64 {
        let about = (end.saturating_duration_since(self.start).as_secs_f64() * self.rate) as u64;
        // Rounding is off by one at most.
        (about.saturating_sub(1)..).find(|&number| self.due(number) >= end).unwrap_or(about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_waits_for_nobody() {
        let start = Instant::now();
        let schedule = Schedule { start, rate: 20.0 };
        let dues: Vec<u128> = (0..4).map(|number| (schedule.due(number) - start).as_millis()).collect();
        assert_eq!(dues, [0, 50, 100, 150]);
        for (millis, due) in [(0, 0), (1, 1), (50, 1), (51, 2), (10_000, 200)] {
            assert_eq!(schedule.due_before(start + Duration::from_millis(millis)), due, "{millis}");
        }
        let odd = Schedule { start, rate: 3.0 };
        assert_eq!(odd.due_before(start + Duration::from_secs(7)), 21);
        let rare = Schedule { start, rate: 0.01 };
        assert_eq!(rare.due_before(start + Duration::from_secs(1)), 1);
    }
}
