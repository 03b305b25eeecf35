//! Upgrades written by hand: from any address of this machine, with any header, also half of one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// Longer than a node waits for a request (10 s), doubled; and trebled, for a crowd of thousands has to be served in it.
const ANSWER_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);

/// What came of an upgrade.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status; `None` if the other side closed without one.
    pub status: Option<u16>,
    /// The whole head, in lower case.
    pub head: String,
    /// The socket, which is a WebSocket if the status is 101.
    pub socket: TcpStream,
}

/// One of the addresses of this machine, 127.0.0.1 to 127.0.255.255: each socket of a crowd has one of its own ports, and
/// an address has 28,000.
pub fn loopback(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 0, high, low).into()
}

/// A request for a WebSocket, with further header lines, each with its line end.
pub fn request(path: &str, lines: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n{lines}\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Connects from an address of this machine.
///
/// # Errors
/// If nobody takes the connection.
///
/// # Panics
/// If the address is not this machine's.
pub async fn connect(from: IpAddr, to: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    // Else the kernel picks the port here, and an address has fewer than there are pairs of two.
    socket.bind(SocketAddr::new(from, 0)).expect("an address of this machine");
    socket.connect(to.parse().expect("a process names an address")).await
}

/// Sends bytes from an address and reads the head of the answer.
///
/// # Panics
/// If the other side neither answers nor closes.
pub async fn send(from: IpAddr, to: &str, bytes: &[u8]) -> Option<Answer> {
    let mut socket = connect(from, to).await.ok()?;
    // Whoever is refused before it has sent everything may read why.
    let _reset = socket.write_all(bytes).await;
    let head = tokio::time::timeout(ANSWER_TIMEOUT, read_head(&mut socket)).await.expect("an end");
    let status = head.strip_prefix("http/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    Some(Answer { status, head, socket })
}

/// Asks for a WebSocket from an address, with further header lines; the status, if there is an answer.
pub async fn ask(from: IpAddr, to: &str, path: &str, lines: &str) -> Option<Answer> {
    send(from, to, request(path, lines).as_bytes()).await.filter(|answer| answer.status.is_some())
}

/// Byte by byte where it ends, so that nothing behind it is taken.
async fn read_head(socket: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).to_lowercase()
}
