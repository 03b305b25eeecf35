//! What the registry stores about one process, and the snapshot its watchers see.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Which of the two sets a record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A connect-node, under `{prefix}/nodes/`.
    Node,
    /// A push-manager, under `{prefix}/managers/`.
    Manager,
}

impl Kind {
    /// The path segment below the prefix: `nodes` or `managers`.
    pub fn segment(self) -> &'static str {
        match self {
            Self::Node => "nodes",
            Self::Manager => "managers",
        }
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Node => 0,
            Self::Manager => 1,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Manager => "manager",
        })
    }
}

/// How far a process is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Registered, not serving yet.
    #[default]
    Starting,
    /// Serving.
    Ready,
    /// Serving its last; takes nothing new.
    Draining,
}

impl State {
    /// The spelling in records, logs and `/readyz`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One process in the registry; its JSON is the value stored under its key.
///
/// Unknown members are ignored and missing optional ones read as empty, so that versions can mix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Node id, or manager id as 16 hex digits; the last part of the key.
    pub id: String,
    /// Random per process start; tells two processes with one id apart.
    #[serde(default)]
    pub instance: String,
    /// `host:port` where others reach this process over gRPC; never empty.
    pub grpc_addr: String,
    /// The URL clients use, if the node has a public one.
    #[serde(default)]
    pub ws_url: String,
    /// Where in its life the process is.
    pub state: State,
    /// Version of the program.
    #[serde(default)]
    pub version: String,
    /// Start of the process as RFC 3339 text; informative only.
    #[serde(default)]
    pub started_at: String,
    /// The availability zone, if told.
    #[serde(default)]
    pub zone: String,
    /// Fingerprint of the ticket key in use.
    #[serde(default)]
    pub ticket_key: String,
}

/// Why a stored value is not one of our records.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    /// Not JSON: that is UTF-8.
    #[error("not a record: {0}")]
    NotText(#[from] std::str::Utf8Error),
    /// Not JSON, or not with these members.
    #[error("not a record: {0}")]
    Json(#[from] serde_json::Error),
    /// Somebody else's.
    #[error("its id is {0:?}, not that of its key")]
    OtherId(String),
    /// Nobody could reach it.
    #[error("its grpc_addr is empty")]
    NoAddress,
}

impl Record {
    /// A random `instance` for this process start.
    pub fn random_instance() -> String {
        format!("{:016x}", rand::random::<u64>())
    }

    /// The value to store.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a struct of strings and one enum always serialises")
    }

    /// Reads the value stored under the key that ends in `id`.
    pub fn from_json(id: &str, value: &[u8]) -> Result<Self, BadRecord> {
        // As text, because serde_json does not look at all of what it skips.
        let record: Self = serde_json::from_str(std::str::from_utf8(value)?)?;
        if record.id != id {
            return Err(BadRecord::OtherId(record.id));
        }
        if record.grpc_addr.is_empty() {
            return Err(BadRecord::NoAddress);
        }
        Ok(record)
    }
}

/// Where a [`Snapshot`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing learned yet.
    Unknown,
    /// The addresses given by hand, until (or instead of) a registry's answer.
    Fixed,
    /// The registry's own answer; from then on it never goes back.
    Registry,
}

/// The whole set of one [`Kind`] at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// How this set was learned.
    pub source: Source,
    /// Records by id.
    pub records: Arc<BTreeMap<String, Record>>,
}

impl Snapshot {
    pub(crate) fn new(source: Source, records: BTreeMap<String, Record>) -> Self {
        Self { source, records: Arc::new(records) }
    }
}

impl FromStr for State {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "starting" => Ok(Self::Starting),
            "ready" => Ok(Self::Ready),
            "draining" => Ok(Self::Draining),
            other => Err(UnknownState(other.to_owned())),
        }
    }
}

/// A text that names no [`State`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is none of starting, ready, draining")]
pub struct UnknownState(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_the_one_of_the_contract() {
        let record = Record {
            id: "n1".into(),
            instance: "i".into(),
            grpc_addr: "h:1".into(),
            state: State::Draining,
            ..Record::default()
        };
        assert_eq!(
            record.to_json(),
            r#"{"id":"n1","instance":"i","grpc_addr":"h:1","ws_url":"","state":"draining","version":"","started_at":"","zone":"","ticket_key":""}"#
        );
        assert_eq!(Record::from_json("n1", record.to_json().as_bytes()).unwrap(), record);
    }

    #[test]
    fn other_versions_are_read_and_broken_records_refused() {
        let read = |json: &str| Record::from_json("n1", json.as_bytes());
        let record = read(r#"{"id":"n1","grpc_addr":"h:1","state":"ready","colour":"red"}"#).unwrap();
        assert_eq!((record.state, record.zone.as_str()), (State::Ready, ""));
        for bad in [
            "",
            "{",
            "[]",
            "\"n1\"",
            r#"{"id":"n2","grpc_addr":"h:1","state":"ready"}"#,
            r#"{"id":"n1","grpc_addr":"","state":"ready"}"#,
            r#"{"id":"n1","state":"ready"}"#,
            r#"{"id":"n1","grpc_addr":"h:1","state":"asleep"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let mut skipped = br#"{"id":"n1","grpc_addr":"h:1","state":"ready","colour":"?"}"#.to_vec();
        let at = skipped.len() - 3;
        skipped[at] = 0xd4;
        assert!(matches!(Record::from_json("n1", &skipped), Err(BadRecord::NotText(_))), "found by fuzzing");
    }

    #[test]
    fn states_have_one_spelling() {
        for state in [State::Starting, State::Ready, State::Draining] {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert!("READY".parse::<State>().is_err());
    }
}
