//! A node dies and everybody who was on it comes to its neighbours at once.

use std::{
    io::Write as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use pushctl::{
    client::{Options, content},
    format::Format,
    push::{Push, PushClient},
    session::{Session, SessionEvent},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{Failures, progress};
use crate::{peers::ours::Fleet, statistics::percentile};

/// Clients of the node that dies.
pub(crate) const CLIENTS: usize = 10_000;

/// Clients in one room.
const ROOM: usize = 10;

/// Clients of the others, who should notice nothing.
pub(crate) const HEALTHY: usize = 100;

/// Pushes a second, half of them to a room of those who move, half to the healthy.
const PUSHES: u64 = 200;

/// Clocks may be apart by 5 s, so nobody is whole before that time after the manager's start.
const COMPLETE_AFTER: Duration = Duration::from_secs(7);

/// How long a figure of the healthy ones is taken in peace.
const PEACE: Duration = Duration::from_secs(5);

/// Nobody waits longer than this.
const GIVE_UP: Duration = Duration::from_secs(60);

/// What everybody tells.
#[derive(Default)]
struct Told {
    connected: AtomicU64,
    back: AtomicU64,
    unrecovered: AtomicU64,
    /// Got the push that came after the death.
    live: AtomicU64,
    stop: AtomicBool,
    /// Microseconds from when a push was due to its arrival at healthy clients.
    latencies: Mutex<Vec<u64>>,
}

impl Told {
    /// From here on the p99 is of what arrives later.
    fn forget_latencies(&self) {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// In milliseconds, of what arrived since the last call.
    fn take_p99(&self) -> anyhow::Result<f64> {
        let times = std::mem::take(&mut *self.latencies.lock().unwrap_or_else(PoisonError::into_inner));
        ensure!(times.len() > 100, "only {} arrivals at healthy clients", times.len());
        let p99 = percentile(&times, 0.99).context("there are arrivals")?;
        Ok(p99 as f64 / 1e3)
    }
}

/// What became of everybody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resume {
    /// From the death to the last client that is live again, on another node.
    pub(crate) seconds: f64,
    pub(crate) unrecovered: u64,
    /// Milliseconds from push to arrival at the healthy, before the death and during it.
    pub(crate) p99_before: f64,
    pub(crate) p99_during: f64,
}

/// Once: it takes both cores, and there is nothing to compare it to.
pub(crate) fn run(failures: &mut Failures) -> Option<Resume> {
    let what = "the death of a node";
    progress(what);
    let measured = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(storm()));
    failures.note(what, measured)
}

async fn storm() -> anyhow::Result<Resume> {
    let directory = tempfile::tempdir()?;
    let mut key = tempfile::NamedTempFile::new()?;
    key.write_all(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")?;
    let path = key.path().to_str().context("a path of ours")?;
    let mut fleet = Fleet::start(3, &["--ticket-key-file", path], directory.path())?;
    sleep(COMPLETE_AFTER).await;
    let told = Arc::new(Told::default());
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    let urls: Vec<String> = fleet.ws.iter().map(|ws| format!("ws://{ws}/ws")).collect();
    for n in 0..CLIENTS {
        let room = format!("room-{}", n / ROOM);
        clients.spawn(mover(urls[0].clone(), urls[1..].to_vec(), n, room, Arc::clone(&told)));
    }
    // On a thread of their own: ten thousand clients that shake hands are not what these are to wait for.
    let (stop, stopped) = watch::channel(false);
    let watched =
        Watched { urls: urls[1..].to_vec(), grpc: fleet.grpc.clone(), begun, told: Arc::clone(&told) };
    let watched = std::thread::spawn(move || watched.run(stopped));
    wait_for("everybody is connected", &told.connected, (CLIENTS + HEALTHY) as u64).await?;
    let manager = PushClient::new(&fleet.grpc)?;
    // What was late while ten thousand shook hands is no figure of peace.
    told.forget_latencies();
    sleep(PEACE).await;
    let before = told.take_p99()?;

    let death = Instant::now();
    fleet.kill(0)?;
    wait_for("everybody is back", &told.back, CLIENTS as u64).await?;
    manager.push(Push::to_everyone("live"), None).await?;
    let unrecovered = told.unrecovered.load(Ordering::Relaxed);
    wait_for("everybody is live", &told.live, CLIENTS as u64).await?;
    let took = death.elapsed();
    let during = told.take_p99()?;
    stop.send_replace(true);
    let joined = tokio::task::spawn_blocking(move || watched.join()).await?;
    joined.map_err(|_| anyhow::anyhow!("the thread of the healthy clients panicked"))??;
    told.stop.store(true, Ordering::Relaxed);
    clients.shutdown().await;
    Ok(Resume { seconds: took.as_secs_f64(), unrecovered, p99_before: before, p99_during: during })
}

/// The healthy clients and who pushes to them.
struct Watched {
    urls: Vec<String>,
    grpc: String,
    begun: Instant,
    told: Arc<Told>,
}

impl Watched {
    fn run(self, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            let mut clients = JoinSet::new();
            for n in 0..HEALTHY {
                let url = self.urls[n % self.urls.len()].clone();
                clients.spawn(healthy(url, n, self.begun, Arc::clone(&self.told)));
            }
            load(PushClient::new(&self.grpc)?, self.begun, stopped).await?;
            clients.shutdown().await;
            Ok(())
        })
    }
}

