//! The ordered bytes waiting for one socket.
//!
//! Straight to the socket while it accepts; what it does not accept stays, in order. Owns where the frame
//! begun ends, so that a slow connection can be closed without cutting a frame. Takes every byte it is
//! given: the caller checks `len` against its bound afterwards. Empty, it owns no memory.

use std::io::{self, Write};

use super::transport::Transport;

/// Queued bytes below which moving them to the front is not worth it.
const COMPACT_FROM: usize = 64 * 1024;

/// Bytes for one socket, made of whole WebSocket frames except for what of the first one was sent.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: Vec<u8>,
    head: usize,
    /// Bytes at the front of the queue that end the frame of which a part was sent.
    begun: usize,
}

impl Outbox {
    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.queue.len() - self.head
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held for this socket.
    pub fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    /// Sends whole frames behind everything that waits. True if some of it has to wait.
    pub fn send(&mut self, transport: &impl Transport, frames: &[u8]) -> io::Result<bool> {
        if !self.is_empty() {
            self.queue.extend_from_slice(frames);
            return Ok(true);
        }
        let sent = match transport.send(frames) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if sent == frames.len() {
            return Ok(false);
        }
        self.queue.extend_from_slice(&frames[sent..]);
        self.begun = rest_of_frame(frames, sent);
        Ok(true)
    }

    /// Queues whole frames without trying to send.
    pub fn push(&mut self, frames: &[u8]) {
        self.queue.extend_from_slice(frames);
    }

    /// Sends what waits. Returns how many bytes went.
    pub fn flush(&mut self, transport: &impl Transport) -> io::Result<usize> {
        let mut total = 0;
        while !self.is_empty() {
            match transport.send(&self.queue[self.head..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    self.consume(sent);
                    total += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    /// Drops everything but the rest of the frame begun, and of those that the transport is committed to.
    pub fn drop_unbegun(&mut self, transport: &impl Transport) {
        let queued = &self.queue[self.head..];
        let kept = match transport.committed().checked_sub(self.begun) {
            Some(more) => self.begun + more + rest_of_frame(&queued[self.begun..], more),
            None => self.begun,
        };
        self.queue.truncate(self.head + kept);
        self.queue.shrink_to_fit();
    }

    fn consume(&mut self, sent: usize) {
        let queued = &self.queue[self.head..];
        self.begun = if sent < self.begun {
            self.begun - sent
        } else {
            rest_of_frame(&queued[self.begun..], sent - self.begun)
        };
        self.head += sent;
        if self.head == self.queue.len() {
            *self = Self::default();
        } else if self.head > COMPACT_FROM && self.head > self.queue.len() / 2 {
            self.queue.drain(..self.head);
            self.head = 0;
        }
    }
}

/// What tungstenite writes: control frames, each whole in one write. It must never be refused or cut short,
/// or deliveries would be cut into its frames.
impl Write for Outbox {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Of `frames`, whole ones back to back, `sent` bytes are gone: how many more end the frame begun.
fn rest_of_frame(frames: &[u8], sent: usize) -> usize {
    let mut end = 0;
    while end < sent {
        end += frame_len(&frames[end..]);
    }
    end - sent
}

/// Length of an unmasked frame, header included (RFC 6455, 5.2).
fn frame_len(frame: &[u8]) -> usize {
    let number = |bytes: &[u8]| bytes.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
    match frame[1] {
        126 => 4 + number(&frame[2..4]),
        127 => 10 + number(&frame[2..10]),
        len => 2 + usize::from(len),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, task::Waker};

    use proptest::prelude::*;

    use super::*;

    /// A peer that accepts so many bytes at each send and remembers them.
    struct Peer {
        accepts: RefCell<Vec<usize>>,
        got: RefCell<Vec<u8>>,
    }

    impl Transport for Peer {
        fn send(&self, bytes: &[u8]) -> io::Result<usize> {
            let n = self.accepts.borrow_mut().pop().unwrap_or(0).min(bytes.len());
            if n == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.got.borrow_mut().extend_from_slice(&bytes[..n]);
            Ok(n)
        }
        fn receive(&self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn wake_when_writable(&self, _: &Waker) {}
        fn finish(&self) {}
    }

    fn frame(len: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        super::super::frames::put_header(&mut frame, 0x2, len);
        frame.resize(frame.len() + len, 7);
        frame
    }

    fn whole_frames(mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let len = if bytes.len() < 2 { usize::MAX } else { frame_len(bytes) };
            if len > bytes.len() {
                return false;
            }
            bytes = &bytes[len..];
        }
        true
    }

    proptest! {
        #[test]
        fn bytes_stay_in_order_and_a_drop_never_cuts_a_frame(
            lens in prop::collection::vec(prop_oneof![0_usize..200, 60_000_usize..70_000], 1..8),
            accepts in prop::collection::vec(0_usize..40_000, 0..40),
        ) {
            let peer = Peer { accepts: RefCell::new(accepts), got: RefCell::default() };
            let mut outbox = Outbox::default();
            let mut all = Vec::new();
            for len in lens {
                let frame = frame(len);
                outbox.send(&peer, &frame).expect("the peer has no errors");
                all.extend_from_slice(&frame);
                outbox.flush(&peer).expect("the peer has no errors");
            }
            prop_assert_eq!(&*peer.got.borrow(), &all[..peer.got.borrow().len()]);
            prop_assert_eq!(peer.got.borrow().len() + outbox.len(), all.len());
            outbox.drop_unbegun(&peer);
            outbox.push(&frame(3));
            *peer.accepts.borrow_mut() = vec![usize::MAX];
            outbox.flush(&peer).expect("the peer has no errors");
            prop_assert!(outbox.is_empty());
            prop_assert!(whole_frames(&peer.got.borrow()));
            prop_assert_eq!(outbox.capacity(), 0);
        }
    }
}
