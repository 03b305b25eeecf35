//! A receiver that comes back by itself, and goes on where it was if the fleet still has what it missed.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use pushcast_proto::client::v1::Push;
use tokio::time::{Instant, sleep_until};

use crate::{
    client::{Client, Closed, ConnectBy, ConnectError, Event, Options, RequestError},
    progress::Progress,
    reconnect::{MOVED, Reconnect},
    seen::Seen,
};

mod event;
mod nodes;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod tests;

pub use event::{SessionError, SessionEvent};
use nodes::Nodes;

/// Receives through one connection after the other, when [`Reconnect`] says and resuming with its [`Progress`]. The
/// first is made to `url` of the options, and after each that ended or failed it is another node's turn.
///
/// Rooms are those of the options, then what joins, leaves and the server made of them.
#[derive(Debug)]
pub struct Session {
    options: Options,
    nodes: Nodes,
    reconnect: Reconnect,
    progress: Progress,
    /// Nodes in a row that sent this client on (4003) when it wanted to resume: they have not got what it missed.
    /// After some of them a node takes it all the same.
    attempt: u32,
    /// The present try is to continue a connection.
    resuming: bool,
    link: Link,
    /// When the present connection began, or the last one.
    connected_at: Instant,
    next_try: Instant,
    // Outlives the connections: a message that comes again through another node is the same message.
    seen: Option<Seen>,
}

#[derive(Debug, Default)]
enum Link {
    #[default]
    Down,
    Connecting(Connecting),
    Up(Box<Client>),
}

/// A connection in the making. The session keeps it, so that whoever waits a little at a time gets there too.
struct Connecting(Pin<Box<dyn Future<Output = Result<Client, ConnectError>> + Send>>);

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}

impl Session {
    /// A session that connects at the first call of [`Session::next`].
    pub fn new(mut options: Options) -> Self {
        let seen = (!options.keep_repeats).then(Seen::default);
        options.keep_repeats = true;
        let now = Instant::now();
        Self {
            nodes: Nodes::new(&options.url, &options.urls),
            reconnect: Reconnect::default(),
            progress: options.resume.take().map(Progress::from).unwrap_or_default(),
            attempt: 0,
            resuming: false,
            link: Link::Down,
            connected_at: now,
            next_try: now,
            seen,
            options,
        }
    }

    /// The next thing that happens; an error is the end. Cancel-safe: nothing is lost if the future is dropped. A
    /// push counts as processed once it is handed out, and does not come again.
    pub async fn next(&mut self) -> Result<SessionEvent, SessionError> {
        // Between the end of an await and what it brought being noted or handed out, nothing is awaited.
        loop {
            let event = match &mut self.link {
                Link::Down => {
                    sleep_until(self.next_try).await;
                    self.link = Link::Connecting(self.connecting());
                    continue;
                }
                Link::Connecting(connecting) => {
                    let outcome = (&mut connecting.0).await;
                    return self.tried(outcome);
                }
                Link::Up(client) => client.next().await,
            };
            return Ok(match event {
                Event::Push(push) => {
                    self.progress.pushed(&push);
                    if !self.is_fresh(&push) {
                        continue;
                    }
                    SessionEvent::Push(push)
                }
                Event::Heartbeat(heartbeat) => {
                    self.progress.heartbeat(&heartbeat);
                    SessionEvent::Heartbeat(heartbeat)
                }
                Event::Ticket(ticket) => {
                    self.progress.ticketed(ticket);
                    continue;
                }
                Event::Rooms(rooms) => SessionEvent::Rooms(rooms),
                Event::TokenExpiring(left) => SessionEvent::TokenExpiring(left),
                Event::Error(error) => SessionEvent::Error(error),
                Event::Closed(closed) => return self.interrupted(closed),
            });
        }
    }

    /// Enters rooms, all or none; answers with all rooms now. They are entered again with every connection.
    pub async fn join(&mut self, rooms: &[&str]) -> Result<Vec<String>, RequestError> {
        self.client()?.join(rooms).await
    }

    /// Leaves rooms, all or none; answers with all rooms now.
    pub async fn leave(&mut self, rooms: &[&str]) -> Result<Vec<String>, RequestError> {
        self.client()?.leave(rooms).await
    }

