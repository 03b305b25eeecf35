//! A client that may do what no good client does.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use pushcast_proto::client::v1::{Connected, Error, ServerFrame, server_frame};
use pushctl::format::decode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest as _, protocol::WebSocketConfig},
};

/// Longer than anything a node waits for before it answers or hangs up (5 s for a first frame, 10 s for a request), doubled.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// A WebSocket without manners.
#[derive(Debug)]
pub struct Raw {
    socket: WebSocketStream<TcpStream>,
    /// The subprotocol the node chose.
    pub subprotocol: Option<String>,
}

/// An upgrade that was refused.
#[derive(Debug)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: http::HeaderMap,
    /// Body.
    pub body: String,
}

/// What ended a connection, and the last error frame before.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// Close code; none without a close frame.
    pub code: Option<u16>,
    /// Close reason.
    pub reason: String,
    /// `code` of the error frame.
    pub error: Option<String>,
}

impl Raw {
    /// Upgrades at `ws_addr` with this path, offering these subprotocols (none: no header).
    ///
    /// # Panics
    /// If the node cannot be reached at all, or does not speak HTTP.
    pub async fn open(ws_addr: &str, path: &str, subprotocols: &[&str]) -> Result<Self, Refused> {
        let socket = TcpStream::connect(ws_addr).await.expect("the node listens");
        Self::upgrade(socket, ws_addr, path, subprotocols).await
    }

    /// As [`Raw::open`] with the JSON subprotocol.
    ///
    /// # Panics
    /// If the upgrade is refused.
    pub async fn json(ws_addr: &str, path: &str) -> Self {
        Self::open(ws_addr, path, &["pushcast.v1.json"]).await.expect("the node upgrades")
    }

    /// As [`Raw::open`] with the protobuf subprotocol.
    ///
    /// # Panics
    /// If the upgrade is refused.
    pub async fn protobuf(ws_addr: &str, path: &str) -> Self {
        Self::open(ws_addr, path, &["pushcast.v1.protobuf"]).await.expect("the node upgrades")
    }

    /// As [`Raw::json`], with a receive buffer so small that the kernel hides little of not reading.
    ///
    /// # Panics
    /// If the upgrade is refused.
    pub async fn json_with_small_buffer(ws_addr: &str, path: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(8 << 10).expect("a small buffer");
        let addr = ws_addr.parse().expect("the node names an address");
        let socket = socket.connect(addr).await.expect("the node listens");
        Self::upgrade(socket, ws_addr, path, &["pushcast.v1.json"]).await.expect("the node upgrades")
    }

    async fn upgrade(
        socket: TcpStream,
        ws_addr: &str,
        path: &str,
        subprotocols: &[&str],
    ) -> Result<Self, Refused> {
        let mut request =
            format!("ws://{ws_addr}{path}").into_client_request().expect("tests ask for valid paths");
        if !subprotocols.is_empty() {
            let offered = subprotocols.join(", ").parse().expect("a header value");
            request.headers_mut().insert("sec-websocket-protocol", offered);
        }
        let config = WebSocketConfig::default().max_frame_size(Some(4 << 20)).max_message_size(Some(4 << 20));
        let upgrade = client_async_with_config(request, socket, Some(config));
        let outcome = tokio::time::timeout(ANSWER_TIMEOUT, upgrade).await.expect("an upgrade is answered");
        match outcome {
            Ok((socket, response)) => {
                let header = response.headers().get("sec-websocket-protocol");
                let subprotocol = header.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
                Ok(Self { socket, subprotocol })
            }
            Err(tungstenite::Error::Http(response)) => {
                let (head, body) = response.into_parts();
                let body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
                Err(Refused { status: head.status.as_u16(), headers: head.headers, body })
            }
            Err(error) => panic!("{ws_addr}{path}: {error}"),
        }
    }

    /// Sends a text frame.
    pub async fn text(&mut self, text: &str) {
        self.message(Message::text(text)).await;
    }

    /// Sends a binary frame.
    pub async fn binary(&mut self, bytes: &[u8]) {
        self.message(Message::binary(bytes.to_vec())).await;
    }

    /// Sends any message. Where the node has closed already, that shows at the next read.
    pub async fn message(&mut self, message: Message) {
        let _closed = self.socket.send(message).await;
    }

    /// Sends bytes past the WebSocket layer.
    pub async fn bytes(&mut self, bytes: &[u8]) {
        let _closed = self.socket.get_mut().write_all(bytes).await;
    }

    /// The next frame of the node, or the end. Pings and pongs are skipped.
    ///
    /// # Panics
    /// If nothing comes in time, or a frame that is not ours.
    pub async fn next(&mut self) -> Result<ServerFrame, End> {
        tokio::time::timeout(ANSWER_TIMEOUT, self.next_frame()).await.expect("the node answers in time")
    }

    async fn next_frame(&mut self) -> Result<ServerFrame, End> {
        let end = |code, reason: String| Err(End { code, reason, error: None });
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return end(Some(frame.code.into()), frame.reason.to_string());
                }
                Some(Ok(Message::Close(None))) => return end(Some(1005), String::new()),
                Some(Ok(message)) => {
                    if let Some(frame) = decode(&message).expect("a node sends frames of the contract") {
                        return Ok(frame);
                    }
                }
                Some(Err(error)) => return end(None, error.to_string()),
                None => return end(None, "end of stream".to_owned()),
            }
        }
    }

    /// Skips to the answer of a connect.
    ///
    /// # Panics
    /// If the connection ends instead.
    pub async fn connected(&mut self) -> Connected {
        loop {
            match self.next().await {
                Ok(ServerFrame { frame: Some(server_frame::Frame::Connected(connected)), .. }) => {
                    return connected;
                }
                Ok(_other) => {}
                Err(end) => panic!("the node ended it: {end:?}"),
            }
        }
    }

    /// The next frame, which must be an error.
    ///
    /// # Panics
    /// If it is anything else.
    pub async fn error(&mut self) -> (u32, Error) {
        match self.next().await {
            Ok(ServerFrame { id, frame: Some(server_frame::Frame::Error(error)) }) => (id, error),
            other => panic!("no error frame but {other:?}"),
        }
    }

    /// Skips to the end; of the error frames on the way the last one is noted.
    pub async fn end(&mut self) -> End {
        let mut error = None;
        loop {
            match self.next().await {
                Ok(ServerFrame { frame: Some(server_frame::Frame::Error(frame)), .. }) => {
                    error = Some(frame.code)
                }
                Ok(_other) => {}
                Err(end) => return End { error, ..end },
            }
        }
    }
}

/// Sends bytes on a fresh TCP connection and reads until the other side ends it.
///
/// # Panics
/// If nobody listens, or the other side neither answers nor ends.
pub async fn exchange_bytes(addr: &str, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(addr).await.expect("somebody listens");
    let _closed = socket.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(ANSWER_TIMEOUT, socket.read_to_end(&mut answer)).await;
    let _reset = read.expect("the other side ends it");
    answer
}
