//! What the figures were taken on, and with what.

use std::{fs, path::Path, thread, time::Duration};

use crate::{
    cores,
    peers::Peer,
    process::{find_in_path, output_of},
    procfs::CoreTime,
};

/// How long is looked at what others do.
const LOOK: Duration = Duration::from_secs(1);

/// The machine and the time.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) compiler: String,
    pub(crate) date: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let said = |name: &str, arguments: &[&str]| {
            let said = find_in_path(name).and_then(|path| output_of(&path, arguments));
            said.map_or_else(|| "unknown".to_owned(), |said| said.trim().to_owned())
        };
        Self {
            cpu: cpu_model(&read("/proc/cpuinfo")).unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            compiler: said("rustc", &["--version"]),
            date: said("date", &["-u", "+%Y-%m-%d"]),
        }
    }
}

/// Share of the time, 0 to 1, that the busier of the two cores has something to do while this program has not: figures
/// of a machine that others use are theirs as well.
pub(crate) fn busy_with_others() -> anyhow::Result<f64> {
    let now = || anyhow::Ok([CoreTime::now(cores::SERVER)?, CoreTime::now(cores::LOAD)?]);
    let before = now()?;
    thread::sleep(LOOK);
    let after = now()?;
    Ok(before.iter().zip(after).map(|(before, after)| after.busy_since(*before)).fold(0.0, f64::max))
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim())
}

/// The servers with their versions, or why they are not here.
pub(crate) fn versions() -> Vec<(Peer, Result<String, String>)> {
    let version = |peer: Peer| peer.version().map_err(|error| format!("{error:#}"));
    Peer::ALL.into_iter().map(|peer| (peer, version(peer))).collect()
}

/// Where RESULTS.md and the plots are.
pub(crate) fn results_directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_named_once_per_core() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Other\n";
        assert_eq!(cpu_model(text), Some("Some CPU @ 2 GHz"));
        assert_eq!(cpu_model(""), None);
    }
}
