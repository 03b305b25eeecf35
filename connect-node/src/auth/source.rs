//! Where the keys come from, and how they are kept fresh while the node runs.
//!
//! A file is looked at every second. An address is asked every five minutes, and when a client shows a key that is not
//! known. Whatever cannot be used (an unreadable file, HTML in place of keys, a server that is down) leaves the keys
//! as they are and is logged.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use metrics::{counter, gauge};
use pushcast_common::{clock::now_micros, followed_file::FollowedFile};
use tokio::time;
use tracing::{info, warn};

use super::{Jwt, KeySet};

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
    File(FollowedFile),
    /// A JWKS at `http://` or `https://`.
    Address(Uri),
}

/// Keeps the keys like their source, for ever.
pub(crate) async fn follow(source: Source, jwt: Arc<Jwt>) {
    gauge!("connect_node_token_keys").set(jwt.len() as f64);
    match source {
        Source::File(file) => follow_file(file, &jwt).await,
        Source::Address(uri) => follow_address(&uri, &jwt).await,
    }
}

async fn follow_file(mut file: FollowedFile, jwt: &Jwt) {
    loop {
        file.changed().await;
        let path = file.path();
        let read = std::fs::read(path).map_err(|error| error.to_string());
        take(jwt, read.and_then(|bytes| KeySet::from_file(&bytes)), &path.display().to_string());
    }
}

async fn follow_address(uri: &Uri, jwt: &Jwt) {
    // What is behind the path may be a secret.
    let from = uri.to_string().split('?').next().unwrap_or_default().to_owned();
    loop {
        let fetched = time::timeout(FETCH_TIMEOUT, fetch(uri)).await;
        let keys = fetched.unwrap_or_else(|_| Err(format!("no answer within {FETCH_TIMEOUT:?}")));
        let succeeded = take(jwt, keys, &from);
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

async fn fetch(uri: &Uri) -> Result<KeySet, String> {
    // One connection each time: five minutes are longer than most servers keep one.
    let response = if uri.scheme_str() == Some("https") {
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(|error| format!("this machine's certificates cannot be read: {error}"))?;
        let client = Client::builder(TokioExecutor::new())
            .build::<_, Empty<Bytes>>(connector.https_only().enable_http1().build());
        client.get(uri.clone()).await
    } else {
        Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>().get(uri.clone()).await
    };
    let response = response.map_err(|error| with_causes(&error))?;
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
