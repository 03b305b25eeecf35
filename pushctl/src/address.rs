//! Where a process of a fleet listens, and connections to it: encrypted where the address says so.

use std::{io, sync::Arc};

use http::uri::Authority;
use hyper_util::client::legacy::connect::HttpConnector;
use pushcast_common::tls::{MaybeTls, client::spoken_to};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;
use tower_service::Service as _;

/// HTTP/2, as TLS calls it.
pub const H2: &[u8] = b"h2";

/// `http://host:port`, `https://host:port`, or `host:port`, which is the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    authority: Authority,
    is_tls: bool,
}

impl Address {
    /// Reads an address. The error says what is wrong with it, without repeating it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err("only http:// and https:// are spoken".to_owned()),
        };
        let authority: Authority =
            rest.trim_end_matches('/').parse().map_err(|_invalid| "it is no host and port".to_owned())?;
        if authority.as_str().contains('@') {
            return Err("a name and a password are of no use".to_owned());
        }
        match authority.port_u16() {
            Some(_) => Ok(Self { authority, is_tls }),
            None => Err("the port is missing".to_owned()),
        }
    }

    /// `host:port`.
    pub fn as_str(&self) -> &str {
        self.authority.as_str()
    }

    /// Whether TLS is spoken there.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Of several addresses of a name the next is tried while one does not answer.
    async fn connect_plain(&self) -> io::Result<TcpStream> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let uri = format!("http://{}", self.as_str()).parse().map_err(io::Error::other)?;
        let connected = connector.call(uri).await;
        Ok(connected.map_err(|error| innermost(&error))?.into_inner())
    }

    /// Connects, to speak `protocol` (ALPN). `tls` is of use only where TLS is spoken; its absence is an error there.
    pub async fn connect(&self, tls: Option<&Arc<ClientConfig>>, protocol: &[u8]) -> io::Result<MaybeTls> {
        let socket = self.connect_plain().await?;
        if !self.is_tls {
            return Ok(Either::Left(socket));
        }
        let Some(tls) = tls else {
            return Err(io::Error::other("there is nothing to check its certificate against"));
        };
        let host = self.authority.host().trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut config = ClientConfig::clone(tls);
        config.alpn_protocols = vec![protocol.to_vec()];
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
        if protocol == H2 {
            spoken_to(&mut stream).await?;
        }
        Ok(Either::Right(Box::new(stream.into())))
    }
}

/// As the operating system said it, without the words around it.
fn innermost(error: &(dyn std::error::Error + 'static)) -> io::Error {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        };
    }
    error.source().map_or_else(|| io::Error::other(error.to_string()), innermost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_and_may_say_how() {
        for (good, is_tls) in
            [("h:1", false), ("http://h:1/", false), ("https://h:1", true), ("https://[::1]:1", true)]
        {
            assert_eq!(Address::parse(good).unwrap().is_tls(), is_tls, "{good}");
        }
        for bad in
            ["h", "https://h", "ws://h:1", "not an address", "", "http://", "h:1/path", "https://u:p@h:1"]
        {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
