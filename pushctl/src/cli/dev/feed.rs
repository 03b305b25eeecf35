//! What pages are told, as server-sent events: everything once, for all pages that are open.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::{
    Sse,
    sse::{Event, KeepAlive},
};
use futures::{Stream, StreamExt as _, future::ready, stream};
use pushcast_common::shutdown::Shutdown;
use serde::Serialize;
use tokio::{
    sync::{Notify, broadcast, broadcast::error::RecvError, watch},
    time::Instant,
};

/// Events kept for a page that is slow; it loses the oldest beyond, and is told the state anew soon.
const EVENTS_KEPT: usize = 1024;

/// How often a quiet feed says something, so that a page notices a dead one.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// The events of one kind and their JSON.
#[derive(Debug, Clone)]
struct Told {
    event: &'static str,
    data: Arc<str>,
    /// What it sums up began then.
    since: Option<Instant>,
}

/// Where the observer leaves what pages read. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    events: broadcast::Sender<Told>,
    /// The last `fleet`, for a page that comes.
    fleet: watch::Sender<Option<Arc<str>>>,
    opened: Arc<Notify>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            events: broadcast::Sender::new(EVENTS_KEPT),
            fleet: watch::Sender::new(None),
            opened: Arc::default(),
        }
    }
}

impl Feed {
    /// Whether any page is open.
    pub(super) fn is_watched(&self) -> bool {
        self.events.receiver_count() > 0
    }

    /// Resolves when a page is open. For one caller. Cancel-safe.
    pub(super) async fn watched(&self) {
        while !self.is_watched() {
            self.opened.notified().await;
        }
    }

    /// Tells every page.
    pub(super) fn tell(&self, event: &'static str, data: &impl Serialize) {
        // Nobody has to be there to hear it.
        let _unheard = self.events.send(Told { event, data: json(data), since: None });
    }

    /// Tells every page that was open at `since` what happened from then on. The others came in the middle of it:
    /// they are told of the next stretch.
    pub(super) fn tell_since(&self, since: Instant, event: &'static str, data: &impl Serialize) {
        let _unheard = self.events.send(Told { event, data: json(data), since: Some(since) });
    }

    /// Tells every page the state of the fleet, if it is another one, and keeps it for those that come.
    pub(super) fn tell_fleet(&self, fleet: &impl Serialize) {
        let data = json(fleet);
        let changed = self.fleet.send_if_modified(|last| {
            let changed = last.as_ref() != Some(&data);
            if changed {
                *last = Some(Arc::clone(&data));
            }
            changed
        });
        if changed {
            let _unheard = self.events.send(Told { event: "fleet", data, since: None });
        }
    }

    /// The feed of one page, from the present state on, until `shutdown` begins.
    pub(super) fn open(
        &self,
        shutdown: Shutdown,
    ) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
        let opened = Instant::now();
        let events = self.events.subscribe();
        self.opened.notify_one();
        let now = self.fleet.borrow().clone().map(|data| Told { event: "fleet", data, since: None });
        let later = stream::unfold(events, |mut events| async move {
            loop {
                match events.recv().await {
                    Ok(told) => return Some((told, events)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        let frames = stream::iter(now)
            .chain(later)
            .filter(move |told| ready(told.since.is_none_or(|since| since >= opened)))
            .map(|told| Ok(Event::default().event(told.event).data(&*told.data)))
            .take_until(async move { shutdown.begun().await });
        Sse::new(frames).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE))
    }
}

fn json(data: &impl Serialize) -> Arc<str> {
    serde_json::to_string(data).expect("numbers, strings and lists are JSON").into()
}
