//! TLS of our own listeners and clients, with certificates that change while the process runs.
//!
//! [`identity`] reads certificates and keys from PEM files and says what is wrong with them, [`validity`] how long they are
//! good; [`server`] keeps what listeners show like their files, and [`client_ca`] whose certificates they take; [`accept`] is
//! how a [`Connection`] to one begins, [`incoming`] a listener of such; [`client`] is what our own clients trust and show.
//! Cryptography is rustls with ring, as in the client libraries that bring it anyway.

pub mod accept;
pub mod client;
mod client_ca;
mod connection;
pub(crate) mod handshakes;
pub mod identity;
pub mod incoming;
mod names;
pub mod server;
pub(crate) mod validity;

pub use client_ca::ClientCa;
pub use connection::{Connection, MaybeTls};
pub use identity::Identity;
pub use server::{ServerTls, TlsArgs};
