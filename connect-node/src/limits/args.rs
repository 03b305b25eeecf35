//! The flags of limits.

use ipnet::IpNet;
use pushcast_common::settings::Problems;

use super::{Limits, SAVED_SECONDS};

/// Handshakes per second for each shard, where no number is given: one takes 24 µs of a core, so this is an eighth of it,
/// and the rest goes on serving those who are there.
pub(super) const HANDSHAKES_PER_SHARD: u32 = 5000;

/// How to say that there is no limit.
const UNLIMITED: &str = "none";

/// hyper takes no less for a head.
const LEAST_HEAD: u64 = 8 << 10;

/// What one client and one address may take; flattened into the node's own flags.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LimitArgs {
    /// Most connections of one client address, "none" for any number; IPv6 is counted by /64. With proxies in front,
    /// name them under --trusted-proxies, or their address is what is counted
    #[arg(long, value_name = "N", default_value = "1000")]
    max_connections_per_address: String,
    /// Most connections of one user on this node, "none" for any number; a further one is closed with 1013
    #[arg(long, value_name = "N", default_value = "100")]
    max_connections_per_user: String,
    /// WebSocket upgrades taken per second, "none" for any number; further ones are answered 503 with Retry-After
    /// [default: 5000 per shard]
    #[arg(long, value_name = "N")]
    handshakes_per_second: Option<String>,
    /// Frames one client may send per second, "none" for any number; 5 seconds' worth may be saved up. Beyond it is closed
    /// with 1008
    #[arg(long, value_name = "N", default_value = "50")]
    frames_per_second: String,
    /// Bytes one client may send per second, "none" for any number; as --frames-per-second
    #[arg(long, value_name = "SIZE", default_value = "64KiB")]
    bytes_per_second: String,
    /// Rooms one connection may be in
    #[arg(long, value_name = "N", default_value = "128")]
    max_rooms: String,
    /// Largest head of a request; beyond it is answered 431
    #[arg(long, value_name = "SIZE", default_value = "16KiB")]
    max_head: String,
    /// Longest path and query of an upgrade; beyond it is answered 414
    #[arg(long, value_name = "SIZE", default_value = "8KiB")]
    max_url: String,
    /// Largest frame of a client; beyond it is closed with 1009
    #[arg(long, value_name = "SIZE", default_value = "128KiB")]
    max_frame: String,
    /// Proxies that are believed when they name a client's address in X-Forwarded-For, such as 10.0.0.0/8,2001:db8::/32;
    /// its last entry that is none of them is the client's
    #[arg(long, value_name = "CIDR,…")]
    trusted_proxies: Option<String>,
}

impl LimitArgs {
    /// The checked limits of a node with so many shards.
    pub(crate) fn settings(&self, problems: &mut Problems, shards: usize) -> Limits {
        let by_shards = HANDSHAKES_PER_SHARD.saturating_mul(u32::try_from(shards).unwrap_or(u32::MAX));
        let limits = Limits {
            connections_per_address: or_none(
                problems,
                "--max-connections-per-address",
                &self.max_connections_per_address,
            ),
            connections_per_user: or_none(
                problems,
                "--max-connections-per-user",
                &self.max_connections_per_user,
            ),
            handshakes_per_second: match &self.handshakes_per_second {
                Some(given) => or_none(problems, "--handshakes-per-second", given),
                None => Some(by_shards),
            },
            frames_per_second: or_none(problems, "--frames-per-second", &self.frames_per_second),
            bytes_per_second: self.bytes_per_second(problems),
            max_rooms: problems.number("--max-rooms", &self.max_rooms, 1..=10_000) as usize,
            max_head: problems.size_within("--max-head", &self.max_head, LEAST_HEAD..=1 << 20) as usize,
            max_url: problems.size_within("--max-url", &self.max_url, 256..=1 << 20) as usize,
            // What tungstenite holds for a connection never shrinks below the largest frame that it sent.
            max_frame: problems.size_within("--max-frame", &self.max_frame, 4 << 10..=1 << 20) as usize,
            trusted_proxies: networks(problems, self.trusted_proxies.as_deref()),
        };
        contradictions(problems, &limits);
        limits
    }

