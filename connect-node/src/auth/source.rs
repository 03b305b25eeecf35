//! Where the keys come from, and how they are kept fresh while the node runs.
//!
//! A file is looked at every second. An address is asked every five minutes, and when a client shows a key that is not
//! known. Whatever cannot be used (an unreadable file, HTML in place of keys, a server that is down) leaves the keys
//! as they are and is logged.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use metrics::{counter, gauge};
use pushcast_common::clock::now_micros;
use tokio::time;
use tracing::{info, warn};

use super::{Jwt, KeySet};

/// How often a file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often an address is asked. Key servers publish a new key long before they sign with it.
const FETCH_EVERY: Duration = Duration::from_secs(300);

/// How long to wait after a failure, and at least between two fetches.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// How long one fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of a JWKS; a thousand RSA keys fit.
const MAX_JWKS: usize = 1 << 20;

/// A file or an address.
#[derive(Debug, Clone)]
pub enum Source {
    /// A secret, PEM or JWKS.
    File(PathBuf),
    /// A JWKS at `http://` or `https://`.
    Address(Uri),
}

/// Keeps the keys like their source, for ever.
pub(crate) async fn follow(source: Source, jwt: Arc<Jwt>) {
    match source {
        Source::File(path) => follow_file(&path, &jwt).await,
        Source::Address(uri) => follow_address(&uri, &jwt).await,
    }
}

async fn follow_file(path: &Path, jwt: &Jwt) {
    let stamp = || -> Option<(SystemTime, u64)> {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len()))
    };
    let mut last = stamp();
    loop {
        time::sleep(LOOK_EVERY).await;
        let now = stamp();
        if now == last {
            continue;
        }
        last = now;
        let read = std::fs::read(path).map_err(|error| error.to_string());
        take(jwt, read.and_then(|bytes| KeySet::from_file(&bytes)), &path.display().to_string());
    }
}

async fn follow_address(uri: &Uri, jwt: &Jwt) {
    let connector = match HttpsConnectorBuilder::new().with_native_roots() {
        Ok(builder) => builder.https_or_http().enable_http1().build(),
        Err(error) => {
            // Then certificates cannot be checked, and no key is taken from anybody.
            warn!(%error, "This machine's certificates cannot be read: no token key can be fetched.");
            return;
        }
    };
    let client = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let fetched = time::timeout(FETCH_TIMEOUT, fetch(&client, uri)).await;
        let keys = fetched.unwrap_or_else(|_| Err(format!("no answer within {FETCH_TIMEOUT:?}")));
        let succeeded = take(jwt, keys, &uri.to_string());
        if succeeded {
            jwt.fetched(now_micros());
        }
        time::sleep(AGAIN_AFTER).await;
        if succeeded {
            tokio::select! {
                () = time::sleep(FETCH_EVERY - AGAIN_AFTER) => {}
                () = jwt.wanted() => {}
            }
        }
    }
}

async fn fetch(
    client: &Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    uri: &Uri,
) -> Result<KeySet, String> {
    let response = client.get(uri.clone()).await.map_err(|error| with_causes(&error))?;
    if response.status() != StatusCode::OK {
        return Err(format!("the answer is {}", response.status()));
    }
    let body = Limited::new(response.into_body(), MAX_JWKS).collect().await;
    let body = body.map_err(|error| format!("the answer cannot be read: {error}"))?.to_bytes();
    KeySet::from_jwks(&body, false)
}

/// Takes keys that could be read. Whether they could.
fn take(jwt: &Jwt, keys: Result<KeySet, String>, from: &str) -> bool {
    let outcome = if keys.is_ok() { "ok" } else { "failed" };
    counter!("connect_node_token_key_reads_total", "outcome" => outcome).increment(1);
    match keys {
        Ok(keys) => {
            gauge!("connect_node_token_keys").set(keys.len() as f64);
            info!(from, keys = keys.len(), "Token keys are read.");
            jwt.replace(keys);
            true
        }
        Err(error) => {
            warn!(from, error, "The token keys stay as they are: what is there now cannot be used.");
            false
        }
    }
}

/// An error with what it came from, which is where the reason is.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
