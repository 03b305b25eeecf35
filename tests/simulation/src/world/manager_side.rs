//! The manager's half of links: what it sends, what it hears.

use push_manager::link_state::{Event as Heard, LinkError, Next};
use pushcast_proto::connectnode::v1::{
    LinkRequest, LinkResponse, link_request::Frame, link_response, start::From,
};

use super::World;
use crate::{
    findings::Check,
    naive::Naive,
    stage::{BEGIN, Event, MILLI, Process, SECOND, Side},
};

impl World {
    /// Has every link of a manager look for something to send, soon.
    pub(super) fn pump_all(&mut self, manager: usize) {
        let links: Vec<usize> = self.managers[manager].peers.values().filter_map(|peer| peer.link).collect();
        for link in links {
            self.pump_soon(link);
        }
    }

    fn pump_soon(&mut self, index: usize) {
        let slow = self.links[index].slow && !self.is_calm();
        let most = if slow { 1_500 * MILLI } else { 10 * MILLI };
        let at = self.stage.now + self.stage.chance.between(0, most);
        self.pump_at(index, at);
    }

    fn pump_at(&mut self, index: usize, at: u64) {
        if at < self.links[index].pump_at {
            self.links[index].pump_at = at;
            self.stage.at(at, Event::Pump(index));
        }
    }

    pub(super) fn pump(&mut self, index: usize) {
        if self.stage.now >= self.links[index].pump_at {
            self.links[index].pump_at = u64::MAX;
        }
        let (manager, key) = (self.links[index].manager, self.links[index].key);
        loop {
            let me = &mut self.managers[manager];
            if !me.alive || !self.links[index].manager_up {
                return;
            }
            let me_now = me.now(&self.stage);
            let Some(peer) = me.peers.get_mut(&key).filter(|peer| peer.link == Some(index)) else { return };
            let now = me_now;
            match peer.state.next_frame(&mut me.log, &me.identity, now) {
                Next::Frame(frame) => {
                    match &frame {
                        Frame::Gap(_) => self.stage.findings.counts.gaps += 1,
                        Frame::Fill(fill) if fill.first_seq <= fill.last_seq => {
                            self.stage.findings.counts.fills += 1;
                        }
                        _ => {}
                    }
                    self.send_down(index, LinkRequest { frame: Some(frame) });
                }
                Next::Wait(Some(mono)) => {
                    self.pump_at(index, BEGIN + mono);
                    return;
                }
                Next::Wait(None) => return,
                Next::End => {
                    self.notice(index, Side::Manager);
                    return;
                }
            }
        }
    }

    pub(super) fn manager_hears(&mut self, index: usize, mut frame: LinkResponse) {
        let (manager, key) = (self.links[index].manager, self.links[index].key);
        let me = &mut self.managers[manager];
        let now = me.now(&self.stage);
        let Some(peer) = me.peers.get_mut(&key).filter(|peer| me.alive && peer.link == Some(index)) else {
            return;
        };
        if let Some(link_response::Frame::Start(start)) = &mut frame.frame {
            if me.nodes.check(key, &start.node_id).is_err() {
                self.notice(index, Side::Manager);
                return;
            }
            if self.stage.is(Naive::CursorStays)
                && let Some(From::AfterSeq(after)) = &mut start.from
            {
                *after = peer.state.sent().max(*after);
            }
        }
        match peer.state.received(frame, &me.log, now) {
            Ok(Heard::Nothing) => {}
            Ok(Heard::Started(started)) => {
                me.started(&mut self.stage, key, &started);
                self.pump_soon(index);
                self.may_take_pushes(manager);
            }
            Ok(Heard::HandedUp(_)) if peer.state.is_closing() => {}
            Ok(Heard::HandedUp(control)) => {
                if let Some(accepted_at) = me.hand_up(&mut self.stage, control) {
                    self.nobody_claimed(manager, accepted_at);
                }
                self.pump_all(manager);
            }
            Ok(Heard::Acked(acked)) => {
                me.acked(&mut self.stage, key, &acked);
                self.pump_soon(index);
            }
            Err(error) => {
                let node = &self.nodes[self.links[index].node].name;
                let check = match error {
                    LinkError::AckNotNext { .. }
                    | LinkError::AckAhead { .. }
                    | LinkError::AckInGap(_)
                    | LinkError::CountsOutside(_) => Check::Acknowledgements,
                    _ => Check::Conversation,
                };
                self.stage.broken(check, format!("m{manager} ends its link to {node}: {error}"));
                self.notice(index, Side::Manager);
            }
        }
    }

    /// A manager is told to stop: it takes nothing more, and ends each link with Close once all is
    /// acknowledged on it.
    pub(super) fn stop_manager(&mut self, index: usize) {
        let me = &mut self.managers[index];
        me.open = false;
        me.stopping = true;
        for peer in me.peers.values_mut() {
            peer.state.close_when_done();
        }
        self.pump_all(index);
        self.stage.at(self.stage.now + 3 * SECOND, Event::Stopped(index));
        self.may_be_stopped(index);
    }

    /// A manager that stops ends once nothing is linked.
    pub(super) fn may_be_stopped(&mut self, index: usize) {
        if self.managers[index].peers.values().all(|peer| !peer.state.is_linked()) {
            self.stage.within(0, 10 * MILLI, Event::Stopped(index));
        }
    }

    pub(super) fn stopped(&mut self, index: usize) {
        if self.managers[index].alive {
            self.end_manager(index);
            self.stage.within(0, 50 * MILLI, Event::Unregister(Process::Manager(index)));
        }
    }
}
