//! What the operating system says of this process, under the names that all Prometheus clients share.
//!
//! Written beside the recorder, whose counters are whole numbers: of processor time the fractions are what
//! tells two runs apart.

use std::{
    fmt::{Display, Write as _},
    fs,
    sync::OnceLock,
};

use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Appends the figures as they are now, in the text format. What this system does not tell (most of it, without
/// `/proc`) is left out.
pub(super) fn render(text: &mut String) {
    let stat = Stat::read();
    let mut figure = |name, kind, help, value: Option<&dyn Display>| {
        if let Some(value) = value {
            // A string takes every byte.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        }
    };
    let cpu = "Processor time spent, user and system, in seconds.";
    figure("process_cpu_seconds_total", "counter", cpu, Some(&cpu_seconds()));
    if let Some(stat) = &stat {
        let resident = "Memory that is in RAM, in bytes.";
        figure("process_resident_memory_bytes", "gauge", resident, Some(&stat.resident_bytes));
        let virtual_memory = "Address space taken, in bytes.";
        figure("process_virtual_memory_bytes", "gauge", virtual_memory, Some(&stat.virtual_bytes));
        figure("process_threads", "gauge", "Threads of the operating system.", Some(&stat.threads));
    }
    let open = open_fds();
    figure("process_open_fds", "gauge", "Open files and sockets.", open.as_ref().map(|n| n as _));
    let most = getrlimit(Resource::Nofile).current;
    let limit = "Open files and sockets there may be at most.";
    figure("process_max_fds", "gauge", limit, most.as_ref().map(|n| n as _));
    let started = stat.and_then(|stat| start_seconds(stat.start_ticks));
    let start = "When the process started, in seconds since 1970.";
    figure("process_start_time_seconds", "gauge", start, started.as_ref().map(|at| at as _));
}

/// By the clock that counts it in nanoseconds: `/proc` rounds to ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// What is taken from `/proc/self/stat` (proc(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    threads: u64,
    /// Since the machine started.
    start_ticks: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        // The name in it is cut at 15 bytes, maybe within a character.
        Self::parse(&String::from_utf8_lossy(&fs::read("/proc/self/stat").ok()?), page_size() as u64)
    }

    fn parse(line: &str, page: u64) -> Option<Self> {
        // The second field is the name in parentheses, which may have spaces and parentheses of its own.
        let (_, behind_name) = line.rsplit_once(')')?;
        let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
        // As proc(5) counts them: the first behind the name is the third.
        let field = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
        Some(Self {
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page,
        })
    }
}

fn open_fds() -> Option<u64> {
    match fs::metadata("/proc/self/fd").ok()?.len() {
        // Linux tells their number as the directory's size since 6.2. Before, they are counted, which takes some
        // milliseconds where there are ten thousand; the directory that is read is one of them.
        0 => Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1)),
        n => Some(n),
    }
}

/// Looked up once: it does not change, not even when the machine's clock is set.
fn start_seconds(start_ticks: u64) -> Option<f64> {
    static STARTED: OnceLock<Option<f64>> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let boot: u64 = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        Some(boot as f64 + start_ticks as f64 / clock_ticks_per_second() as f64)
    })
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fs::File,
        hint::black_box,
        sync::{Arc, Barrier},
        thread,
        time::SystemTime,
    };

    use super::*;

    const NAMES: [&str; 7] = [
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_threads",
        "process_virtual_memory_bytes",
    ];

    fn figures() -> BTreeMap<String, f64> {
        let mut text = String::new();
        render(&mut text);
        let samples = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.split_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        };
        samples.map(sample).collect()
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "4242 (push) (m) 1 2) S 1 4242 4242 0 -1 4194560 3169 0 0 0 17 4 0 0 20 0 5 0 \
                    123456 1085464576 2203 18446744073709551615 1 1 0 0 0 0 0 4096 17 0 0 0 17 1 0 0 0 0 0\n";
        let stat = Stat::parse(line, 4096);
        let expected = Stat {
            threads: 5,
            start_ticks: 123_456,
            virtual_bytes: 1_085_464_576,
            resident_bytes: 2203 * 4096,
        };
        assert_eq!(stat, Some(expected));
        for broken in ["", "4242 (x", "4242 (x) S 1 2", &line.replace("123456", "-1")] {
            assert_eq!(Stat::parse(broken, 4096), None, "{broken}");
        }
    }

    #[test]
    fn the_figures_follow_what_the_process_does() {
        let before = figures();
        assert!(before.keys().eq(NAMES), "{before:?}");

        let memory = black_box(vec![1_u8; 64 << 20]);
        let files: Vec<File> = (0..40).map(|_| File::open("/dev/null").unwrap()).collect();
        let barrier = Arc::new(Barrier::new(9));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                thread::spawn(move || {
                    barrier.wait();
                })
            })
            .collect();
        black_box((0..10_000_000_u64).fold(0, |sum, n| black_box(sum ^ n)));
        let now = figures();
        barrier.wait();
        threads.into_iter().for_each(|thread| thread.join().unwrap());

        assert!(now["process_cpu_seconds_total"] > before["process_cpu_seconds_total"], "{before:?} {now:?}");
        assert!(now["process_resident_memory_bytes"] >= memory.len() as f64, "{now:?}");
        assert!(now["process_virtual_memory_bytes"] >= now["process_resident_memory_bytes"], "{now:?}");
        assert!(now["process_open_fds"] >= files.len() as f64, "{now:?}");
        assert!(now["process_open_fds"] <= now["process_max_fds"], "{now:?}");
        assert!(now["process_threads"] >= 9.0, "{now:?}");
        assert_eq!(now["process_start_time_seconds"], before["process_start_time_seconds"]);
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        // The kernel says in whole seconds when the machine started.
        assert!(now["process_start_time_seconds"] <= since_1970 + 1.0, "{now:?} at {since_1970}");
        assert!(now["process_start_time_seconds"] > since_1970 - 86_400.0, "{now:?} at {since_1970}");
    }
}
