//! Keeps the keyring like the file while the manager runs.

use std::{fs, path::Path, time::Duration};

use tracing::{info, warn};

use super::{
    file::{self, Stamp, stamp},
    keyring::Keyring,
};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file that changes from one look to the next is still being written: the keys that are not there yet must not be
/// revoked for that.
const SETTLED_AFTER: Duration = Duration::from_millis(100);

/// Looks at the file for ever, and does `beside` at each look. A file that cannot be used leaves the keys as they are.
/// One without any key is such a file: it can hardly be meant, and cannot be told from one that is being written.
pub(super) async fn follow(path: &Path, first: Stamp, keyring: &Keyring, beside: impl Fn()) {
    let mut last = first;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        beside();
        let mut now = stamp(path);
        if now == last {
            continue;
        }
        loop {
            tokio::time::sleep(SETTLED_AFTER).await;
            let then = std::mem::replace(&mut now, stamp(path));
            if then == now {
                break;
            }
        }
        last = now;
        read_anew(path, keyring);
    }
}

fn read_anew(path: &Path, keyring: &Keyring) {
    let text = fs::read_to_string(path).map_err(|error| vec![error.to_string()]);
    match text.and_then(|text| file::parse(&text)) {
        Ok(lines) => {
            let change = keyring.exchange(lines);
            let super::keyring::Change { keys, added, revoked } = change;
            info!(path = %path.display(), keys, added, revoked, "API keys are read anew.");
        }
        Err(mistakes) => {
            let error = mistakes.join("; ");
            warn!(path = %path.display(), error, "The API keys stay as they are: the file cannot be used.");
        }
    }
}
