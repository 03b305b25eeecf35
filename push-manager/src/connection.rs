//! Connections to nodes: HTTP/2 over TCP whose arriving bytes are counted.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

/// A node that does not accept within this is tried again later.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Several batches of 256 KiB fit the window of a link, so it does not stand still between two.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const MAX_FRAME: u32 = 1 << 20;

/// How many bytes have arrived on a connection.
pub(crate) type BytesRead = Arc<AtomicU64>;

/// Connects to a node, for one link.
pub(crate) async fn connect(addr: &str, bytes_read: BytesRead) -> Result<Channel, tonic::transport::Error> {
    endpoint(addr)?.connect_with_connector(Connector { bytes_read }).await
}

/// A channel that connects when it is used, and again when it has to.
pub(crate) fn lazy(addr: &str) -> Result<Channel, tonic::transport::Error> {
    Ok(endpoint(addr)?.connect_with_connector_lazy(Connector { bytes_read: BytesRead::default() }))
}

fn endpoint(addr: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{addr}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME))
}

#[derive(Clone, Debug)]
struct Connector {
    bytes_read: BytesRead,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Counted>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let bytes_read = Arc::clone(&self.bytes_read);
        Box::pin(async move {
            let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
            let connecting = TcpStream::connect(authority);
            let Ok(stream) = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await else {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            };
            let stream = stream?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(Counted { stream, bytes_read }))
        })
    }
}

/// A TCP stream that counts what it reads.
#[derive(Debug)]
struct Counted {
    stream: TcpStream,
    bytes_read: BytesRead,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let n_read = (buf.filled().len() - before) as u64;
        // Only the link's own task looks at it, now and then: no ordering is needed.
        self.bytes_read.fetch_add(n_read, Ordering::Relaxed);
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
