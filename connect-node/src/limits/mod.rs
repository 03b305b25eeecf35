//! What one client, one address and one crowd may take of a node, so that the others keep their share.
//!
//! In reading order: `args` turns flags into [`Limits`]; `forwarded` says whose a socket is that came through a proxy;
//! `gate` asks the `book` of addresses and the `bucket` of handshakes whether it may go on, and says a [`Refusal`] if
//! not; `handshakes` bounds those that are under way; [`ClientLimits`] is what a shard asks once a client is connected.
//!
//! Nothing here is asked on the path of a delivery.

mod args;
mod book;
mod bucket;
mod forwarded;
mod gate;
mod handshakes;
mod refusal;

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use crate::key::Key;
pub(crate) use args::LimitArgs;
pub use book::{Book, Place};
pub use bucket::{Bucket, Rate};
pub(crate) use gate::{Gate, Peer};
pub(crate) use handshakes::Handshakes;
pub(crate) use refusal::Refusal;

/// Seconds' worth of frames and bytes that a client may save up: what it says at once when it has been away, and what a
/// network that stalled for a moment brings at once, is no flood.
pub(crate) const SAVED_SECONDS: u32 = 5;

/// The limits of a node, checked. Where one is `None` there is none.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most connections of one address, counted from when they are accepted.
    pub connections_per_address: Option<u32>,
    /// Most connections of one user on this node.
    pub connections_per_user: Option<u32>,
    /// WebSocket upgrades looked at per second.
    pub handshakes_per_second: Option<u32>,
    /// Frames a client may send per second.
    pub frames_per_second: Option<u32>,
    /// Bytes a client may send per second.
    pub bytes_per_second: Option<u32>,
    /// Rooms one connection may be in.
    pub max_rooms: usize,
    /// Largest request head, bytes; 8 KiB or more.
    pub max_head: usize,
    /// Longest path and query of a request, bytes.
    pub max_url: usize,
    /// Largest frame and message of a client, bytes.
    pub max_frame: usize,
    /// Proxies that are believed when they say whose a connection is.
    pub trusted_proxies: Vec<IpNet>,
}

/// What the flags are where none is given, for a node with one shard.
impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_address: Some(1000),
            connections_per_user: Some(100),
            handshakes_per_second: Some(args::HANDSHAKES_PER_SHARD),
            frames_per_second: Some(50),
            bytes_per_second: Some(64 << 10),
            max_rooms: 128,
            max_head: 16 << 10,
            max_url: 8 << 10,
            max_frame: 128 << 10,
            trusted_proxies: Vec::new(),
        }
    }
}

impl Limits {
    /// Those of a node for one machine, whose clients all have one address.
    pub fn local() -> Self {
        Self { connections_per_address: None, ..Self::default() }
    }

    /// What shards ask; all of them the clones of one, since users are counted together.
    pub fn of_clients(&self) -> ClientLimits {
        let rate = |per_second| Rate::new(per_second, SAVED_SECONDS);
        ClientLimits {
            max_rooms: self.max_rooms,
            max_frame: self.max_frame,
            frames: self.frames_per_second.map(rate),
            bytes: self.bytes_per_second.map(rate),
            users: self.connections_per_user.map(|most| (Arc::default(), most)),
        }
    }
}

/// What a connected client is bound by.
#[derive(Debug, Clone)]
pub struct ClientLimits {
    /// Rooms one connection may be in.
    pub(crate) max_rooms: usize,
    /// Largest frame and message, bytes.
    pub(crate) max_frame: usize,
    /// How fast frames may come.
    pub(crate) frames: Option<Rate>,
    /// How fast bytes may come.
    pub(crate) bytes: Option<Rate>,
    /// Connections by user, on all shards, and how many one may have.
    pub(crate) users: Option<(Arc<Book<Key>>, u32)>,
}

/// Whom an address stands for when connections are counted. A household or a phone is given a /64 of IPv6, and may use
/// any address of it for each connection; an IPv4 address that is written as IPv6 is the same address.
pub(crate) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shares_an_address_or_a_network_of_ipv6_is_counted_together() {
        let counted = |text: &str| counted_as(text.parse().expect("an address")).to_string();
        assert_eq!(counted("192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("2001:db8:1:2:ffff::"), counted("2001:db8:1:2::1"));
        assert_ne!(counted("2001:db8:1:3::1"), counted("2001:db8:1:2::1"));
    }
}
