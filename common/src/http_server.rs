//! An HTTP server that half-sent requests cannot exhaust.
//!
//! `axum::serve` waits for ever for a request head and lets in everybody; this one does neither.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;
use tracing::{debug, warn};

use crate::tls::accept::{Accepted, Tls};

/// How long a peer may take to send its request head, and to send the next one on a connection kept open.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections at once at most; more wait in the kernel's backlog. A quarter of the files the process may have,
/// so that neither callers' pools nor half requests keep probes and scrapers out, or links from coming back.
pub(crate) fn max_connections() -> usize {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    usize::try_from(files / 4).unwrap_or(usize::MAX).clamp(64, 16 * 1024)
}

/// How long to leave the listener alone when the process is out of files.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// Requests that are being answered at the end have this long.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Serves `router` on `listener`, which must be non-blocking, until `ending` is cancelled; then gives the
/// requests that were begun a second to be answered. Requests carry their [`Peer`](crate::tls::accept::Peer).
pub async fn serve(
    listener: std::net::TcpListener,
    tls: Option<Tls>,
    router: Router,
    ending: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(max_connections()));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(socket, peer)| (socket, peer, place))
        };
        let accepted = tokio::select! {
            accepted = next => accepted,
            () = ending.cancelled() => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((socket, peer, place)) => {
                let accepted = Accepted::begin(socket, peer, tls.clone());
                connections.spawn(serve_connection(accepted, place, router.clone(), ending.clone()));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                warn!(%error, "Cannot accept HTTP connections; trying again.");
                time::sleep(OUT_OF_FILES).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    // What is left when the time is over is cut off with the set.
    let _cut = time::timeout(LAST_ANSWERS, all).await;
    Ok(())
}

async fn serve_connection(
    accepted: impl Future<Output = io::Result<Accepted>>,
    _place: OwnedSemaphorePermit,
    router: Router,
    ending: CancellationToken,
) {
    let begun = tokio::select! {
        begun = accepted => begun,
        () = ending.cancelled() => return,
    };
    let accepted = match begun {
        Ok(accepted) => accepted,
        Err(error) => return debug!(%error, "An HTTP connection did not come about."),
    };
    let peer = accepted.info().clone();
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer.clone());
        router.clone().call(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(accepted), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "An HTTP connection ended badly.");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    #[tokio::test]
    async fn half_requests_do_not_keep_others_out_and_a_begun_one_is_answered_at_the_end() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let ending = CancellationToken::new();
        let router = Router::new().route("/", get(|| async { "here" }));
        let server = tokio::spawn(serve(listener, None, router, ending.clone()));
        let mut halves = Vec::new();
        for _ in 0..200 {
            let mut half = TcpStream::connect(addr).await.unwrap();
            half.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
            halves.push(half);
        }
        let mut whole = TcpStream::connect(addr).await.unwrap();
        whole.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        whole.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("here"), "{answer}");
        drop(halves);
        ending.cancel();
        server.await.unwrap().unwrap();
    }
}
