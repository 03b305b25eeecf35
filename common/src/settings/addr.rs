//! `host:port`, and listening on it.

use std::{
    fmt, io,
    net::{IpAddr, TcpListener, ToSocketAddrs},
    str::FromStr,
};

use socket2::SockRef;

/// A host (name or IP address) and a port. Names are looked up when they are used, not here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Addr {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// 0 picks a free port when listening.
    pub port: u16,
}

/// A text that is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not host:port (example: 127.0.0.1:9000)")]
pub struct InvalidAddr(String);

impl Addr {
    /// Whether this is `0.0.0.0` or `[::]`: good to listen on, useless to tell others.
    pub fn is_unspecified(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }

    /// Whether only this machine reaches it. A name other than `localhost` may be any machine's.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Addr {
    type Err = InvalidAddr;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        split(text.trim()).ok_or_else(|| InvalidAddr(text.to_owned()))
    }
}

fn split(text: &str) -> Option<Addr> {
    let (host, port) = text.rsplit_once(':')?;
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let port = port.parse().ok()?;
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let IpAddr::V6(_) = v6.parse().ok()? else { return None };
        return Some(Addr { host: v6.to_owned(), port });
    }
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (!host.is_empty() && host.bytes().all(name)).then(|| Addr { host: host.to_owned(), port })
}

/// An address nobody can listen on now; the text names flag and address, and what may help.
#[derive(Debug, thiserror::Error)]
#[error("{flag}: cannot listen on {addr}{}", self.hint())]
pub struct BindError {
    /// The flag that gave the address.
    pub flag: &'static str,
    /// The address.
    pub addr: Addr,
    /// Why: in use, not ours, not permitted, unknown host.
    pub source: io::Error,
}

impl BindError {
    fn hint(&self) -> String {
        let Self { flag, addr: Addr { host, .. }, source } = self;
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                format!("; another process has this port: stop it, or give another one with {flag}")
            }
            io::ErrorKind::AddrNotAvailable => format!("; {host} is no address of this machine"),
            io::ErrorKind::PermissionDenied => {
                "; ports below 1024 need a privilege: give a higher one".to_owned()
            }
            _ => String::new(),
        }
    }
}

/// Connections that may wait to be accepted. The standard library's 128 overflow when a node's clients all come
/// at once, and who is dropped there tries again after seconds. The kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Listens on an address, ready for tokio (non-blocking, and reusing the port of a predecessor
/// whose connections linger).
pub fn bind(flag: &'static str, addr: &Addr) -> Result<TcpListener, BindError> {
    // The standard library sets SO_REUSEADDR on Unix.
    let bind = || {
        let resolved: Vec<_> = (addr.host.as_str(), addr.port).to_socket_addrs()?.collect();
        let listener = TcpListener::bind(resolved.as_slice())?;
        listener.set_nonblocking(true)?;
        // Listening again only makes the queue longer.
        SockRef::from(&listener).listen(BACKLOG)?;
        Ok(listener)
    };
    bind().map_err(|source| BindError { flag, addr: addr.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_both_ip_versions_are_addresses() {
        for text in ["127.0.0.1:9000", "localhost:0", "node-1.svc_a.local:65535", "[::1]:80", "[::]:0"] {
            assert_eq!(text.parse::<Addr>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "foo",
            ":80",
            "foo:",
            "foo:x",
            "foo:65536",
            "foo:-1",
            "foo:+1",
            "::1:80",
            "[foo]:80",
            "http://a:80",
            "a b:80",
            "a/b:80",
        ] {
            assert!(bad.parse::<Addr>().is_err(), "{bad}");
        }
        assert!("0.0.0.0:1".parse::<Addr>().unwrap().is_unspecified());
        assert!("[::]:1".parse::<Addr>().unwrap().is_unspecified());
        assert!(!"localhost:1".parse::<Addr>().unwrap().is_unspecified());
    }

    #[test]
    fn a_port_in_use_names_flag_and_address() {
        let first = bind("--grpc-addr", &"127.0.0.1:0".parse().unwrap()).unwrap();
        let addr: Addr = first.local_addr().unwrap().to_string().parse().unwrap();
        let error = bind("--http-addr", &addr).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("--http-addr: cannot listen on {addr}; another process")),
            "{error}"
        );
        assert!(bind("--x", &"no-such-host.invalid:1".parse().unwrap()).is_err());
    }
}
