//! The task that owns the link to one node: connect, converse, notice its death, connect again.

use std::{
    error::Error as _,
    future::Future as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use pushcast_common::fleet_auth::{BytesRead, FleetAuth};
use pushcast_proto::connectnode::v1::{
    LinkRequest, LinkResponse, connect_node_service_client::ConnectNodeServiceClient,
};
use tokio::time::{Instant, MissedTickBehavior, Sleep, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tracing::{debug, info, warn};

use crate::{
    answers::NodeKey,
    backoff::Backoff,
    connection,
    hub::{Hub, LinkFailure},
    link_state::Next,
    silence::{LOOK_EVERY, Silence},
};

/// A node that is connected has this long to answer Hello.
const START_TIMEOUT: Duration = Duration::from_secs(3);

/// A link that lasted this long was a good one: the next attempt comes soon.
const GOOD_AFTER: Duration = Duration::from_secs(3);

/// An acknowledgement of a whole batch of small messages to many users stays far below it.
const MAX_RESPONSE: usize = 16 << 20;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it does not take links: {0}")]
    Status(Box<tonic::Status>),
    /// The ways in which a connection that is not wanted breaks are many, and chance.
    #[error("it broke the connection off before it took the link: has it the same --fleet-auth?")]
    BrokenOff,
    #[error("it did not answer Hello within {} s", START_TIMEOUT.as_secs())]
    NoStart,
    #[error("it was silent for 3 s")]
    Silent,
    #[error("it ended the link")]
    ByPeer,
    #[error(transparent)]
    Failure(#[from] LinkFailure),
}

/// Keeps the link to one node until it is cancelled, the node is forgotten, or the manager has said
/// Close on it.
pub(crate) async fn keep(hub: Arc<Hub>, key: NodeKey, auth: FleetAuth, cancel: CancellationToken) {
    let mut backoff = Backoff::new();
    let mut last_reason = String::new();
    while let Some(addr) = hub.link_connecting(key) {
        let begun = Instant::now();
        let ended = tokio::select! {
            () = cancel.cancelled() => {
                hub.link_down(key);
                return;
            }
            ended = converse(&hub, key, &addr, &auth) => ended,
        };
        let end = hub.link_down(key);
        if end.was_closed {
            info!(addr, "Link is closed.");
            return;
        }
        let reason = ended.to_string();
        let was_good = end.was_linked && begun.elapsed() >= GOOD_AFTER;
        // A node ends a link in order only when it stops; a dead one breaks it. Its record may say so later.
        let was_orderly = matches!(ended, Ended::ByPeer) && end.was_linked;
        if was_orderly || hub.is_leaving(key) {
            debug!(addr, reason, "The link to a node that leaves is down.");
        } else if was_good || reason != last_reason {
            hub.metrics.link_failures.increment(1);
            warn!(addr, was_linked = end.was_linked, reason, "Link is down; trying again.");
        } else {
            hub.metrics.link_failures.increment(1);
            debug!(addr, was_linked = end.was_linked, reason, "Link is still down.");
        }
        last_reason = reason;
        if was_good {
            backoff.reset();
        }
        tokio::select! {
            () = cancel.cancelled() => return,
            () = sleep(backoff.pause()) => {}
        }
    }
}

/// One connection from its beginning to its end.
async fn converse(hub: &Arc<Hub>, key: NodeKey, addr: &str, auth: &FleetAuth) -> Ended {
    let bytes_read = BytesRead::default();
    let channel = match connection::connect(addr, auth.clone(), bytes_read.clone()).await {
        Ok(channel) => channel,
        Err(error) => return Ended::Unreachable(root_cause(&error)),
    };
    let Some(epoch) = hub.link_opened(key) else {
        return Ended::ByPeer;
    };
    let outbound = Outbound { hub: Arc::clone(hub), key, epoch, timer: None };
    let mut client = ConnectNodeServiceClient::new(channel).max_decoding_message_size(MAX_RESPONSE);
    let inbound = match timeout(START_TIMEOUT, client.link(outbound)).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) if status.source().is_some() => {
            debug!(addr, %status, "A node broke a connection off.");
            return Ended::BrokenOff;
        }
        Ok(Err(status)) => return Ended::Status(Box::new(status)),
        Err(_) => return Ended::NoStart,
    };
    listen(hub, key, epoch, inbound, &bytes_read).await
}

async fn listen(
    hub: &Hub,
    key: NodeKey,
    epoch: u64,
    mut inbound: Streaming<LinkResponse>,
    bytes_read: &BytesRead,
) -> Ended {
    match timeout(START_TIMEOUT, inbound.message()).await {
        Err(_) => return Ended::NoStart,
        Ok(first) => {
            if let Err(ended) = hear(hub, key, epoch, first) {
                return ended;
            }
        }
    }
    let mut silence = Silence::default();
    let mut last_look = Instant::now();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // Read first, judge after.
            biased;
            frame = inbound.message() => {
                if let Err(ended) = hear(hub, key, epoch, frame) {
                    return ended;
                }
            }
            now = looks.tick() => {
                let now = now.max(Instant::now());
                if silence.look(bytes_read.get(), now - last_look) {
                    return Ended::Silent;
                }
                last_look = now;
            }
        }
    }
}

fn hear(
    hub: &Hub,
    key: NodeKey,
    epoch: u64,
    frame: Result<Option<LinkResponse>, tonic::Status>,
) -> Result<(), Ended> {
    match frame {
        Ok(Some(frame)) => Ok(hub.received(key, epoch, frame)?),
        Ok(None) => Err(Ended::ByPeer),
        Err(status) => Err(Ended::Status(Box::new(status))),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The manager's side of a link. HTTP/2 asks for the next frame when it has room for it, so a slow node
/// slows only its own cursor, and what came meanwhile travels as one batch.
struct Outbound {
    hub: Arc<Hub>,
    key: NodeKey,
    epoch: u64,
    timer: Option<(u64, Pin<Box<Sleep>>)>,
}

impl Stream for Outbound {
    type Item = LinkRequest;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<LinkRequest>> {
        loop {
            match self.hub.next_frame(self.key, self.epoch, cx.waker()) {
                Next::End => return Poll::Ready(None),
                Next::Frame(frame) => return Poll::Ready(Some(LinkRequest { frame: Some(frame) })),
                Next::Wait(due) => {
                    if self.poll_timer(due, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl Outbound {
    /// Ready when `due` has come.
    fn poll_timer(&mut self, due: Option<u64>, cx: &mut Context<'_>) -> Poll<()> {
        let Some((due, at)) = due.and_then(|due| Some((due, self.hub.clock().instant(due)?))) else {
            return Poll::Pending;
        };
        match &mut self.timer {
            Some((set_for, _)) if *set_for == due => {}
            Some((set_for, timer)) => {
                *set_for = due;
                timer.as_mut().reset(at);
            }
            None => self.timer = Some((due, Box::pin(tokio::time::sleep_until(at)))),
        }
        match &mut self.timer {
            Some((_, timer)) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
