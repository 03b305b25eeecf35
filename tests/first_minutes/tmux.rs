//! A terminal with a shell in it, of whatever size and kind: tmux, whose screen can be read.

use std::{
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use pushcast_tests::{eventually::eventually, processes::command};
use tempfile::TempDir;

/// Longer than anything takes that shows on a screen.
const WITHIN: Duration = Duration::from_secs(30);

/// What the shell says when it waits for a command; nothing of ours ends a line so.
const PROMPT: &str = "ready>";

/// A terminal. It ends, with what runs in it, when dropped.
#[derive(Debug)]
pub(crate) struct Tmux {
    server: String,
    /// Where tmux has its socket, and the shell its home.
    dir: TempDir,
    /// Commands started.
    commands: AtomicU32,
}

impl Tmux {
    /// Opens a terminal of this size with a shell, and waits for its prompt. `$pushctl` is our binary.
    pub(crate) async fn open(columns: u16, rows: u16) -> Self {
        static OPENED: AtomicU32 = AtomicU32::new(0);
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let server = format!("pushcast-{}-{number}", std::process::id());
        let tmux = Self { server, dir: TempDir::new().unwrap(), commands: AtomicU32::new(0) };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let shell = ["bash", "--noprofile", "--norc"];
        let size = ["-x", &columns, "-y", &rows];
        tmux.run(&[&["-f", "/dev/null", "new-session", "-d"][..], &size, &shell].concat());
        tmux.shows("the shell waits", |screen| screen.trim_end().ends_with(PROMPT)).await;
        tmux
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-u", "-L", &self.server])
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("TMUX_TMPDIR", self.dir.path())
            .env("LANG", "C.UTF-8")
            .env("PS1", PROMPT)
            .env("pushctl", pushctl())
            .output()
            .expect("tmux is installed; tests/install.sh does it");
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types a line.
    pub(crate) fn enter(&self, line: &str) {
        self.run(&["send-keys", "-l", line]);
        self.press("Enter");
    }

    /// Presses a key by tmux' name for it.
    pub(crate) fn press(&self, key: &str) {
        self.run(&["send-keys", key]);
    }

    /// Types a command, waits until it has ended, and hands out its exit code.
    pub(crate) async fn finish(&self, line: &str) -> i32 {
        self.start(line);
        self.ended().await
    }

    /// Types a command whose end [`Tmux::ended`] waits for.
    pub(crate) fn start(&self, line: &str) {
        let number = self.commands.fetch_add(1, Ordering::Relaxed) + 1;
        // What is typed is not what is printed.
        self.enter(&format!("{line}; echo \"end\"{number}:$?:"));
    }

    /// The exit code of the last command started.
    pub(crate) async fn ended(&self) -> i32 {
        let mark = format!("end{}:", self.commands.load(Ordering::Relaxed));
        let screen = self.has(&[&mark]).await;
        let code = screen.rsplit_once(&mark).and_then(|(_, after)| after.split(':').next());
        code.and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{screen}"))
    }

    /// What is on the screen, line by line, without blanks at their ends; lines that only wrap are one.
    pub(crate) fn screen(&self) -> String {
        self.run(&["capture-pane", "-p", "-J"]).lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    /// The lines as the terminal has them, wrapped.
    pub(crate) fn rows(&self) -> Vec<String> {
        self.run(&["capture-pane", "-p"]).lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// The screen with its colours, as escape sequences.
    pub(crate) fn painted(&self) -> String {
        self.run(&["capture-pane", "-p", "-e"])
    }

    /// One of tmux' variables of the terminal, such as `cursor_flag`.
    pub(crate) fn variable(&self, name: &str) -> String {
        self.run(&["display-message", "-p", &format!("#{{{name}}}")]).trim_end().to_owned()
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.run(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// Waits until the screen is as `is_it` wants it, and hands it out.
    pub(crate) async fn shows(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        eventually(what, WITHIN, async || {
            let screen = self.screen();
            if is_it(&screen) { Ok(screen) } else { Err(format!("\n{screen}")) }
        })
        .await
    }

    /// Waits until the screen has all these texts.
    pub(crate) async fn has(&self, texts: &[&str]) -> String {
        self.shows(&format!("the screen has {texts:?}"), |screen| {
            texts.iter().all(|text| screen.contains(text))
        })
        .await
    }

    /// Clears the screen and waits until it is empty but for the prompt.
    pub(crate) async fn clear(&self) {
        self.enter("clear");
        self.shows("the screen is empty", |screen| screen.trim_end() == PROMPT).await;
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // Not through `run`: a panic while panicking would hide the first one.
        let _ended = Command::new("tmux")
            .args(["-L", &self.server, "kill-server"])
            .env("TMUX_TMPDIR", self.dir.path())
            .output();
    }
}

/// Where our binary is.
pub(crate) fn pushctl() -> PathBuf {
    command("pushctl").get_program().into()
}
