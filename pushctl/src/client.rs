//! One connection to a connect-node.

use std::{collections::VecDeque, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use pushcast_proto::client::v1::{
    ClientFrame, Connect, Connected, Error, Heartbeat, Join, Leave, Pong, Push, RoomsChanged, ServerFrame,
    client_frame, server_frame,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest as _, protocol::WebSocketConfig},
};

use crate::{
    format::{Format, decode},
    seen::Seen,
};

mod address;
mod outcome;

pub use outcome::{Closed, ConnectError, RequestError};

/// The whole of connecting takes at most this long: twice what a node gives a client for its first frame.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A join or leave is answered within this time, or the connection is taken for dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Events kept while waiting for an answer that stands behind them.
const QUEUE_LIMIT: usize = 65_536;
/// Larger than any frame a node sends (content of 1 MiB in base64), so that nothing legal is refused.
const MAX_FRAME: usize = 4 << 20;

/// Where the data of the connect frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectBy {
    /// In a first frame.
    #[default]
    Frame,
    /// In the URL, as the simplest clients do it.
    Url,
}

/// What a client wants. `Options::new(url)` asks for nothing but the connection.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The node, such as `ws://127.0.0.1:8000/ws`.
    pub url: String,
    /// Tenant; empty is the default one.
    pub app: String,
    /// Who the client is; empty: the node gives it a name.
    pub user_id: String,
    /// A credential; may be empty.
    pub token: String,
    /// Rooms to enter.
    pub rooms: Vec<String>,
    /// Wire format.
    pub format: Format,
    /// By frame or by URL.
    pub by: ConnectBy,
    /// Show a message every time it comes, where the contract has clients drop repeats.
    pub keep_repeats: bool,
}

impl Options {
    /// Asks for nothing but a connection to this node.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

/// What happens on a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message; its bytes are [`content`].
    Push(Push),
    /// A sign of life with a position; it has been answered.
    Heartbeat(Heartbeat),
    /// The server changed this connection's rooms.
    Rooms(RoomsChanged),
    /// A request was refused, or the connection is about to close.
    Error(Error),
    /// The end; comes again at every further call.
    Closed(Closed),
}

/// The content of a push, whichever way it came.
pub fn content(push: &Push) -> &[u8] {
    if push.text.is_empty() { &push.content } else { push.text.as_bytes() }
}

/// A connection to a node. It reads only while [`Client::next`] (or a request) is awaited.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    format: Format,
    connected: Connected,
    next_id: u32,
    pong_due: bool,
    seen: Option<Seen>,
    queued: VecDeque<Event>,
    last_error: Option<Error>,
    closed: Option<Closed>,
}

impl Client {
    /// Connects and waits for the node's `connected`.
    pub async fn connect(options: &Options) -> Result<Self, ConnectError> {
        match timeout(CONNECT_TIMEOUT, Self::open(options)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(ConnectError::TimedOut { url: options.url.clone() }),
        }
    }

    async fn open(options: &Options) -> Result<Self, ConnectError> {
        let mut request = address::upgrade_url(options)
            .into_client_request()
            .map_err(|error| address::connect_error(&options.url, error))?;
        request.headers_mut().insert(
            http::header::SEC_WEBSOCKET_PROTOCOL,
            http::HeaderValue::from_static(options.format.subprotocol()),
        );
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            .max_frame_size(Some(MAX_FRAME))
            .max_message_size(Some(MAX_FRAME));
        let (socket, _response) = connect_async_with_config(request, Some(config), true)
            .await
            .map_err(|error| address::connect_error(&options.url, error))?;
        let mut client = Self {
            socket,
            format: options.format,
            connected: Connected::default(),
            next_id: 1,
            pong_due: false,
            seen: (!options.keep_repeats).then(Seen::default),
            queued: VecDeque::new(),
            last_error: None,
            closed: None,
        };
        client.greet(options).await?;
        Ok(client)
    }

    async fn greet(&mut self, options: &Options) -> Result<(), ConnectError> {
        if options.by == ConnectBy::Frame {
            let connect = Connect {
                token: options.token.clone(),
                user_id: options.user_id.clone(),
                app: options.app.clone(),
                rooms: options.rooms.clone(),
                resume: None,
            };
            self.request(client_frame::Frame::Connect(connect)).await;
        }
        loop {
            match self.read().await {
                Ok(ServerFrame { frame: Some(server_frame::Frame::Connected(connected)), .. }) => {
                    self.connected = connected;
                    return Ok(());
                }
                // A push of a room may overtake nothing, but what comes is kept all the same.
                Ok(frame) => self.take_in(frame),
                Err(closed) => return Err(ConnectError::Closed { url: options.url.clone(), closed }),
            }
        }
    }

    /// What the node said when the connection was made.
    pub const fn connected(&self) -> &Connected {
        &self.connected
    }

