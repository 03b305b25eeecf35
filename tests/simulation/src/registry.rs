//! The registry as processes see it: records, and news that reach each process with its own delay.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use pushcast_common::registry::{Record, Snapshot, Source};

/// What the registry held at some time.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) version: u64,
    pub(crate) managers: Vec<u64>,
    pub(crate) nodes: Snapshot,
}

/// The records.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    version: u64,
    managers: BTreeSet<u64>,
    nodes: BTreeMap<String, Record>,
}

impl Registry {
    pub(crate) fn add_manager(&mut self, id: u64) {
        self.version += 1;
        self.managers.insert(id);
    }

    pub(crate) fn remove_manager(&mut self, id: u64) {
        self.version += 1;
        self.managers.remove(&id);
    }

    /// A node's record; the address is its name.
    pub(crate) fn add_node(&mut self, name: &str, instance: &str) {
        self.version += 1;
        let record = Record {
            id: name.to_owned(),
            instance: instance.to_owned(),
            grpc_addr: name.to_owned(),
            ..Record::default()
        };
        self.nodes.insert(name.to_owned(), record);
    }

    /// Removes a node's record, if it is still that process's.
    pub(crate) fn remove_node(&mut self, name: &str, instance: &str) {
        if self.nodes.get(name).is_some_and(|record| record.instance == instance) {
            self.version += 1;
            self.nodes.remove(name);
        }
    }

    /// Loses everything.
    pub(crate) fn wipe(&mut self) {
        self.version += 1;
        self.managers.clear();
        self.nodes.clear();
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn news(&self) -> Rc<News> {
        let records = Arc::new(self.nodes.clone());
        Rc::new(News {
            version: self.version,
            managers: self.managers.iter().copied().collect(),
            nodes: Snapshot { source: Source::Registry, records },
        })
    }
}
