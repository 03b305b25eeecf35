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
    tally::Tally,
    upgrade::Target,
    wire::Wire,
};

/// What a scenario has at hand.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) client: PushClient,
    /// The manager's address as given.
    pub(super) manager: &'a str,
    pub(super) urls: &'a [String],
    /// What sockets show of who they are; empty where nodes take their word.
    pub(super) token: &'a str,
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
    /// What rates are counted over; see [`Stage::seconds`].
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

    /// What rates are counted over: from the first push or handshake to the last that came of one, and if nothing cut it
    /// short not less than the time that was asked for. With a schedule the last one begins before the end of that, and a
    /// fleet that fell silent was silent for the rest of it.
    pub(super) fn seconds(&self, started: Instant, last: Option<Instant>, outcome: &Outcome) -> f64 {
        let until_the_last = last.unwrap_or_else(Instant::now).saturating_duration_since(started);
        match outcome {
            Outcome::Whole => until_the_last.max(self.duration).as_secs_f64(),
            Outcome::Interrupted | Outcome::Broken(_) => until_the_last.as_secs_f64(),
        }
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
