//! What a shard needs of a socket: non-blocking send and receive, and a wake when it accepts again.

use std::{
    io::{self, Read as _},
    net::Shutdown,
    task::{Context, Waker},
};

use socket2::SockRef;
use tokio::{io::Interest, net::TcpStream};

/// A connected, non-blocking byte stream.
pub trait Transport {
    /// Sends what is accepted at once; `WouldBlock` if nothing is.
    fn send(&self, bytes: &[u8]) -> io::Result<usize>;
    /// How many of the bytes that the last send did not accept are on their way all the same: the next send has to begin
    /// with them.
    fn committed(&self) -> usize {
        0
    }
    /// Receives what is there; `WouldBlock` if nothing is, 0 at the end. Less than fits is all there was.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize>;
    /// After a send that was refused: wakes `waker` once the stream accepts again.
    fn wake_when_writable(&self, waker: &Waker);
    /// Tells the peer that nothing more will be sent.
    fn finish(&self);
}

impl Transport for TcpStream {
    /// Straight to the kernel: tokio's own `try_write` costs 5 % of a send for bookkeeping that is only
    /// needed once the socket refuses.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(self).send_with_flags(bytes, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    }

    /// Straight from the kernel: whoever judges a silent client after this node stalled must see what has
    /// come, though tokio may not have been told yet.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = (&*SockRef::from(self)).read(buffer);
        let all = match &received {
            Ok(read) => *read < buffer.len(),
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if all {
            // Clears tokio's idea that there is more to read; the end of the stream it keeps in mind.
            let _ = self.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
        received
    }

    fn wake_when_writable(&self, waker: &Waker) {
        // Clears tokio's idea that the socket is writable, which it keeps since the last event.
        let _ = self.try_io(Interest::WRITABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        // If the socket became writable meanwhile, nobody would be told.
        if self.poll_write_ready(&mut Context::from_waker(waker)).is_ready() {
            waker.wake_by_ref();
        }
    }

    fn finish(&self) {
        // It may be gone already, which is as good.
        let _ = SockRef::from(self).shutdown(Shutdown::Write);
    }
}
