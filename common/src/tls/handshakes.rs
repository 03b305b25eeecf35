//! Handshakes that are waited for beside each other.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    task::{AbortHandle, JoinSet},
    time::timeout,
};

/// How long a handshake may take: three round trips of a second each, and a packet lost.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes under way at most; of more the oldest is given up, so that silent ones keep nobody out. A fleet has tens of
/// managers, and a manager's callers keep their connections.
const MAX_HANDSHAKES: usize = 1024;

/// Somebody who tries again and again is written down once in this time, with how often it was.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// The same handshake, which fails if it takes too long.
pub(crate) async fn in_time<T>(handshake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "it did not finish its handshake"));
    timeout(HANDSHAKE_TIMEOUT, handshake).await.unwrap_or_else(late)
}

/// Those of one listener. They end with it.
#[derive(Debug)]
pub(crate) struct Handshakes<T> {
    tasks: JoinSet<Result<T, (SocketAddr, io::Error)>>,
    /// The same, the oldest first.
    under_way: VecDeque<AbortHandle>,
}

impl<T: Send + 'static> Handshakes<T> {
    pub(crate) fn new() -> Self {
        Self { tasks: JoinSet::new(), under_way: VecDeque::new() }
    }

    /// Waits for this one from now on; it bounds its own time.
    pub(crate) fn begin(
        &mut self,
        from: SocketAddr,
        handshake: impl Future<Output = io::Result<T>> + Send + 'static,
    ) {
        if self.under_way.len() >= MAX_HANDSHAKES {
            self.under_way.retain(|task| !task.is_finished());
        }
        if self.under_way.len() >= MAX_HANDSHAKES
            && let Some(oldest) = self.under_way.pop_front()
        {
            oldest.abort();
        }
        let task = self.tasks.spawn(async move { handshake.await.map_err(|error| (from, error)) });
        self.under_way.push_back(task);
    }

    /// The next one that is over; none if none is under way. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Result<T, (SocketAddr, io::Error)>> {
        loop {
            match self.tasks.join_next().await? {
                Ok(ended) => return Some(ended),
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_given_up) => {}
            }
        }
    }
}

/// Those who came to nothing, for the log, at a bounded rate.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    complained: Option<Instant>,
    unsaid: u64,
}

impl Complaints {
    /// One more. How many there were since it was last said, if it is to be said now.
    pub(crate) fn one_more(&mut self) -> Option<u64> {
        self.unsaid += 1;
        if self.complained.is_some_and(|at| at.elapsed() < COMPLAIN_EVERY) {
            return None;
        }
        self.complained = Some(Instant::now());
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    #[tokio::test]
    async fn quick_ones_push_no_slow_one_out() {
        let mut handshakes = Handshakes::new();
        let (done, slow) = tokio::sync::oneshot::channel();
        handshakes.begin(FROM, async move { slow.await.map_err(io::Error::other) });
        for n in 0..2 * MAX_HANDSHAKES {
            handshakes.begin(FROM, async move { Ok(n) });
            assert_eq!(handshakes.next().await.unwrap().unwrap(), n);
        }
        done.send(usize::MAX).unwrap();
        assert_eq!(handshakes.next().await.unwrap().unwrap(), usize::MAX);
        assert!(handshakes.next().await.is_none());
    }

    #[tokio::test]
    async fn of_too_many_the_oldest_is_given_up() {
        let mut handshakes = Handshakes::new();
        for _ in 0..MAX_HANDSHAKES {
            handshakes.begin(FROM, pending());
        }
        handshakes.begin(FROM, async { Ok(1) });
        assert_eq!(handshakes.next().await.unwrap().unwrap(), 1);
        assert_eq!(handshakes.under_way.len(), MAX_HANDSHAKES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_one_is_given_up_in_time() {
        let begun = tokio::time::Instant::now();
        let error = in_time(pending::<io::Result<()>>()).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, HANDSHAKE_TIMEOUT));
    }
}
