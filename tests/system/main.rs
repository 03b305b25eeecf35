//! The whole system: our processes, a real etcd, real sockets. A file is a behaviour, a test a sentence.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]

mod api_keys;
mod api_tls;
mod bad_clients;
mod bad_records;
mod bad_requests;
mod bad_settings;
mod bad_upgrades;
mod bench;
mod command_line;
mod delivery;
mod drain;
mod drain_delay;
mod etcd_outage;
mod failures;
mod fleet_auth;
mod grpc_services;
mod heartbeats;
mod http_gateway;
mod limits;
mod load;
mod membership;
mod metrics;
mod other_clients;
mod over_tls;
mod resume;
mod scene;
mod slow_client;
mod steady_load;
mod storm;
mod strangers;
mod tokens;
