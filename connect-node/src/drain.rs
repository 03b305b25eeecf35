//! The end of a node: every client is told to go elsewhere, one after another.

use std::{sync::Arc, time::Duration};

use pushcast_common::shutdown::Shutdown;
use tokio::time::{self, Instant};
use tracing::{info, warn};

use crate::{readiness::Admission, shard::thread::ShardHandle};

/// How long the last connections may take beyond the spread: what waits is sent for up to 10 s, and the peer
/// gets 2 s to answer the Close.
const GRACE: Duration = Duration::from_secs(13);

/// How long dropping everybody may take.
const FORCED_WITHIN: Duration = Duration::from_secs(1);

/// Closes all connections over `spread`, then waits for them, then drops those that are left. A forced
/// shutdown drops them at once.
pub(crate) async fn run(
    shards: &[ShardHandle],
    admission: &Arc<Admission>,
    spread: Duration,
    shutdown: &Shutdown,
) {
    let begun = Instant::now();
    info!(clients = admission.clients(), ?spread, "Draining.");
    let drained = async {
        for shard in shards {
            shard.drain(spread).await;
        }
        admission.emptied().await;
    };
    tokio::select! {
        () = drained => {}
        () = time::sleep(spread + GRACE) => warn!(clients = admission.clients(), "Dropping those that did not end."),
        () = shutdown.forced() => warn!(clients = admission.clients(), "Stopping at once, as asked."),
    }
    if admission.clients() > 0 {
        let forced = async {
            for shard in shards {
                shard.force().await;
            }
            admission.emptied().await;
        };
        // A shard that does not obey ends with the process.
        let _ = time::timeout(FORCED_WITHIN, forced).await;
    }
    info!(took = ?begun.elapsed(), left = admission.clients(), "Drained.");
}
