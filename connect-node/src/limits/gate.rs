//! Who may go on: asked once when a socket is accepted, and once when it wants to become a WebSocket.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use http::{HeaderMap, Uri};
use tracing::warn;

use super::{Book, Bucket, Limits, Place, Rate, Refusal, counted_as, forwarded};

/// Seconds between two warnings about addresses: the counter says how often it happens.
const WARN_EVERY: u64 = 60;

/// Where a socket comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The client itself: it was counted when its socket was accepted.
    Client,
    /// A trusted proxy, which says with each request whose it is.
    Proxy(IpAddr),
}

/// The limits that hold before anybody is connected. Shared by the acceptor and all shards.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) limits: Limits,
    addresses: Arc<Book<IpAddr>>,
    handshakes: Mutex<Bucket>,
    started: Instant,
    /// When it is time to warn again, seconds after the start.
    warn_at: AtomicU64,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            addresses: Arc::default(),
            handshakes: Mutex::default(),
            started: Instant::now(),
            warn_at: AtomicU64::new(0),
        }
    }

    /// A socket was accepted: whose it is, and its place among those of its address, if they are counted here.
    pub(crate) fn arrive(&self, from: IpAddr) -> Result<(Peer, Option<Place<IpAddr>>), Refusal> {
        if forwarded::is_trusted(from, &self.limits.trusted_proxies) {
            return Ok((Peer::Proxy(from), None));
        }
        Ok((Peer::Client, self.place(from)?))
    }

    /// Counts a handshake; it may go on if this second has room for it. The head is not looked at: this is asked first,
    /// so that turning somebody away costs as little as it can.
    pub(crate) fn handshake(&self) -> Result<(), Refusal> {
        self.handshake_at(self.started.elapsed().as_nanos() as u64)
    }

    fn handshake_at(&self, now: u64) -> Result<(), Refusal> {
        // A second's worth may come at once: everybody comes back at once when a neighbour is gone.
        let Some(rate) = self.limits.handshakes_per_second.map(|rate| Rate::new(rate, 1)) else {
            return Ok(());
        };
        let mut bucket = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(rate, 1, now).then_some(()).ok_or(Refusal::Rate)
    }

    /// Looks at a request of a peer that wants to become a WebSocket; its place, if it is counted only now.
    pub(crate) fn admit(
        &self,
        peer: Peer,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Option<Place<IpAddr>>, Refusal> {
        if uri.path_and_query().is_some_and(|url| url.as_str().len() > self.limits.max_url) {
            return Err(Refusal::Url);
        }
        let Peer::Proxy(proxy) = peer else { return Ok(None) };
        let client = forwarded::client_of(proxy, headers, &self.limits.trusted_proxies);
        self.place(client.map_err(|forwarded::Malformed| Refusal::Forwarded)?)
    }

    fn place(&self, address: IpAddr) -> Result<Option<Place<IpAddr>>, Refusal> {
        let Some(most) = self.limits.connections_per_address else { return Ok(None) };
        let place = self.addresses.enter(counted_as(address), most);
        if place.is_none() {
            self.warn(address, most);
        }
        place.map(Some).ok_or(Refusal::Address)
    }

    /// Once in a while, since whoever is refused may come again and again.
    fn warn(&self, address: IpAddr, most: u32) {
        let now = self.started.elapsed().as_secs();
        let due = self.warn_at.load(Ordering::Relaxed);
        let next = now + WARN_EVERY;
        if now >= due
            && self.warn_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            warn!(
                %address,
                most,
                "An address wants more connections than --max-connections-per-address; if it is a proxy of ours, name \
                 it under --trusted-proxies."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn gate(limits: &Limits) -> Gate {
        let trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        Gate::new(Limits { trusted_proxies, ..limits.clone() })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn from(address: &'static str) -> HeaderMap {
        [(http::HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(address))]
            .into_iter()
            .collect()
    }

    #[test]
    fn who_comes_himself_is_counted_at_once_and_who_comes_through_a_proxy_by_what_it_says() {
        let gate = gate(&Limits { connections_per_address: Some(2), ..Limits::default() });
        let url = Uri::from_static("/ws");
        let (peer, first) = gate.arrive(ip("192.0.2.7")).expect("there is room");
        assert_eq!(peer, Peer::Client);
        assert_eq!(first.as_ref().map(Place::key), Some(ip("192.0.2.7")));
        // What it says itself is nobody's word.
        assert!(gate.admit(peer, &url, &from("198.51.100.1")).expect("nothing is wrong").is_none());
        for _ in 0..10 {
            let (peer, place) = gate.arrive(ip("::ffff:10.1.2.3")).expect("a proxy's are not counted");
            assert!(place.is_none());
            assert!(matches!(peer, Peer::Proxy(_)));
        }
        let proxy = Peer::Proxy(ip("10.1.2.3"));
        let _second = gate.admit(proxy, &url, &from("192.0.2.7")).expect("there is room");
        assert_eq!(gate.admit(proxy, &url, &from("192.0.2.7")).err(), Some(Refusal::Address));
        assert_eq!(gate.arrive(ip("192.0.2.7")).err(), Some(Refusal::Address));
        assert!(gate.admit(proxy, &url, &from("192.0.2.8")).is_ok());
        assert_eq!(gate.admit(proxy, &url, &from("unknown")).err(), Some(Refusal::Forwarded));
        drop(first);
        assert!(gate.arrive(ip("192.0.2.7")).is_ok());
    }

    #[test]
    fn a_second_has_room_for_so_many_handshakes() {
        let gate = gate(&Limits { handshakes_per_second: Some(100), ..Limits::default() });
        let at = |nanos: u64| (0..1000).filter(|_| gate.handshake_at(nanos).is_ok()).count();
        assert_eq!(at(0), 100);
        assert_eq!(at(500_000_000), 50);
        assert_eq!(at(20_000_000_000), 100);
    }

    #[test]
    fn a_url_has_its_own_bound() {
        let gate = gate(&Limits { max_url: 20, ..Limits::default() });
        let admit =
            |url: &str| gate.admit(Peer::Client, &url.parse().expect("a URL"), &HeaderMap::new()).err();
        assert_eq!(admit("/ws?token=0123456789"), None);
        assert_eq!(admit("/ws?token=01234567890"), Some(Refusal::Url));
    }
}
