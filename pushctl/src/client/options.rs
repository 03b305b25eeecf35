//! What a client can ask for.

use std::sync::Arc;

use pushcast_proto::client::v1::Resume;

use rustls::ClientConfig;

use crate::format::Format;

/// Where the data of the connect frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConnectBy {
    /// In a first frame.
    #[default]
    Frame,
    /// In the URL, as the simplest clients do it. Resuming is not for them.
    Url,
}

/// What a client wants. `Options::new(url)` asks for nothing but the connection.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The node, such as `ws://127.0.0.1:8000/ws` or `wss://push.example.com/ws`.
    pub url: String,
    /// Further nodes of the fleet, for a session to go to when this one is lost. A single connection uses none.
    pub urls: Vec<String>,
    /// Tenant; empty is the default one.
    pub app: String,
    /// Who the client is; empty: the node gives it a name.
    pub user_id: String,
    /// A credential; may be empty.
    pub token: String,
    /// Rooms to enter. After a good resume the rooms are the ticket's instead.
    pub rooms: Vec<String>,
    /// Continues an earlier connection; only [`ConnectBy::Frame`] can carry it. A session resumes by itself, and
    /// takes this for what an earlier session knew.
    pub resume: Option<Resume>,
    /// Wire format.
    pub format: Format,
    /// By frame or by URL.
    pub by: ConnectBy,
    /// What the certificates of `wss://` nodes are checked against; none: those of this machine.
    pub tls: Option<Arc<ClientConfig>>,
    /// Show a message every time it comes, where the contract has clients drop repeats.
    pub keep_repeats: bool,
}

impl Options {
    /// Asks for nothing but a connection to this node.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}
