//! What is read and written, encrypted or not, with what is known of the other end.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};
use tokio_util::either::Either;
use tonic::transport::server::Connected;

/// Bytes of a socket, encrypted or not.
pub type MaybeTls<S = tokio::net::TcpStream> = Either<S, Box<tokio_rustls::TlsStream<S>>>;

/// One end of a connection over `S`; `I` goes with every request that comes on it.
#[derive(Debug)]
pub struct Connection<S, I> {
    io: MaybeTls<S>,
    info: I,
    /// Given back when it ends.
    _place: Option<OwnedSemaphorePermit>,
}

impl<S, I> Connection<S, I> {
    pub(crate) fn new(io: MaybeTls<S>, info: I) -> Self {
        Self { io, info, _place: None }
    }

    /// The same, and `place` is given back when it ends.
    #[must_use]
    pub(crate) fn holding(self, place: OwnedSemaphorePermit) -> Self {
        Self { _place: Some(place), ..self }
    }

    /// What is known of it.
    pub fn info(&self) -> &I {
        &self.info
    }
}

impl<S, I: Clone + Send + Sync + 'static> Connected for Connection<S, I> {
    type ConnectInfo = I;

    fn connect_info(&self) -> I {
        self.info.clone()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, I: Unpin> AsyncRead for Connection<S, I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin, I: Unpin> AsyncWrite for Connection<S, I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