    /// Shows a newer token of the same user and app. Later connections are made with it, also if there is none now.
    pub async fn renew(&mut self, token: &str) -> Result<(), RequestError> {
        if let Link::Up(client) = &mut self.link {
            client.renew(token).await?;
        }
        token.clone_into(&mut self.options.token);
        Ok(())
    }

    /// The token that connections are made with; may be empty.
    pub fn token(&self) -> &str {
        &self.options.token
    }

    fn client(&mut self) -> Result<&mut Client, RequestError> {
        match &mut self.link {
            Link::Up(client) => Ok(client),
            Link::Down | Link::Connecting(_) => Err(RequestError::NotConnected),
        }
    }

    /// How far it has come: what was handed out, and the ticket to go on from there.
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Drops the present socket without a word, as a broken network does; the session comes back as from that.
    pub fn break_connection(&mut self) {
        match &mut self.link {
            Link::Up(client) => client.break_off(),
            Link::Connecting(_) => self.link = Link::Down,
            Link::Down => {}
        }
    }

    /// Says goodbye, if there is anybody to say it to.
    pub async fn close(self) {
        if let Link::Up(client) = self.link {
            client.close().await;
        }
    }

    fn is_fresh(&mut self, push: &Push) -> bool {
        push.message_id.is_empty() || self.seen.as_mut().is_none_or(|seen| seen.insert(&push.message_id))
    }

    fn connecting(&mut self) -> Connecting {
        let resume =
            (self.options.by == ConnectBy::Frame).then(|| self.progress.resume(self.attempt)).flatten();
        self.resuming = resume.is_some();
        let options = Options { url: self.nodes.present().to_owned(), resume, ..self.options.clone() };
        Connecting(Box::pin(async move { Client::connect(&options).await }))
    }

    fn tried(&mut self, outcome: Result<Client, ConnectError>) -> Result<SessionEvent, SessionError> {
        self.link = Link::Down;
        let error = match outcome {
            Ok(client) => return Ok(self.connected(client)),
            Err(error) => error,
        };
        // A close code is a node's own word. Everything else that is final only says that no node is there.
        let is_a_nodes_word = matches!(error, ConnectError::Closed { .. });
        let none_left = self.nodes.tried(error.is_final() && !is_a_nodes_word);
        if none_left || (is_a_nodes_word && error.is_final()) {
            return Err(error.into());
        }
        let retry_in = match &error {
            ConnectError::Closed { closed, .. } => {
                if self.resuming && closed.code == Some(MOVED) {
                    self.attempt = self.attempt.saturating_add(1);
                    Some(self.reconnect.after_move(self.attempt))
                } else {
                    self.reconnect.after_close(closed.code)
                }
            }
            // What one node asks for says nothing about another.
            ConnectError::Refused { retry_after, .. } if self.nodes.is_alone() => {
                Some(self.reconnect.after_failure(*retry_after))
            }
            _ => Some(self.reconnect.after_failure(None)),
        };
        Ok(self.wait(error.to_string(), retry_in.unwrap_or_default()))
    }

    fn connected(&mut self, client: Client) -> SessionEvent {
        let connected = client.connected().clone();
        self.connected_at = Instant::now();
        self.nodes.tried(false);
        self.progress.connected(&connected);
        self.attempt = 0;
        self.link = Link::Up(Box::new(client));
        SessionEvent::Connected(connected)
    }

    fn interrupted(&mut self, closed: Closed) -> Result<SessionEvent, SessionError> {
        if let Link::Up(client) = std::mem::take(&mut self.link) {
            self.options.rooms = client.rooms().to_vec();
        }
        self.reconnect.stood(self.connected_at.elapsed());
        let url = self.nodes.present().to_owned();
        match self.reconnect.after_close(closed.code) {
            Some(retry_in) => Ok(self.wait(format!("{url}: {closed}"), retry_in)),
            None => Err(SessionError::Closed { url, closed }),
        }
    }

    fn wait(&mut self, cause: String, retry_in: Duration) -> SessionEvent {
        self.nodes.move_on();
        self.next_try = Instant::now() + retry_in;
        SessionEvent::Interrupted { cause, retry_in }
    }
}
