//! Reaching etcd: one endpoint at a time, every wait bounded.

use std::{future::Future, sync::Arc, time::Duration};

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::time::{Instant, sleep, timeout};

use super::{Etcd, EtcdSettings, EtcdTls, health::Part};

/// A connection that is not up in this time is tried elsewhere; TLS and a login are included twice over.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// The longest any single answer may take; etcd itself gives up on a request after 5 s or so.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// etcd ends connections that are pinged more often than every 5 s.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_LIMIT: Duration = Duration::from_secs(3);

const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// After this long without a failure the delays start small again.
const CALM: Duration = Duration::from_secs(10);

/// Why talking to etcd came to an end.
#[derive(Debug, thiserror::Error)]
pub(super) enum EtcdError {
    /// Boxed, because a gRPC status is large and this travels in every result.
    #[error("{0}")]
    Client(Box<etcd_client::Error>),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("etcd ended the {0}")]
    Ended(&'static str),
    #[error("etcd cancelled the watch: {0}")]
    Cancelled(String),
    #[error("the revision to watch from is compacted")]
    Compacted,
    #[error("etcd went back from revision {from} to {to}: it was wiped or restored")]
    WentBack { from: i64, to: i64 },
}

impl From<etcd_client::Error> for EtcdError {
    fn from(error: etcd_client::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

impl EtcdError {
    /// Whether etcd answered and refused us (login, permission): trying on is unlikely to help until
    /// somebody changes something, so it deserves a line of its own in the log.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Client(error) if is_refusal(error))
    }
}

/// The refusals among etcd's errors, by their gRPC codes' numbers: nothing else here needs tonic.
fn is_refusal(error: &etcd_client::Error) -> bool {
    const INVALID_ARGUMENT: i32 = 3;
    const PERMISSION_DENIED: i32 = 7;
    const FAILED_PRECONDITION: i32 = 9;
    const UNAUTHENTICATED: i32 = 16;
    let etcd_client::Error::GRpcStatus(status) = error else { return false };
    let refusals = [INVALID_ARGUMENT, PERMISSION_DENIED, FAILED_PRECONDITION, UNAUTHENTICATED];
    refusals.contains(&(status.code() as i32))
}

/// One task's way to etcd: where it tries next, how long it waits, and its share of the health.
pub(super) struct Connector {
    etcd: Arc<Etcd>,
    next_endpoint: usize,
    delay: Duration,
    last_failure: Option<Instant>,
    health: Part,
}

impl Connector {
    pub(super) fn new(etcd: &Arc<Etcd>) -> Self {
        // A random start spreads a fleet over etcd's members.
        let next_endpoint = rand::random_range(0..etcd.settings.endpoints.len().max(1));
        let health = Part::new(&etcd.health);
        Self { etcd: Arc::clone(etcd), next_endpoint, delay: FIRST_DELAY, last_failure: None, health }
    }

    pub(super) fn settings(&self) -> &EtcdSettings {
        &self.etcd.settings
    }

    /// A client of the endpoint whose turn it is, logged in if there is a user. It says nothing about
    /// etcd being there: without a user nothing is sent yet.
    pub(super) async fn connect(&self) -> Result<Client, EtcdError> {
        let settings = self.settings();
        let turn = self.next_endpoint % settings.endpoints.len().max(1);
        let endpoint = settings.endpoints.get(turn).map_or("", String::as_str);
        within(2 * CONNECT_LIMIT, Client::connect([endpoint], Some(options(settings, endpoint)))).await
    }

    /// To be called when etcd did what was asked.
    pub(super) fn worked(&mut self) {
        self.health.worked();
    }

    /// Notes the failure, waits (full jitter, growing), and moves on to the next endpoint.
    pub(super) async fn failed(&mut self, error: &EtcdError) {
        self.health.failed(error);
        self.next_endpoint = self.next_endpoint.wrapping_add(1);
        self.pause().await;
    }

    /// Waits as after a failure, without calling it one.
    pub(super) async fn pause(&mut self) {
        // A connection that works for a moment and breaks again must not be tried ever faster.
        let calm = self.last_failure.is_none_or(|last| last.elapsed() > CALM);
        self.delay = if calm { 2 * FIRST_DELAY } else { (2 * self.delay).min(LONGEST_DELAY) };
        sleep(rand::random_range(FIRST_DELAY..=self.delay)).await;
        self.last_failure = Some(Instant::now());
    }
}

fn options(settings: &EtcdSettings, endpoint: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(CONNECT_LIMIT)
        .with_keep_alive(PING_EVERY, PING_LIMIT)
        .with_keep_alive_while_idle(true)
        // A member cut off from its cluster ends our streams instead of going quiet.
        .with_require_leader(true);
    if let Some(user) = &settings.user {
        options = options.with_user(&user.name, &user.password);
    }
    match &settings.tls {
        Some(tls) if endpoint.starts_with("https://") => options.with_tls(tls_options(tls)),
        _ => options,
    }
}

fn tls_options(tls: &EtcdTls) -> TlsOptions {
    let options = match &tls.ca {
        Some(ca) => TlsOptions::new().ca_certificate(Certificate::from_pem(ca)),
        None => TlsOptions::new().with_enabled_roots(),
    };
    match &tls.identity {
        Some((cert, key)) => options.identity(Identity::from_pem(cert, key)),
        None => options,
    }
}

/// Bounds one answer of etcd's.
pub(super) async fn answer<T>(
    request: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, EtcdError> {
    within(ANSWER_LIMIT, request).await
}

async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, EtcdError> {
    match timeout(limit, request).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(EtcdError::Silent(limit)),
    }
}
