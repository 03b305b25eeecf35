//! The links' side of the hub: what each sends next, what each has heard.

use std::task::Waker;

use pushcast_proto::connectnode::v1::{LinkResponse, link_request, link_response};
use tracing::warn;

use super::{Core, Hub, news::News};
use crate::{
    answers::NodeKey,
    clock::{Now, SECOND},
    link_state::{Acked, Event, LinkError, LinkState, Next, Started, check_start_ids},
    metrics::seconds,
    nodes::Refusal,
};

/// A clock that is further off is warned of: resuming allows for little more.
const MAX_CLOCK_OFFSET: u64 = 2 * SECOND;

/// Why a link may not go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkFailure {
    #[error(transparent)]
    Protocol(#[from] LinkError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("it was replaced by a newer connection")]
    Replaced,
}

/// One node's link in the hub.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) state: LinkState,
    /// Counts connections: what is left of an earlier one must not touch a later one.
    epoch: u64,
    /// The outbound side, while it has nothing to send.
    pub(super) waker: Option<Waker>,
    /// A connection is being made.
    pub(super) connecting: bool,
    /// Its clock was found wrong before, and that was said.
    warned_of_clock: bool,
    /// Newest seq when the node became known; what is older was never waited for.
    pub(super) known_from: u64,
}

impl Hub {
    /// Says whether a connection to this node is being made, and where; `None` if it is not known.
    pub(crate) fn link_connecting(&self, key: NodeKey) -> Option<String> {
        self.with(|core, _| {
            core.links.get_mut(&key)?.connecting = true;
            core.nodes.get(key).map(|node| node.addr.clone())
        })
    }

    /// A connection stands. Returns its epoch.
    pub(crate) fn link_opened(&self, key: NodeKey) -> Option<u64> {
        self.with(|core, _| {
            let link = core.links.get_mut(&key)?;
            link.state.opened();
            link.epoch += 1;
            Some(link.epoch)
        })
    }

    /// The connection is gone, or could not be made. Returns whether it was linked and whether it ended
    /// with our Close.
    pub(crate) fn link_down(&self, key: NodeKey) -> LinkEnd {
        let (end, changed) = self.with(|core, now| {
            let Some(link) = core.links.get_mut(&key) else { return (LinkEnd::default(), false) };
            let end = LinkEnd { was_linked: link.state.is_linked(), was_closed: link.state.is_closed() };
            link.state.closed();
            link.connecting = false;
            core.wakes.extend(link.waker.take());
            if end.was_linked {
                core.answers.unlink(key);
                let change = core.nodes.unlinked(key);
                let changed = change.is_some();
                core.record(change);
                core.settle(now);
                return (end, changed);
            }
            (end, false)
        });
        if changed {
            self.changed.notify_one();
        }
        self.progress.notify_one();
        end
    }

    /// The next frame of a connection, if it is still the present one. While there is none, `waker` is
    /// called when there may be.
    pub(crate) fn next_frame(&self, key: NodeKey, epoch: u64, waker: &Waker) -> Next {
        let next = self.with(|core, now| {
            let Some(link) = core.links.get_mut(&key).filter(|link| link.epoch == epoch) else {
                return Next::End;
            };
            let next = link.state.next_frame(&mut core.log, &core.identity, now);
            if let Next::Wait(_) = next {
                link.waker = Some(waker.clone());
            }
            next
        });
        if let Next::Frame(link_request::Frame::Gap(gap)) = &next {
            let messages = gap.to - gap.from + 1;
            self.metrics.gaps.increment(1);
            self.metrics.gap_messages.increment(messages);
            let node = self.node_name(key);
            warn!(node, gap.from, gap.to, messages, "The log no longer reaches back to what a node lacks.");
        }
        next
    }

