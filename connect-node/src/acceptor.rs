//! Accepts clients' sockets and deals them to the shards, one after another.

use std::{io, sync::Arc, time::Duration};

use socket2::SockRef;
use tokio::{net::TcpListener, time};
use tracing::warn;

use crate::{readiness::Admission, shard::thread::ShardHandle};

/// How long to leave the listener alone when the process is out of files: the backlog keeps them waiting.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// Unsent bytes the kernel takes for one socket. Without it the kernel hides megabytes from the outbox's
/// bound (3.9 MB measured), with it 271 KB.
const NOT_SENT_LOWAT: u32 = 128 * 1024;

/// Sets what every accepted socket inherits, and returns the loop that accepts for ever.
pub(crate) fn run(
    listener: std::net::TcpListener,
    shards: Vec<ShardHandle>,
    admission: Arc<Admission>,
) -> io::Result<impl Future<Output = ()> + Send> {
    SockRef::from(&listener).set_tcp_nodelay(true)?;
    SockRef::from(&listener).set_tcp_notsent_lowat(NOT_SENT_LOWAT)?;
    Ok(accept(TcpListener::from_std(listener)?, shards, admission))
}

async fn accept(listener: TcpListener, shards: Vec<ShardHandle>, admission: Arc<Admission>) {
    let mut turns = Turns::default();
    let mut failing = false;
    loop {
        let accepted = listener.accept().await.and_then(|(socket, from)| Ok((socket.into_std()?, from)));
        let (socket, from) = match accepted {
            Ok(accepted) => accepted,
            // The client went away while it waited to be accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!(%error, "Cannot accept clients; trying on.");
                }
                time::sleep(OUT_OF_FILES).await;
                continue;
            }
        };
        failing = false;
        let Some(permit) = admission.permit(from.ip()) else { continue };
        // A shard that is behind is passed over; only if all are, this one waits.
        let offer = |shard: usize, (socket, permit)| shards[shard].try_serve(socket, permit);
        if let Some((socket, permit)) = turns.deal(shards.len(), (socket, permit), offer)
            && !shards[turns.0].serve(socket, permit).await
        {
            return;
        }
    }
}

/// Whose turn it was last.
#[derive(Debug, Default)]
struct Turns(usize);

impl Turns {
    /// Offers an item to each of `shards` once, from the next one on, until one takes it. What nobody takes comes back.
    fn deal<T>(&mut self, shards: usize, item: T, mut offer: impl FnMut(usize, T) -> Option<T>) -> Option<T> {
        let mut left = item;
        for _ in 0..shards {
            self.0 = (self.0 + 1) % shards;
            left = offer(self.0, left)?;
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_gets_as_many_as_the_others() {
        for shards in 1..=8 {
            let (mut turns, mut got) = (Turns::default(), vec![0; shards]);
            for socket in 0..100 * shards {
                let left = turns.deal(shards, socket, |shard, _| {
                    got[shard] += 1;
                    None
                });
                assert_eq!(left, None);
            }
            assert_eq!(got, vec![100; shards]);
        }
    }

    #[test]
    fn a_shard_that_is_behind_is_passed_over_and_nobody_is_asked_twice() {
        let (mut turns, mut asked) = (Turns::default(), Vec::new());
        let left = turns.deal(4, 'a', |shard, socket| {
            asked.push(shard);
            (shard != 3).then_some(socket)
        });
        assert_eq!((left, &asked[..]), (None, &[1, 2, 3][..]));
        asked.clear();
        let left = turns.deal(4, 'b', |shard, socket| {
            asked.push(shard);
            Some(socket)
        });
        assert_eq!((left, &asked[..]), (Some('b'), &[0, 1, 2, 3][..]));
    }
}
