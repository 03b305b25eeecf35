//! Whose a request is that came through proxies: what `X-Forwarded-For` says, as far as somebody is trusted to say it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A trusted proxy named something that is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The nearest address that is not a trusted proxy's: `peer`, or else the header read from its end, which is what the
/// proxies wrote, and no further than that, since anybody may have written what stands before. Where all are trusted, the
/// farthest one.
pub(super) fn client_of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Result<IpAddr, Malformed> {
    let mut nearest = peer.to_canonical();
    for line in headers.get_all(X_FORWARDED_FOR).iter().rev() {
        for entry in line.as_bytes().rsplit(|byte| *byte == b',') {
            if !is_trusted(nearest, trusted) {
                return Ok(nearest);
            }
            nearest = address_in(entry).ok_or(Malformed)?;
        }
    }
    Ok(nearest)
}

/// Whether an address is one of the proxies. As a socket gives it: IPv4 may come as IPv6.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// An address, as proxies write it: some put brackets around IPv6, and some a port behind.
fn address_in(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(bare).or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> Vec<IpNet> {
        ["10.0.0.0/8", "2001:db8:a::/48"].map(|network| network.parse().expect("a network")).to_vec()
    }

    fn client(peer: &str, lines: &[&str]) -> Result<String, Malformed> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).expect("ASCII"));
        }
        client_of(peer.parse().expect("an address"), &headers, &trusted()).map(|address| address.to_string())
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_is_the_clients() {
        for (lines, expected) in [
            (&["192.0.2.7"][..], "192.0.2.7"),
            (&["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, 10.1.1.1,10.2.2.2"], "192.0.2.7"),
            (&["6.6.6.6, 192.0.2.7 ,\t2001:db8:a::1"], "192.0.2.7"),
            (&["6.6.6.6", "192.0.2.7", "10.1.1.1"], "192.0.2.7"),
            (&["::ffff:192.0.2.7, ::ffff:10.1.1.1"], "192.0.2.7"),
            (&["2001:db8:b::1"], "2001:db8:b::1"),
            (&["192.0.2.7:61234"], "192.0.2.7"),
            (&["[2001:db8:b::1]"], "2001:db8:b::1"),
            (&["[2001:db8:b::1]:61234, 10.0.0.2:80"], "2001:db8:b::1"),
            // All are proxies: the first one speaks for itself.
            (&["10.9.9.9, 10.1.1.1"], "10.9.9.9"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", lines).as_deref(), Ok(expected), "{lines:?}");
            assert_eq!(client("::ffff:10.0.0.1", lines).as_deref(), Ok(expected), "{lines:?}");
        }
    }

    #[test]
    fn who_is_no_proxy_is_not_believed() {
        for lines in [&["192.0.2.7"][..], &["10.1.1.1"], &["nonsense"], &[""]] {
            assert_eq!(client("198.51.100.1", lines).as_deref(), Ok("198.51.100.1"), "{lines:?}");
        }
    }

    #[test]
    fn what_a_proxy_wrote_must_be_an_address_and_what_stands_before_it_need_not() {
        for line in [
            "",
            " ",
            "unknown",
            "192.0.2.7,",
            "192.0.2.7, , 10.1.1.1",
            "192.0.2",
            "192.0.2.7.1",
            "::1%eth0",
            "[::1",
            "192.0.2.7:",
            "192.0.2.7:x",
            "\"192.0.2.7\"",
            "192.0.2.7 10.1.1.1",
            "garbage, 10.1.1.1",
        ] {
            assert_eq!(client("10.0.0.1", &[line]), Err(Malformed), "{line:?}");
        }
        for line in ["unknown, 192.0.2.7", ",,,192.0.2.7", "\u{7f}, 192.0.2.7, 10.1.1.1"] {
            let mut headers = HeaderMap::new();
            let value =
                HeaderValue::from_bytes(line.replace('\u{7f}', "\u{e4}").as_bytes()).expect("visible");
            headers.append(X_FORWARDED_FOR, value);
            let found = client_of("10.0.0.1".parse().expect("an address"), &headers, &trusted());
            assert_eq!(found.map(|address| address.to_string()).as_deref(), Ok("192.0.2.7"), "{line:?}");
        }
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
            any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
            any::<u32>().prop_map(|bits| IpAddr::V4((bits & 0x00ff_ffff | 0x0a00_0000).into())),
        ]
    }

    proptest! {
        /// However the entries are spread over lines, and whatever the client wrote before them.
        #[test]
        fn it_is_as_if_proxies_were_asked_one_after_another(
            entries in prop::collection::vec((address(), any::<bool>(), any::<bool>()), 0..12),
            forged in "[ -~]{0,40}",
        ) {
            let nets = trusted();
            let peer: IpAddr = "10.0.0.1".parse().expect("an address");
            let found = entries.iter().rev().map(|(address, ..)| address.to_canonical()).find(|a| !is_trusted(*a, &nets));
            let mut lines = vec![forged.clone()];
            for (address, port, line) in &entries {
                let text = if *port { SocketAddr::new(*address, 4711).to_string() } else { address.to_string() };
                match lines.last_mut().filter(|_| !line) {
                    Some(last) => *last = format!("{last},{text}"),
                    None => lines.push(text),
                }
            }
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).expect("printable"));
            }
            let got = client_of(peer, &headers, &nets);
            match found {
                Some(found) => prop_assert_eq!(got, Ok(found)),
                // Then what was forged counts, if it can be read.
                None => prop_assert!(got.is_err() || !forged.is_empty()),
            }
        }

        #[test]
        fn nothing_in_a_header_is_too_strange(bytes in prop::collection::vec(0x20_u8..=0xff, 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers: HeaderMap = [(X_FORWARDED_FOR, value)].into_iter().collect();
                let _any = client_of("10.0.0.1".parse().expect("an address"), &headers, &trusted());
            }
        }
    }
}
