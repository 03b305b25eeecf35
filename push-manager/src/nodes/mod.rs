//! Which nodes there are: what the registry lists, what was given by hand, and what the links say,
//! brought together. No I/O.
//!
//! A node is gone when it is not listed any more **and** its link is down; neither alone removes it.

use std::collections::BTreeMap;

use pushcast_common::registry::{Record, Snapshot, Source};

use crate::answers::NodeKey;

/// What the owner of the links has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Keep a link to this new node.
    Added(NodeKey),
    /// Drop its connection, if any, and make a new one: its address or process changed.
    Relink(NodeKey),
    /// Forget it.
    Removed(NodeKey),
}

/// Why the process behind an address is not linked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another node answers where the registry says this one is.
    #[error("the node there says it is {found:?}, but {listed:?} is listed at that address")]
    OtherNode {
        /// The id in its Start.
        found: String,
        /// The id of the record.
        listed: String,
    },
    /// This node is linked already, under another address.
    #[error("the node there, {id:?}, is linked already at {addr}")]
    SameNode {
        /// Its id.
        id: String,
        /// The other address.
        addr: String,
    },
    /// The node was removed meanwhile.
    #[error("it is not known any more")]
    Removed,
}

/// One known node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// From its record or, for an address given by hand, from its Start; `None` until then.
    pub id: Option<String>,
    /// Where its gRPC listens.
    pub addr: String,
    /// What the registry says of it; `None` if it never listed it.
    pub record: Option<Record>,
    /// Whether the present set, of whatever source, has it.
    pub listed: bool,
    /// The process it is linked to.
    pub linked: Option<String>,
    /// Whether it answered Hello at least once.
    pub has_linked: bool,
}

impl Node {
    /// Its id, or its address while nobody knows its id.
    pub fn name(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.addr)
    }
}

/// All known nodes.
#[derive(Debug, Default)]
pub struct Nodes {
    nodes: BTreeMap<NodeKey, Node>,
    next_key: u32,
    from_registry: bool,
}

impl Nodes {
    /// Nobody is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// One node.
    pub fn get(&self, key: NodeKey) -> Option<&Node> {
        self.nodes.get(&key)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.nodes.iter().map(|(&key, node)| (key, node))
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Whether every listed node has answered Hello at least once.
    pub fn all_listed_have_linked(&self) -> bool {
        self.nodes.values().all(|node| node.has_linked || !node.listed)
    }

    /// Takes the present set. Nothing learned yet changes nothing.
    pub fn apply(&mut self, snapshot: &Snapshot) -> Vec<Change> {
        match snapshot.source {
            Source::Unknown => Vec::new(),
            // The registry's word is not taken back by a list made by hand.
            Source::Fixed if self.from_registry => Vec::new(),
            Source::Fixed => self.apply_fixed(&snapshot.records),
            Source::Registry => {
                self.from_registry = true;
                self.apply_records(&snapshot.records)
            }
        }
    }

    fn apply_fixed(&mut self, records: &BTreeMap<String, Record>) -> Vec<Change> {
        let mut changes = Vec::new();
        for record in records.values() {
            if !self.nodes.values().any(|node| node.addr == record.grpc_addr) {
                let node = Node { addr: record.grpc_addr.clone(), listed: true, ..Node::default() };
                changes.push(Change::Added(self.insert(node)));
            }
        }
        changes
    }

    fn apply_records(&mut self, records: &BTreeMap<String, Record>) -> Vec<Change> {
        let mut changes = Vec::new();
        for node in self.nodes.values_mut() {
            node.listed = node.id.as_ref().is_some_and(|id| records.contains_key(id));
        }
        // Gone ones first: one of them may sit at the address of a new one.
        let gone: Vec<NodeKey> =
            self.iter().filter(|(_, n)| !n.listed && n.linked.is_none()).map(|(key, _)| key).collect();
        for key in gone {
            self.nodes.remove(&key);
            changes.push(Change::Removed(key));
        }
        for record in records.values() {
            match self.key_of(&record.id) {
                Some(key) => changes.extend(self.update(key, record)),
                None => {
                    let node = Node {
                        id: Some(record.id.clone()),
                        addr: record.grpc_addr.clone(),
                        record: Some(record.clone()),
                        listed: true,
                        ..Node::default()
                    };
                    changes.push(Change::Added(self.insert(node)));
                }
            }
        }
        changes
    }

    fn update(&mut self, key: NodeKey, record: &Record) -> Option<Change> {
        let node = self.nodes.get_mut(&key)?;
        let before = node.record.replace(record.clone());
        let moved = node.addr != record.grpc_addr;
        node.addr.clone_from(&record.grpc_addr);
        // A link to the listed process is the right one, whatever its address was called before.
        if node.linked.as_deref().is_some_and(|linked| linked == record.instance) {
            return None;
        }
        let replaced = before.as_ref().is_some_and(|before| before.instance != record.instance);
        // A node given by hand keeps its link when the registry first names it under another spelling.
        let adopted = before.is_none() && node.linked.is_some();
        ((moved && !adopted) || replaced).then_some(Change::Relink(key))
    }

    /// Whether the process that says it is `id` may be linked as `key`. Changes nothing.
    pub fn check(&self, key: NodeKey, id: &str) -> Result<(), Refusal> {
        let node = self.nodes.get(&key).ok_or(Refusal::Removed)?;
        if let Some(record) = node.record.as_ref().filter(|record| record.id != id) {
            return Err(Refusal::OtherNode { found: id.to_owned(), listed: record.id.clone() });
        }
        let twin = self.nodes.iter().find(|(other, node)| **other != key && node.id.as_deref() == Some(id));
        match twin {
            // One that is neither linked nor listed by id is only a name from before.
            Some((_, twin)) if twin.linked.is_some() || twin.record.is_some() => {
                Err(Refusal::SameNode { id: id.to_owned(), addr: twin.addr.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The process behind `key` answered Hello, and [`Nodes::check`] allowed it.
    pub fn linked(&mut self, key: NodeKey, id: &str, instance: &str) {
        for (other, node) in &mut self.nodes {
            if *other != key && node.id.as_deref() == Some(id) {
                node.id = None;
            }
        }
        if let Some(node) = self.nodes.get_mut(&key) {
            node.id = Some(id.to_owned());
            node.linked = Some(instance.to_owned());
            node.has_linked = true;
        }
    }

    /// Its link is down. One that is not listed any more is then gone.
    pub fn unlinked(&mut self, key: NodeKey) -> Option<Change> {
        let node = self.nodes.get_mut(&key)?;
        node.linked = None;
        if node.listed {
            return None;
        }
        self.nodes.remove(&key);
        Some(Change::Removed(key))
    }

    fn key_of(&self, id: &str) -> Option<NodeKey> {
        self.iter().find(|(_, node)| node.id.as_deref() == Some(id)).map(|(key, _)| key)
    }

    fn insert(&mut self, node: Node) -> NodeKey {
        let key = NodeKey(self.next_key);
        self.next_key += 1;
        self.nodes.insert(key, node);
        key
    }
}

#[cfg(test)]
mod tests;