    /// The next thing that happens. Cancel-safe: nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.queued.pop_front() {
                return event;
            }
            match self.read().await {
                Ok(frame) => self.take_in(frame),
                Err(closed) => return Event::Closed(closed),
            }
        }
    }

    /// Enters rooms, all or none; answers with all rooms now.
    pub async fn join(&mut self, rooms: &[&str]) -> Result<Vec<String>, RequestError> {
        self.change_rooms(client_frame::Frame::Join(Join { rooms: owned(rooms) })).await
    }

    /// Leaves rooms, all or none; answers with all rooms now.
    pub async fn leave(&mut self, rooms: &[&str]) -> Result<Vec<String>, RequestError> {
        self.change_rooms(client_frame::Frame::Leave(Leave { rooms: owned(rooms) })).await
    }

    async fn change_rooms(&mut self, frame: client_frame::Frame) -> Result<Vec<String>, RequestError> {
        let id = self.request(frame).await;
        timeout(ANSWER_TIMEOUT, self.answer(id)).await.unwrap_or(Err(RequestError::TimedOut))
    }

    async fn answer(&mut self, id: u32) -> Result<Vec<String>, RequestError> {
        while self.queued.len() < QUEUE_LIMIT {
            let frame = self.read().await.map_err(RequestError::Closed)?;
            match frame {
                ServerFrame { id: of, frame: Some(server_frame::Frame::Ok(ok)) } if of == id => {
                    return Ok(ok.rooms);
                }
                ServerFrame { id: of, frame: Some(server_frame::Frame::Error(error)) } if of == id => {
                    return Err(RequestError::Refused(error));
                }
                frame => self.take_in(frame),
            }
        }
        Err(RequestError::TimedOut)
    }

    /// Says goodbye and waits a moment for the node to agree.
    pub async fn close(mut self) {
        // Whoever leaves does not care how the other side takes it.
        if self.socket.close(None).await.is_ok() {
            let _elapsed =
                timeout(Duration::from_secs(1), async { while self.read().await.is_ok() {} }).await;
        }
    }

    async fn request(&mut self, frame: client_frame::Frame) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        let message = self.format.encode(&ClientFrame { id, frame: Some(frame) });
        // A broken socket shows at the next read, with the reason the node gave.
        let _broken = self.socket.send(message).await;
        id
    }

    /// The next frame, or how it ended. Cancel-safe.
    async fn read(&mut self) -> Result<ServerFrame, Closed> {
        if let Some(closed) = &self.closed {
            return Err(closed.clone());
        }
        loop {
            self.answer_heartbeat().await;
            let reason = match self.socket.next().await {
                Some(Ok(Message::Close(Some(close)))) => {
                    return Err(self.end(Some(u16::from(close.code)), close.reason.to_string()));
                }
                Some(Ok(Message::Close(None))) => return Err(self.end(Some(1005), String::new())),
                Some(Ok(message)) => match decode(&message) {
                    Ok(Some(frame)) => {
                        self.pong_due = matches!(frame.frame, Some(server_frame::Frame::Heartbeat(_)));
                        return Ok(frame);
                    }
                    Ok(None) => continue,
                    Err(error) => error.to_string(),
                },
                Some(Err(error)) => error.to_string(),
                None => "the node went away without a word".to_owned(),
            };
            return Err(self.end(None, reason));
        }
    }

    async fn answer_heartbeat(&mut self) {
        if self.pong_due {
            let pong =
                self.format.encode(&ClientFrame { id: 0, frame: Some(client_frame::Frame::Pong(Pong {})) });
            // Fed before it is flushed: a dropped future then neither loses nor repeats it.
            let _broken = self.socket.feed(pong).await;
            self.pong_due = false;
        }
        let _broken = self.socket.flush().await;
    }

    fn take_in(&mut self, frame: ServerFrame) {
        let event = match frame.frame {
            Some(server_frame::Frame::Push(push)) => {
                let fresh = push.message_id.is_empty()
                    || self.seen.as_mut().is_none_or(|seen| seen.insert(&push.message_id));
                fresh.then_some(Event::Push(push))
            }
            Some(server_frame::Frame::Heartbeat(heartbeat)) => Some(Event::Heartbeat(heartbeat)),
            Some(server_frame::Frame::Rooms(rooms)) => Some(Event::Rooms(rooms)),
            Some(server_frame::Frame::Error(error)) => {
                self.last_error = Some(error.clone());
                Some(Event::Error(error))
            }
            // Frames of a later version, and answers nobody waits for any more.
            Some(
                server_frame::Frame::Connected(_)
                | server_frame::Frame::Ok(_)
                | server_frame::Frame::Ticket(_),
            )
            | None => None,
        };
        self.queued.extend(event);
    }

    fn end(&mut self, code: Option<u16>, reason: String) -> Closed {
        let closed = Closed { code, reason, error: self.last_error.take() };
        self.closed = Some(closed.clone());
        closed
    }
}

fn owned(rooms: &[&str]) -> Vec<String> {
    rooms.iter().map(|&room| room.to_owned()).collect()
}
