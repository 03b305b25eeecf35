//! Samples of the running node, taken by perf.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::{SHOWN, shorten};
use crate::process::find_in_path;

/// Samples a second: odd, so that they do not fall in step with the kernel's own ticks.
const SAMPLES: &str = "997";

/// Shares of the node's samples, 0 to 100.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Samples {
    /// In and below the send system call.
    pub(crate) send: f64,
    pub(crate) kernel: f64,
    pub(crate) user: f64,
    /// The largest of the node's own functions, with their shares.
    pub(crate) functions: Vec<(f64, String)>,
}

/// Has perf watch a process for that long and a little more; it writes into `directory`.
pub(super) fn record(pid: u32, each: Duration, directory: &Path) -> anyhow::Result<std::process::Child> {
    let perf = find_in_path("perf").context("perf is not installed: `tests/bench/install.sh` does that")?;
    // cpu-clock needs no hardware counters, which virtual machines often lack.
    let seconds = (each + Duration::from_millis(500)).as_secs_f64().to_string();
    let child = Command::new(perf)
        .args(["record", "-q", "-e", "cpu-clock", "-F", SAMPLES, "-g", "-o", "perf.data", "-p"])
        .arg(pid.to_string())
        .args(["--", "sleep", &seconds])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(child)
}

/// What it saw.
pub(super) fn report(directory: &Path) -> anyhow::Result<Samples> {
    let perf = find_in_path("perf").context("perf was there before")?;
    let say = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = Command::new(&perf)
            .args(["report", "--stdio", "-i", "perf.data", "-g", "none", "--percent-limit", "0"])
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .output()?;
        ensure!(output.status.success(), "perf report: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let own = parse_own(&say(&["--no-children", "--sort", "sym"])?);
    ensure!(own.kernel + own.user > 50.0, "perf took no samples of the node");
    let below = parse_below(&say(&["--children", "--sort", "sym"])?);
    let send = below.context("perf saw no send; has it the kernel's symbols (kernel.kptr_restrict)?")?;
    Ok(Samples { send, ..own })
}

/// `12.34%  [k] name` or `12.34%  [.] name`: kernel or not, by function.
fn parse_own(report: &str) -> Samples {
    let mut samples = Samples::default();
    for (share, rest) in shares(report) {
        if rest.starts_with("[k]") {
            samples.kernel += share;
        } else if let Some(name) = rest.strip_prefix("[.]") {
            samples.user += share;
            samples.functions.push((share, shorten(name.trim())));
        }
    }
    samples.functions.truncate(SHOWN);
    samples
}

/// `56.78%  1.23%  [k] name`: the share of everything below the send system call.
fn parse_below(report: &str) -> Option<f64> {
    let send = |rest: &str| {
        let name = rest.split_whitespace().next_back();
        matches!(name, Some("__x64_sys_sendto" | "__arm64_sys_sendto" | "__sys_sendto"))
    };
    shares(report).filter(|(_, rest)| send(rest)).map(|(share, _)| share).max_by(f64::total_cmp)
}

/// Lines that begin with a percentage, and what follows it.
fn shares(report: &str) -> impl Iterator<Item = (f64, &str)> {
    report.lines().filter_map(|line| {
        let (share, rest) = line.trim_start().split_once('%')?;
        Some((share.parse().ok()?, rest.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_the_kernels_or_ours() {
        let report = "# Overhead  Symbol\n    60.50%  [k] tcp_sendmsg\n    30.00%  [k] __x64_sys_sendto\n\
                      \x20    7.25%  [.] connect_node::flush::h0123456789abcdef\n     2.25%  [.] memcpy\n\n";
        let samples = parse_own(report);
        assert_eq!((samples.kernel, samples.user), (90.5, 9.5));
        assert_eq!(samples.functions[0], (7.25, "connect_node::flush".to_owned()));
        assert_eq!(samples.functions.len(), 2);
    }

    #[test]
    fn what_is_below_the_send_is_in_the_first_column() {
        let report = "    95.00%     0.00%  [k] entry_SYSCALL_64_after_hwframe\n    88.50%     0.10%  [k] __sys_sendto\n\
                      \x20   88.75%     0.20%  [k] __x64_sys_sendto\n    80.00%     1.00%  [k] tcp_sendmsg\n";
        assert_eq!(parse_below(report), Some(88.75));
        assert_eq!(parse_below("    95.00%  95.00%  [k] [unknown]\n"), None);
    }
}
