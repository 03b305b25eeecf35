//! A keys file for managers, and keys made as people make them: with `pushctl key new`.

use std::time::Duration;

use crate::processes::{command, run};

const WITHIN: Duration = Duration::from_secs(20);

/// A file of keys; removed when dropped.
#[derive(Debug)]
pub struct KeysFile(tempfile::NamedTempFile);

impl KeysFile {
    /// One without any key.
    ///
    /// # Panics
    /// If no file can be made.
    #[allow(clippy::new_without_default, reason = "every one is another one")]
    pub fn new() -> Self {
        Self(tempfile::NamedTempFile::new().expect("a temporary file"))
    }

    /// Where it is.
    ///
    /// # Panics
    /// Never: temporary files have names that are UTF-8.
    pub fn path(&self) -> &str {
        self.0.path().to_str().expect("its name is ours")
    }

    /// Adds a key of this name, with these flags of `pushctl key new`; answers with the key.
    ///
    /// # Panics
    /// If it cannot be made.
    pub async fn add(&self, name: &str, flags: &[&str]) -> String {
        let mut command = command("pushctl");
        command.args(["key", "new", "--name", name, "--keys-file", self.path()]).args(flags);
        let made = run(command, WITHIN).await;
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        made.stdout.trim_end().to_owned()
    }

    /// Takes a key out.
    ///
    /// # Panics
    /// If it is not there.
    pub fn remove(&self, name: &str) {
        let text = self.text();
        let field = format!("name={name} ");
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with(&field)).collect();
        assert_eq!(kept.len() + 1, text.lines().count(), "{name} is not in\n{text}");
        self.write(&(kept.join("\n") + "\n"));
    }

    /// What it holds.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.0.path()).expect("it is ours")
    }

    /// Puts a text in place of what it holds.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, text: &str) {
        std::fs::write(self.0.path(), text).expect("it is ours");
    }
}
