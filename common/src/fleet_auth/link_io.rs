//! The bytes of a link, encrypted or not, and how many have come.
//!
//! A peer is alive while bytes come: on a slow link one batch may take many seconds, in which no whole frame
//! arrives. Counting frames would take such a link down again and again.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::either::Either;

use super::refused::explained;
use crate::tls::{Connection, client::spoken_to};

/// How many bytes a connection has read so far; clones count the same.
#[derive(Debug, Clone, Default)]
pub struct BytesRead(Arc<AtomicU64>);

impl BytesRead {
    /// The number now.
    pub fn get(&self) -> u64 {
        // Only the link's own task looks at it, now and then: no ordering is needed.
        self.0.load(Ordering::Relaxed)
    }
}

/// One end of a link.
pub type LinkIo = Connection<Counted, BytesRead>;

impl LinkIo {
    pub(super) fn plain(socket: TcpStream, read: BytesRead) -> Self {
        Self::new(Either::Left(Counted { socket, read: read.clone() }), read)
    }

    pub(super) async fn connect(
        socket: TcpStream,
        read: BytesRead,
        config: Arc<ClientConfig>,
        peer: ServerName<'static>,
    ) -> io::Result<Self> {
        let counted = Counted { socket, read: read.clone() };
        let mut stream = TlsConnector::from(config).connect(peer, counted).await.map_err(explained)?;
        spoken_to(&mut stream).await.map_err(explained)?;
        Ok(Self::new(Either::Right(Box::new(stream.into())), read))
    }

    pub(super) async fn accept(socket: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let read = BytesRead::default();
        let counted = Counted { socket, read: read.clone() };
        let stream = TlsAcceptor::from(config).accept(counted).await.map_err(explained)?;
        Ok(Self::new(Either::Right(Box::new(stream.into())), read))
    }
}

/// A socket that counts what it reads; beneath TLS, where a record of 16 KiB may take its time as well.
#[derive(Debug)]
pub struct Counted {
    socket: TcpStream,
    read: BytesRead,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.socket).poll_read(cx, buffer));
        let read = buffer.filled().len() - before;
        self.read.0.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
