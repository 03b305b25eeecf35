//! Why nodes could not make clients whole, as their metrics say. A node that is killed takes its counts along, so
//! they are read often; what a client was told and no node remembers shows as unknown.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use pushcast_tests::http;

const METRIC: &str = "connect_node_resumes_total{";

/// Reasons of unrecovered resumes, by process.
#[derive(Debug, Default)]
pub struct Resumes {
    by_process: Mutex<HashMap<u32, BTreeMap<String, u64>>>,
}

impl Resumes {
    /// Reads the metrics of a process, if it answers.
    pub async fn read(&self, pid: u32, http_addr: &str) {
        let get = tokio::time::timeout(Duration::from_secs(1), http::get(http_addr, "/metrics"));
        let Ok(Ok(response)) = get.await else { return };
        let counts = unrecovered(&response.text());
        self.by_process.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, counts);
    }

    /// All together.
    pub fn reasons(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for counts in self.by_process.lock().unwrap_or_else(PoisonError::into_inner).values() {
            for (reason, count) in counts {
                *all.entry(reason.clone()).or_default() += count;
            }
        }
        all
    }
}

/// For sharing.
pub type SharedResumes = Arc<Resumes>;

fn unrecovered(metrics: &str) -> BTreeMap<String, u64> {
    let mut reasons = BTreeMap::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix(METRIC)) {
        let Some((labels, value)) = line.split_once("} ") else { continue };
        let reason = labels.split("reason=\"").nth(1).and_then(|rest| rest.split('"').next());
        let count = value.trim().parse::<f64>().unwrap_or(0.0) as u64;
        if labels.contains("outcome=\"unrecovered\"") && count > 0 {
            reasons.insert(reason.unwrap_or_default().to_owned(), count);
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unrecovered_ones_are_read() {
        let text = "# TYPE connect_node_resumes_total counter\n\
                    connect_node_resumes_total{outcome=\"unrecovered\",reason=\"window\"} 3\n\
                    connect_node_resumes_total{outcome=\"unrecovered\",reason=\"position\"} 0\n\
                    connect_node_resumes_total{outcome=\"recovered\",reason=\"\"} 9\n";
        assert_eq!(unrecovered(text), BTreeMap::from([("window".to_owned(), 3)]));
    }
}
