//! Who may call: `--api-auth keys|mtls`.
//!
//! The path of a call: the [`door`] (gRPC) or the gateway (HTTP) asks [`callers`] before a body is read; the key that
//! was sent, or the names of the certificate that was shown, are looked up in the [`keyring`] as a [`proof`]; what the
//! [`line`](mod@line) allows goes with the call as a [`Caller`](callers::Caller), which is asked again when the app and the content are known. [`follow`] keeps the
//! keyring like the [`file`](mod@file); [`args`] are the flags. Where everybody may call nothing of it is on the path.
//!
//! Nothing here logs a key or content: [`audit`] tells the caller's name, its peer and what was asked for.

pub mod apps;
pub(crate) mod args;
mod audit;
mod bucket;
pub(crate) mod callers;
pub(crate) mod denied;
pub(crate) mod door;
pub mod file;
mod follow;
mod key;
mod keyring;
pub mod line;
pub mod method;
pub mod proof;
pub mod secret;
