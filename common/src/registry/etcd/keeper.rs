//! Keeps one record in etcd under a lease, and the key from anybody else.

use std::{sync::Arc, time::Duration};

use etcd_client::{
    Client, Compare, CompareOp, Error, LeaseKeepAliveStream, LeaseKeeper, PutOptions, Txn, TxnOp,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Etcd,
    connection::{Connector, EtcdError, answer},
};
use crate::registry::{
    record::{Kind, Record, State},
    registration::{Holder, RegisterError, Taken},
};

/// How long removing our record may take when the process ends.
const REVOKE_LIMIT: Duration = Duration::from_secs(2);
/// etcd looks for ended leases every half second, and the removal itself takes a moment.
const EXPIRY_MARGIN: Duration = Duration::from_secs(1);
const POLL_EVERY: Duration = Duration::from_millis(250);

pub(super) struct Keeper {
    kind: Kind,
    key: String,
    /// As last written, or about to be.
    record: Record,
    connector: Connector,
    client: Option<Client>,
    /// Ours for as long as etcd says so; known before the key is written under it.
    lease: Option<i64>,
}

/// Why keeping the record stopped.
enum Lost {
    Connection(EtcdError),
    /// The lease or the key is gone or changed, though etcd answers.
    Record,
}

impl<E: Into<EtcdError>> From<E> for Lost {
    fn from(error: E) -> Self {
        Self::Connection(error.into())
    }
}

/// Another instance's hold on our key.
struct Rival {
    taken: Taken,
    /// How long its lease lasts after its death.
    lease: Duration,
}

enum End {
    Revoked,
    /// As a crash: dropped, taken, or the registry closed.
    Left,
}

impl Keeper {
    pub(super) fn new(etcd: &Arc<Etcd>, kind: Kind, record: Record) -> Self {
        let key = format!("{}{}", etcd.settings.directory(kind), record.id);
        Self { kind, key, record, connector: Connector::new(etcd), client: None, lease: None }
    }

    /// Writes the record for the first time. A rival's lease is waited out once: a predecessor that
    /// crashed is the usual case. While etcd is away its leases do not end, so the wait begins anew.
    pub(super) async fn acquire_first(&mut self) -> Result<(), RegisterError> {
        let mut waiting: Option<(String, Instant)> = None;
        loop {
            match self.acquire().await {
                Ok(None) => return Ok(()),
                Ok(Some(rival)) => {
                    let instance = &rival.taken.other_instance;
                    match &waiting {
                        Some((seen, until)) if seen == instance => {
                            if Instant::now() >= *until {
                                return Err(rival.taken.into());
                            }
                        }
                        _ => {
                            let lease = rival.lease.max(self.connector.settings().lease());
                            info!(key = self.key, %instance, addr = rival.taken.other_addr, ?lease,
                                "Another instance holds our id; waiting for its lease to end.");
                            let until = Instant::now() + lease + lease / 4 + EXPIRY_MARGIN;
                            waiting = Some((instance.clone(), until));
                        }
                    }
                    sleep(POLL_EVERY).await;
                }
                Err(error) => {
                    waiting = None;
                    self.failed(&error).await;
                }
            }
        }
    }

    /// Keeps the record until it is revoked, dropped, taken, or the registry closes.
    pub(super) async fn run(mut self, holder: Holder, closed: CancellationToken) {
        let Holder { state, taken, written, revoke } = holder;
        let end = tokio::select! {
            biased;
            () = revoke.cancelled() => End::Revoked,
            () = closed.cancelled() => End::Left,
            end = self.keep(state, &taken, &written) => end,
        };
        match end {
            End::Revoked => self.revoke().await,
            End::Left => debug!(key = self.key, "Leaving our record to its lease."),
        }
    }

