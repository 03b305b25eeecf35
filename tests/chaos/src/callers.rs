//! Business servers that must be certain: they push on a stream, and send again with the same request_id, through
//! one manager after the other, until no node is pending.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use pushcast_proto::pushmanager::v1::PushAnswer;
use pushctl::{
    pipeline::{PushResults, PushSender},
    push::{Push, PushClient, code_name},
};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tonic::Status;

use crate::book::{Book, Name, Sent, To, Told};

/// Unanswered pushes of one stream.
const IN_FLIGHT: usize = 8_192;
/// A stream that brings no answer for so long is given up: longer than a manager lets any push wait.
const SILENT: Duration = Duration::from_secs(8);
/// The first retry of a push comes after this time, every further one after twice the time before, up to a bound.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const RETRY_AFTER_MOST: Duration = Duration::from_secs(4);
/// Sent again at once.
const RETRIES_AT_ONCE: usize = 2_000;
/// Callers that are not certain after this time, when faults are over, never will be.
const FINISH: Duration = Duration::from_secs(60);

/// What callers push.
#[derive(Debug, Clone)]
pub struct Load {
    /// All callers together.
    pub per_second: u32,
    /// Callers, each with a stream.
    pub callers: u32,
    /// Rooms that are pushed to.
    pub rooms: u32,
    /// Users that are pushed to.
    pub users: u32,
    /// Content of a push.
    pub content: usize,
}

impl Load {
    /// Most pushes go to rooms, a fifth to users, one in a thousand to everyone.
    fn target(&self, name: Name) -> To {
        // A number that looks random and is the same every time.
        let mut mixed = (u64::from(name.caller) << 32 | u64::from(name.number)).wrapping_add(1);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        let pick = |count: u32| ((mixed >> 32) % u64::from(count)) as u32;
        match mixed % 1000 {
            0 => To::Everyone,
            1..200 => To::User(pick(self.users)),
            _ => To::Room(pick(self.rooms)),
        }
    }

    fn push(&self, name: Name, to: To) -> Push {
        let content = name.content(self.content);
        let push = match to {
            To::Room(room) => Push::to_room(room_id(room), content),
            To::User(user) => Push::to_user(user_id(user), content),
            To::Everyone => Push::to_everyone(content),
        };
        Push { request_id: name.request_id(), ..push }
    }
}

/// The id of a room.
pub fn room_id(room: u32) -> String {
    format!("r{room}")
}

/// The id of a user.
pub fn user_id(user: u32) -> String {
    format!("u{user}")
}

/// Callers at work.
#[derive(Debug)]
pub struct Callers {
    stop: Arc<AtomicBool>,
    shared: Vec<Arc<Caller>>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Caller {
    index: u32,
    load: Load,
    book: Arc<Book>,
    managers: Vec<PushClient>,
    stop: Arc<AtomicBool>,
    /// No push is on its first way any more.
    sent_all: AtomicBool,
    retries: Mutex<Retries>,
    sent_again: AtomicU64,
    errors: Mutex<BTreeMap<String, u64>>,
}

/// What has to be sent again.
#[derive(Debug, Default)]
struct Retries {
    due: BTreeSet<(Instant, u32)>,
    /// How often each was sent again so far.
    times: BTreeMap<u32, u32>,
}

/// How callers fared.
#[derive(Debug, Default)]
pub struct Fared {
    /// Pushes sent again.
    pub sent_again: u64,
    /// Errors that pushes were answered with, by code.
    pub errors: BTreeMap<String, u64>,
}

impl Callers {
    /// Starts to push through these managers.
    pub fn start(load: &Load, managers: &[PushClient], book: &Arc<Book>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let shared: Vec<_> = (0..load.callers)
            .map(|index| {
                Arc::new(Caller {
                    index,
                    load: load.clone(),
                    book: Arc::clone(book),
                    managers: managers.to_vec(),
                    stop: Arc::clone(&stop),
                    sent_all: AtomicBool::new(false),
                    retries: Mutex::default(),
                    sent_again: AtomicU64::new(0),
                    errors: Mutex::default(),
                })
            })
            .collect();
        let mut tasks = JoinSet::new();
        for caller in &shared {
            tasks.spawn(Arc::clone(caller).push_on());
            tasks.spawn(Arc::clone(caller).send_again());
        }
        Self { stop, shared, tasks }
    }

