//! A connection to one of our listeners, from its first byte on, and who is at its other end.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use metrics::counter;
use rustls::ServerConfig;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server};
use tokio_util::either::Either;

use super::{Connection, handshakes::HANDSHAKE_TIMEOUT, names::names};

/// What somebody gets who speaks HTTP where TLS is spoken. Not encrypted, or nobody could read it.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\
    Content-Length: 51\r\n\r\nThis port speaks TLS: use wss:// or https:// here.\n";

/// Whoever was told what is wrong has this long to read it and close.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A listener's TLS, and the metric that counts its handshakes by `outcome`: `ok`, `failed`, `plain`,
/// `timeout`.
#[derive(Debug, Clone)]
pub struct Tls {
    /// What handshakes begin with.
    pub config: Arc<ServerConfig>,
    /// The counter's name.
    pub metric: &'static str,
}

/// Who calls: a part of every request that comes on the connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from.
    pub addr: SocketAddr,
    /// The names in the certificate that the peer has proved to be its own; `None` without one.
    pub names: Option<Arc<[String]>>,
}

/// One connection that was accepted.
pub type Accepted = Connection<TcpStream, Peer>;

/// Why a handshake came to nothing.
#[derive(Debug)]
enum Failure {
    /// It closed before it said anything.
    Gone,
    /// Nothing encrypted came.
    Plain,
    TimedOut,
    Failed(io::Error),
}

impl Failure {
    /// The label of the metric; who left at once is nobody.
    fn outcome(&self) -> Option<&'static str> {
        match self {
            Self::Gone => None,
            Self::Plain => Some("plain"),
            Self::TimedOut => Some("timeout"),
            Self::Failed(_) => Some("failed"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Gone => Self::from(io::ErrorKind::ConnectionAborted),
            Failure::Plain => Self::new(io::ErrorKind::InvalidData, "it does not speak TLS"),
            Failure::TimedOut => Self::new(io::ErrorKind::TimedOut, "it did not finish its handshake"),
            Failure::Failed(error) => error,
        }
    }
}

impl Accepted {
    /// Does the handshake, if there is one. An error says why it came to nothing, also for want of time; it is
    /// `ConnectionAborted` where nothing came at all, as from a probe of the port.
    pub async fn begin(socket: TcpStream, addr: SocketAddr, tls: Option<Tls>) -> io::Result<Self> {
        let Some(Tls { config, metric }) = tls else { return Ok(Self::plain(socket, addr)) };
        without_delay(&socket);
        let shaken = timeout(HANDSHAKE_TIMEOUT, shake_hands(socket, config)).await;
        let shaken = shaken.unwrap_or(Err(Failure::TimedOut));
        let outcome = shaken.as_ref().map_or_else(Failure::outcome, |_| Some("ok"));
        if let Some(outcome) = outcome {
            counter!(metric, "outcome" => outcome).increment(1);
        }
        let stream = shaken?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let names = shown.map(|certificate| Arc::from(names(certificate)));
        Ok(Self::new(Either::Right(Box::new(stream.into())), Peer { addr, names }))
    }

    /// Without a handshake.
    pub(super) fn plain(socket: TcpStream, addr: SocketAddr) -> Self {
        without_delay(&socket);
        Self::new(Either::Left(socket), Peer { addr, names: None })
    }
}

fn without_delay(socket: &TcpStream) {
    // Small answers should not wait for the peer's acknowledgement; without it they are only slower.
    let _ = socket.set_nodelay(true);
}

async fn shake_hands(
    socket: TcpStream,
    config: Arc<ServerConfig>,
) -> Result<server::TlsStream<TcpStream>, Failure> {
    if socket.peek(&mut [0]).await? == 0 {
        return Err(Failure::Gone);
    }
    if speaks_http(&socket).await? {
        turned_away(socket).await;
        return Err(Failure::Plain);
    }
    match TlsAcceptor::from(config).accept(socket).into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, mut socket)) => {
            last_words(&mut socket).await;
            Err(Failure::Failed(error))
        }
    }
}

/// Whether HTTP comes in place of a TLS handshake, which begins with 22. To be asked before rustls looks, which would
/// answer with an alert that is no text.
pub async fn speaks_http(socket: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    Ok(socket.peek(&mut first).await? == 1 && first[0].is_ascii_uppercase())
}

/// Tells somebody who speaks HTTP that this is TLS, and gives it a moment to read that.
pub async fn turned_away(mut socket: TcpStream) {
    if socket.write_all(NOT_TLS).await.is_ok() {
        last_words(&mut socket).await;
    }
}

/// Lets the other side read what was said to it, an alert of TLS for one, and close.
async fn last_words(socket: &mut TcpStream) {
    let read_away = async {
        socket.shutdown().await?;
        // Bytes that nobody read would make the kernel cut off what was said.
        tokio::io::copy(socket, &mut tokio::io::sink()).await
    };
    // Whoever does not take it goes without.
    let _taken = timeout(LAST_WORDS, read_away).await;
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