    fn bytes_per_second(&self, problems: &mut Problems) -> Option<u32> {
        if self.bytes_per_second == UNLIMITED {
            return None;
        }
        let within = 1 << 10..=1 << 30;
        u32::try_from(problems.size_within("--bytes-per-second", &self.bytes_per_second, within)).ok()
    }
}

/// A number, or `none`; 0 would keep everybody out.
fn or_none(problems: &mut Problems, flag: &str, given: &str) -> Option<u32> {
    if given.trim() == UNLIMITED {
        return None;
    }
    u32::try_from(problems.number(flag, given, 1..=10_000_000)).ok()
}

/// What is in order by itself and not beside the others.
fn contradictions(problems: &mut Problems, limits: &Limits) {
    if limits.max_url > limits.max_head {
        let head = limits.max_head;
        problems.push(
            "--max-url",
            format!("is more than the {head} bytes that --max-head allows the whole head"),
        );
    }
    let saved = limits.bytes_per_second.map(|rate| u64::from(rate) * u64::from(SAVED_SECONDS));
    if let Some(saved) = saved.filter(|saved| *saved < limits.max_frame as u64) {
        let frame = limits.max_frame;
        problems.push(
            "--bytes-per-second",
            format!(
                "lets {saved} bytes come at once, {SAVED_SECONDS} seconds' worth: a frame of the {frame} bytes that \
                 --max-frame allows would never get in"
            ),
        );
    }
}

fn networks(problems: &mut Problems, given: Option<&str>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for text in given.iter().flat_map(|given| given.split(',')).map(str::trim).filter(|text| !text.is_empty())
    {
        match text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)) {
            Ok(network) => networks.push(network),
            Err(_) => problems.push(
                "--trusted-proxies",
                format!("\"{text}\" is no network (examples: 10.0.0.0/8, 192.0.2.7, 2001:db8::/32)"),
            ),
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        limits: LimitArgs,
    }

    fn settings(arguments: &[&str]) -> (Limits, String) {
        let flags = Flags::parse_from([&["connect-node"], arguments].concat());
        let mut problems = Problems::default();
        let limits = flags.limits.settings(&mut problems, 2);
        (limits, problems.to_string())
    }

    #[test]
    fn what_is_not_given_is_as_documented() {
        let (limits, problems) = settings(&[]);
        assert_eq!(problems, "");
        let expected = Limits { handshakes_per_second: Some(2 * HANDSHAKES_PER_SHARD), ..Limits::default() };
        assert_eq!(format!("{limits:?}"), format!("{expected:?}"));
    }

    #[test]
    fn none_is_no_limit_and_a_single_address_a_network() {
        let (limits, problems) = settings(&[
            "--max-connections-per-address=none",
            "--max-connections-per-user=none",
            "--handshakes-per-second=none",
            "--frames-per-second=none",
            "--bytes-per-second=none",
            "--trusted-proxies=10.0.0.0/8, 192.0.2.7,2001:db8::/32,",
        ]);
        assert_eq!(problems, "");
        assert_eq!(limits.connections_per_address.or(limits.connections_per_user), None);
        assert_eq!(limits.handshakes_per_second.or(limits.frames_per_second), None);
        assert_eq!(limits.bytes_per_second, None);
        let networks: Vec<String> = limits.trusted_proxies.iter().map(IpNet::to_string).collect();
        assert_eq!(networks, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
    }

    #[test]
    fn every_mistake_is_named() {
        let (_, problems) = settings(&[
            "--max-connections-per-address=0",
            "--max-connections-per-user=many",
            "--handshakes-per-second=-1",
            "--frames-per-second=0",
            "--bytes-per-second=1KiB",
            "--max-rooms=0",
            "--max-head=8KiB",
            "--max-url=9KiB",
            "--max-frame=1MiB",
            "--trusted-proxies=10.0.0.0/33,example.com",
        ]);
        for part in [
            "--max-connections-per-address: \"0\" is not between",
            "--max-connections-per-user: \"many\" is not a whole number",
            "--handshakes-per-second: \"-1\"",
            "--frames-per-second: \"0\"",
            "--bytes-per-second: lets 5120 bytes come at once",
            "--max-rooms: \"0\"",
            "--max-url: is more than the 8192 bytes",
            "--trusted-proxies: \"10.0.0.0/33\" is no network",
            "--trusted-proxies: \"example.com\"",
        ] {
            assert!(problems.contains(part), "{part} is missing: {problems}");
        }
    }
}
