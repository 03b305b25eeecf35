//! Keeps ingest told of the managers that the registry has, and of time passing for those that are gone.

use std::{sync::Arc, time::Duration};

use ::metrics::gauge;
use pushcast_common::{
    clock::now_micros,
    id::ManagerId,
    registry::{Snapshot, Source},
};
use tokio::{sync::watch, time};

use crate::{ingest::Ingest, metrics};

/// How often what is too old is looked at; the shortest of the times is that of a window, 1 s at least.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// Runs until the registry's handle is gone.
pub(crate) async fn follow(mut managers: watch::Receiver<Snapshot>, ingest: Arc<Ingest>) {
    let mut expire = time::interval(EXPIRE_EVERY);
    loop {
        let snapshot = managers.borrow_and_update().clone();
        if snapshot.source != Source::Unknown {
            let ids = snapshot.records.keys().filter_map(|id| id.parse::<ManagerId>().ok());
            ingest.set_registered(&ids.map(|id| id.0).collect::<Vec<_>>(), now_micros());
        }
        loop {
            gauge!("connect_node_known_managers").set(ingest.managers().len() as f64);
            tokio::select! {
                changed = managers.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                _ = expire.tick() => {
                    let now = now_micros();
                    ingest.expire(now);
                    metrics::history(&ingest.levels(now), ingest.hand_ups.len());
                }
            }
        }
    }
}
