//! The rules of delivery hold in every schedule.
//!
//! SIMULATION_SCHEDULES runs more or fewer; SIMULATION_SEED runs one and, with `--nocapture`, tells its story.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a failed schedule is found again by its seed")]

use std::{
    sync::Mutex,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use pushcast_simulation::{Counts, Report, retell, run};

/// How many schedules are run, from seed 0 on, unless SIMULATION_SCHEDULES says otherwise.
const SCHEDULES: u64 = 20_000;

/// Failed schedules that are shown.
const SHOWN: usize = 50;

#[test]
fn the_rules_hold_in_every_schedule() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SIMULATION_SEED") {
        let report = retell(seed, None);
        println!("{}\n{:?}", report.story.join("\n"), report.counts);
        assert!(report.violations.is_empty(), "{report}");
        return;
    }
    let schedules = number("SIMULATION_SCHEDULES").unwrap_or(SCHEDULES);
    let begun = Instant::now();
    let (counts, failed) = run_all(schedules);
    let per_second = schedules as f64 / begun.elapsed().as_secs_f64();
    println!("{schedules} schedules, {per_second:.0} a second: {counts:?}");
    let shown: String = failed.iter().take(SHOWN).map(Report::to_string).collect();
    if schedules >= SCHEDULES {
        assert_eq!(counts.never(), Vec::<&str>::new(), "what the schedules are for has to happen in them");
    }
    assert!(failed.is_empty(), "{} of {schedules} schedules failed\n{shown}", failed.len());
}

/// Names the schedule if the product panics in it.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("schedule {} panicked (run it again with SIMULATION_SEED={})", self.0, self.0);
        }
    }
}

fn run_all(schedules: u64) -> (Counts, Vec<Report>) {
    let next = AtomicU64::new(0);
    let found = Mutex::new((Counts::default(), Vec::new()));
    let work = || {
        let (mut counts, mut failed) = (Counts::default(), Vec::new());
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < schedules) {
            let _named = Named(seed);
            let report = run(seed, None);
            counts.add(&report.counts);
            if !report.violations.is_empty() {
                failed.push(report);
            }
        }
        let mut found = found.lock().expect("no thread panics while it holds this");
        found.0.add(&counts);
        found.1.extend(failed);
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| worker.join().expect("a schedule panicked"));
    });
    let (counts, mut failed) = found.into_inner().expect("no thread panics while it holds this");
    failed.sort_by_key(|report| report.seed);
    (counts, failed)
}
