//! A shard's thread and event loop, and the handle others have of it.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use axum::Router;
use pushcast_common::clock::now_micros;
use pushcast_proto::connectnode::v1::{QueryRequest, QueryResponse, query_request::About};
use rustls::ServerConfig;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Handle, LocalOptions},
    sync::{
        Notify,
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::yield_now,
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connection::Connection,
    crowd::Crowd,
    doors::UpgradeDoors,
    socket::Socket,
    state::{Now, Shard, ShardSettings},
    upgrade,
    wheel::TICK_MILLIS,
};
use crate::{
    inbox::Inbox,
    ingest::Ingest,
    key::Keys,
    limits::Handshakes,
    metrics::ShardMetrics,
    readiness::{Admission, Permit},
};

/// Sends before the shard lets others run: a flush of 5000 members is 20 ms in which nobody is read.
const SENDS_PER_TURN: usize = 256;

/// Commands obeyed before the shard delivers again: each may open a socket, some 10 µs.
const COMMANDS_PER_TURN: usize = 16;

/// Sockets and questions that may wait for a shard. Sockets beyond it wait in the kernel's backlog.
const MAX_COMMANDS: usize = 1024;

/// Connections described in one answer at most: some 100 bytes each.
const MAX_MATCHES: usize = 1000;

/// What a shard is told from outside.
enum Command {
    Serve(std::net::TcpStream, Permit),
    Query(QueryRequest, oneshot::Sender<QueryResponse>),
    Drain { spread: Duration },
    Force,
}

/// A shard as others see it.
#[derive(Clone)]
pub(crate) struct ShardHandle {
    commands: mpsc::Sender<Command>,
    /// The runtime that the shard's loop runs on.
    pub(crate) runtime: Handle,
}

/// A shard's thread; to be joined.
pub(crate) struct ShardThread {
    pub(crate) handle: ShardHandle,
    thread: thread::JoinHandle<()>,
}

/// What every shard needs.
#[derive(Clone)]
pub(crate) struct ShardParts {
    pub(crate) settings: ShardSettings,
    pub(crate) doors: UpgradeDoors,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) keys: Keys,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) admission: Arc<Admission>,
    /// Answers what is not `/ws`.
    pub(crate) router: Router,
    pub(crate) stop: CancellationToken,
}

/// What a shard's tasks share.
pub(super) struct Core {
    pub(super) shard: RefCell<Shard<Socket>>,
    /// Which upgrades are let through.
    pub(super) doors: UpgradeDoors,
    /// How clients are spoken to, if with TLS.
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) clock: Clock,
    pub(super) router: Router,
    pub(super) admission: Arc<Admission>,
    pub(super) handshakes: Handshakes,
    pub(super) crowd: Crowd,
    /// Handshakes and connections, waited for at the end.
    pub(super) connections: TaskTracker,
    pub(super) stop: CancellationToken,
    wake: Arc<Notify>,
}

impl Core {
    /// Has the event loop take another turn.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Wakes those who are next. True if the event loop has to have another turn soon.
    fn call_the_crowd(&self) -> bool {
        let mut shard = self.shard.borrow_mut();
        self.crowd.go_on(|key| {
            let connection = shard.connections.get_mut(key);
            connection.map(Connection::call).is_some()
        })
    }

    /// Has the event loop flush what was touched outside of it, and go on with what began there.
    pub(super) fn wake_to_flush(&self) {
        let shard = self.shard.borrow();
        if shard.touched_len() > 0 || shard.has_replays() {
            self.wake.notify_one();
        }
    }
}

/// Milliseconds since the shard's start.
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn now(&self) -> Now {
        self.at(Instant::now())
    }

    /// The same for a moment that has just been looked up.
    pub(super) fn at(&self, now: Instant) -> Now {
        Now { millis: now.saturating_duration_since(self.0).as_millis() as u64, micros: now_micros() }
    }
}

impl ShardHandle {
    /// Hands over an accepted, non-blocking socket, unless the shard is behind or has ended: then it comes back.
    pub(crate) fn try_serve(
        &self,
        socket: std::net::TcpStream,
        permit: Permit,
    ) -> Option<(std::net::TcpStream, Permit)> {
        match self.commands.try_send(Command::Serve(socket, permit)) {
            Err(
                TrySendError::Full(Command::Serve(socket, permit))
                | TrySendError::Closed(Command::Serve(socket, permit)),
            ) => Some((socket, permit)),
            Ok(()) | Err(_) => None,
        }
    }

    /// Hands over an accepted, non-blocking socket and waits for room. False if the shard has ended.
    pub(crate) async fn serve(&self, socket: std::net::TcpStream, permit: Permit) -> bool {
        self.commands.send(Command::Serve(socket, permit)).await.is_ok()
    }

    /// What the shard holds; `None` if it has ended.
    pub(crate) async fn query(&self, query: QueryRequest) -> Option<QueryResponse> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Query(query, reply)).await.ok()?;
        answer.await.ok()
    }

    /// Closes every connection in random order over `spread`.
    pub(crate) async fn drain(&self, spread: Duration) {
        // A shard that has ended has nothing to drain.
        let _ = self.commands.send(Command::Drain { spread }).await;
    }

    /// Drops every connection.
    pub(crate) async fn force(&self) {
        let _ = self.commands.send(Command::Force).await;
    }
}

