//! A receiver that comes back by itself.

use std::time::Duration;

use pushcast_proto::client::v1::{Connected, Error, Heartbeat, Push, RoomsChanged};
use tokio::time::{Instant, sleep_until};

use crate::{
    client::{Client, Closed, ConnectError, Event, Options},
    reconnect::Reconnect,
    seen::Seen,
};

/// What happens in a session.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// A connection stands: the first one, or another one.
    Connected(Connected),
    /// A message, shown once however many connections bring it.
    Push(Push),
    /// A sign of life.
    Heartbeat(Heartbeat),
    /// The server changed this connection's rooms.
    Rooms(RoomsChanged),
    /// The node refused something.
    Error(Error),
    /// There is no connection now; the next try comes after `retry_in`.
    Interrupted {
        /// Why.
        cause: String,
        /// When to expect the next try.
        retry_in: Duration,
    },
}

/// Why a session is over for good.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The node closed the connection with a final code.
    #[error("{url}: {closed}; connecting again would not help")]
    Closed {
        /// The node.
        url: String,
        /// How.
        closed: Closed,
    },
    /// The first or a later connection cannot be made, whenever it is tried.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Receives through one connection after the other, as [`Reconnect`] says. Rooms are those of the options.
#[derive(Debug)]
pub struct Session {
    options: Options,
    reconnect: Reconnect,
    client: Option<Client>,
    /// When the present connection began, or the last one.
    connected_at: Instant,
    next_try: Instant,
    // Outlives the connections: a message that comes again through another node is the same message.
    seen: Option<Seen>,
}

impl Session {
    /// A session that connects at the first call of [`Session::next`].
    pub fn new(options: Options) -> Self {
        let seen = (!options.keep_repeats).then(Seen::default);
        let options = Options { keep_repeats: true, ..options };
        let now = Instant::now();
        Self {
            options,
            reconnect: Reconnect::default(),
            client: None,
            connected_at: now,
            next_try: now,
            seen,
        }
    }

    /// The next thing that happens; an error is the end. Cancel-safe: a try that is dropped is made again.
    pub async fn next(&mut self) -> Result<SessionEvent, SessionError> {
        loop {
            let Some(client) = &mut self.client else {
                sleep_until(self.next_try).await;
                return self.connect().await;
            };
            return Ok(match client.next().await {
                Event::Push(push) if !self.is_fresh(&push) => continue,
                Event::Push(push) => SessionEvent::Push(push),
                Event::Heartbeat(heartbeat) => SessionEvent::Heartbeat(heartbeat),
                Event::Rooms(rooms) => SessionEvent::Rooms(rooms),
                Event::Error(error) => SessionEvent::Error(error),
                Event::Closed(closed) => return self.interrupted(closed),
            });
        }
    }

    /// Says goodbye, if there is anybody to say it to.
    pub async fn close(self) {
        if let Some(client) = self.client {
            client.close().await;
        }
    }

    fn is_fresh(&mut self, push: &Push) -> bool {
        push.message_id.is_empty() || self.seen.as_mut().is_none_or(|seen| seen.insert(&push.message_id))
    }

    async fn connect(&mut self) -> Result<SessionEvent, SessionError> {
        let error = match Client::connect(&self.options).await {
            Ok(client) => {
                self.connected_at = Instant::now();
                let connected = client.connected().clone();
                self.client = Some(client);
                return Ok(SessionEvent::Connected(connected));
            }
            Err(error) if error.is_final() => return Err(error.into()),
            Err(error) => error,
        };
        let retry_in = match &error {
            ConnectError::Closed { closed, .. } => self.reconnect.after_close(closed.code),
            ConnectError::Refused { retry_after, .. } => Some(self.reconnect.after_failure(*retry_after)),
            _ => Some(self.reconnect.after_failure(None)),
        };
        Ok(self.wait(error.to_string(), retry_in.unwrap_or_default()))
    }

    fn interrupted(&mut self, closed: Closed) -> Result<SessionEvent, SessionError> {
        self.client = None;
        self.reconnect.stood(self.connected_at.elapsed());
        let url = self.options.url.clone();
        match self.reconnect.after_close(closed.code) {
            Some(retry_in) => Ok(self.wait(format!("{url}: {closed}"), retry_in)),
            None => Err(SessionError::Closed { url, closed }),
        }
    }

    fn wait(&mut self, cause: String, retry_in: Duration) -> SessionEvent {
        self.next_try = Instant::now() + retry_in;
        SessionEvent::Interrupted { cause, retry_in }
    }
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt as _, StreamExt as _};
    use tokio::net::TcpListener;
    use tokio_tungstenite::{
        accept_hdr_async,
        tungstenite::{
            Message,
            handshake::server::{Request, Response},
        },
    };

    use super::*;

    /// A node that says `connected` and then hangs up, to everybody who comes.
    async fn turnstile(listener: TcpListener) {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
            let greet = |request: &Request, mut response: Response| {
                let offered = request.headers()["sec-websocket-protocol"].clone();
                response.headers_mut().insert("sec-websocket-protocol", offered);
                Ok(response)
            };
            let mut socket = accept_hdr_async(socket, greet).await.unwrap();
            socket.next().await.unwrap().unwrap();
            socket.send(Message::text(r#"{"id":1,"connected":{"node_id":"n1"}}"#)).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_node_that_throws_everybody_out_is_tried_ever_more_rarely() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let node = tokio::spawn(turnstile(listener));
        let mut session = Session::new(Options::new(url));
        for failures in 1..=3 {
            let connected = session.next().await.unwrap();
            assert!(matches!(connected, SessionEvent::Connected(_)), "{connected:?}");
            let interrupted = session.next().await.unwrap();
            assert!(matches!(interrupted, SessionEvent::Interrupted { .. }), "{interrupted:?}");
            assert_eq!(session.reconnect.failures(), failures);
        }
        node.abort();
    }
}
