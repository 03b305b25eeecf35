//! Clients that keep a diary.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use pushctl::{
    client::{Options, content},
    format::Format,
    session::{Session, SessionEvent},
};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use crate::{
    book::Name,
    callers::{room_id, user_id},
    check::{Diary, Note},
};

/// Connecting for the first time: every client, on a busy machine.
const CONNECT: Duration = Duration::from_secs(60);

/// Clients that shall be away for a while.
#[derive(Debug, Clone, Copy)]
struct Absence {
    /// Every how manyth client.
    every: u32,
    until: Instant,
}

/// All clients of a scenario.
#[derive(Debug)]
pub struct Crowd {
    clients: Vec<Arc<Client>>,
    online: Arc<AtomicUsize>,
    absence: watch::Sender<Option<Absence>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Client {
    diary: Mutex<Diary>,
    got: AtomicU64,
    causes: Mutex<BTreeMap<String, u64>>,
}

impl Crowd {
    /// Connects `count` clients, `per_room` to a room, dealt out to the nodes, and waits until all are there.
    ///
    /// # Panics
    /// If they are not in time.
    pub async fn connect(count: u32, per_room: u32, urls: &[String]) -> Self {
        let online = Arc::new(AtomicUsize::new(0));
        let absence = watch::Sender::new(None);
        let mut tasks = JoinSet::new();
        let mut clients = Vec::new();
        for user in 0..count {
            let room = user / per_room;
            let client = Arc::new(Client {
                diary: Mutex::new(Diary { user, room, notes: Vec::new() }),
                got: AtomicU64::new(0),
                causes: Mutex::default(),
            });
            let options = Options {
                urls: urls.to_vec(),
                user_id: user_id(user),
                rooms: vec![room_id(room)],
                format: Format::Protobuf,
                ..Options::new(urls[user as usize % urls.len()].clone())
            };
            let listening = listen(
                user,
                Session::new(options),
                Arc::clone(&client),
                Arc::clone(&online),
                absence.subscribe(),
            );
            tasks.spawn(listening);
            clients.push(client);
        }
        let crowd = Self { clients, online, absence, _tasks: tasks };
        assert!(crowd.all_online(CONNECT).await, "only {} of {count} connected", crowd.online());
        crowd
    }

    /// Clients with a connection now.
    pub fn online(&self) -> usize {
        self.online.load(Ordering::Relaxed)
    }

    /// Clients without one.
    pub fn offline(&self) -> usize {
        self.clients.len() - self.online()
    }

    /// Waits until all have one. False if they have not within the time.
    pub async fn all_online(&self, within: Duration) -> bool {
        let start = Instant::now();
        while self.online() < self.clients.len() {
            if start.elapsed() > within {
                return false;
            }
            sleep(Duration::from_millis(50)).await;
        }
        true
    }

    /// Every how manyth client loses its connection and stays away for a time.
    pub fn go_away(&self, every: u32, for_so_long: Duration) {
        self.absence.send_replace(Some(Absence { every, until: Instant::now() + for_so_long }));
    }

    /// Messages handed out so far.
    pub fn got(&self) -> u64 {
        self.clients.iter().map(|client| client.got.load(Ordering::Relaxed)).sum()
    }

    /// What all wrote so far.
    pub fn diaries(&self) -> Vec<Diary> {
        let copy = |client: &Arc<Client>| lock(&client.diary).clone();
        self.clients.iter().map(copy).collect()
    }

    /// Why connections ended, or were not made.
    pub fn causes(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for client in &self.clients {
            for (cause, count) in lock(&client.causes).iter() {
                *all.entry(cause.clone()).or_default() += count;
            }
        }
        all
    }
}

async fn listen(
    user: u32,
    mut session: Session,
    client: Arc<Client>,
    online: Arc<AtomicUsize>,
    mut absence: watch::Receiver<Option<Absence>>,
) {
    let mut up = false;
    let mut set = |now_up: bool| {
        if now_up != std::mem::replace(&mut up, now_up) {
            if now_up {
                online.fetch_add(1, Ordering::Relaxed)
            } else {
                online.fetch_sub(1, Ordering::Relaxed)
            };
        }
    };
    let note = |note: Note| lock(&client.diary).notes.push(note);
    loop {
        let event = tokio::select! {
            event = session.next() => event,
            changed = absence.changed() => {
                if changed.is_err() {
                    return;
                }
                let wanted = *absence.borrow_and_update();
                if let Some(absence) = wanted.filter(|absence| user.is_multiple_of(absence.every)) {
                    set(false);
                    session.break_connection();
                    tokio::time::sleep_until(absence.until.into()).await;
                }
                continue;
            }
        };
        match event {
            Ok(SessionEvent::Push(push)) => {
                client.got.fetch_add(1, Ordering::Relaxed);
                note(Name::of(content(&push)).map_or(Note::Strange, Note::Got));
            }
            Ok(SessionEvent::Connected(connected)) => {
                set(true);
                note(Note::Connected { at: Instant::now(), recovered: connected.recovered == Some(true) });
            }
            Ok(SessionEvent::Interrupted { cause, .. }) => {
                set(false);
                *lock(&client.causes).entry(without_address(&cause)).or_default() += 1;
            }
            Ok(SessionEvent::Heartbeat(_) | SessionEvent::Rooms(_) | SessionEvent::TokenExpiring(_)) => {}
            Ok(SessionEvent::Error(error)) => {
                *lock(&client.causes).entry(format!("error frame: {}", error.code)).or_default() += 1;
            }
            Err(error) => {
                set(false);
                *lock(&client.causes).entry(without_address(&error.to_string())).or_default() += 1;
                return note(Note::Ended);
            }
        }
    }
}

/// The same cause at every node.
fn without_address(cause: &str) -> String {
    cause.split_once("/ws").map_or(cause, |(_, rest)| rest).trim_start_matches([':', ' ']).to_owned()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
