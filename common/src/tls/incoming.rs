//! A listener whose connections are handed out when their handshakes are done. Whoever is not done yet is waited for
//! beside the others.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tracing::warn;

use super::{
    accept::{Accepted, Tls},
    handshakes::{Complaints, Handshakes},
};
use crate::http_server::max_connections;

/// How long to leave the listener alone when the process is out of files.
const OUT_OF_FILES: Duration = Duration::from_millis(50);

/// Connections to a listener, encrypted or not.
#[derive(Debug)]
pub struct Incoming {
    listener: TcpListener,
    tls: Option<Tls>,
    places: Arc<Semaphore>,
    handshakes: Handshakes<Accepted>,
    complaints: Complaints,
}

impl Incoming {
    /// Takes the connections of `listener`, with TLS if it is to be spoken; at most as many at once as the HTTP server
    /// does, so that callers who only hold connections leave files for links and probes.
    pub fn new(listener: TcpListener, tls: Option<Tls>) -> Self {
        let places = Arc::new(Semaphore::new(max_connections()));
        Self { listener, tls, places, handshakes: Handshakes::new(), complaints: Complaints::default() }
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) -> Accepted {
        loop {
            tokio::select! {
                Some(ended) = self.handshakes.next() => match ended {
                    Ok(accepted) => return accepted,
                    Err((_, error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err((from, error)) => {
                        if let Some(times) = self.complaints.one_more() {
                            warn!(%from, %error, times, "A connection did not come about.");
                        }
                    }
                },
                accepted = accept(&self.listener, &self.places) => match accepted {
                    Ok((socket, from, place)) => match self.tls.clone() {
                        None => return Accepted::plain(socket, from).holding(place),
                        tls => self.handshakes.begin(from, async move {
                            Ok(Accepted::begin(socket, from, tls).await?.holding(place))
                        }),
                    },
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        if let Some(times) = self.complaints.one_more() {
                            warn!(%error, times, "Cannot accept connections; trying again.");
                        }
                        sleep(OUT_OF_FILES).await;
                    }
                },
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (socket, from) = listener.accept().await?;
    Ok((socket, from, place))
}
