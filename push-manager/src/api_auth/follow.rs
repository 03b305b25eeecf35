//! Keeps the keyring like the file while the manager runs.

use std::{fs, path::Path};

use metrics::counter;
use pushcast_common::followed_file::{FollowedFile, LOOK_EVERY};
use tracing::{info, warn};

use super::{file, keyring::Keyring, proof::Way};

/// Looks at the file for ever, and does `beside` at each look. A file that cannot be used leaves the keys as they are.
/// One without any key is such a file: it can hardly be meant, and cannot be told from one that is being written.
pub(super) async fn follow(mut file: FollowedFile, way: Way, keyring: &Keyring, beside: impl Fn()) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        beside();
        if file.has_changed().await {
            read_anew(file.path(), way, keyring);
        }
    }
}

fn read_anew(path: &Path, way: Way, keyring: &Keyring) {
    let text = fs::read_to_string(path).map_err(|error| vec![error.to_string()]);
    match text.and_then(|text| file::parse(&text, way)) {
        Ok(lines) => {
            count("ok");
            let change = keyring.exchange(lines);
            let super::keyring::Change { keys, added, revoked } = change;
            info!(path = %path.display(), keys, added, revoked, "API keys are read anew.");
        }
        Err(mistakes) => {
            count("failed");
            let error = mistakes.join("; ");
            warn!(path = %path.display(), error, "The API keys stay as they are: the file cannot be used.");
        }
    }
}

fn count(outcome: &'static str) {
    counter!("push_manager_api_keys_reads_total", "outcome" => outcome).increment(1);
}
