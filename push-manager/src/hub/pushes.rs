//! Pushes come in, answers go out.

use std::{collections::VecDeque, task::Waker};

use pushcast_common::id::ManagerId;
use pushcast_proto::connectnode::v1::Message;
use tokio::sync::oneshot;

use super::{Core, Gate, Hub};
use crate::{
    answers::{Answer, Done},
    clock::Now,
    push::{Mark, Push},
};

/// Why a push was not accepted; no seq was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    NotReady,
    Draining,
    NoNodes,
}

/// An accepted push of one caller.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) seq: u64,
    pub(crate) mark: Option<Box<Mark>>,
    /// `None` if it is not waited for.
    pub(crate) answer: Option<oneshot::Receiver<Answer>>,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Waiter {
    Caller(oneshot::Sender<Answer>),
    Stream { stream: u64, mark: Option<Box<Mark>> },
}

/// Answers for one stream, in the order of acceptance. Bounded by what the stream has in flight.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    outcomes: VecDeque<Outcome>,
    waker: Option<Waker>,
}

impl Mailbox {
    pub(super) fn take_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }
}

/// The answer to an item of a stream.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) answer: Answer,
    pub(crate) mark: Option<Box<Mark>>,
}

/// What became of an item of a stream at first.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Its outcome follows.
    Waiting,
    /// It is not waited for.
    Accepted {
        seq: u64,
        mark: Option<Box<Mark>>,
    },
    Refused(Refused),
}

/// What a stream gets for its turn.
#[derive(Debug)]
pub(crate) struct Turn {
    /// One for each push given.
    pub(crate) verdicts: Vec<Verdict>,
    /// Outcomes of pushes given now and before, in order.
    pub(crate) outcomes: VecDeque<Outcome>,
    /// No further push will be accepted.
    pub(crate) draining: bool,
}

impl Hub {
    /// Accepts one push. `deadline` is the caller's own, on the hub's clock.
    pub(crate) fn push(&self, push: Push, deadline: Option<u64>) -> Result<Ticket, Refused> {
        self.with(|core, now| {
            core.may_push()?;
            let (sender, answer) = match push.accepted_only {
                true => (None, None),
                false => {
                    let (sender, receiver) = oneshot::channel();
                    (Some(Waiter::Caller(sender)), Some(receiver))
                }
            };
            let (seq, mark) = core.append(push, now, deadline, |_| sender);
            core.wake_links();
            core.settle(now);
            Ok(Ticket { seq, mark, answer })
        })
    }

    pub(crate) fn open_stream(&self) -> u64 {
        self.with(|core, _| {
            core.next_stream += 1;
            core.streams.insert(core.next_stream, Mailbox::default());
            core.next_stream
        })
    }

    pub(crate) fn close_stream(&self, stream: u64) {
        self.with(|core, _| core.streams.remove(&stream));
    }

    /// Accepts the pushes of a stream that are at hand, in order, and hands out what is answered. The
    /// waker is called when there is more.
    pub(crate) fn stream_turn(&self, stream: u64, pushes: Vec<Push>, waker: &Waker) -> Turn {
        self.with(|core, now| {
            let any = !pushes.is_empty();
            // What is answered now goes out with this turn and needs no wake.
            core.streams.entry(stream).or_default().waker = None;
            let verdicts = pushes.into_iter().map(|push| core.stream_push(stream, push, now)).collect();
            if any {
                core.wake_links();
                core.settle(now);
            }
            let draining = core.gate == Gate::Draining;
            let mailbox = core.streams.entry(stream).or_default();
            mailbox.waker = Some(waker.clone());
            Turn { verdicts, outcomes: std::mem::take(&mut mailbox.outcomes), draining }
        })
    }
}

impl Core {
    fn may_push(&self) -> Result<(), Refused> {
        match self.gate {
            Gate::Starting => Err(Refused::NotReady),
            Gate::Draining => Err(Refused::Draining),
            Gate::Open | Gate::Leaving if !self.answers.has_nodes() => Err(Refused::NoNodes),
            Gate::Open | Gate::Leaving => Ok(()),
        }
    }

    fn stream_push(&mut self, stream: u64, push: Push, now: Now) -> Verdict {
        if let Err(refused) = self.may_push() {
            return Verdict::Refused(refused);
        }
        if push.accepted_only {
            let (seq, mark) = self.append(push, now, None, |_| None);
            return Verdict::Accepted { seq, mark };
        }
        self.append(push, now, None, |mark| Some(Waiter::Stream { stream, mark: mark.take() }));
        Verdict::Waiting
    }

    fn append(
        &mut self,
        mut push: Push,
        now: Now,
        deadline: Option<u64>,
        waiter: impl FnOnce(&mut Option<Box<Mark>>) -> Option<Waiter>,
    ) -> (u64, Option<Box<Mark>>) {
        let n_users = push.n_users();
        let accepted = self.log.append(&mut push.message, push.rpc.push(), now);
        self.trace(&push, now);
        let mut mark = Mark::of(push.message);
        let waiter = waiter(&mut mark);
        self.answers.accept(accepted.seq, now.mono, n_users, deadline, waiter);
        (accepted.seq, mark)
    }

    /// Logs a control that a node handed up; nobody waits for it. `None` if none is taken now.
    pub(super) fn hand_up(&mut self, mut control: Message, now: Now) -> Option<u64> {
        if self.gate == Gate::Starting {
            return None;
        }
        let accepted = self.log.append(&mut control, None, now);
        self.answers.accept(accepted.seq, now.mono, 0, None, None);
        self.wake_links();
        self.settle(now);
        Some(accepted.seq)
    }

    fn trace(&mut self, push: &Push, now: Now) {
        // Controls are not shown: they go to no connection's eyes.
        let (Some(sampler), Some(api)) = (&mut self.sampler, push.rpc.push()) else { return };
        if sampler.takes(now.mono) {
            let mut nodes: Vec<_> = self.nodes.iter().map(|(_, node)| node.name().to_owned()).collect();
            nodes.sort_unstable();
            sampler.accepted(ManagerId(self.identity.manager_id), api, &push.message, nodes, now.mono);
        }
    }

    /// Answers what needs no more waiting. Under the lock, so that a stream's answers keep their order.
    pub(super) fn settle(&mut self, now: Now) {
        let (streams, wakes) = (&mut self.streams, &mut self.wakes);
        self.answers.advance(now.mono, |Done { waiter, answer }| match waiter {
            Waiter::Caller(caller) => {
                // A caller that went away needs no answer.
                let _gone = caller.send(answer);
            }
            Waiter::Stream { stream, mark } => {
                if let Some(mailbox) = streams.get_mut(&stream) {
                    mailbox.outcomes.push_back(Outcome { answer, mark });
                    wakes.extend(mailbox.take_waker());
                }
            }
        });
    }

    pub(super) fn wake_links(&mut self) {
        let idle = self.links.values_mut().filter_map(|link| link.waker.take());
        self.wakes.extend(idle);
    }
}
