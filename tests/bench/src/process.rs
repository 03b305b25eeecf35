//! Servers as processes: started on a core, watched, ended.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::procfs;

/// A server listens within this time, however slow its start.
const START: Duration = Duration::from_secs(20);

/// A server that was asked to end is killed after this time.
const END: Duration = Duration::from_secs(3);

/// Lines of a log shown with a failure.
const LINES_SHOWN: usize = 12;

/// A process that ends with this value.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
    signal: Signal,
}

impl Program {
    /// Starts it, on one core if that is given; what it says goes into a file in `directory`.
    pub(crate) fn start(
        name: &str,
        core: Option<usize>,
        command: &Path,
        arguments: &[&str],
        directory: &Path,
    ) -> anyhow::Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let said = fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut started = match core {
            // taskset becomes the program, so its pid is the program's.
            Some(core) => {
                let mut taskset = Command::new("taskset");
                taskset.args(["-c", &core.to_string()]).arg(command);
                taskset
            }
            None => Command::new(command),
        };
        let child = started
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said)
            .spawn()
            .with_context(|| format!("cannot start {}", command.display()))?;
        Ok(Self { name: name.to_owned(), child, log, signal: Signal::KILL })
    }

    /// Ends with SIGTERM, for a program whose own children would outlive a SIGKILL.
    pub(crate) fn ended_gently(mut self) -> Self {
        self.signal = Signal::TERM;
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time so far, children included.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        procfs::cpu_of_tree(self.pid()).with_context(|| format!("{} is gone", self.name))
    }

    /// Resident bytes, children included.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        procfs::memory_of_tree(self.pid()).with_context(|| format!("{} is gone", self.name))
    }

    /// SIGKILL, now.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))
    }

    /// Waits until somebody takes connections at each of these addresses.
    pub(crate) fn wait_for_listeners(&mut self, addresses: &[&str]) -> anyhow::Result<()> {
        for address in addresses {
            self.wait_for(&format!("listening at {address}"), |_log| {
                Ok(TcpStream::connect(address).is_ok().then_some(()))
            })?;
        }
        Ok(())
    }

    /// Looks at its log again and again until something is found there.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&str) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            let log = fs::read_to_string(&self.log)?;
            if let Some(found) = look(&log)? {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} instead of {what}; it said:\n{}", self.name, tail(&log));
            }
            if begun.elapsed() > START {
                bail!("{} is not {what} after {START:?}; it said:\n{}", self.name, tail(&log));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
            && matches!(self.child.try_wait(), Ok(None))
        {
            // It may have ended by itself meanwhile.
            let _gone = kill_process(pid, self.signal);
        }
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > END {
                let _gone = self.child.kill();
                let _status = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    if shown.is_empty() { "nothing".to_owned() } else { shown.join("\n") }
}

/// A program's full path, if the shell would find it.
pub(crate) fn find_in_path(name: &str) -> Option<PathBuf> {
    // Daemons are where only root looks by default.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    directories.map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// What a program says to these arguments, standard error included; none if it cannot be run.
pub(crate) fn output_of(command: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(command).args(arguments).stdin(Stdio::null()).output().ok()?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_early_is_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let shell = find_in_path("sh").expect("every system has one");
        let arguments = ["-c", "echo no such setting; exit 3"];
        let mut program = Program::start("broken", None, &shell, &arguments, directory.path()).unwrap();
        let error = program.wait_for("listening", |_log| Ok(None::<()>)).unwrap_err().to_string();
        assert!(error.contains("broken ended with exit status: 3"), "{error}");
        assert!(error.contains("no such setting"), "{error}");
    }

    #[test]
    fn a_program_ends_with_its_value() {
        let directory = tempfile::tempdir().unwrap();
        let shell = find_in_path("sh").expect("every system has one");
        let program =
            Program::start("sleeper", None, &shell, &["-c", "exec sleep 600"], directory.path()).unwrap();
        let process = PathBuf::from(format!("/proc/{}", program.pid()));
        assert!(process.exists());
        drop(program);
        assert!(!process.exists());
    }

    #[test]
    fn only_the_end_of_a_log_is_shown() {
        let log: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert!(tail(&log).starts_with("line 88\n"));
        assert_eq!(tail(""), "nothing");
    }
}
