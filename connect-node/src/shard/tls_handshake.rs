//! The beginning of a client's TLS connection.

use std::{io, sync::Arc, time::Duration};

use pushcast_common::tls::accept::{speaks_http, turned_away};
use rustls::{ServerConfig, server::Acceptor};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::thread::Core;
use crate::metrics::{self, TlsHandshake};

/// How long a client may take for its handshake: three round trips of a second each, and a packet lost.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// `None` if it does not come to a connection.
pub(super) async fn accept(
    core: &Core,
    tls: &Arc<ServerConfig>,
    socket: TcpStream,
) -> Option<TlsStream<TcpStream>> {
    let outcome = match timeout(HANDSHAKE_TIMEOUT, shake_hands(core, tls, socket)).await {
        Ok(Ok(Some(stream))) => {
            metrics::tls_handshake(TlsHandshake::Done);
            return Some(stream);
        }
        Ok(Ok(None)) => TlsHandshake::Plain,
        Ok(Err(error)) => {
            tracing::debug!(%error, "A TLS handshake failed.");
            TlsHandshake::Failed
        }
        Err(_elapsed) => TlsHandshake::TimedOut,
    };
    metrics::tls_handshake(outcome);
    None
}

/// `None` if the client did not begin one; it was told so.
async fn shake_hands(
    core: &Core,
    tls: &Arc<ServerConfig>,
    socket: TcpStream,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    if speaks_http(&socket).await? {
        turned_away(socket).await;
        return Ok(None);
    }
    let begun = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
    // What costs comes now: a signature and an exchange of keys. A crowd that has said hello before takes its turns.
    let turn = core.handshakes.turn();
    core.wake();
    turn.await.map_err(io::Error::other)?;
    begun.into_stream(Arc::clone(tls)).await.map(Some)
}
