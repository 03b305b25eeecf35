//! The beginning of a client's TLS connection.

use std::{io, sync::Arc, time::Duration};

use rustls::{ServerConfig, server::Acceptor};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::thread::Core;
use crate::metrics::{self, TlsHandshake};

/// How long a client may take for its handshake: three round trips of a second each, and a packet lost.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// What somebody gets who speaks HTTP where TLS is spoken. Not encrypted, or nobody could read it.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\
    Content-Length: 51\r\n\r\nThis port speaks TLS: use wss:// or https:// here.\n";

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
    mut socket: TcpStream,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0];
    // Before rustls, which would answer with an alert that is no text.
    if socket.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase() {
        socket.write_all(NOT_TLS).await?;
        return Ok(None);
    }
    let begun = LazyConfigAcceptor::new(Acceptor::default(), socket).await?;
    // What costs comes now: a signature and an exchange of keys. A crowd that has said hello before takes its turns.
    let turn = core.handshakes.turn();
    core.wake();
    turn.await.map_err(io::Error::other)?;
    begun.into_stream(Arc::clone(tls)).await.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let text = std::str::from_utf8(NOT_TLS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
    }
}
