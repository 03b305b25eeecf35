//! A client's socket, with or without TLS.

use std::{
    io,
    task::{Context, Poll, Waker},
};

use tokio::net::TcpStream;

use super::{tls::TlsSocket, transport::Transport};

/// What a shard delivers to.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(TcpStream),
    /// Apart, so that plain connections do not pay for its size.
    Tls(Box<TlsSocket>),
}

impl Socket {
    /// Ready when `receive` may find something, at the latest then.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_read_ready(cx),
            Self::Tls(socket) => socket.poll_read_ready(cx),
        }
    }

    /// Whether there may be something to receive though the kernel has nothing.
    pub(super) fn has_unread(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(socket) => socket.has_unread(),
        }
    }

    /// Ready when `send` may be accepted.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => socket.poll_write_ready(cx),
            Self::Tls(socket) => socket.tcp().poll_write_ready(cx),
        }
    }
}

impl Transport for Socket {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.send(bytes),
            Self::Tls(socket) => socket.send(bytes),
        }
    }

    fn committed(&self) -> usize {
        match self {
            Self::Plain(socket) => socket.committed(),
            Self::Tls(socket) => socket.committed(),
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.receive(buffer),
            Self::Tls(socket) => socket.receive(buffer),
        }
    }

    fn wake_when_writable(&self, waker: &Waker) {
        match self {
            Self::Plain(socket) => socket.wake_when_writable(waker),
            Self::Tls(socket) => socket.tcp().wake_when_writable(waker),
        }
    }

    fn finish(&self) {
        match self {
            Self::Plain(socket) => socket.finish(),
            Self::Tls(socket) => socket.finish(),
        }
    }
}