impl ShardThread {
    /// Starts a shard. It ends when `parts.stop` is cancelled.
    pub(crate) fn start(
        index: usize,
        parts: ShardParts,
        inbox: Arc<Inbox>,
        wake: Arc<Notify>,
    ) -> io::Result<Self> {
        let (commands, inbound) = mpsc::channel(MAX_COMMANDS);
        let (started, starts) = sync_channel::<io::Result<Handle>>(1);
        let thread = thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(move || run_thread(index, parts, inbox, wake, inbound, &started))?;
        let runtime =
            starts.recv().map_err(|_| io::Error::other("the shard's thread ended at its start"))??;
        Ok(Self { handle: ShardHandle { commands, runtime }, thread })
    }

    /// Waits for the thread's end, which `stop` brings about. Blocks.
    pub(crate) fn join(self) -> io::Result<()> {
        self.thread.join().map_err(|_| io::Error::other("a shard's thread panicked"))
    }
}

fn run_thread(
    index: usize,
    parts: ShardParts,
    inbox: Arc<Inbox>,
    wake: Arc<Notify>,
    inbound: mpsc::Receiver<Command>,
    started: &SyncSender<io::Result<Handle>>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    if started.send(Ok(runtime.handle().clone())).is_err() {
        return;
    }
    let shard = Shard::new(parts.settings, parts.keys, parts.ingest, inbox, ShardMetrics::new(index));
    let core = Rc::new(Core {
        shard: RefCell::new(shard),
        doors: parts.doors,
        tls: parts.tls,
        clock: Clock(Instant::now()),
        router: parts.router,
        admission: parts.admission,
        handshakes: Handshakes::default(),
        crowd: Crowd::default(),
        connections: TaskTracker::new(),
        stop: parts.stop,
        wake,
    });
    // As a task, not as the future blocked on: that one is polled again at every wake of the runtime.
    runtime.block_on(async move {
        let events = tokio::task::spawn_local(run_events(core, inbound));
        if let Err(error) = events.await {
            tracing::error!(%error, "A shard's event loop panicked.");
        }
    });
}

async fn run_events(core: Rc<Core>, mut commands: mpsc::Receiver<Command>) {
    let mut tick = interval(Duration::from_millis(TICK_MILLIS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        // Deliveries come last and happen in every turn: under steady load there is always a wake, and it
        // must not keep heartbeats and new clients waiting.
        tokio::select! {
            biased;
            () = core.stop.cancelled() => break,
            _ = tick.tick() => {
                let mut shard = core.shard.borrow_mut();
                shard.sweep(core.clock.now());
                shard.report_levels();
            }
            Some(command) = commands.recv() => obey(&core, command),
            () = core.wake.notified() => {}
        }
        for _ in 0..COMMANDS_PER_TURN {
            let Ok(command) = commands.try_recv() else { break };
            obey(&core, command);
        }
        turn(&core).await;
        if core.handshakes.go_on() | core.call_the_crowd() {
            // They run before the next turn, and that comes whether or not there is something to deliver.
            core.wake();
            yield_now().await;
        }
    }
    core.shard.borrow_mut().force();
    core.connections.close();
    core.connections.wait().await;
}

/// A part of what there is to send. The rest is for the next turns, which place first what has come meanwhile: a socket
/// gets whatever is there by the time it has its turn, so the sends of a large room carry all messages that are under
/// way, not those of one moment.
async fn turn(core: &Core) {
    let more = core.shard.borrow_mut().turn(SENDS_PER_TURN, core.clock.now());
    if more {
        core.wake.notify_one();
        yield_now().await;
    }
}

fn obey(core: &Rc<Core>, command: Command) {
    match command {
        Command::Serve(socket, permit) => match TcpStream::from_std(socket) {
            Ok(socket) => {
                core.connections.spawn_local(upgrade::serve(Rc::clone(core), socket, permit));
            }
            Err(error) => tracing::warn!(%error, "A client's socket cannot be watched."),
        },
        Command::Query(query, reply) => {
            // Whoever asked may have gone away.
            let _ = reply.send(answer(&mut core.shard.borrow_mut(), &query));
        }
        Command::Drain { spread } => {
            core.shard.borrow_mut().start_drain(spread.as_millis() as u64, core.clock.now());
        }
        Command::Force => core.shard.borrow_mut().force(),
    }
}

fn answer(shard: &mut Shard<Socket>, query: &QueryRequest) -> QueryResponse {
    let limit = if query.limit == 0 { MAX_MATCHES } else { MAX_MATCHES.min(query.limit as usize) };
    let mut found = None;
    let slots = match &query.about {
        Some(About::RoomId(room)) => shard.in_room(&query.app, room),
        Some(About::UserId(user)) => shard.of_user(&query.app, user),
        Some(About::Anyone(true)) => {
            found = Some(shard.tables().connections());
            shard.tables().everyone().take(limit).collect()
        }
        Some(About::Anyone(false)) | None => Vec::new(),
    };
    let matches = slots.iter().take(limit).filter_map(|slot| shard.describe(*slot));
    QueryResponse {
        matches: matches.collect(),
        found: found.unwrap_or(slots.len()) as u64,
        connections: shard.tables().connections() as u64,
        rooms: shard.tables().rooms() as u64,
        users: shard.tables().users() as u64,
        ..QueryResponse::default()
    }
}
