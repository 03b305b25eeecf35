//! What all scenarios have at hand, and what each of them brings back.

use std::time::{Duration, Instant};

use pushcast_common::shutdown::Shutdown;
use pushctl::push::PushClient;

use super::{
    bar::Bar,
    delays::Delays,
    ends::Ends,
    nodes,
    own_use::OwnUse,
    servers::{Look, Servers},
    socket::Counts,
    tally::Tally,
    upgrade::Target,
};

/// What a scenario has at hand.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) client: PushClient,
    /// The manager's address as given.
    pub(super) manager: &'a str,
    pub(super) urls: &'a [String],
    pub(super) servers: Servers,
    pub(super) duration: Duration,
    pub(super) bar: Bar,
    pub(super) stop: Shutdown,
}

/// What a scenario brings back.
#[derive(Debug)]
pub(super) struct Measured {
    /// The nodes the sockets went to.
    pub(super) nodes: Vec<String>,
    /// From the first push or handshake that counts to the last that came of one.
    pub(super) seconds: f64,
    /// Pushes or handshakes that the schedule had for that time, if there was one.
    pub(super) due: Option<u64>,
    pub(super) tally: Tally,
    pub(super) wire: Wire,
    /// What every handshake took.
    pub(super) handshakes: Delays,
    /// Sockets that did not stay, or handshakes that failed.
    pub(super) ends: Ends,
    /// Before the first socket, before what counts, after it.
    pub(super) looks: [Look; 3],
    pub(super) own: OwnUse,
    pub(super) outcome: Outcome,
}

/// Whether it went to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Whole,
    /// Somebody pressed Ctrl-C: nothing was begun any more, and what was under way came to its end.
    Interrupted,
    /// The fleet, or a part of this machine, did not go on; in words.
    Broken(String),
}

/// Bytes that sockets read, and frames, over some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wire {
    pub(super) read: u64,
    pub(super) upgrades: u64,
    pub(super) pushes: u64,
    pub(super) others: u64,
    pub(super) heartbeats: u64,
    pub(super) foreign: u64,
}

impl Wire {
    /// All so far.
    pub(super) fn of(counts: &Counts) -> Self {
        Self {
            read: counts.read.get(),
            upgrades: counts.upgrades.get(),
            pushes: counts.pushes.get(),
            others: counts.others.get(),
            heartbeats: counts.heartbeats.get(),
            foreign: counts.foreign.get(),
        }
    }

    /// What came since an earlier look.
    pub(super) const fn since(self, earlier: Self) -> Self {
        Self {
            read: self.read - earlier.read,
            upgrades: self.upgrades - earlier.upgrades,
            pushes: self.pushes - earlier.pushes,
            others: self.others - earlier.others,
            heartbeats: self.heartbeats - earlier.heartbeats,
            foreign: self.foreign - earlier.foreign,
        }
    }

    /// Bytes read that belong to nothing that was whole: frames and answers cut when a socket ended.
    pub(super) const fn cut(self) -> u64 {
        self.read.saturating_sub(self.upgrades + self.pushes + self.others)
    }
}

impl Stage<'_> {
    /// The nodes that the sockets go to.
    pub(super) async fn nodes(&self) -> anyhow::Result<Vec<Target>> {
        nodes::find(self.urls, &self.client, self.manager).await
    }

    /// Does something unless somebody presses Ctrl-C before it is done: then nothing was measured.
    pub(super) async fn unless_stopped<T>(
        &self,
        what: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            done = what => done,
            () = self.stop.begun() => Err(nothing_measured()),
        }
    }

    /// What became of it, now that it is over: one that was told to stop is not whole.
    pub(super) fn unless_interrupted(&self, outcome: Outcome) -> Outcome {
        if outcome == Outcome::Whole && self.stop.is_begun() { Outcome::Interrupted } else { outcome }
    }

    /// Shows how far the measured time is, until dropped.
    pub(super) async fn show(&self, what: &str, start: Instant, span: Duration, beside: impl Fn() -> String) {
        let mut tick = tokio::time::interval(Bar::every());
        loop {
            tick.tick().await;
            let part = start.elapsed().as_secs_f64() / span.as_secs_f64();
            self.bar.show(what, part, &beside);
        }
    }
}

/// Ctrl-C came too early.
pub(super) fn nothing_measured() -> anyhow::Error {
    anyhow::anyhow!("stopped before anything was measured")
}
