//! Asks a manager how it is: `GET /v1/nodes` and `GET /metrics` on its HTTP port.

use std::{io, sync::Arc, time::Duration};

use anyhow::anyhow;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use pushcast_proto::pushmanager::v1::ListNodesResponse;
use pushctl::{address::Address, api_key::ApiKey, figures::Sample};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};

use super::super::{
    failures::{WHICH_CERTIFICATE, WHICH_KEY, is_of_tls},
    output::{Misuse, with_tip},
};

/// A manager waits 1 s for nodes that say nothing; one that takes this long does not answer.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// Some ten times what a fleet of a hundred nodes amounts to.
const BODY_LIMIT: usize = 1 << 20;

const WHICH_PORT: &str = "what is wanted is the HTTP port of a push-manager, 9001 by default (its gRPC port is 9000); with TLS it is https://";
const WHICH_MANAGER: &str =
    "`pushctl dev` starts a fleet to try; --http or PUSHCTL_HTTP names another manager's HTTP address";

/// A manager's HTTP port.
#[derive(Debug, Clone)]
pub(super) struct Manager {
    address: Address,
    key: Option<ApiKey>,
    tls: Option<Arc<ClientConfig>>,
}

/// What a manager said at one time.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    pub(super) nodes: ListNodesResponse,
    pub(super) sample: Sample,
}

impl Manager {
    /// The manager at `http://host:port`, `https://host:port`, or `host:port`.
    pub(super) fn new(address: &str) -> Result<Self, Misuse> {
        let bad = |reason: &str| {
            let text = format!(
                "{address}: not the HTTP address of a push-manager ({reason}); give one like host:9001"
            );
            Misuse(text)
        };
        let address = Address::parse(address).map_err(|reason| bad(&reason))?;
        Ok(Self { address, key: None, tls: None })
    }

    /// The same manager, asked with a key.
    pub(super) fn with_key(self, key: Option<ApiKey>) -> Self {
        Self { key, ..self }
    }

    /// The same manager, with what connections begin with if it speaks TLS.
    pub(super) fn with_tls(self, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { tls, ..self }
    }

    /// `host:port`.
    pub(super) fn address(&self) -> &str {
        self.address.as_str()
    }

    /// Asks once. An error says where and why, and carries what to do.
    pub(super) async fn look(&self) -> anyhow::Result<(Instant, Look)> {
        match timeout(LOOK_TIMEOUT, self.ask()).await {
            Ok(looked) => looked,
            Err(_elapsed) => {
                Err(anyhow!("{} does not answer within {} s", self.address(), LOOK_TIMEOUT.as_secs()))
            }
        }
    }

    async fn ask(&self) -> anyhow::Result<(Instant, Look)> {
        let connected = self.address.connect(self.tls.as_ref(), b"http/1.1").await;
        let socket = connected.map_err(|error| self.not_reached(&error))?;
        let (mut sender, connection) =
            handshake(TokioIo::new(socket)).await.map_err(|error| self.no_http(&error))?;
        let both = async {
            let nodes = self.get(&mut sender, "/v1/nodes").await?;
            let metrics = self.get(&mut sender, "/metrics").await?;
            let at = Instant::now();
            let nodes =
                serde_json::from_slice(&nodes).map_err(|error| self.no_manager(&error.to_string()))?;
            let sample = Sample::parse(&String::from_utf8_lossy(&metrics));
            Ok((at, Look { nodes, sample }))
        };
        tokio::pin!(both, connection);
        tokio::select! {
            // The connection first: it knows why a request is cancelled. It may also end right after the last answer.
            biased;
            ended = &mut connection => match ended {
                Ok(()) => both.await,
                Err(error) => Err(self.no_http(&error)),
            },
            looked = &mut both => looked,
        }
    }

    async fn get(&self, sender: &mut SendRequest<Empty<Bytes>>, path: &str) -> anyhow::Result<Bytes> {
        let mut request = http::Request::get(path).header(http::header::HOST, self.address());
        if let Some(key) = &self.key {
            request = request.header(http::header::AUTHORIZATION, key.header());
        }
        let request = request.body(Empty::new())?;
        let response = sender.send_request(request).await.map_err(|error| self.no_http(&error))?;
        if let Some(refused) = self.refused(response.status()) {
            return Err(refused);
        }
        if !response.status().is_success() {
            return Err(self.no_manager(&format!("GET {path} is answered {}", response.status())));
        }
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await;
        Ok(body.map_err(|error| anyhow!("{}: {path} breaks off: {error}", self.address()))?.to_bytes())
    }

    /// What is wrong with the key, if that is it.
    fn refused(&self, status: http::StatusCode) -> Option<anyhow::Error> {
        let address = self.address();
        let what = match (status, &self.key) {
            (http::StatusCode::UNAUTHORIZED, None) if self.address.is_tls() => {
                let error = anyhow!("{address} asks for a key or a certificate that it knows");
                return Some(with_tip(error, format!("{WHICH_KEY}; {WHICH_CERTIFICATE}")));
            }
            (http::StatusCode::UNAUTHORIZED, None) => format!("{address} asks for a key"),
            (http::StatusCode::UNAUTHORIZED, Some(_)) => format!("{address} does not know the key"),
            (http::StatusCode::FORBIDDEN, Some(_)) => {
                format!("{address} does not let the key call ListNodes")
            }
            _ => return None,
        };
        Some(with_tip(anyhow!(what), WHICH_KEY))
    }

    fn not_reached(&self, error: &io::Error) -> anyhow::Error {
        let address = self.address();
        if is_of_tls(error) {
            return with_tip(anyhow!("no TLS connection to {address}: {error}"), WHICH_CERTIFICATE);
        }
        let error = if error.kind() == io::ErrorKind::ConnectionRefused {
            anyhow!("nothing listens at {address}: is a push-manager running there?")
        } else {
            anyhow!("cannot reach a push-manager at {address}: {error}")
        };
        with_tip(error, WHICH_MANAGER)
    }

    fn no_http(&self, error: &hyper::Error) -> anyhow::Error {
        let address = self.address();
        // A request that was queued when the connection failed is cancelled, and why is inside.
        let inside =
            std::error::Error::source(error).and_then(|source| source.downcast_ref::<hyper::Error>());
        if let Some(inside) = inside.filter(|_| error.is_canceled()) {
            return self.no_http(inside);
        }
        let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
        if let Some(error) = source.filter(|error| is_of_tls(error)) {
            return with_tip(anyhow!("no TLS connection to {address}: {error}"), WHICH_CERTIFICATE);
        }
        let is_network = std::error::Error::source(error).is_some_and(|source| source.is::<io::Error>());
        if is_network || error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            return anyhow!("{address} broke the connection off ({error})");
        }
        // An answer that cannot be parsed, or a gRPC server's greeting, which comes without being asked for.
        with_tip(anyhow!("what listens at {address} does not speak HTTP/1.1"), WHICH_PORT)
    }

    fn no_manager(&self, reason: &str) -> anyhow::Error {
        with_tip(anyhow!("{} is no push-manager ({reason})", self.address()), WHICH_PORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["h:1", "http://h:1", "https://h:1/", "[::1]:1"] {
            assert!(Manager::new(good).is_ok(), "{good}");
        }
        for bad in ["h", "ws://h:1", "not an address", "", "http://"] {
            assert!(Manager::new(bad).is_err(), "{bad}");
        }
    }
}
