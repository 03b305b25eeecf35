//! A file of keys that may change while the process runs.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

/// How often a followed file is to be looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks at files that cannot be used before that is said: several may be exchanged one after the other. As many seconds.
pub(crate) const LOOKS_BEFORE_COMPLAINT: u32 = 3;

/// A file that changes from one look to the next is still being written.
const SETTLED_AFTER: Duration = Duration::from_millis(100);

/// A file, and how it was when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowedFile {
    path: PathBuf,
    last: Stamp,
}

/// What tells that a file was written, exchanged, or given other rights; `None` if there is none to be seen. The time
/// of change is the kernel's, so a copy that keeps the time of the original is seen as well.
type Stamp = Option<[i64; 7]>;

impl FollowedFile {
    /// Every change from now on is seen: to be made before the file is read.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { last: stamp(&path), path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has changed since the last look. Waits until it stands still.
    pub async fn has_changed(&mut self) -> bool {
        let mut now = stamp(&self.path);
        if now == self.last {
            return false;
        }
        loop {
            sleep(SETTLED_AFTER).await;
            let then = std::mem::replace(&mut now, stamp(&self.path));
            if then == now {
                break;
            }
        }
        self.last = now;
        true
    }

    /// Resolves when it has changed.
    pub async fn changed(&mut self) {
        loop {
            sleep(LOOK_EVERY).await;
            if self.has_changed().await {
                return;
            }
        }
    }
}

/// Follows files that belong together, for ever. `read` is called at once, since they may have changed after they were
/// read first; then whenever one of them has changed, and at the next looks as long as it fails. Its last failure goes to
/// `give_up`.
pub(crate) async fn follow_together<E>(
    paths: &[PathBuf],
    mut read: impl FnMut() -> Result<(), E>,
    give_up: impl Fn(E),
) {
    let mut files: Vec<_> = paths.iter().map(FollowedFile::new).collect();
    let mut failed_looks = Some(0);
    loop {
        for file in &mut files {
            if file.has_changed().await {
                failed_looks = Some(0);
            }
        }
        failed_looks = match failed_looks.map(|looks| (looks, read())) {
            None | Some((_, Ok(()))) => None,
            Some((looks, Err(_))) if looks < LOOKS_BEFORE_COMPLAINT => Some(looks + 1),
            Some((_, Err(error))) => {
                give_up(error);
                None
            }
        };
        sleep(LOOK_EVERY).await;
    }
}

fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    let (device, inode, len) = (file.dev() as i64, file.ino() as i64, file.len() as i64);
    Some([device, inode, len, file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()])
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[tokio::test]
    async fn every_kind_of_change_is_seen_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        let mut file = FollowedFile::new(&path);
        assert!(!file.has_changed().await);
        fs::write(&path, "one").unwrap();
        assert!(file.has_changed().await, "it is there");
        assert!(!file.has_changed().await);
        // As `cp -p` and `rsync -t` do it: as long as before, and as old.
        let before = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "two").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        assert!(file.has_changed().await, "the time was put back");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(file.has_changed().await, "it may be readable now");
        fs::write(directory.path().join("new"), "two").unwrap();
        fs::rename(directory.path().join("new"), &path).unwrap();
        assert!(file.has_changed().await, "it is another file");
        fs::remove_file(&path).unwrap();
        assert!(file.has_changed().await, "it is gone");
        assert!(!file.has_changed().await);
    }
}