    async fn keep(
        &mut self,
        mut state: watch::Receiver<State>,
        taken: &watch::Sender<Option<Taken>>,
        written: &watch::Sender<u64>,
    ) -> End {
        loop {
            match self.hold(&mut state).await {
                Ok(end) => return end,
                Err(Lost::Connection(error)) => self.failed(&error).await,
                Err(Lost::Record) => {
                    info!(key = self.key, "Our record is gone from etcd; writing it again.");
                    self.record.state = *state.borrow_and_update();
                    match self.acquire().await {
                        Ok(None) => written.send_modify(|times| *times += 1),
                        Ok(Some(rival)) => {
                            warn!(
                                key = self.key,
                                instance = rival.taken.other_instance,
                                addr = rival.taken.other_addr,
                                "Another instance took our id."
                            );
                            taken.send_replace(Some(rival.taken));
                            return End::Left;
                        }
                        Err(error) => self.failed(&error).await,
                    }
                }
            }
        }
    }

    /// One connection's life with the lease held.
    async fn hold(&mut self, state: &mut watch::Receiver<State>) -> Result<End, Lost> {
        let Some(lease) = self.lease else { return Err(Lost::Record) };
        let mut client = self.client().await?;
        let (mut keeper, mut beats) = match answer(client.lease_keep_alive(lease)).await {
            Ok(streams) => streams,
            // So the client library says that etcd does not know the lease.
            Err(EtcdError::Client(error)) if matches!(*error, Error::LeaseKeepAliveError(_)) => {
                return Err(Lost::Record);
            }
            Err(error) => return Err(error.into()),
        };
        let mut tick = interval(self.connector.settings().lease() / 3);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wanted = *state.borrow_and_update();
            if wanted != self.record.state {
                self.write_state(&mut client, lease, wanted).await?;
            }
            tokio::select! {
                changed = state.changed() => if changed.is_err() {
                    return Ok(End::Left);
                },
                _ = tick.tick() => {
                    beat(&mut keeper, &mut beats).await?;
                    self.check_key(&mut client, lease).await?;
                    self.connector.worked();
                }
            }
        }
    }

    /// The lease living on does not mean that the key does: somebody may have removed it by hand.
    async fn check_key(&self, client: &mut Client, lease: i64) -> Result<(), Lost> {
        let response = answer(client.get(self.key.as_str(), None)).await?;
        match response.kvs().first() {
            Some(kv) if kv.lease() == lease => Ok(()),
            _ => Err(Lost::Record),
        }
    }

    async fn write_state(&mut self, client: &mut Client, lease: i64, state: State) -> Result<(), Lost> {
        let record = Record { state, ..self.record.clone() };
        let still_ours = Compare::lease(self.key.as_str(), CompareOp::Equal, lease);
        if self.put_if(client, still_ours, lease, &record).await? {
            debug!(key = self.key, %state, "Our state is recorded.");
            self.record = record;
            return Ok(());
        }
        Err(Lost::Record)
    }

    /// Makes the key ours, or tells who else holds it.
    async fn acquire(&mut self) -> Result<Option<Rival>, EtcdError> {
        let mut client = self.client().await?;
        loop {
            let response = answer(client.get(self.key.as_str(), None)).await?;
            // Only what was just seen may be replaced: between look and write another may come first.
            let unchanged = match response.kvs().first() {
                None => Compare::create_revision(self.key.as_str(), CompareOp::Equal, 0),
                Some(kv) => match self.rival(kv.value()) {
                    Some(taken) => {
                        let lease = lease_length(&mut client, kv.lease()).await?;
                        self.connector.worked();
                        return Ok(Some(Rival { taken, lease }));
                    }
                    None => Compare::mod_revision(self.key.as_str(), CompareOp::Equal, kv.mod_revision()),
                },
            };
            if self.write_under_new_lease(&mut client, unchanged).await? {
                self.connector.worked();
                info!(key = self.key, state = %self.record.state, "Registered in etcd.");
                return Ok(None);
            }
        }
    }

    /// False if somebody was faster; look again then.
    async fn write_under_new_lease(
        &mut self,
        client: &mut Client,
        unchanged: Compare,
    ) -> Result<bool, EtcdError> {
        let seconds = i64::try_from(self.connector.settings().lease().as_secs()).unwrap_or(i64::MAX);
        let lease = answer(client.lease_grant(seconds, None)).await?.id();
        // Known before the key is under it, so that a revoke in between removes the key too.
        self.lease = Some(lease);
        let written = self.put_if(client, unchanged, lease, &self.record).await?;
        if !written {
            self.lease = None;
            answer(client.lease_revoke(lease)).await?;
        }
        Ok(written)
    }

    async fn put_if(
        &self,
        client: &mut Client,
        condition: Compare,
        lease: i64,
        record: &Record,
    ) -> Result<bool, EtcdError> {
        let options = PutOptions::new().with_lease(lease);
        let put = TxnOp::put(self.key.as_str(), record.to_json(), Some(options));
        Ok(answer(client.txn(Txn::new().when([condition]).and_then([put]))).await?.succeeded())
    }

    /// Who else holds our key, going by its value.
    fn rival(&self, value: &[u8]) -> Option<Taken> {
        match Record::from_json(&self.record.id, value) {
            Ok(held) if held.instance == self.record.instance => None,
            Ok(held) => Some(Taken::by(self.kind, &held)),
            // Not ours to overwrite; if it has a lease it goes by itself.
            Err(_) => Some(Taken {
                kind: self.kind,
                id: self.record.id.clone(),
                other_instance: "unknown (its record cannot be read)".to_owned(),
                other_addr: "an unknown address".to_owned(),
            }),
        }
    }

    async fn client(&mut self) -> Result<Client, EtcdError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = self.connector.connect().await?;
        Ok(self.client.insert(client).clone())
    }

    async fn failed(&mut self, error: &EtcdError) {
        self.client = None;
        self.connector.failed(error).await;
    }

    /// Removes the record with its lease, as long as the time allows.
    async fn revoke(&mut self) {
        let Some(lease) = self.lease else { return };
        let remove = async {
            loop {
                let revoked = match self.client().await {
                    Ok(mut client) => answer(client.lease_revoke(lease)).await.map(drop),
                    Err(error) => Err(error),
                };
                match revoked {
                    Ok(()) => return,
                    Err(error) if is_gone(&error) => return,
                    Err(error) => self.failed(&error).await,
                }
            }
        };
        let removed = timeout(REVOKE_LIMIT, remove).await;
        match removed {
            Ok(()) => info!(key = self.key, "Our record is removed from etcd."),
            Err(_) => warn!(key = self.key, "Could not remove our record from etcd; its lease ends it."),
        }
    }
}

/// One sign of life to etcd, and its answer.
async fn beat(keeper: &mut LeaseKeeper, beats: &mut LeaseKeepAliveStream) -> Result<(), Lost> {
    answer(keeper.keep_alive()).await?;
    match answer(beats.message()).await? {
        Some(response) if response.ttl() > 0 => Ok(()),
        Some(_) => Err(Lost::Record),
        None => Err(EtcdError::Ended("lease").into()),
    }
}

/// The full length of somebody's lease; zero if the key has none or it is just ending.
async fn lease_length(client: &mut Client, lease: i64) -> Result<Duration, EtcdError> {
    if lease == 0 {
        return Ok(Duration::ZERO);
    }
    let response = answer(client.lease_time_to_live(lease, None)).await?;
    Ok(Duration::from_secs(u64::try_from(response.granted_ttl()).unwrap_or(0)))
}

/// etcd does not know the lease: it ended already, and the record with it.
fn is_gone(error: &EtcdError) -> bool {
    const NOT_FOUND: i32 = 5;
    matches!(error, EtcdError::Client(error)
        if matches!(&**error, Error::GRpcStatus(status) if status.code() as i32 == NOT_FOUND))
}
