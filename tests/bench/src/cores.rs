//! Which core does what: servers on one, all load on the other, so that neither takes time from the other.

use anyhow::{Context as _, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The core of the server that is measured.
pub(crate) const SERVER: usize = 0;

/// The core of everything else: sockets, publishers, and the push-manager where a node is measured.
pub(crate) const LOAD: usize = 1;

/// Runs this on a thread that stays on the load's core, and with it what the thread starts.
pub(crate) fn on_load_core<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    on_core(LOAD, work)
}

/// Runs this on a thread that stays on the server's core: what is measured without a process of its own.
pub(crate) fn on_server_core<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    on_core(SERVER, work)
}

fn on_core<T: Send>(core: usize, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            pin_self(core)?;
            work()
        });
        worker.join().map_err(|_panicked| anyhow::anyhow!("the measurement panicked"))?
    })
}

/// Has this thread run on one core.
pub(crate) fn pin_self(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("cannot run on core {core}"))
}

/// Fails with fewer than two cores: the server would compete with its own load.
pub(crate) fn check() -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    ensure!(
        cores >= 2,
        "this process may use {cores} core, but measuring takes two: one for the server, one for the load"
    );
    Ok(())
}
