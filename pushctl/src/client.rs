//! One connection to a connect-node.

use std::{collections::VecDeque, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use pushcast_proto::client::v1::{
    ClientFrame, Connect, Connected, Error, Heartbeat, Join, Leave, Pong, Push, Renew, RoomsChanged,
    ServerFrame, client_frame, server_frame,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{self, Message, client::IntoClientRequest as _, protocol::WebSocketConfig},
};

use crate::{
    format::{Format, decode},
    seen::Seen,
};

mod address;
mod options;
mod outcome;

pub use options::{ConnectBy, Options};
pub use outcome::{Closed, ConnectError, RequestError};

/// The whole of connecting takes at most this long: twice what a node gives a client for its first frame.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A join or leave is answered within this time, or the connection is taken for dead.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Events kept while waiting for an answer that stands behind them.
const QUEUE_LIMIT: usize = 65_536;
/// Larger than any frame a node sends (content of 1 MiB in base64), so that nothing legal is refused.
const MAX_FRAME: usize = 4 << 20;

/// What happens on a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message; its bytes are [`content`].
    Push(Push),
    /// A sign of life with a position; it has been answered.
    Heartbeat(Heartbeat),
    /// What takes this connection up again elsewhere; replaces the one before. It covers what came before it, so
    /// whoever keeps it has to keep the order.
    Ticket(String),
    /// The server changed this connection's rooms.
    Rooms(RoomsChanged),
    /// The token expires in this time: unless [`Client::renew`] shows a newer one, the node closes with 4502.
    TokenExpiring(Duration),
    /// A request was refused, or the connection is about to close.
    Error(Error),
    /// The end; comes again at every further call.
    Closed(Closed),
}

/// The content of a push, whichever way it came.
pub fn content(push: &Push) -> &[u8] {
    if push.text.is_empty() { &push.content } else { push.text.as_bytes() }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connection to a node. It reads only while [`Client::next`] (or a request) is awaited.
#[derive(Debug)]
pub struct Client {
    /// None once it was broken off.
    socket: Option<Socket>,
    format: Format,
    connected: Connected,
    // Kept as frames come, not as events are handed out: an answer overtakes the events queued before it.
    rooms: Vec<String>,
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
        let connector = match request.uri().scheme_str() {
            Some("wss") => Connector::Rustls(address::trust(options)?),
            _ => Connector::Plain,
        };
        let (socket, _response) = connect_async_tls_with_config(request, Some(config), true, Some(connector))
            .await
            .map_err(|error| address::connect_error(&options.url, error))?;
        let mut client = Self {
            socket: Some(socket),
            format: options.format,
            connected: Connected::default(),
            rooms: Vec::new(),
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
                resume: options.resume.clone(),
            };
            self.request(client_frame::Frame::Connect(connect)).await;
        }
        loop {
            match self.read().await {
                Ok(ServerFrame { frame: Some(server_frame::Frame::Connected(connected)), .. }) => {
                    self.rooms.clone_from(&connected.rooms);
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

    /// The rooms this connection is in, as far as the node's frames have been read.
    pub fn rooms(&self) -> &[String] {
        &self.rooms
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

    /// Shows a newer token of the same user and app, so that the connection outlives the one before.
    pub async fn renew(&mut self, token: &str) -> Result<(), RequestError> {
        self.change_rooms(client_frame::Frame::Renew(Renew { token: token.to_owned() })).await.map(drop)
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
                    self.rooms.clone_from(&ok.rooms);
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
        let Some(socket) = &mut self.socket else { return };
        // Whoever leaves does not care how the other side takes it.
        if socket.close(None).await.is_ok() {
            let _elapsed =
                timeout(Duration::from_secs(1), async { while self.read().await.is_ok() {} }).await;
        }
    }

    /// Drops the socket without a word, as a broken network does. What was read before is still handed out.
    pub fn break_off(&mut self) {
        self.socket = None;
        if self.closed.is_none() {
            self.end(None, "broken off on this side".to_owned());
        }
    }

    async fn request(&mut self, frame: client_frame::Frame) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        let message = self.format.encode(&ClientFrame { id, frame: Some(frame) });
        if let Some(socket) = &mut self.socket {
            // A broken socket shows at the next read, with the reason the node gave.
            let _broken = socket.send(message).await;
        }
        id
    }

    /// The next frame, or how it ended. Cancel-safe.
    async fn read(&mut self) -> Result<ServerFrame, Closed> {
        if let Some(closed) = &self.closed {
            return Err(closed.clone());
        }
        loop {
            let Some(socket) = &mut self.socket else {
                return Err(self.end(None, "it is closed".to_owned()));
            };
            if self.pong_due {
                let pong = self
                    .format
                    .encode(&ClientFrame { id: 0, frame: Some(client_frame::Frame::Pong(Pong {})) });
                // Fed before it is flushed: a dropped future then neither loses nor repeats it.
                let _broken = socket.feed(pong).await;
                self.pong_due = false;
            }
            let _broken = socket.flush().await;
            let reason = match socket.next().await {
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

    fn take_in(&mut self, frame: ServerFrame) {
        let event = match frame.frame {
            Some(server_frame::Frame::Push(push)) => {
                let fresh = push.message_id.is_empty()
                    || self.seen.as_mut().is_none_or(|seen| seen.insert(&push.message_id));
                fresh.then_some(Event::Push(push))
            }
            Some(server_frame::Frame::Heartbeat(heartbeat)) => Some(Event::Heartbeat(heartbeat)),
            Some(server_frame::Frame::Ticket(ticket)) => Some(Event::Ticket(ticket.ticket)),
            Some(server_frame::Frame::Rooms(rooms)) => {
                self.change(&rooms);
                Some(Event::Rooms(rooms))
            }
            // An answer nobody waits for any more.
            Some(server_frame::Frame::Ok(ok)) => {
                self.rooms = ok.rooms;
                None
            }
            Some(server_frame::Frame::TokenExpiring(expiring)) => {
                Some(Event::TokenExpiring(Duration::from_millis(expiring.in_ms.into())))
            }
            Some(server_frame::Frame::Error(error)) => {
                self.last_error = Some(error.clone());
                Some(Event::Error(error))
            }
            // A second one is none of this contract; without any it is a frame of a later version.
            Some(server_frame::Frame::Connected(_)) | None => None,
        };
        self.queued.extend(event);
    }

    fn change(&mut self, changed: &RoomsChanged) {
        self.rooms.retain(|room| !changed.left.contains(room));
        self.rooms.extend_from_slice(&changed.joined);
        self.rooms.sort_unstable();
        self.rooms.dedup();
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
