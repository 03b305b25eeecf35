//! What `top` knows: the last looks, what they say together, and how the person wants to see it. Pure.

use std::{cmp::Reverse, collections::VecDeque, time::Duration};

use pushcast_proto::pushmanager::v1::{ListNodesResponse, Node};
use pushctl::figures::{Figures, Sample};
use tokio::time::Instant;

use super::scrape::Look;

/// As many points as the widest sparkline shows.
const HISTORY: usize = 240;

/// Intervals to choose from while it runs.
const INTERVALS: [Duration; 9] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_secs(60),
];

/// By what the nodes are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sort {
    /// By their ids.
    #[default]
    Name,
    /// The fullest first.
    Connections,
    /// Those furthest behind first.
    Lag,
}

/// One interval in the sparklines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) pushes_per_s: f64,
    pub(super) delivered_per_s: f64,
    pub(super) ack_p99: f64,
}

/// Why there are no fresh figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) what: String,
    pub(super) since: Instant,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) address: String,
    pub(super) interval: Duration,
    pub(super) is_paused: bool,
    pub(super) shows_help: bool,
    pub(super) sort: Sort,
    /// Nodes scrolled past.
    pub(super) scroll: usize,
    last: Option<(Instant, Look)>,
    figures: Option<Figures>,
    history: VecDeque<Point>,
    trouble: Option<Trouble>,
    /// When this manager was seen to be a new one.
    restarted: Option<Instant>,
}

impl State {
    pub(super) fn new(address: String, interval: Duration) -> Self {
        Self {
            address,
            interval,
            is_paused: false,
            shows_help: false,
            sort: Sort::default(),
            scroll: 0,
            last: None,
            figures: None,
            history: VecDeque::new(),
            trouble: None,
            restarted: None,
        }
    }

    /// Takes a look in. A manager that is another one than before has counters of its own, so its figures begin with
    /// the look after.
    pub(super) fn took(&mut self, at: Instant, look: Look) {
        self.trouble = None;
        let earlier = self.last.take();
        let is_same =
            earlier.as_ref().is_some_and(|(_, earlier)| earlier.nodes.manager_id == look.nodes.manager_id);
        match earlier {
            Some((before, earlier)) if is_same => {
                let seconds = (at - before).as_secs_f64().max(f64::EPSILON);
                self.keep(Figures::between(&earlier.sample, &look.sample, seconds));
            }
            Some(_) => {
                self.restarted = Some(at);
                self.figures = None;
            }
            None => {}
        }
        self.last = Some((at, look));
    }

    fn keep(&mut self, figures: Figures) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Point {
            pushes_per_s: figures.pushes_per_s,
            delivered_per_s: figures.delivered_per_s,
            ack_p99: figures.ack.p99.unwrap_or(0.0),
        });
        self.figures = Some(figures);
    }

    /// A look failed: what is known stays, and is old.
    pub(super) fn failed(&mut self, what: String, now: Instant) {
        let since = self.trouble.take().map_or(now, |trouble| trouble.since);
        self.trouble = Some(Trouble { what, since });
    }

    /// Why the figures are old, if they are.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.as_ref()
    }

    /// What the last good look said of the nodes.
    pub(super) fn listed(&self) -> Option<&ListNodesResponse> {
        self.last.as_ref().map(|(_, look)| &look.nodes)
    }

    /// The metrics of the last good look.
    pub(super) fn sample(&self) -> Option<&Sample> {
        self.last.as_ref().map(|(_, look)| &look.sample)
    }

    /// What happened between the last two good looks.
    pub(super) fn figures(&self) -> Option<&Figures> {
        self.figures.as_ref()
    }

    /// How long this manager has been up, if we saw it come.
    pub(super) fn up_for(&self, now: Instant) -> Option<Duration> {
        self.restarted.map(|restarted| now.saturating_duration_since(restarted))
    }

    /// The last `n` intervals, the latest last.
    pub(super) fn history(&self, n: usize) -> impl Iterator<Item = &Point> {
        self.history.iter().skip(self.history.len().saturating_sub(n))
    }

    /// The nodes as the person wants them sorted.
    pub(super) fn nodes(&self) -> Vec<&Node> {
        let mut nodes: Vec<&Node> =
            self.listed().map(|listed| listed.nodes.iter().collect()).unwrap_or_default();
        match self.sort {
            // So they come.
            Sort::Name => {}
            Sort::Connections => nodes.sort_by_key(|node| Reverse(node.connections)),
            Sort::Lag => nodes.sort_by_key(|node| Reverse(node.lag)),
        }
        nodes
    }

    /// Whether a node did not answer the manager, so that its counts are unknown.
    pub(super) fn is_silent(&self, node: &Node) -> bool {
        self.listed().is_some_and(|listed| listed.silent_nodes.contains(&node.node_id))
    }

    pub(super) fn sort_next(&mut self) {
        self.sort = match self.sort {
            Sort::Name => Sort::Connections,
            Sort::Connections => Sort::Lag,
            Sort::Lag => Sort::Name,
        };
    }

    /// Scrolls the nodes, never beyond the last.
    pub(super) fn scroll_by(&mut self, rows: isize) {
        let last = self.listed().map_or(0, |listed| listed.nodes.len()).saturating_sub(1);
        self.scroll = self.scroll.saturating_add_signed(rows).min(last);
    }

    pub(super) fn look_less_often(&mut self) {
        let longer = INTERVALS.into_iter().find(|&interval| interval > self.interval);
        self.interval = longer.unwrap_or(self.interval);
    }

    pub(super) fn look_more_often(&mut self) {
        let shorter = INTERVALS.into_iter().rev().find(|&interval| interval < self.interval);
        self.interval = shorter.unwrap_or(self.interval);
    }
}

#[cfg(test)]
pub(super) mod tests;
