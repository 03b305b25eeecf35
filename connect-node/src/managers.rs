//! Keeps ingest told of the managers that the registry has, and of time passing for those that are gone.

use std::{sync::Arc, time::Duration};

use ::metrics::gauge;
use pushcast_common::{
    clock::now_micros,
    id::ManagerId,
    registry::{Snapshot, Source},
};
use tokio::{
    sync::watch,
    time::{self, Instant, MissedTickBehavior},
};

use crate::{ingest::Ingest, metrics};

/// How often what is too old is looked at; the shortest of the times is that of a window, 1 s at least.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// A look that comes so late says that this node stood still: of what happened meanwhile it knows nothing by itself.
const STOOD_STILL: Duration = Duration::from_secs(3);

/// Runs until the registry's handle is gone.
pub(crate) async fn follow(mut managers: watch::Receiver<Snapshot>, ingest: Arc<Ingest>) {
    let mut expire = time::interval(EXPIRE_EVERY);
    expire.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = Instant::now();
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
                    if looked.elapsed() > STOOD_STILL {
                        ingest.watches_since(now);
                    }
                    looked = Instant::now();
                    ingest.expire(now);
                    metrics::history(&ingest.levels(now), ingest.hand_ups.len());
                }
            }
        }
    }
}