    /// Ends the load and waits until callers are certain of everything, or for long enough.
    pub async fn finish(mut self) -> Fared {
        self.stop.store(true, Ordering::Relaxed);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _elapsed = timeout(FINISH, all).await;
        let mut fared = Fared::default();
        for caller in &self.shared {
            fared.sent_again += caller.sent_again.load(Ordering::Relaxed);
            for (code, count) in lock(&caller.errors).iter() {
                *fared.errors.entry(code.clone()).or_default() += count;
            }
        }
        fared
    }
}

impl Caller {
    /// Streams, one after the other, each through another manager.
    async fn push_on(self: Arc<Self>) {
        let mut pace = Pace { began: Instant::now(), sent: 0 };
        let mut stream = 0;
        let mut manager = self.index as usize;
        while !self.stop.load(Ordering::Relaxed) {
            let client = &self.managers[manager % self.managers.len()];
            manager += 1;
            match timeout(SILENT, client.stream(IN_FLIGHT)).await {
                Ok(Ok((sender, results))) => {
                    self.push_on_stream(stream, &mut pace, sender, results).await;
                    stream += 1;
                }
                Ok(Err(status)) => self.note_error("open: ", &status),
                Err(_elapsed) => {}
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.sent_all.store(true, Ordering::Relaxed);
    }

    async fn push_on_stream(
        &self,
        stream: u32,
        pace: &mut Pace,
        sender: PushSender,
        mut results: PushResults,
    ) {
        let unanswered = Mutex::new(BTreeSet::new());
        let ended = AtomicBool::new(false);
        let send = async {
            let mut tick = interval(Duration::from_millis(10));
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !self.stop.load(Ordering::Relaxed) && !ended.load(Ordering::Relaxed) {
                tick.tick().await;
                for _ in 0..pace.due(self.load.per_second, self.load.callers) {
                    let (name, to) = self.write_down(stream);
                    lock(&unanswered).insert(name.number);
                    if sender.send(u64::from(name.number), self.load.push(name, to)).await.is_err() {
                        return;
                    }
                }
            }
            drop(sender);
        };
        let receive = async {
            loop {
                let next = timeout(SILENT, results.next()).await;
                match next {
                    Ok(Ok(Some((tag, outcome)))) => {
                        lock(&unanswered).remove(&(tag as u32));
                        self.answered(tag as u32, outcome);
                    }
                    // Nothing was asked, so nothing is answered.
                    Err(_elapsed) if lock(&unanswered).is_empty() => {}
                    Ok(Ok(None)) | Err(_) => break,
                    Ok(Err(status)) => {
                        self.note_error("stream: ", &status);
                        break;
                    }
                }
            }
            ended.store(true, Ordering::Relaxed);
            // The sender may wait for a place that no answer makes any more.
            drop(results);
        };
        tokio::join!(send, receive);
        for number in std::mem::take(&mut *lock(&unanswered)) {
            self.retry_later(number);
        }
    }

    fn write_down(&self, stream: u32) -> (Name, To) {
        let mut book = self.book.of(self.index);
        let name = Name { caller: self.index, number: book.len() as u32 };
        let to = self.load.target(name);
        book.push(Sent { stream, at: Instant::now(), to, told: Told::Nothing, retried: false });
        (name, to)
    }

    fn answered(&self, number: u32, outcome: Result<PushAnswer, Status>) {
        let told = match outcome {
            Ok(answer) if answer.pending_nodes.is_empty() => Told::Certain,
            Ok(_) => Told::Pending,
            Err(status) => {
                self.note_error("", &status);
                return self.retry_later(number);
            }
        };
        self.book.of(self.index)[number as usize].told = told;
        if told == Told::Pending {
            self.retry_later(number);
        }
    }

    fn retry_later(&self, number: u32) {
        let mut retries = lock(&self.retries);
        let times = retries.times.entry(number).or_default();
        let wait = RETRY_AFTER.saturating_mul(1 << (*times).min(8)).min(RETRY_AFTER_MOST);
        *times += 1;
        retries.due.insert((Instant::now() + wait, number));
    }

    async fn send_again(self: Arc<Self>) {
        // The first retry of what the first stream did not bring goes through another manager.
        let mut manager = self.index as usize + 1;
        loop {
            sleep(Duration::from_millis(100)).await;
            // Looked at before the queue: what was on its way then is in the queue now.
            let sent_all = self.sent_all.load(Ordering::Relaxed);
            let due = {
                let mut retries = lock(&self.retries);
                if sent_all && retries.due.is_empty() {
                    return;
                }
                let later = retries.due.split_off(&(Instant::now(), 0));
                let mut due = std::mem::replace(&mut retries.due, later);
                while due.len() > RETRIES_AT_ONCE {
                    retries.due.extend(due.pop_last());
                }
                due
            };
            if !due.is_empty() {
                let numbers: Vec<u32> = due.into_iter().map(|(_, number)| number).collect();
                self.send_these_again(&numbers, &self.managers[manager % self.managers.len()]).await;
                manager += 1;
            }
        }
    }

    async fn send_these_again(&self, numbers: &[u32], client: &PushClient) {
        let mut left: BTreeSet<u32> = numbers.iter().copied().collect();
        let Ok(Ok((sender, mut results))) = timeout(SILENT, client.stream(IN_FLIGHT)).await else {
            return left.into_iter().for_each(|number| self.retry_later(number));
        };
        let send = async {
            for &number in numbers {
                let name = Name { caller: self.index, number };
                let to = {
                    let sent = &mut self.book.of(self.index)[number as usize];
                    sent.retried = true;
                    sent.to
                };
                self.sent_again.fetch_add(1, Ordering::Relaxed);
                if sender.send(u64::from(number), self.load.push(name, to)).await.is_err() {
                    return;
                }
            }
            drop(sender);
        };
        let receive = async {
            while let Ok(Ok(Some((tag, outcome)))) = timeout(SILENT, results.next()).await {
                left.remove(&(tag as u32));
                self.answered(tag as u32, outcome);
            }
            drop(results);
        };
        tokio::join!(send, receive);
        left.into_iter().for_each(|number| self.retry_later(number));
    }

    fn note_error(&self, when: &str, status: &Status) {
        let text = format!("{when}{}", code_name(status.code()));
        *lock(&self.errors).entry(text).or_default() += 1;
    }
}

struct Pace {
    began: Instant,
    sent: u64,
}

impl Pace {
    /// How many pushes are due now. What could not be sent while there was no stream is not sent in one go after.
    fn due(&mut self, per_second: u32, callers: u32) -> u64 {
        let rate = f64::from(per_second) / f64::from(callers);
        let total = (self.began.elapsed().as_secs_f64() * rate) as u64;
        let due = total.saturating_sub(self.sent);
        self.sent = total;
        due.min((rate / 10.0) as u64 + 1)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
