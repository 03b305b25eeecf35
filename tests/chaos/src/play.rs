//! A scenario's frame: a fleet under load with its clients, and the reckoning at the end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pushcast_tests::fleet::Flags;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::sleep,
};

use crate::{
    book::Book,
    callers::{Callers, Load},
    check::{Index, Verdict, check},
    crowd::Crowd,
    report::{Report, Unrecovered},
    stage::Stage,
};

/// Clients come back within this time: the longest back-off, and as much for the queue.
const COME_BACK: Duration = Duration::from_secs(45);
/// What has not come when nothing came for so long is lost.
const QUIET: Duration = Duration::from_secs(8);

/// A node cannot know of what was before its managers, and allows for clocks that are 5 s apart: only clients that came
/// later than that can resume. What it vouches for is as old as the last it heard of managers that say each second what time
/// it is: twice that, and another second for a busy machine.
const OLD_ENOUGH: Duration = Duration::from_secs(8);

/// A fleet under load needs the machine for itself. While it waits for its turn it gets old enough.
static TURN: Mutex<()> = Mutex::const_new(());

/// How big a scenario is.
#[derive(Debug, Clone)]
pub struct Size {
    /// Clients.
    pub clients: u32,
    /// Clients of a room.
    pub per_room: u32,
    /// Pushes of all callers.
    pub per_second: u32,
    /// Bytes of a push's content.
    pub content: usize,
    /// Managers.
    pub managers: usize,
    /// Nodes.
    pub nodes: usize,
}

/// A scenario that goes on.
#[derive(Debug)]
pub struct Play {
    /// What can be broken.
    pub stage: Stage,
    /// The clients.
    pub crowd: Crowd,
    name: String,
    callers: Callers,
    book: Arc<Book>,
    began: Instant,
    _turn: MutexGuard<'static, ()>,
}

impl Play {
    /// Sets the stage, waits for its turn, lets the clients in, then starts the load.
    pub async fn begin(name: &str, size: &Size, node_flags: Flags<'_>) -> Self {
        let stage = Stage::set_up(size.managers, size.nodes, node_flags).await;
        sleep(OLD_ENOUGH).await;
        let turn = TURN.lock().await;
        let began = Instant::now();
        let crowd = Crowd::connect(size.clients, size.per_room, &stage.urls()).await;
        let load = Load {
            per_second: size.per_second,
            callers: 4,
            rooms: size.clients.div_ceil(size.per_room),
            users: size.clients,
            content: size.content,
        };
        let book = Arc::new(Book::new(load.callers as usize));
        let callers = Callers::start(&load, &stage.pushers(), &book);
        let play = Self { stage, crowd, name: name.to_owned(), callers, book, began, _turn: turn };
        // Everybody has got something when the first fault comes.
        play.on(1_000).await;
        play
    }

    /// Lets time pass.
    #[allow(clippy::unused_self, reason = "it is the play's time")]
    pub async fn on(&self, millis: u64) {
        sleep(Duration::from_millis(millis)).await;
    }

    /// Ends the load, waits until everybody has everything or nothing comes any more, and reckons.
    pub async fn finish(self, allowed: Unrecovered) -> Report {
        let fared = self.callers.finish().await;
        self.crowd.all_online(COME_BACK).await;
        let sent = self.book.all();
        let index = Index::new(&sent);
        let mut got = self.crowd.got();
        let mut since = Instant::now();
        let verdict: Verdict = loop {
            sleep(Duration::from_millis(500)).await;
            let now = self.crowd.got();
            if now != std::mem::replace(&mut got, now) {
                since = Instant::now();
                continue;
            }
            let verdict = check(&index, &self.crowd.diaries());
            if verdict.lost == 0 || since.elapsed() > QUIET {
                break verdict;
            }
        };
        for node in &self.stage.nodes {
            node.read_resumes().await;
        }
        let mut report = Report {
            name: self.name,
            verdict,
            reasons: self.stage.resumes.reasons(),
            allowed,
            fared,
            causes: self.crowd.causes(),
            offline: self.crowd.offline(),
            took: self.began.elapsed(),
            logs: None,
        };
        if !report.broken().is_empty() || std::env::var_os("CHAOS_KEEP_LOGS").is_some() {
            report.logs = Some(self.stage.keep_logs().await);
        }
        report
    }
}
