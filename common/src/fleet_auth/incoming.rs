//! Connections of those who have proved themselves. Whoever has not yet is waited for beside the others.

use std::{io, net::SocketAddr, time::Duration};

use metrics::counter;
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tracing::warn;

use super::{BytesRead, FleetAuth, LinkIo};
use crate::tls::handshakes::{Complaints, Handshakes, in_time};

/// How long to leave the listener alone when the process is out of files.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// A listener for links.
#[derive(Debug)]
pub struct Incoming {
    listener: TcpListener,
    auth: FleetAuth,
    /// Counts those who are refused.
    metric: &'static str,
    handshakes: Handshakes<LinkIo>,
    complaints: Complaints,
}

impl Incoming {
    /// Takes connections of `listener` from those whom `auth` lets in; the others are counted in `metric`.
    pub fn new(listener: TcpListener, auth: FleetAuth, metric: &'static str) -> Self {
        Self { listener, auth, metric, handshakes: Handshakes::new(), complaints: Complaints::default() }
    }

    /// The next one. Errors are of the listener alone, after a pause; it may be asked again. Cancel-safe.
    pub async fn next(&mut self) -> io::Result<LinkIo> {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.next() => match ended {
                    Ok(link) => return Ok(link),
                    Err((from, error)) => self.refused(from, &error),
                },
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
        self.handshakes.begin(from, in_time(LinkIo::accept(socket, config)));
        None
    }

    fn refused(&mut self, from: SocketAddr, error: &io::Error) {
        counter!(self.metric).increment(1);
        if let Some(times) = self.complaints.one_more() {
            warn!(%from, %error, times, "Somebody who is not of this fleet was refused.");
        }
    }
}
