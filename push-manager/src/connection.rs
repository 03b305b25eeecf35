//! Connections to nodes: HTTP/2 over what the fleet's proof allows, whose arriving bytes are counted.

use std::{
    io,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use pushcast_common::fleet_auth::{BytesRead, FleetAuth, LinkIo};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

/// A node that does not accept, and prove itself, within this is tried again later.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Several batches of 256 KiB fit the window of a link, so it does not stand still between two.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const MAX_FRAME: u32 = 1 << 20;

/// Connects to a node, for one link.
pub(crate) async fn connect(
    addr: &str,
    auth: FleetAuth,
    bytes_read: BytesRead,
) -> Result<Channel, tonic::transport::Error> {
    endpoint(addr)?.connect_with_connector(Connector { auth, bytes_read }).await
}

/// A channel that connects when it is used, and again when it has to.
pub(crate) fn lazy(addr: &str, auth: FleetAuth) -> Result<Channel, tonic::transport::Error> {
    Ok(endpoint(addr)?.connect_with_connector_lazy(Connector { auth, bytes_read: BytesRead::default() }))
}

fn endpoint(addr: &str) -> Result<Endpoint, tonic::transport::Error> {
    // TLS, where it is spoken, is the connector's affair.
    Ok(Endpoint::from_shared(format!("http://{addr}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME))
}

#[derive(Clone, Debug)]
struct Connector {
    auth: FleetAuth,
    bytes_read: BytesRead,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<LinkIo>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { auth, bytes_read } = self.clone();
        Box::pin(async move {
            let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
            let connecting = async {
                let stream = TcpStream::connect(authority).await?;
                stream.set_nodelay(true)?;
                auth.connect(stream, bytes_read).await
            };
            let Ok(link) = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await else {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            };
            Ok(TokioIo::new(link?))
        })
    }
}
