//! Who may ask a process that lets everybody in, because it is for this machine alone.
//!
//! A browser on this machine asks for every site it shows: a foreign page may send requests to loopback, open
//! WebSockets to it, and, by a name of its own that resolves to loopback, even read the answers.

use axum::http::{HeaderMap, header};

/// Whether a request was meant for this machine (its `Host` is a loopback one) and, if a page sent it, by a page
/// of this machine (so is its `Origin`).
pub fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    host.is_some_and(is_loopback) && origin.is_none_or(is_local_origin)
}

fn is_local_origin(origin: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, host)| is_loopback(host))
}

/// `host`, `host:port`, `[v6]:port`.
fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        is_local(&headers)
    }

    #[test]
    fn this_machine_asks_by_its_loopback_names() {
        for host in ["127.0.0.1:9001", "127.8.9.1", "localhost:80", "LocalHost", "[::1]:9001"] {
            assert!(asked(host, None), "{host}");
            assert!(asked(host, Some(&format!("http://{host}"))), "{host}");
        }
        // Another port of this machine is still this machine.
        assert!(asked("127.0.0.1:8000", Some("http://127.0.0.1:9001")));
    }

    #[test]
    fn foreign_pages_and_foreign_names_are_refused() {
        assert!(!asked("evil.example", None) && !asked("10.0.0.1:9001", None) && !asked("[fe80::1]", None));
        for origin in
            ["https://evil.example", "null", "http://127.0.0.1.evil.example", "http://localhost.evil.example"]
        {
            assert!(!asked("127.0.0.1:9001", Some(origin)), "{origin}");
        }
        assert!(!is_local(&HeaderMap::new()));
    }
}
