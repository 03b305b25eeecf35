//! The receiving side of a test.

use std::time::Duration;

use pushcast_proto::client::v1::Push;
use pushctl::client::{Client, Closed, Event, Options, content};

/// Longer than any wait the contract allows for a delivery; whoever waits that long has found a loss.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// A connected client that a test asks what it got. Repeats are shown: a test must see them.
#[derive(Debug)]
pub struct Listener {
    /// For requests, and for what a test asks rarely.
    pub client: Client,
    name: String,
}

impl Listener {
    /// Connects.
    ///
    /// # Panics
    /// If the node does not take it.
    pub async fn connect(options: Options) -> Self {
        let options = Options { keep_repeats: true, ..options };
        let name = format!("{}@{}", options.user_id, options.url);
        let client = Client::connect(&options).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { client, name }
    }

    /// The next push; heartbeats are skipped.
    ///
    /// # Panics
    /// If something else happens, or nothing for too long.
    pub async fn next_push(&mut self) -> Push {
        match tokio::time::timeout(DELIVERY_TIMEOUT, self.next_push_or_end()).await {
            Ok(Ok(push)) => push,
            Ok(Err(closed)) => panic!("{} expected a push: {closed}", self.name),
            Err(_elapsed) => panic!("{} got no push within {DELIVERY_TIMEOUT:?}", self.name),
        }
    }

    /// The next push, or how the connection ended, however long it takes.
    pub async fn next_push_or_end(&mut self) -> Result<Push, Closed> {
        loop {
            match self.client.next().await {
                Event::Push(push) => return Ok(push),
                Event::Closed(closed) => return Err(closed),
                Event::Heartbeat(_)
                | Event::Ticket(_)
                | Event::Rooms(_)
                | Event::TokenExpiring(_)
                | Event::Error(_) => {}
            }
        }
    }

    /// The next push's content as text.
    pub async fn next_text(&mut self) -> String {
        text(&self.next_push().await)
    }

    /// The contents of all pushes before the one with this content. Pushes through one manager reach a
    /// connection in order, so this is everything that was pushed to it before.
    pub async fn texts_until(&mut self, marker: &str) -> Vec<String> {
        let mut texts = Vec::new();
        loop {
            let text = self.next_text().await;
            if text == marker {
                return texts;
            }
            texts.push(text);
        }
    }

    /// Waits for the end, skipping everything before it.
    ///
    /// # Panics
    /// If it does not come in time.
    pub async fn end(&mut self, within: Duration) -> Closed {
        let name = self.name.clone();
        let end = async {
            loop {
                if let Err(closed) = self.next_push_or_end().await {
                    return closed;
                }
            }
        };
        tokio::time::timeout(within, end)
            .await
            .unwrap_or_else(|_elapsed| panic!("{name} is open after {within:?}"))
    }
}

/// A push's content as text.
pub fn text(push: &Push) -> String {
    String::from_utf8_lossy(content(push)).into_owned()
}
