//! What push-manager and connect-node share, and nothing else.
//!
//! Read in this order: [`settings`] (flags, variables, all mistakes at once), [`telemetry`] (logs,
//! `/healthz`, `/readyz`, `/metrics`), [`http_server`], [`shutdown`] (drain, then force), [`registry`] (who else is
//! there: the only module that knows etcd), and the small [`id`], [`clock`], [`followed_file`] (keys that change),
//! [`tls`] (certificates that change), [`fleet_auth`] (what proves managers and nodes to each other), [`local_page`] and [`open_doors`].

#[cfg(target_env = "musl")]
mod allocator;
pub mod clock;
pub mod fleet_auth;
pub mod followed_file;
pub mod http_server;
pub mod id;
pub mod local_page;
pub mod open_doors;
pub mod registry;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
