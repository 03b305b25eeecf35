//! How managers and nodes prove to each other that they are of one fleet, and keep others from listening.
//!
//! Both ways are TLS 1.3 with proof in both directions. [`key`]: whoever has the fleet's key is of the fleet; nothing else
//! is needed. [`mtls`]: whoever has a certificate of the fleet's authority for its role. [`args`] are the flags,
//! [`incoming`] is the side that is connected to, [`link_io`] what both then read and write.

mod args;
pub mod incoming;
mod key;
mod link_io;
mod mtls;
mod refused;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use metrics::counter;
use rustls::{ClientConfig, ServerConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tracing::{info, warn};

pub use args::FleetArgs;
pub use link_io::{BytesRead, LinkIo};

use crate::{followed_file::follow_together, tls::validity::Validity};

/// What gRPC is called in a TLS handshake.
const ALPN: &[u8] = b"h2";

/// Which side of a link somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Connects to nodes.
    Manager,
    /// Is connected to.
    Node,
}

impl Role {
    /// The program's name, and the name that certificates have unless told otherwise.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manager => "push-manager",
            Self::Node => "connect-node",
        }
    }

    /// What names of its metrics begin with.
    fn component(self) -> &'static str {
        match self {
            Self::Manager => "push_manager",
            Self::Node => "connect_node",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Manager => Self::Node,
            Self::Node => Self::Manager,
        }
    }
}

/// How this process and its peers prove themselves; clones share it. The default lets everybody in, without encryption.
#[derive(Clone, Default)]
pub struct FleetAuth(Option<Arc<Proof>>);

/// The files of one of the ways, and what was last made of them.
struct Proof {
    source: Source,
    current: RwLock<Configs>,
}

/// Where proof comes from.
#[derive(Debug, Clone)]
enum Source {
    Key { role: Role, file: PathBuf },
    Mtls { role: Role, files: mtls::Files },
}

/// What handshakes begin with.
#[derive(Clone)]
struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    /// Whom a client expects.
    peer: ServerName<'static>,
    /// Of the certificate, if one is shown.
    validity: Option<Validity>,
}

impl fmt::Debug for FleetAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.0.as_ref().map(|proof| &proof.source);
        f.debug_tuple("FleetAuth").field(&source).finish()
    }
}

impl Source {
    fn read(&self) -> Result<Configs, BadFile> {
        match self {
            Self::Key { role, file } => key::read(*role, file),
            Self::Mtls { files, .. } => files.read(),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Key { file, .. } => vec![file.clone()],
            Self::Mtls { files, .. } => files.all(),
        }
    }

    fn role(&self) -> Role {
        match self {
            Self::Key { role, .. } | Self::Mtls { role, .. } => *role,
        }
    }
}

/// What is wrong with which flag's file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BadFile {
    flag: &'static str,
    message: String,
}

impl FleetAuth {
    fn new(source: Source) -> Result<Self, BadFile> {
        let current = RwLock::new(source.read()?);
        Ok(Self(Some(Arc::new(Proof { source, current }))))
    }

    /// What a server begins handshakes with now; `None`: it speaks plain.
    pub fn server(&self) -> Option<Arc<ServerConfig>> {
        Some(self.0.as_ref()?.current().server)
    }

    /// Speaks with a node as a manager does, on a connected socket. The error says what the two do not agree on.
    pub async fn connect(&self, socket: TcpStream, read: BytesRead) -> std::io::Result<LinkIo> {
        let Some(proof) = &self.0 else { return Ok(LinkIo::plain(socket, read)) };
        let Configs { client, peer, .. } = proof.current();
        let connected = LinkIo::connect(socket, read, client, peer).await;
        if connected.is_err() {
            let component = proof.source.role().component();
            counter!(format!("{component}_fleet_refused_total")).increment(1);
        }
        connected
    }

    /// Keeps the proof like its files, for ever. What cannot be used leaves it as it is, and is warned of.
    pub async fn follow(self) {
        let Some(proof) = self.0 else { return std::future::pending().await };
        let mut is_first = true;
        let read = || {
            proof.read()?;
            proof.show_validity();
            if !std::mem::take(&mut is_first) {
                info!("What proves this process to its fleet was read anew.");
            }
            Ok(())
        };
        follow_together(&proof.source.files(), read, |BadFile { flag, message }| {
            let text = "The proof for the fleet stays as it is: what is there now cannot be used.";
            warn!(flag, error = message, "{text}");
        })
        .await;
    }
}

impl Proof {
    fn current(&self) -> Configs {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show_validity(&self) {
        if let Some(validity) = self.current().validity {
            validity.show(self.source.role().component(), "fleet");
        }
    }

    fn read(&self) -> Result<(), BadFile> {
        let configs = self.source.read()?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = configs;
        Ok(())
    }
}
