//! Connections of those who have proved themselves. Whoever has not yet is waited for beside the others.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use metrics::counter;
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinError, JoinSet},
    time::{sleep, timeout},
};
use tracing::warn;

use super::{BytesRead, FleetAuth, LinkIo};

/// How long a handshake may take: three round trips of a second each, and a packet lost.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Handshakes under way at most; of more the oldest is given up, so that silent ones keep nobody out. A fleet has tens of
/// managers.
const MAX_HANDSHAKES: usize = 1024;

/// How long to leave the listener alone when the process is out of files.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// Somebody who tries again and again is written down once in this time, with how often it was.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// A listener for links.
#[derive(Debug)]
pub struct Incoming {
    listener: TcpListener,
    auth: FleetAuth,
    /// Counts those who are refused.
    metric: &'static str,
    handshakes: JoinSet<Result<LinkIo, (SocketAddr, io::Error)>>,
    /// The same, the oldest first.
    under_way: VecDeque<AbortHandle>,
    complained: Option<Instant>,
    unsaid: u64,
}

impl Incoming {
    /// Takes connections of `listener` from those whom `auth` lets in; the others are counted in `metric`.
    pub fn new(listener: TcpListener, auth: FleetAuth, metric: &'static str) -> Self {
        Self {
            listener,
            auth,
            metric,
            handshakes: JoinSet::new(),
            under_way: VecDeque::new(),
            complained: None,
            unsaid: 0,
        }
    }

    /// The next one. Errors are of the listener alone, after a pause; it may be asked again. Cancel-safe.
    pub async fn next(&mut self) -> io::Result<LinkIo> {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.join_next() => {
                    if let Some(link) = self.ended(ended) {
                        return Ok(link);
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, from)) => {
                        if let Some(link) = self.begin(socket, from) {
                            return Ok(link);
                        }
                    }
                    Err(error) => {
                        sleep(OUT_OF_FILES).await;
                        return Err(error);
                    }
                },
            }
        }
    }

    fn begin(&mut self, socket: TcpStream, from: SocketAddr) -> Option<LinkIo> {
        // Small frames should not wait for an acknowledgement; without it they are only slower.
        let _ = socket.set_nodelay(true);
        let Some(config) = self.auth.server() else {
            return Some(LinkIo::plain(socket, BytesRead::default()));
        };
        while self.under_way.front().is_some_and(AbortHandle::is_finished) {
            self.under_way.pop_front();
        }
        if self.under_way.len() >= MAX_HANDSHAKES
            && let Some(oldest) = self.under_way.pop_front()
        {
            oldest.abort();
        }
        let handshake = self.handshakes.spawn(async move {
            let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "it did not finish its handshake"));
            let accepted = timeout(HANDSHAKE_TIMEOUT, LinkIo::accept(socket, config)).await;
            accepted.unwrap_or_else(late).map_err(|error| (from, error))
        });
        self.under_way.push_back(handshake);
        None
    }

    fn ended(&mut self, ended: Result<Result<LinkIo, (SocketAddr, io::Error)>, JoinError>) -> Option<LinkIo> {
        match ended {
            Ok(Ok(link)) => Some(link),
            Ok(Err((from, error))) => {
                self.refused(from, &error);
                None
            }
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_cancelled) => None,
        }
    }

    fn refused(&mut self, from: SocketAddr, error: &io::Error) {
        counter!(self.metric).increment(1);
        self.unsaid += 1;
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            warn!(%from, %error, times = self.unsaid, "Somebody who is not of this fleet was refused.");
            self.complained = Some(Instant::now());
            self.unsaid = 0;
        }
    }
}
