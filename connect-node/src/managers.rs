//! Keeps ingest told of the managers that the registry has, and of time passing for those that are gone.

use std::{sync::Arc, time::Duration};

use metrics::gauge;
use pushcast_common::{
    clock::now_micros,
    id::ManagerId,
    registry::{Snapshot, Source},
};
use tokio::{sync::watch, time};

use crate::ingest::Ingest;

/// How long a manager that is gone stays in positions: what clients may still resume from (DESIGN 6, rule 5,
/// the default age of a window).
const KEEP_GONE: Duration = Duration::from_secs(120);

/// How often the gone ones are looked at; the shortest of their times is 10 s.
const EXPIRE_EVERY: Duration = Duration::from_secs(2);

/// Runs until the registry's handle is gone.
pub(crate) async fn follow(mut managers: watch::Receiver<Snapshot>, ingest: Arc<Ingest>) {
    let mut expire = time::interval(EXPIRE_EVERY);
    loop {
        let snapshot = managers.borrow_and_update().clone();
        if snapshot.source != Source::Unknown {
            let ids = snapshot.records.keys().filter_map(|id| id.parse::<ManagerId>().ok());
            ingest.set_registered(&ids.map(|id| id.0).collect::<Vec<_>>());
        }
        loop {
            gauge!("connect_node_known_managers").set(ingest.managers().len() as f64);
            tokio::select! {
                changed = managers.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                _ = expire.tick() => ingest.expire(now_micros(), KEEP_GONE.as_micros() as u64),
            }
        }
    }
}
