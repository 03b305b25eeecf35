//! A terminal with one command in it, as a reader of the README has open: what it prints is what they see.

use std::{
    ffi::OsString,
    fs::File,
    io::Read as _,
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use pushcast_tests::eventually::{check, eventually};
use rustix::{
    process::{Pid, Signal, kill_process_group},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// As wide as the widest line of the README, so that nothing is shortened that it shows whole.
const SIZE: Winsize = Winsize { ws_row: 50, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
/// Long enough for a fleet to stop on a busy machine; what is left then is killed.
const STOP: Duration = Duration::from_secs(10);

/// Where commands run.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    /// The whole environment.
    pub(super) environment: Vec<(OsString, OsString)>,
}

/// A command and everything it started; all of it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Terminal {
    child: Child,
    printed: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Runs commands as a shell does that stops at the first that fails.
    pub(super) fn run(commands: &str, place: &Place) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        tcsetwinsize(&ours, SIZE).unwrap();
        let theirs =
            ioctl_tiocgptpeer(&ours, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        let child = Command::new("/bin/sh")
            .args(["-ec", commands])
            .current_dir(&place.dir)
            .env_clear()
            .envs(place.environment.iter().map(|(name, value)| (name, value)))
            .stdin(theirs.try_clone().unwrap())
            .stdout(theirs.try_clone().unwrap())
            .stderr(theirs)
            // A group of its own, to be ended as a whole.
            .process_group(0)
            .spawn()
            .unwrap();
        let printed = Arc::default();
        let reader = read(ours, &printed);
        Self { child, printed, reader: Some(reader) }
    }

    /// What is on the screen, without colours.
    pub(super) fn text(&self) -> String {
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        plain(&String::from_utf8_lossy(&printed))
    }

    /// How it ended, once it has, and all it printed is there.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().unwrap()?;
        // What it left running in the background would hold the terminal open.
        self.signal(Signal::KILL);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        Some(status)
    }

    /// Ctrl-C.
    pub(super) async fn interrupt(&mut self) {
        self.signal(Signal::INT);
        let stopped = async {
            eventually("it stops at Ctrl-C", STOP * 2, async || {
                check(self.child.try_wait().unwrap().is_some(), || "it runs".to_owned())
            })
            .await;
        };
        // A node waits for its clients; the next section waits for nobody.
        let _killed_when_dropped = tokio::time::timeout(STOP, stopped).await;
    }

    fn signal(&self, signal: Signal) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        // Nobody of the group may be left.
        let _gone = kill_process_group(group, signal);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ended = self.child.wait();
    }
}

fn read(terminal: OwnedFd, printed: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let printed = Arc::clone(printed);
    let mut terminal = File::from(terminal);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // Ends with an error when nobody has the other side open any more.
        while let Ok(length @ 1..) = terminal.read(&mut buffer) {
            printed.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
        }
    })
}

/// Without escape sequences, and with the last of what was written over itself.
fn plain(screen: &str) -> String {
    let mut text = String::new();
    let mut rest = screen;
    while let Some(at) = rest.find('\x1b') {
        text.push_str(&rest[..at]);
        rest = rest[at + 1..].trim_start_matches(|c: char| !ends_escape(c));
        rest = rest.strip_prefix(ends_escape).unwrap_or_default();
    }
    text.push_str(rest);
    let lines = text.split('\n').map(|line| {
        let line = line.trim_end_matches('\r');
        line.rsplit('\r').next().unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The last character of `ESC [ 1 ; 31 m` and its like; `[` itself is none.
fn ends_escape(c: char) -> bool {
    c != '[' && ('\x40'..='\x7e').contains(&c)
}

/// How a command ended, in words.
pub(super) fn words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Place {
        let path = ("PATH".into(), std::env::var_os("PATH").unwrap());
        Place { dir: std::env::temp_dir(), environment: vec![path] }
    }

    async fn end(terminal: &mut Terminal) -> ExitStatus {
        eventually("it ends", STOP, async || terminal.ended().ok_or_else(|| terminal.text())).await
    }

    #[test]
    fn colours_and_what_was_written_over_are_not_text() {
        assert_eq!(plain("\x1b[1;31merror\x1b[0m: a\r\n 1%\r 2%\r\nb\x1b[K"), "error: a\n 2%\nb");
    }

    #[tokio::test]
    async fn a_command_sees_a_terminal_and_nothing_of_our_environment() {
        let mut terminal =
            Terminal::run("test -t 0 && test -t 1\nenv | grep -c CARGO || echo none\nstty size", &here());
        assert_eq!(end(&mut terminal).await.code(), Some(0), "{}", terminal.text());
        assert_eq!(terminal.text(), "0\nnone\n50 120\n");
    }

    #[tokio::test]
    async fn the_first_command_that_fails_is_the_last() {
        let mut terminal = Terminal::run("echo one\nfalse\necho two", &here());
        assert_eq!(words(end(&mut terminal).await), "exit code 1");
        assert_eq!(terminal.text(), "one\n");
    }

    #[tokio::test]
    async fn what_was_started_ends_with_it() {
        let mut terminal = Terminal::run("sleep 600 & echo $!\nwait", &here());
        eventually("it has started", STOP, async || check(terminal.text().ends_with('\n'), String::new))
            .await;
        let sleeper = format!("/proc/{}/cmdline", terminal.text().trim());
        assert!(std::fs::read(&sleeper).unwrap().starts_with(b"sleep"));
        terminal.interrupt().await;
        drop(terminal);
        eventually("the sleeper is gone", STOP, async || {
            // Nobody may have collected it yet; then it has no command line any more.
            check(std::fs::read(&sleeper).unwrap_or_default().is_empty(), || "it runs".to_owned())
        })
        .await;
    }
}
