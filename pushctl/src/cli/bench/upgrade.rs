//! From a node's URL to a WebSocket: where to connect, what to ask, what the answer means.

use std::{net::SocketAddr, time::Duration};

use pushctl::{client::ConnectError, format::Format};
use tokio::{net::TcpStream, time::timeout};

use super::{super::listen::whole_url, ends::End};

/// A network that takes longer than this for one packet and back is none to measure on.
const PATIENCE: Duration = Duration::from_secs(5);

/// The key of RFC 6455's own example: nothing between us and the node may cache an upgrade anyway.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a WebSocket server has to answer to it.
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Heads of answers are some 200 bytes; one that is longer than this comes from somebody else.
const LONGEST_HEAD: usize = 16 << 10;
/// More headers than any server sends in its heads.
const MOST_HEADERS: usize = 64;

/// A node to connect to.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// As given.
    pub(super) url: String,
    /// Where that is.
    pub(super) addr: SocketAddr,
    authority: String,
    path: String,
}

impl Target {
    /// The node at this URL, or at `host:port`. An error says what is wrong with it.
    pub(super) async fn resolve(url: &str) -> Result<Self, ConnectError> {
        let (authority, port, path) = split(url)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        // A name may have several addresses, and a node listen at one of them.
        let addr = match timeout(PATIENCE, TcpStream::connect((host, port))).await {
            Ok(connected) => connected.and_then(|socket| socket.peer_addr()),
            Err(_elapsed) => return Err(ConnectError::TimedOut { url: url.to_owned() }),
        };
        let addr = addr.map_err(|error| End::Unreachable(error).into_connect_error(url))?;
        Ok(Self { url: url.to_owned(), addr, authority: authority.to_string(), path })
    }

    /// The upgrade of a client that says in its URL who it is (`user_id=…`, or `token=…`) and which room it enters, as the
    /// simplest clients do: one round trip less, and nothing to mask.
    pub(super) fn request(&self, identity: &str, room: Option<&str>, format: Format) -> Vec<u8> {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        let rooms = room.map(|room| format!("&rooms={room}")).unwrap_or_default();
        format!(
            "GET {}{separator}{identity}{rooms} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
             Sec-WebSocket-Protocol: {}\r\n\r\n",
            self.path,
            self.authority,
            format.subprotocol()
        )
        .into_bytes()
    }
}

fn split(url: &str) -> Result<(http::uri::Authority, u16, String), ConnectError> {
    let bad = |reason: &str| ConnectError::BadUrl { url: url.to_owned(), reason: reason.to_owned() };
    let uri: http::Uri = whole_url(url).parse().map_err(|_invalid| bad("it is no URL"))?;
    match uri.scheme_str() {
        Some("ws") => {}
        Some("wss") => return Err(bad("wss:// is not spoken")),
        _ => return Err(bad("it does not begin with ws://")),
    }
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    let authority = authority.ok_or_else(|| bad("the host is missing"))?;
    let path = uri.path_and_query().map_or("/ws", http::uri::PathAndQuery::as_str).to_owned();
    Ok((authority.clone(), authority.port_u16().unwrap_or(80), path))
}

/// What a node has answered to the upgrade so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The head has not ended.
    Cut,
    /// A WebSocket; frames follow after so many bytes.
    Accepted(usize),
    /// No WebSocket, with a status and an explanation.
    Refused { status: u16, retry_after: Option<Duration>, body: String },
    /// Not even HTTP.
    NotHttp(String),
}

/// Reads the answer to an upgrade.
pub(super) fn answer(bytes: &[u8]) -> Answer {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) if bytes.len() < LONGEST_HEAD => return Answer::Cut,
        Ok(httparse::Status::Partial) => return Answer::NotHttp("its answer does not end".to_owned()),
        Err(error) => return Answer::NotHttp(error.to_string()),
    };
    let header = |name: &str| {
        response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    };
    let status = response.code.unwrap_or_default();
    if status == 101 {
        return match header("sec-websocket-accept") {
            Some(ACCEPT) => Answer::Accepted(len),
            _ => Answer::NotHttp("it did not answer to the key it was given".to_owned()),
        };
    }
    let number = |name| std::str::from_utf8(header(name)?).ok()?.trim().parse::<u64>().ok();
    let body = &bytes[len..];
    // The explanation is a line; what has not come with the head is not waited for.
    let body = &body[..body.len().min(usize::try_from(number("content-length").unwrap_or(0)).unwrap_or(0))];
    Answer::Refused {
        status,
        retry_after: number("retry-after").map(Duration::from_secs),
        body: String::from_utf8_lossy(body).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn target(listener: &TcpListener, host: &str, path: &str) -> Target {
        let port = listener.local_addr().unwrap().port();
        Target::resolve(&format!("{host}:{port}{path}")).await.unwrap()
    }

    #[tokio::test]
    async fn a_request_says_who_comes_and_where_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = target(&listener, "127.0.0.1", "").await;
        let request = String::from_utf8(plain.request("user_id=u1", Some("r1"), Format::Protobuf)).unwrap();
        let start = format!("GET /ws?user_id=u1&rooms=r1 HTTP/1.1\r\nHost: {}\r\n", plain.addr);
        assert!(request.starts_with(&start), "{request}");
        assert!(request.ends_with("Sec-WebSocket-Protocol: pushcast.v1.protobuf\r\n\r\n"), "{request}");
        let with_query = target(&listener, "ws://localhost", "/gate?a=b").await;
        assert_eq!(with_query.addr, plain.addr, "whichever address the name has first");
        let request = String::from_utf8(with_query.request("user_id=u1", None, Format::Json)).unwrap();
        assert!(request.starts_with("GET /gate?a=b&user_id=u1 HTTP/1.1\r\nHost: localhost:"), "{request}");
    }

    #[tokio::test]
    async fn what_is_no_address_of_a_node_is_said() {
        for (url, part) in [
            ("wss://h:1/ws", "wss:// is not spoken"),
            ("http://h:1/", "does not begin with ws://"),
            ("ws://", "is no URL"),
            ("not an address", "is no URL"),
        ] {
            let error = Target::resolve(url).await.unwrap_err();
            assert!(error.is_final() && error.to_string().contains(part), "{url}: {error}");
        }
    }

    #[test]
    fn an_answer_is_read_when_its_head_is_whole() {
        let accepted = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: \
                         s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x02{}";
        assert_eq!(answer(accepted), Answer::Accepted(accepted.len() - 4));
        for cut in 0..accepted.len() - 4 {
            assert_eq!(answer(&accepted[..cut]), Answer::Cut, "{cut}");
        }
        let refused = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\ncontent-length: 4\r\n\r\nfull";
        let expected = Answer::Refused {
            status: 503,
            retry_after: Some(Duration::from_secs(2)),
            body: "full".to_owned(),
        };
        assert_eq!(answer(refused), expected);
    }

    #[test]
    fn what_is_no_websocket_server_is_known() {
        for bytes in [&b"\0\0\x12\x04\0\0\0"[..], b"SSH-2.0-OpenSSH\r\n", &[b'a'; LONGEST_HEAD]] {
            assert!(matches!(answer(bytes), Answer::NotHttp(_)), "{bytes:?}");
        }
        let wrong_key = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: abc\r\n\r\n";
        assert!(matches!(answer(wrong_key), Answer::NotHttp(_)));
        assert!(matches!(answer(b"HTTP/1.1 200 OK\r\n\r\n"), Answer::Refused { status: 200, .. }));
    }
}
