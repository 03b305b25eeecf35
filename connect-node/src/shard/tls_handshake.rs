//! The beginning of a client's TLS connection.

use std::{io, time::Duration};

use rustls::{Error, InvalidMessage};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::metrics::{self, TlsHandshake};

/// How long a client may take for its handshake: three round trips of a second each, and a packet lost.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// What somebody gets who speaks HTTP where TLS is spoken. Not encrypted, or nobody could read it.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\
    Content-Length: 51\r\n\r\nThis port speaks TLS: use wss:// or https:// here.\n\n";

/// `None` if it does not come to a connection.
pub(super) async fn accept(tls: &TlsAcceptor, socket: TcpStream) -> Option<TlsStream<TcpStream>> {
    let handshake = tls.accept(socket).into_fallible();
    let (outcome, error) = match timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => {
            metrics::tls_handshake(TlsHandshake::Done);
            return Some(stream);
        }
        Ok(Err((error, mut socket))) => {
            let outcome = if is_plain(&error) { TlsHandshake::Plain } else { TlsHandshake::Failed };
            if outcome == TlsHandshake::Plain {
                // Whoever does not take it never learns why; nothing else depends on it.
                let _ = socket.write_all(NOT_TLS).await;
            }
            (outcome, error)
        }
        Err(elapsed) => (TlsHandshake::TimedOut, elapsed.into()),
    };
    metrics::tls_handshake(outcome);
    tracing::debug!(%error, "No TLS connection came about.");
    None
}

fn is_plain(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    matches!(tls, Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)))
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
