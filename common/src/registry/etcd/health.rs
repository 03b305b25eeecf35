//! How etcd is doing, told once for all tasks that use it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use metrics::{counter, describe_counter, describe_gauge, gauge};
use tracing::{debug, info, warn};

use super::connection::EtcdError;
use crate::telemetry;

/// Shared by all tasks of one backend.
#[derive(Debug)]
pub(super) struct Health {
    component: &'static str,
    outage: Mutex<Outage>,
}

#[derive(Debug, Default)]
struct Outage {
    /// Tasks that failed last time they tried.
    failing: usize,
    since: Option<Instant>,
    /// Whether this outage's refusal was logged already.
    refusal_told: bool,
}

impl Health {
    pub(super) fn new(component: &'static str) -> Arc<Self> {
        // Descriptions made before the recorder is there would be lost.
        telemetry::recorder();
        let health = Self { component, outage: Mutex::default() };
        describe_gauge!(health.name("connected"), "1 while etcd answers, 0 while it does not.");
        describe_counter!(
            health.name("resyncs_total"),
            "Times the set was listed again after the first, because the watch broke or missed something."
        );
        describe_counter!(
            health.name("bad_records_total"),
            "Values found under our prefix that are not records of ours."
        );
        gauge!(health.name("connected")).set(0.0);
        counter!(health.name("resyncs_total")).increment(0);
        counter!(health.name("bad_records_total")).increment(0);
        Arc::new(health)
    }

    fn name(&self, metric: &str) -> String {
        format!("{}_registry_{metric}", self.component)
    }

    pub(super) fn resynced(&self) {
        counter!(self.name("resyncs_total")).increment(1);
    }

    pub(super) fn bad_record(&self) {
        counter!(self.name("bad_records_total")).increment(1);
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        // Plain numbers: a panic elsewhere cannot have left them half-written.
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one_more_failing(&self, error: &EtcdError, newly: bool) {
        let mut outage = self.outage();
        outage.failing += usize::from(newly);
        if outage.since.is_none() {
            outage.since = Some(Instant::now());
            outage.refusal_told = error.is_refusal();
            gauge!(self.name("connected")).set(0.0);
            warn!(%error, "Cannot use etcd; keeping what is known and trying on.");
        } else if error.is_refusal() && !outage.refusal_told {
            outage.refusal_told = true;
            warn!(%error, "etcd refuses us; keeping what is known and trying on.");
        } else {
            debug!(%error, "Still cannot use etcd.");
        }
    }

    /// `recovered` is false where the task ended instead.
    fn one_less_failing(&self, recovered: bool) {
        let mut outage = self.outage();
        outage.failing = outage.failing.saturating_sub(1);
        let ended = if outage.failing == 0 { outage.since.take() } else { None };
        if let Some(since) = ended.filter(|_| recovered) {
            info!(after_ms = since.elapsed().as_millis(), "etcd answers again.");
        }
    }

    fn answered(&self) {
        if self.outage().failing == 0 {
            gauge!(self.name("connected")).set(1.0);
        }
    }
}

/// One task's share of the [`Health`].
#[derive(Debug)]
pub(super) struct Part {
    health: Arc<Health>,
    failing: bool,
}

impl Part {
    pub(super) fn new(health: &Arc<Health>) -> Self {
        Self { health: Arc::clone(health), failing: false }
    }

    pub(super) fn failed(&mut self, error: &EtcdError) {
        let newly = !std::mem::replace(&mut self.failing, true);
        self.health.one_more_failing(error, newly);
    }

    pub(super) fn worked(&mut self) {
        if std::mem::take(&mut self.failing) {
            self.health.one_less_failing(true);
        }
        self.health.answered();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.failing {
            self.health.one_less_failing(false);
        }
    }
}
