//! TLS of our own listeners, with certificates that change while the process runs.
//!
//! [`identity`] reads a certificate and its key from PEM files and says what is wrong with them; [`server`] keeps what
//! listeners show like their files; [`client`] is what our own clients trust. Cryptography is rustls with ring, as in the client libraries that bring it anyway.

pub mod client;
pub mod identity;
pub mod server;

pub use identity::Identity;
pub use server::{ServerTls, TlsArgs};
