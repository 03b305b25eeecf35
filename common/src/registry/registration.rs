//! One's own record, held for as long as the process lives.

use std::{future::pending, time::Duration};

use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::record::{Kind, Record, State};

/// A backend ends within 2 s of being told to revoke; this is only the net below it.
const REVOKE_LIMIT: Duration = Duration::from_secs(3);

/// Our record in the registry, kept there until [`revoke`](Self::revoke).
///
/// Dropping it is like a crash: nothing is removed at once, the record goes when its lease ends.
#[derive(Debug)]
pub struct Registration {
    state: watch::Sender<State>,
    taken: watch::Receiver<Option<Taken>>,
    written: watch::Receiver<u64>,
    revoke: CancellationToken,
    /// The backend's task; `None` where there is no registry.
    task: Option<JoinHandle<()>>,
}

/// Another process holds our key: the id was given to two of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {kind} id \"{id}\" is taken: instance {other_instance} at {other_addr} holds it; \
     give every {kind} its own id"
)]
pub struct Taken {
    /// Node or manager.
    pub kind: Kind,
    /// The id both want.
    pub id: String,
    /// The holder's instance.
    pub other_instance: String,
    /// The holder's gRPC address.
    pub other_addr: String,
}

impl Taken {
    pub(crate) fn by(kind: Kind, holder: &Record) -> Self {
        Self {
            kind,
            id: holder.id.clone(),
            other_instance: holder.instance.clone(),
            other_addr: holder.grpc_addr.clone(),
        }
    }
}

/// Why a record could not be registered. An unreachable registry is no reason: that is waited out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Another live process holds the id, and went on holding it for longer than a lease.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// The record itself cannot be stored: the field named is empty or malformed.
    #[error("cannot register: {0}")]
    BadRecord(String),
    /// The registry was closed while waiting.
    #[error("the registry was closed before the record was written")]
    Closed,
}

/// The backend's ends of a [`Registration`].
pub(crate) struct Holder {
    /// Closed means the registration was dropped.
    pub(crate) state: watch::Receiver<State>,
    pub(crate) taken: watch::Sender<Option<Taken>>,
    /// Counts how often the record was written again because it was gone.
    pub(crate) written: watch::Sender<u64>,
    pub(crate) revoke: CancellationToken,
}

impl Registration {
    pub(crate) fn new(state: State, spawn: impl FnOnce(Holder) -> JoinHandle<()>) -> Self {
        let (state, state_rx) = watch::channel(state);
        let (taken_tx, taken) = watch::channel(None);
        let (written_tx, written) = watch::channel(0);
        let revoke = CancellationToken::new();
        let holder = Holder { state: state_rx, taken: taken_tx, written: written_tx, revoke: revoke.clone() };
        let task = spawn(holder);
        Self { state, taken, written, revoke, task: Some(task) }
    }

    /// A registration where there is no registry: every call succeeds and does nothing.
    pub(crate) fn nowhere(state: State) -> Self {
        let ((_, taken), (_, written)) = (watch::channel(None), watch::channel(0));
        Self { state: watch::channel(state).0, taken, written, revoke: CancellationToken::new(), task: None }
    }

    /// Changes the state in our record. Returns at once; the record is written as soon as the
    /// registry can be reached, and of several changes the last one wins.
    pub fn set_state(&self, state: State) {
        self.state.send_if_modified(|current| std::mem::replace(current, state) != state);
    }

    /// Resolves only if another instance took our key (after our lease was lost); the process must
    /// then end. Cancel-safe; may be awaited many times.
    pub async fn taken(&self) -> Taken {
        let mut taken = self.taken.clone();
        let other = taken.wait_for(Option::is_some).await.ok().and_then(|other| other.clone());
        match other {
            Some(other) => other,
            // The backend ended without a rival: nobody will ever take it.
            None => pending().await,
        }
    }

    /// How often the record had to be written again because it was gone: each time others may not have seen it for
    /// a while.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }

    /// Removes the record and ends. Takes at most about 2 s if the registry cannot be reached; the
    /// record then goes when its lease ends.
    pub async fn revoke(mut self) {
        self.revoke.cancel();
        let Some(mut task) = self.task.take() else { return };
        if timeout(REVOKE_LIMIT, &mut task).await.is_err() {
            warn!("Gave up removing our record from the registry; its lease ends it.");
            task.abort();
        }
    }
}

/// Refuses what no watcher would accept.
pub(crate) fn check(record: &Record) -> Result<(), RegisterError> {
    let bad = |why: &str| Err(RegisterError::BadRecord(why.to_owned()));
    if record.id.is_empty() || record.id.contains('/') {
        return bad("the id must not be empty or contain '/'");
    }
    if record.instance.is_empty() {
        return bad("the instance must not be empty");
    }
    if record.grpc_addr.is_empty() {
        return bad("the gRPC address must not be empty");
    }
    Ok(())
}
