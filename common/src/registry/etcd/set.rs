//! One kind's records as etcd last told them; free of I/O.

use std::{collections::BTreeMap, str::from_utf8, sync::Arc};

use tracing::warn;

use crate::registry::record::{Record, Snapshot, Source};

/// One value in etcd: its key, content and the revision it was written at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) mod_revision: i64,
}

/// What a change to the set brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) changed: bool,
    /// Values seen for the first time that are not records of ours.
    pub(super) new_bad: usize,
}

/// The records, and up to which revision they are known.
#[derive(Debug)]
pub(super) struct RecordSet {
    directory: String,
    records: Arc<BTreeMap<String, Record>>,
    /// Broken values by key, with the revision they were complained about at.
    bad: BTreeMap<Vec<u8>, i64>,
    revision: i64,
}

impl RecordSet {
    pub(super) fn new(directory: String) -> Self {
        Self { directory, records: Arc::default(), bad: BTreeMap::new(), revision: 0 }
    }

    pub(super) fn directory(&self) -> &str {
        &self.directory
    }

    /// Everything up to here is in the set.
    pub(super) fn revision(&self) -> i64 {
        self.revision
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { source: Source::Registry, records: Arc::clone(&self.records) }
    }

    /// Replaces the set by a complete list.
    pub(super) fn replace<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>>, revision: i64) -> Change {
        let mut change = Change::default();
        let mut records = BTreeMap::new();
        let mut still_bad = BTreeMap::new();
        for entry in entries {
            match self.read(entry) {
                Some((id, record)) => {
                    records.insert(id, record);
                }
                None => {
                    change.new_bad += usize::from(self.is_new_bad(entry));
                    still_bad.insert(entry.key.to_vec(), entry.mod_revision);
                }
            }
        }
        self.bad = still_bad;
        self.revision = revision;
        if *self.records != records {
            self.records = Arc::new(records);
            change.changed = true;
        }
        change
    }

    /// Applies a write that the watch tells of.
    pub(super) fn put(&mut self, entry: Entry<'_>) -> Change {
        // A list that was taken while this event was under way has it already, and perhaps later ones.
        if entry.mod_revision <= self.revision {
            return Change::default();
        }
        match self.read(entry) {
            Some((id, record)) => {
                self.bad.remove(entry.key);
                let changed = self.records.get(&id) != Some(&record);
                if changed {
                    Arc::make_mut(&mut self.records).insert(id, record);
                }
                Change { changed, new_bad: 0 }
            }
            None => {
                let new_bad = usize::from(self.is_new_bad(entry));
                self.bad.insert(entry.key.to_vec(), entry.mod_revision);
                Change { changed: self.drop_record(entry.key), new_bad }
            }
        }
    }

    /// Applies a removal that the watch tells of.
    pub(super) fn delete(&mut self, key: &[u8], mod_revision: i64) -> Change {
        if mod_revision <= self.revision {
            return Change::default();
        }
        self.bad.remove(key);
        Change { changed: self.drop_record(key), new_bad: 0 }
    }

    /// Notes that all events up to `revision` are applied.
    pub(super) fn advance(&mut self, revision: i64) {
        self.revision = self.revision.max(revision);
    }

    fn drop_record(&mut self, key: &[u8]) -> bool {
        match self.id(key) {
            Some(id) if self.records.contains_key(id) => {
                let id = id.to_owned();
                Arc::make_mut(&mut self.records).remove(&id).is_some()
            }
            _ => false,
        }
    }

    fn id<'k>(&self, key: &'k [u8]) -> Option<&'k str> {
        from_utf8(key).ok()?.strip_prefix(&self.directory)
    }

    fn read(&self, entry: Entry<'_>) -> Option<(String, Record)> {
        let reason = match self.id(entry.key) {
            Some(id) if !id.is_empty() => match Record::from_json(id, entry.value) {
                Ok(record) => return Some((id.to_owned(), record)),
                Err(error) => error.to_string(),
            },
            _ => "its key names no id".to_owned(),
        };
        if self.is_new_bad(entry) {
            let key = String::from_utf8_lossy(entry.key);
            warn!(%key, reason, "Ignoring what is not a record of ours in etcd.");
        }
        None
    }

    fn is_new_bad(&self, entry: Entry<'_>) -> bool {
        self.bad.get(entry.key) != Some(&entry.mod_revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = br#"{"id":"a","grpc_addr":"h:1","state":"ready"}"#;
    const MOVED: &[u8] = br#"{"id":"a","grpc_addr":"h:2","state":"ready"}"#;

    fn entry<'a>(key: &'a str, value: &'a [u8], mod_revision: i64) -> Entry<'a> {
        Entry { key: key.as_bytes(), value, mod_revision }
    }

    fn set() -> RecordSet {
        RecordSet::new("/p/nodes/".to_owned())
    }

    #[test]
    fn events_older_than_the_list_change_nothing() {
        let mut set = set();
        assert!(set.replace([entry("/p/nodes/a", MOVED, 7)].into_iter(), 9).changed);
        assert_eq!(set.put(entry("/p/nodes/a", GOOD, 6)), Change::default());
        assert_eq!(set.delete(b"/p/nodes/a", 9), Change::default());
        assert_eq!(set.snapshot().records["a"].grpc_addr, "h:2");
        assert!(set.delete(b"/p/nodes/a", 10).changed);
        assert!(set.snapshot().records.is_empty());
    }

    #[test]
    fn broken_values_are_told_once_per_revision() {
        let mut set = set();
        let junk =
            [entry("/p/nodes/a", b"junk", 3), entry("/p/nodes/", GOOD, 4), entry("/p/nodes/x/y", GOOD, 5)];
        assert_eq!(set.replace(junk.into_iter(), 5), Change { changed: false, new_bad: 3 });
        assert_eq!(set.replace(junk.into_iter(), 6), Change::default());
        assert_eq!(set.put(entry("/p/nodes/a", b"{}", 7)).new_bad, 1);
        assert_eq!(set.put(entry("/p/nodes/a", GOOD, 8)), Change { changed: true, new_bad: 0 });
        assert_eq!(set.put(entry("/p/nodes/a", b"", 9)), Change { changed: true, new_bad: 1 });
        assert!(set.snapshot().records.is_empty());
    }

    #[test]
    fn an_equal_list_is_no_change() {
        let mut set = set();
        set.replace([entry("/p/nodes/a", GOOD, 1)].into_iter(), 1);
        let before = set.snapshot();
        assert!(!set.replace([entry("/p/nodes/a", GOOD, 4)].into_iter(), 4).changed);
        assert!(Arc::ptr_eq(&before.records, &set.snapshot().records));
    }
}