async fn wait_for(what: &str, count: &AtomicU64, wanted: u64) -> anyhow::Result<()> {
    let reached = async {
        while count.load(Ordering::Relaxed) < wanted {
            sleep(Duration::from_millis(10)).await;
        }
    };
    match timeout(GIVE_UP, reached).await {
        Ok(()) => Ok(()),
        Err(_) => bail!("{what}: {} of {wanted} after {GIVE_UP:?}", count.load(Ordering::Relaxed)),
    }
}

async fn mover(
    url: String,
    urls: Vec<String>,
    n: usize,
    room: String,
    told: Arc<Told>,
) -> anyhow::Result<()> {
    let options = Options {
        urls,
        user_id: format!("user-{n}"),
        rooms: vec![room],
        format: Format::Protobuf,
        ..Options::new(url)
    };
    let mut session = Session::new(options);
    let mut connections = 0;
    while !told.stop.load(Ordering::Relaxed) {
        match session.next().await? {
            SessionEvent::Connected(connected) => {
                connections += 1;
                let count = if connections == 1 { &told.connected } else { &told.back };
                count.fetch_add(1, Ordering::Relaxed);
                let unrecovered = connections > 1 && connected.recovered != Some(true);
                told.unrecovered.fetch_add(u64::from(unrecovered), Ordering::Relaxed);
            }
            SessionEvent::Push(push) if content(&push) == b"live" => {
                told.live.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Notes how long pushes to the room of the healthy take, whose content is when they were due.
async fn healthy(url: String, n: usize, begun: Instant, told: Arc<Told>) -> anyhow::Result<()> {
    let options = Options {
        user_id: format!("healthy-{n}"),
        rooms: vec!["healthy".to_owned()],
        format: Format::Protobuf,
        ..Options::new(url)
    };
    let mut session = Session::new(options);
    while !told.stop.load(Ordering::Relaxed) {
        match session.next().await? {
            SessionEvent::Connected(_) => {
                told.connected.fetch_add(1, Ordering::Relaxed);
            }
            SessionEvent::Push(push) => {
                let sent = std::str::from_utf8(content(&push)).ok().and_then(|text| text.parse::<f64>().ok());
                if let Some(sent) = sent {
                    let took = begun.elapsed().as_secs_f64() - sent;
                    let micros = (took * 1e6) as u64;
                    told.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(micros);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

async fn load(manager: PushClient, begun: Instant, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
    let (sender, mut results) = manager.stream(1024).await?;
    let sending = async move {
        let mut tick = interval(Duration::from_micros(1_000_000 / (PUSHES / 2)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut n = 0;
        while !*stopped.borrow() {
            // A push that has to wait for the manager is late from when it was due.
            let due = tick.tick().await.into_std().saturating_duration_since(begun);
            let room = format!("room-{}", n % (CLIENTS / ROOM));
            sender.send(0, Push::to_room(room, "x".repeat(128))).await?;
            sender.send(0, Push::to_room("healthy", due.as_secs_f64().to_string())).await?;
            n += 1;
        }
        anyhow::Ok(())
    };
    let answering = async {
        while results.next().await?.is_some() {}
        anyhow::Ok(())
    };
    let (sent, answered) = tokio::join!(sending, answering);
    sent.and(answered)
}
