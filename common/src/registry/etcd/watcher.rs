//! Keeps a snapshot like etcd's records: list, watch from there, and list again when in doubt.

use std::{sync::Arc, time::Duration};

use etcd_client::{Client, EventType, GetOptions, KeyValue, WatchOptions, WatchResponse, WatchStream};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tracing::{debug, info};

use super::{
    Etcd,
    connection::{Connector, EtcdError, answer},
    set::{Change, Entry, RecordSet},
};
use crate::registry::record::{Kind, Snapshot, Source};

/// However long the lease, a dead connection is noticed in about this time.
const LONGEST_CHECK_PERIOD: Duration = Duration::from_secs(10);

pub(super) struct Watcher {
    kind: Kind,
    connector: Connector,
    etcd: Arc<Etcd>,
    set: RecordSet,
    published: watch::Sender<Snapshot>,
    listed_before: bool,
}

impl Watcher {
    pub(super) fn new(etcd: &Arc<Etcd>, kind: Kind, published: watch::Sender<Snapshot>) -> Self {
        let set = RecordSet::new(etcd.settings.directory(kind));
        let connector = Connector::new(etcd);
        Self { kind, connector, etcd: Arc::clone(etcd), set, published, listed_before: false }
    }

    /// Never ends.
    pub(super) async fn run(mut self) {
        loop {
            let Err(error) = self.follow().await;
            match error {
                // etcd is well, only what we knew of it is too old.
                EtcdError::Compacted | EtcdError::WentBack { .. } => {
                    info!(kind = %self.kind, reason = %error, "Listing the registry again.");
                    self.connector.pause().await;
                }
                error => self.connector.failed(&error).await,
            }
        }
    }

    /// One connection's life: list, then watch until something breaks.
    async fn follow(&mut self) -> Result<std::convert::Infallible, EtcdError> {
        let mut client = self.connector.connect().await?;
        self.list(&mut client).await?;
        if std::mem::replace(&mut self.listed_before, true) {
            self.etcd.health.resynced();
        }
        let mut stream = self.watch(&mut client).await?;
        match answer(stream.message()).await? {
            Some(created) => self.apply(&created)?,
            None => return Err(EtcdError::Ended("watch")),
        }
        self.connector.worked();

        // Both a check that the connection is alive and the net below the watch: a watch from a
        // revision that etcd no longer has (wiped, restored) would be silent for ever.
        let period = self.check_period();
        let mut check = interval_at(Instant::now() + period, period);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = stream.message() => match message? {
                    Some(response) => self.apply(&response)?,
                    None => return Err(EtcdError::Ended("watch")),
                },
                _ = check.tick() => self.check(&mut client).await?,
            }
        }
    }

    fn check_period(&self) -> Duration {
        self.connector.settings().lease().min(LONGEST_CHECK_PERIOD)
    }

    async fn watch(&self, client: &mut Client) -> Result<WatchStream, EtcdError> {
        let options = WatchOptions::new().with_prefix().with_start_revision(self.set.revision() + 1);
        answer(client.watch(self.set.directory(), Some(options))).await
    }

    async fn list(&mut self, client: &mut Client) -> Result<bool, EtcdError> {
        let options = GetOptions::new().with_prefix();
        let response = answer(client.get(self.set.directory(), Some(options))).await?;
        let revision = response.header().map_or(0, |header| header.revision());
        let change = self.set.replace(response.kvs().iter().map(entry), revision);
        self.publish(&change);
        Ok(change.changed)
    }

    /// Lists again while the watch goes on.
    async fn check(&mut self, client: &mut Client) -> Result<(), EtcdError> {
        let from = self.set.revision();
        let changed = self.list(client).await?;
        let to = self.set.revision();
        if to < from {
            return Err(EtcdError::WentBack { from, to });
        }
        if changed {
            // Usually just a moment before the watch would have told us.
            debug!(kind = %self.kind, "The list was ahead of the watch.");
        }
        Ok(())
    }

    fn apply(&mut self, response: &WatchResponse) -> Result<(), EtcdError> {
        if response.compact_revision() > 0 {
            return Err(EtcdError::Compacted);
        }
        if response.canceled() {
            return Err(EtcdError::Cancelled(response.cancel_reason().to_owned()));
        }
        let mut total = Change::default();
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            let change = match event.event_type() {
                EventType::Put => self.set.put(entry(kv)),
                EventType::Delete => self.set.delete(kv.key(), kv.mod_revision()),
            };
            total.changed |= change.changed;
            total.new_bad += change.new_bad;
        }
        // Only a response's events say how far the watch is; the header of others may be ahead of it.
        if let Some(last) = response.events().iter().filter_map(|event| event.kv()).next_back() {
            self.set.advance(last.mod_revision());
        }
        self.publish(&total);
        Ok(())
    }

    fn publish(&self, change: &Change) {
        for _ in 0..change.new_bad {
            self.etcd.health.bad_record();
        }
        self.published.send_if_modified(|published| {
            let modified = change.changed || published.source != Source::Registry;
            if modified {
                *published = self.set.snapshot();
            }
            modified
        });
    }
}

fn entry(kv: &KeyValue) -> Entry<'_> {
    Entry { key: kv.key(), value: kv.value(), mod_revision: kv.mod_revision() }
}
