//! Processes that come, what they learn of each other, and when they begin to serve.

use std::rc::Rc;

use push_manager::{answers::NodeKey, nodes::Change};

use super::World;
use crate::{
    manager::Manager,
    naive::Naive,
    node::Node,
    registry::News,
    stage::{Event, MILLI, Process, SECOND, Stage},
};

/// A manager takes pushes once every listed node answered hello, or after this time (DESIGN 4).
const HELLO_WAIT: u64 = 3 * SECOND;

/// Longest time until a change of the registry is heard of. Below `HELLO_WAIT`: a node hears of a manager
/// before it takes pushes.
const NEWS_DELAY: u64 = 2 * SECOND;

impl World {
    pub(super) fn start_manager(&mut self) {
        let manager = Manager::new(&mut self.stage);
        let process = Process::Manager(manager.index);
        self.stage.at(self.stage.now + HELLO_WAIT, Event::MayTakePushes(manager.index));
        self.managers.push(manager);
        self.stage.within(0, 300 * MILLI, Event::Register(process));
    }

    pub(super) fn start_node(&mut self, place: usize) {
        let node = Node::new(&mut self.stage, place, self.nodes.len());
        for ingest in &node.ingests {
            ingest.watches_since(node.clock.read(self.stage.now));
        }
        let index = self.nodes.len();
        self.nodes.push(node);
        self.places[place] = index;
        self.stage.within(0, 300 * MILLI, Event::Register(Process::Node(index)));
        self.stage.within(0, 250 * MILLI, Event::Sweep(index));
        self.stage.within(20 * MILLI, 100 * MILLI, Event::MayTakeClients(index));
    }

    pub(super) fn register(&mut self, process: Process) {
        if !self.is_alive(process) {
            return;
        }
        match process {
            Process::Manager(manager) => self.registry.add_manager(self.managers[manager].id),
            Process::Node(node) => {
                let me = &self.nodes[node];
                self.registry.add_node(&me.name, &me.instance);
                for ingest in &me.ingests {
                    ingest.watches_since(me.clock.read(self.stage.now));
                }
                self.nodes[node].recorded = Some(self.registry.version());
            }
        }
        self.publish();
        let lists = match process {
            Process::Manager(_) => true,
            // A static node has no registry; that others know it is their static list.
            Process::Node(node) => self.nodes[node].dynamic,
        };
        if lists {
            self.stage.within(0, 50 * MILLI, Event::Learn(process, None));
        }
    }

    pub(super) fn unregister(&mut self, process: Process) {
        match process {
            Process::Manager(manager) => self.registry.remove_manager(self.managers[manager].id),
            Process::Node(node) => {
                self.registry.remove_node(&self.nodes[node].name, &self.nodes[node].instance);
            }
        }
        self.publish();
    }

    /// The registry loses everything; processes write their records again.
    pub(super) fn wipe_registry(&mut self) {
        self.registry.wipe();
        self.wiped_at.push(self.stage.now);
        self.publish();
        let managers = (0..self.managers.len()).map(Process::Manager);
        let nodes = (0..self.nodes.len()).map(Process::Node);
        let alive: Vec<_> = managers.chain(nodes).filter(|process| self.is_alive(*process)).collect();
        for process in alive {
            self.stage.within(100 * MILLI, SECOND, Event::Register(process));
        }
    }

    /// Tells everybody, each with a delay of its own.
    fn publish(&mut self) {
        let news = self.registry.news();
        let managers = self.managers.iter().filter(|manager| manager.alive && manager.learned.is_some());
        let managers: Vec<_> = managers.map(|manager| Process::Manager(manager.index)).collect();
        let nodes = (0..self.nodes.len()).filter(|node| self.nodes[*node].alive && self.nodes[*node].dynamic);
        for process in managers.into_iter().chain(nodes.map(Process::Node)) {
            let late = !self.is_calm() && self.stage.chance.one_in(4);
            let most = if late { NEWS_DELAY } else { 100 * MILLI };
            self.stage.within(0, most, Event::Learn(process, Some(Rc::clone(&news))));
        }
    }

    pub(super) fn learn(&mut self, process: Process, news: Option<Rc<News>>) {
        if !self.is_alive(process) {
            return;
        }
        if self.stage.now < self.silent_until {
            let at = self.silent_until + self.stage.chance.between(0, 100 * MILLI);
            self.stage.at(at, Event::Learn(process, news));
            return;
        }
        let first = news.is_none();
        let news = news.unwrap_or_else(|| self.registry.news());
        match process {
            Process::Manager(manager) => self.manager_learns(manager, &news),
            Process::Node(node) => self.node_learns(node, first, &news),
        }
    }

