//! The end of a node: every client is told to go elsewhere, one after another.

use std::{sync::Arc, time::Duration};

use pushcast_common::shutdown::Shutdown;
use tokio::time;
use tracing::{info, warn};

use crate::{readiness::Admission, shard::thread::ShardHandle};

/// How long the last connections may take beyond the spread: what waits is sent for up to 10 s, and the peer
/// gets 2 s to answer the Close.
const GRACE: Duration = Duration::from_secs(13);

/// Closes all connections over `spread`, then waits for them, then drops those that are left. A forced
/// shutdown drops them at once.
pub(crate) async fn run(
    shards: &[ShardHandle],
    admission: &Arc<Admission>,
    spread: Duration,
    shutdown: &Shutdown,
) {
    info!(?spread, "Draining.");
    for shard in shards {
        shard.drain(spread).await;
    }
    tokio::select! {
        () = admission.emptied() => return,
        () = time::sleep(spread + GRACE) => warn!("Dropping the connections that did not end."),
        () = shutdown.forced() => warn!("Stopping at once, as asked."),
    }
    for shard in shards {
        shard.force().await;
    }
    // Handshakes end with their request timeout at the latest; nobody waits for those.
    let _ = time::timeout(Duration::from_secs(1), admission.emptied()).await;
}
