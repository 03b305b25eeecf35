//! A connection's own task: reads when the socket has something, sends when it accepts again.
//!
//! Owns nothing but the key of its connection; ends when the shard has let go of it.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use super::{slab::SlabKey, state::Now, thread::Core, transport::Transport as _};

pub(super) struct ConnectionTask {
    core: Rc<Core>,
    key: SlabKey,
}

impl ConnectionTask {
    pub(super) fn new(core: Rc<Core>, key: SlabKey) -> Self {
        Self { core, key }
    }
}

impl Future for ConnectionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let begun = Instant::now();
        let poll = poll_connection(&this.core, this.key, this.core.clock.at(begun), cx);
        this.core.crowd.spend(begun.elapsed());
        this.core.wake_to_flush();
        poll
    }
}

fn poll_connection(core: &Core, key: SlabKey, now: Now, cx: &mut Context<'_>) -> Poll<()> {
    let mut shard = core.shard.borrow_mut();
    let Some(connection) = shard.connections.get_mut(key) else { return Poll::Ready(()) };
    if connection.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
        connection.waker = Some(cx.waker().clone());
    }
    loop {
        let Some(connection) = shard.connections.get_mut(key) else { return Poll::Ready(()) };
        if connection.outbox.is_empty() {
            break;
        }
        match connection.transport.poll_write_ready(cx) {
            Poll::Pending => break,
            Poll::Ready(_) => {
                let before = connection.outbox.len();
                if !shard.writable(key, now) {
                    return Poll::Ready(());
                }
                let Some(connection) = shard.connections.get_mut(key) else { return Poll::Ready(()) };
                if connection.outbox.len() == before {
                    // The socket refused: forget tokio's idea that it is writable, and ask again.
                    connection.transport.wake_when_writable(cx.waker());
                    break;
                }
            }
        }
    }
    let Some(connection) = shard.connections.get_mut(key) else { return Poll::Ready(()) };
    if !core.crowd.may_go_on(key, &mut connection.waits) {
        core.wake();
        return Poll::Pending;
    }
    loop {
        let Some(connection) = shard.connections.get_mut(key) else { return Poll::Ready(()) };
        match connection.transport.poll_read_ready(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(_) => {
                let more = shard.read(key, now);
                let Some(connection) = shard.connections.get_mut(key) else { return Poll::Ready(()) };
                if more || connection.transport.has_unread() {
                    // It has more than its turn allows: let others go first.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }
}