    /// Takes a frame of the node. An error ends the connection and nothing else.
    pub(crate) fn received(&self, key: NodeKey, epoch: u64, frame: LinkResponse) -> Result<(), LinkFailure> {
        let news = self.with(|core, now| {
            let Some(link) = core.links.get_mut(&key).filter(|link| link.epoch == epoch) else {
                return Err(LinkFailure::Replaced);
            };
            if let Some(link_response::Frame::Start(start)) = &frame.frame {
                // Before anything is believed: is it the node we mean?
                check_start_ids(start)?;
                core.nodes.check(key, &start.node_id)?;
            }
            let mut news = News::default();
            let event = link.state.received(frame, &core.log, now)?;
            news.clock_offset = link.new_clock_offset();
            match event {
                Event::Nothing => {}
                Event::Started(started) => {
                    core.started(key, &started, now);
                    self.progress.notify_one();
                    news.started = Some(started);
                }
                // After Close nothing more can follow.
                Event::HandedUp(_) if link.state.is_closing() => {}
                Event::HandedUp(control) => news.handed_up = core.hand_up(control, now),
                Event::Acked(acked) => {
                    self.measure(core, &acked, now);
                    core.acked(key, &acked, now);
                    self.progress.notify_one();
                }
            }
            Ok::<_, LinkFailure>(news)
        })?;
        self.tell(key, &news);
        Ok(())
    }

    fn measure(&self, core: &Core, acked: &Acked, now: Now) {
        self.metrics.acknowledged(&acked.counted);
        if acked.counted.iter().any(|counted| counted.nodes > 0)
            && let Some(accepted_at) = core.log.accepted_at(acked.first)
        {
            self.metrics.ack_seconds.record(seconds(now.wall.saturating_sub(accepted_at)));
        }
    }

    /// Every link says Close once all is acknowledged on it, and ends.
    pub(crate) fn close_links(&self) {
        self.with(|core, _| {
            for link in core.links.values_mut() {
                link.state.close_when_done();
            }
            core.wake_links();
        });
    }

    /// Resolves when, since this was last called, a link came up or down, something was acknowledged, or
    /// the set of nodes changed. For one caller at a time. Cancel-safe.
    pub(crate) async fn progress(&self) {
        self.progress.notified().await;
    }

    /// Nodes that have not acknowledged everything: the linked ones, and the others.
    pub(crate) fn unsettled(&self) -> (usize, usize) {
        self.with(|core, _| {
            let newest = core.log.newest();
            let behind = core.links.values().filter(|link| link.lag(newest) > 0);
            let (linked, others): (Vec<_>, Vec<_>) = behind.partition(|link| link.state.is_linked());
            (linked.len(), others.len())
        })
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkEnd {
    pub(crate) was_linked: bool,
    pub(crate) was_closed: bool,
}

impl Link {
    pub(super) fn new(known_from: u64) -> Self {
        Self { known_from, ..Self::default() }
    }

    /// How wrong the node's clock is, once, if it is wrong.
    fn new_clock_offset(&mut self) -> Option<u64> {
        let offset = self.state.clock_offset();
        if offset <= MAX_CLOCK_OFFSET || self.warned_of_clock {
            return None;
        }
        self.warned_of_clock = true;
        Some(offset)
    }

    /// Messages accepted since the node is known and not acknowledged by it.
    pub(super) fn lag(&self, newest: u64) -> u64 {
        let from = if self.state.has_linked() { self.state.acked() } else { self.known_from };
        newest.saturating_sub(from)
    }
}

impl Core {
    fn started(&mut self, key: NodeKey, started: &Started, now: Now) {
        self.nodes.linked(key, &started.node_id, &started.instance);
        // Taking an id may have taken it from another address.
        for (key, node) in self.nodes.iter() {
            self.answers.rename_node(key, node.name());
        }
        self.answers.link(key, started.not_for_it);
        self.settle(now);
        if let Some(link) = self.links.get_mut(&key) {
            self.wakes.extend(link.waker.take());
        }
    }

    fn acked(&mut self, key: NodeKey, acked: &Acked, now: Now) {
        if let (Some(sampler), Some(node)) = (&self.sampler, self.nodes.get(key)) {
            sampler.acked(node.name(), acked.first, &acked.recipients, now.mono);
        }
        for &(from, to) in &acked.lost {
            self.answers.lost(key, from, to);
        }
        self.answers.conflicts(&acked.conflicts);
        let answers_may_follow = self.answers.acked(key, acked.first, &acked.recipients, &acked.by_user);
        if answers_may_follow || !acked.lost.is_empty() {
            self.settle(now);
        }
        // The last acknowledgement is what Close waits for.
        if let Some(link) = self.links.get_mut(&key).filter(|link| link.state.is_closing()) {
            self.wakes.extend(link.waker.take());
        }
    }
}