    fn manager_learns(&mut self, index: usize, news: &News) {
        let manager = &mut self.managers[index];
        if manager.learned.is_some_and(|version| version >= news.version) {
            return;
        }
        manager.learned = Some(news.version);
        let others: Vec<u64> = news.managers.iter().copied().filter(|id| *id != manager.id).collect();
        if manager.identity.managers.iter().any(|before| !others.contains(before)) {
            let gone_at = manager.clock.read(self.stage.now);
            manager.identity.manager_gone_at = manager.identity.manager_gone_at.max(gone_at);
        }
        manager.identity.managers = others;
        let before: Vec<_> = manager.nodes.iter().map(|(key, node)| (key, node.addr.clone())).collect();
        manager.addresses.extend(before);
        let changes = manager.nodes.apply(&news.nodes);
        for change in &changes {
            if let Change::Removed(key) | Change::Relink(key) = change {
                self.drop_link(index, *key);
            }
        }
        for change in &changes {
            if let Change::Removed(key) = change {
                self.note_forgotten(index, *key);
            }
        }
        self.managers[index].record(&changes);
        self.managers[index].settle(&mut self.stage);
        // Who stops follows the set of nodes no more.
        let stopping = self.managers[index].stopping;
        for change in &changes {
            if !stopping && let Change::Added(key) | Change::Relink(key) = change {
                self.stage.within(0, 20 * MILLI, Event::Dial { manager: index, key: *key });
            }
        }
        self.may_take_pushes(index);
    }

    /// A manager does not know a node any more.
    pub(super) fn note_forgotten(&mut self, index: usize, key: NodeKey) {
        let manager = &mut self.managers[index];
        let place =
            manager.addresses.get(&key).and_then(|addr| addr.strip_prefix('n')?.parse::<usize>().ok());
        if let (Some(place), Some(peer)) = (place, manager.peers.get(&key)) {
            let acked = peer.state.acked();
            manager.forgotten.push((self.places[place], acked));
        }
    }

    fn node_learns(&mut self, index: usize, first: bool, news: &News) {
        let node = &mut self.nodes[index];
        // News from before the list are not heard: the watch begins with it.
        let known = node.learned.is_some_and(|version| version >= news.version);
        if known || (!first && node.learned.is_none()) {
            return;
        }
        node.learned = Some(news.version);
        let mut managers = news.managers.clone();
        if self.stage.is(Naive::NobodyIsGone) {
            managers.extend(node.registered.iter().filter(|id| !news.managers.contains(id)));
        }
        for ingest in &node.ingests {
            ingest.set_registered(&managers, node.clock.read(self.stage.now));
        }
        node.registered = managers;
        // It may find a hole.
        self.look(index);
        self.note_knowledge_of_all(index);
    }

    pub(super) fn note_knowledge_of_all(&mut self, index: usize) {
        let Stage { now, truth, .. } = &self.stage;
        for manager in truth.managers.iter().filter(|manager| !manager.messages.is_empty()) {
            self.nodes[index].note_knowledge(manager.id, *now);
        }
    }

    pub(super) fn may_take_pushes(&mut self, index: usize) {
        let manager = &mut self.managers[index];
        let waited = self.stage.now >= manager.started_at + HELLO_WAIT;
        let ready = manager.learned.is_some() && (waited || manager.nodes.all_listed_have_linked());
        if !manager.alive || manager.open || manager.stopping || !ready {
            if waited && manager.alive && !manager.open && !manager.stopping {
                self.stage.within(100 * MILLI, 100 * MILLI, Event::MayTakePushes(index));
            }
            return;
        }
        manager.open = true;
        let at = self.stage.now.max(self.busy_at) + self.stage.chance.between(0, 100 * MILLI);
        self.stage.at(at, Event::Push(index));
    }

    /// A node takes clients once every registered manager has filled it, or after a while.
    pub(super) fn may_take_clients(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if !node.alive || node.numbers.open_since.is_some() {
            return;
        }
        let managers = node.ingest().managers();
        let filled = |registered: bool| {
            let mut of = managers.iter().filter(|m| m.registered || !registered).peekable();
            of.peek().is_some() && of.all(|m| m.linked && m.filled)
        };
        let waited = self.stage.now >= node.started_at + SECOND;
        if waited || (node.dynamic && filled(true)) || (!node.dynamic && filled(false)) {
            for ingest in &node.ingests {
                ingest.open(node.clock.read(self.stage.now));
            }
            node.numbers.open_since = Some(self.stage.now);
            if node.learned.is_some() || !node.dynamic {
                self.note_knowledge_of_all(index);
            }
            return;
        }
        self.stage.within(20 * MILLI, 20 * MILLI, Event::MayTakeClients(index));
    }

    pub(super) fn restart(&mut self, process: Process) {
        match process {
            Process::Manager(_) => self.start_manager(),
            Process::Node(node) => self.start_node(self.nodes[node].place),
        }
    }
}
