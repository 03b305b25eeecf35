//! Accepts clients' sockets and deals them to the shards, one after another.

use std::{io, sync::Arc, time::Duration};

use socket2::SockRef;
use tokio::{net::TcpListener, time};
use tracing::warn;

use crate::{readiness::Admission, shard::thread::ShardHandle};

/// How long to leave the listener alone when the process is out of files: the backlog keeps them waiting.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// Unsent bytes the kernel takes for one socket. Without it the kernel hides megabytes from the outbox's
/// bound (3.9 MB measured), with it 271 KB.
const NOT_SENT_LOWAT: u32 = 128 * 1024;

/// Sets what every accepted socket inherits, and returns the loop that accepts for ever.
pub(crate) fn run(
    listener: std::net::TcpListener,
    shards: Vec<ShardHandle>,
    admission: Arc<Admission>,
) -> io::Result<impl Future<Output = ()> + Send> {
    SockRef::from(&listener).set_tcp_nodelay(true)?;
    SockRef::from(&listener).set_tcp_notsent_lowat(NOT_SENT_LOWAT)?;
    Ok(accept(TcpListener::from_std(listener)?, shards, admission))
}

async fn accept(listener: TcpListener, shards: Vec<ShardHandle>, admission: Arc<Admission>) {
    let mut turn = 0;
    let mut failing = false;
    loop {
        let socket = match listener.accept().await.and_then(|(socket, _)| socket.into_std()) {
            Ok(socket) => socket,
            // The client went away while it waited to be accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!(%error, "Cannot accept clients; trying on.");
                }
                time::sleep(OUT_OF_FILES).await;
                continue;
            }
        };
        failing = false;
        let Some(permit) = admission.permit() else { continue };
        let mut offered = Some((socket, permit));
        // A shard that is behind is passed over; only if all are, this one waits.
        for _ in 0..shards.len() {
            turn = (turn + 1) % shards.len();
            let Some((socket, permit)) = offered.take() else { break };
            offered = shards[turn].try_serve(socket, permit);
        }
        if let Some((socket, permit)) = offered
            && !shards[turn].serve(socket, permit).await
        {
            return;
        }
    }
}
