//! What the kernel says in /proc about processes and cores. The parsers are apart from the reading, for their tests.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use rustix::io::Errno;

/// Clock ticks per second in /proc/PID/stat and /proc/stat: `USER_HZ`, 100 on every Linux architecture of today.
const TICKS: u32 = 100;

/// Processor time of a process and everything it started, from the scheduler's own nanoseconds: the 10 ms ticks of
/// /proc/PID/stat are too coarse for rounds of a second. Threads and children that have ended are not in it.
pub(crate) fn cpu_of_tree(pid: u32) -> anyhow::Result<Duration> {
    let tasks = tree(pid)?.into_iter().flat_map(|(_, tasks)| tasks);
    tasks.map(|task| cpu_of_task(&task)).sum()
}

/// Processor time of one thread of this process.
pub(crate) fn cpu_of_own_thread(tid: i32) -> anyhow::Result<Duration> {
    cpu_of_task(Path::new(&format!("/proc/self/task/{tid}")))
}

/// Processor time of each thread of a process whose name begins like this.
pub(crate) fn cpu_of_threads(pid: u32, name: &str) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for task in tasks(pid).with_context(|| format!("process {pid} has ended"))? {
        if read_if_there(&task.join("comm"))?.is_some_and(|comm| comm.starts_with(name)) {
            times.push(cpu_of_task(&task)?);
        }
    }
    Ok(times)
}

/// Processor time between two looks. Fails if a thread or a child ended in between and took more with it than was spent:
/// what would be left is no figure.
pub(crate) fn spent(before: Duration, after: Duration) -> anyhow::Result<Duration> {
    after
        .checked_sub(before)
        .context("the server's processor time went back: a thread or child of it has ended")
}

/// Resident memory of a process and everything it started, bytes.
pub(crate) fn memory_of_tree(pid: u32) -> anyhow::Result<u64> {
    let mut sum = 0;
    for (pid, _) in tree(pid)? {
        if let Some(status) = read_if_there(Path::new(&format!("/proc/{pid}/status")))? {
            // One that has ended and is not collected yet has none.
            sum += resident_bytes(&status)?.unwrap_or(0);
        }
    }
    Ok(sum)
}

/// Time in the process's own code and in the kernel on its behalf, of a process without children, in ticks of 10 ms.
pub(crate) fn user_and_system(pid: u32) -> anyhow::Result<(Duration, Duration)> {
    parse_stat(&read(Path::new(&format!("/proc/{pid}/stat")))?)
}

/// What a core has done since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CoreTime {
    busy: u64,
    all: u64,
}

impl CoreTime {
    /// Of this core, now.
    pub(crate) fn now(core: usize) -> anyhow::Result<Self> {
        Self::parse(&read(Path::new("/proc/stat"))?, core)
    }

    fn parse(stat: &str, core: usize) -> anyhow::Result<Self> {
        let name = format!("cpu{core} ");
        let line = stat.lines().find_map(|line| line.strip_prefix(&name));
        let line = line.with_context(|| format!("/proc/stat has no core {core}"))?;
        // user nice system idle iowait irq softirq steal; guest time is in user already.
        let ticks = line.split_whitespace().take(8).map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        let all: u64 = ticks.iter().sum();
        Ok(Self { busy: all - idle, all })
    }

    /// Share of the time since `before` in which the core was busy, 0 to 1.
    pub(crate) fn busy_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.busy.saturating_sub(before.busy) as f64 / all as f64
    }
}

/// The process and its descendants, each with its threads. A descendant that ends meanwhile is left out.
fn tree(root: u32) -> anyhow::Result<Vec<(u32, Vec<PathBuf>)>> {
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        let tasks = match tasks(pid) {
            Ok(tasks) => tasks,
            Err(error) if pid == root => {
                return Err(error).with_context(|| format!("process {pid} has ended"));
            }
            Err(_) => continue,
        };
        for task in &tasks {
            let children = read_if_there(&task.join("children"))?.unwrap_or_default();
            next.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        found.push((pid, tasks));
    }
    Ok(found)
}

fn tasks(pid: u32) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(format!("/proc/{pid}/task"))?.map(|entry| Ok(entry?.path())).collect()
}

fn cpu_of_task(task: &Path) -> anyhow::Result<Duration> {
    read_if_there(&task.join("schedstat"))?.map_or(Ok(Duration::ZERO), |text| parse_schedstat(&text))
}

/// None if the process or thread has ended between the listing and the reading.
fn read_if_there(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// `time on a core, time waiting for one, number of turns`, the times in nanoseconds.
fn parse_schedstat(text: &str) -> anyhow::Result<Duration> {
    let nanos = text.split_whitespace().next().context("schedstat is empty")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

fn parse_stat(text: &str) -> anyhow::Result<(Duration, Duration)> {
    // The name in parentheses may hold anything, parentheses and spaces included.
    let (_, fields) = text.rsplit_once(')').context("a process has a name")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || -> anyhow::Result<Duration> {
        let ticks: u32 = fields.next().context("the process's times are missing")?.parse()?;
        Ok(Duration::from_secs(1) * ticks / TICKS)
    };
    Ok((ticks()?, ticks()?))
}

fn resident_bytes(status: &str) -> anyhow::Result<Option<u64>> {
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmRSS:")) else { return Ok(None) };
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(Some(kib * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_begins_with_the_time_on_a_core() {
        assert_eq!(parse_schedstat("90103 2870800 3\n").unwrap(), Duration::from_nanos(90_103));
        assert!(parse_schedstat("").is_err());
    }

    #[test]
    fn names_with_parentheses_do_not_shift_the_fields_of_stat() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 250 130 0 0 20 0 1 0 5";
        assert_eq!(parse_stat(text).unwrap(), (Duration::from_millis(2500), Duration::from_millis(1300)));
        assert!(parse_stat("7 (a) S 1").is_err());
    }

    #[test]
    fn time_that_went_back_is_no_figure() {
        let (less, more) = (Duration::from_millis(1), Duration::from_millis(3));
        assert_eq!(spent(less, more).unwrap(), Duration::from_millis(2));
        assert!(spent(more, less).is_err());
    }

    #[test]
    fn memory_is_in_kib() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n").unwrap(), Some(2 << 20));
        assert_eq!(resident_bytes("Name:\tx\n").unwrap(), None, "a zombie has none");
        assert!(resident_bytes("VmRSS:\tmuch\n").is_err());
    }

    #[test]
    fn a_core_is_busy_when_it_is_neither_idle_nor_waiting_for_disks() {
        let before = CoreTime::parse("cpu  9 9 9 9\ncpu1 10 0 10 70 10 0 0 0 0 0\n", 1).unwrap();
        let after = CoreTime::parse("cpu1 30 0 30 120 10 5 5 0 0 0\n", 1).unwrap();
        assert!((after.busy_since(before) - 0.5).abs() < 1e-9);
        assert!(CoreTime::parse("cpu1 1 2 3 4 5 6 7 8\n", 11).is_err(), "cpu1 is not cpu11");
    }

    #[test]
    fn the_time_of_this_process_grows() {
        let own = std::process::id();
        let before = cpu_of_tree(own).unwrap();
        let mut n = 0_u64;
        while cpu_of_tree(own).unwrap() == before {
            n = std::hint::black_box(n + 1);
        }
        assert!(memory_of_tree(own).unwrap() > 0);
    }
}
