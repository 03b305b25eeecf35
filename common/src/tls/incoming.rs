//! A listener whose connections are handed out when their handshakes are done. Whoever is not done yet is waited for
//! beside the others.

use std::time::Duration;

use tokio::{net::TcpListener, time::sleep};
use tracing::warn;

use super::{
    accept::{Accepted, Tls},
    handshakes::{Complaints, Handshakes},
};

/// How long to leave the listener alone when the process is out of files.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// Connections to a listener, encrypted or not.
#[derive(Debug)]
pub struct Incoming {
    listener: TcpListener,
    tls: Option<Tls>,
    handshakes: Handshakes<Accepted>,
    complaints: Complaints,
}

impl Incoming {
    /// Takes the connections of `listener`, with TLS if it is to be spoken.
    pub fn new(listener: TcpListener, tls: Option<Tls>) -> Self {
        Self { listener, tls, handshakes: Handshakes::new(), complaints: Complaints::default() }
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) -> Accepted {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.next() => match ended {
                    Ok(accepted) => return accepted,
                    Err((from, error)) => {
                        if let Some(times) = self.complaints.one_more() {
                            warn!(%from, %error, times, "A connection did not come about.");
                        }
                    }
                },
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, from)) => match self.tls.clone() {
                        None => return Accepted::plain(socket, from),
                        tls => self.handshakes.begin(from, Accepted::begin(socket, from, tls)),
                    },
                    Err(error) => {
                        warn!(%error, "Cannot accept connections; trying again.");
                        sleep(OUT_OF_FILES).await;
                    }
                },
            }
        }
    }
}
