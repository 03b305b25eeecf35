//! Pushing steadily while something happens, and taking turns where the machine is too small for two.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use pushcast_proto::pushmanager::v1::PushAnswer;
use pushcast_tests::listener::{Listener, text};
use pushctl::push::{Push, PushClient};
use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

/// Tests that use a whole core, and those that compare times, hold this one after the other.
pub(crate) async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// Numbered pushes to a room at a steady rate through one PushStream, until finished.
pub(crate) struct SteadyLoad {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    sender: JoinHandle<()>,
    results: JoinHandle<Vec<PushAnswer>>,
}

impl SteadyLoad {
    /// `per_second` in steps of 100.
    pub(crate) async fn start(client: &PushClient, room: &'static str, per_second: u64) -> Self {
        let (sender, mut results) = client.stream(16_384).await.unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (count, stopped) = (Arc::clone(&sent), Arc::clone(&stop));
        let sender = tokio::spawn(async move {
            let mut tick = interval(Duration::from_millis(10));
            tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while !stopped.load(Ordering::Relaxed) {
                tick.tick().await;
                for _ in 0..per_second / 100 {
                    let number = count.load(Ordering::Relaxed);
                    // Counted before it is sent: whoever reads the count knows that all later ones follow.
                    count.store(number + 1, Ordering::Relaxed);
                    sender.send(number, Push::to_room(room, number.to_string())).await.unwrap();
                }
            }
        });
        let results = tokio::spawn(async move {
            let mut answers = Vec::new();
            while let Some((tag, result)) = results.next().await.unwrap() {
                assert_eq!(tag, answers.len() as u64, "results come in the order of acceptance");
                answers.push(result.unwrap_or_else(|status| panic!("push {tag}: {status}")));
            }
            answers
        });
        Self { sent, stop, sender, results }
    }

    /// How many were sent; everything numbered from here on is sent later.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until this many more were sent.
    pub(crate) async fn more(&self, pushes: u64) {
        let until = self.sent() + pushes;
        while self.sent() < until {
            assert!(!self.sender.is_finished(), "the sender stopped by itself");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it; hands out every answer.
    pub(crate) async fn finish(self) -> Vec<PushAnswer> {
        self.stop.store(true, Ordering::Relaxed);
        self.sender.await.unwrap();
        self.results.await.unwrap()
    }
}

/// Receives numbered pushes on a task of its own.
pub(crate) struct Counting {
    received: Arc<AtomicU64>,
    task: JoinHandle<(Vec<u64>, Option<u16>)>,
}

impl Counting {
    /// Collects until `last` was received or the connection ended.
    pub(crate) fn start(mut listener: Listener, last: impl Fn(u64) -> bool + Send + 'static) -> Self {
        let received = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&received);
        let task = tokio::spawn(async move {
            let mut numbers = Vec::new();
            loop {
                match listener.next_push_or_end().await {
                    Ok(push) => {
                        let number = text(&push).parse().unwrap();
                        numbers.push(number);
                        count.fetch_add(1, Ordering::Relaxed);
                        if last(number) {
                            return (numbers, None);
                        }
                    }
                    Err(closed) => return (numbers, closed.code),
                }
            }
        });
        Self { received, task }
    }

    /// How many it has.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Everything it got, and the close code if the connection ended.
    pub(crate) async fn finish(self, within: Duration) -> (Vec<u64>, Option<u16>) {
        let received = Arc::clone(&self.received);
        tokio::time::timeout(within, self.task)
            .await
            .unwrap_or_else(|_elapsed| panic!("stuck at {} pushes", received.load(Ordering::Relaxed)))
            .unwrap()
    }
}

/// Panics unless the numbers follow each other without a hole and without a repeat.
pub(crate) fn assert_consecutive(who: &str, numbers: &[u64]) {
    for pair in numbers.windows(2) {
        assert_eq!(pair[1], pair[0] + 1, "{who} got {} after {}", pair[1], pair[0]);
    }
}

/// Median time from a push to its arrival at a listener, over some pushes one after the other.
pub(crate) async fn median_latency(client: &PushClient, room: &str, listener: &mut Listener) -> Duration {
    let mut times = Vec::new();
    for _ in 0..31 {
        let start = Instant::now();
        let push =
            Push { ack: pushcast_proto::pushmanager::v1::Ack::Accepted, ..Push::to_room(room, "probe") };
        client.push(push, None).await.unwrap();
        while listener.next_text().await != "probe" {}
        times.push(start.elapsed());
        // Between bursts, as a real trickle would come.
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    times.sort();
    times[times.len() / 2]
}
