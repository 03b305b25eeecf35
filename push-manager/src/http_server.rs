//! The HTTP server: health, metrics and the gateway. It outlasts the gRPC server, so that whoever asks
//! hears that the manager is stopping.

use std::{io, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Half a request, or none on a connection that is kept alive, holds a connection no longer.
const HEADER_WITHIN: Duration = Duration::from_secs(30);

/// After this the machine may have file descriptors again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Requests that are being answered at the end have this long.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Serves until cancelled, then answers what it is answering.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_WITHIN);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "A connection was gone before it was served.");
            continue;
        }
        let service = TowerToHyperService::new(router.clone());
        let serving = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        connections.spawn(async move {
            if let Err(error) = serving.await {
                debug!(%error, "An HTTP connection broke.");
            }
        });
    }
    drop(listener);
    let _last_ones_are_cut = tokio::time::timeout(LAST_ANSWERS, graceful.shutdown()).await;
}

/// A failed accept is about one connection, or about all: then it fails again at once.
async fn pause_after(error: &io::Error) {
    let of_one = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
    if !of_one.contains(&error.kind()) {
        warn!(%error, "Cannot accept HTTP connections; trying again.");
        sleep(ACCEPT_AGAIN).await;
    }
}
