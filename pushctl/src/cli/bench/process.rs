//! What each process of the fleet used.

use serde::Serialize;

use super::{servers::Reading, stage::Measured};

/// A scraped process; what it does not export, or what cannot be said of it, is none.
#[derive(Debug, Serialize)]
pub(super) struct Process {
    pub(super) address: String,
    /// `manager`, `node`, `manager and node`, or `unknown`.
    pub(super) role: &'static str,
    /// Whether it answered every time.
    pub(super) answered: bool,
    /// While it was measured.
    pub(super) cpu_seconds: Option<f64>,
    /// Microseconds for each delivery: of its own if it is a node, of all if it is a manager.
    pub(super) cpu_us_per_delivery: Option<f64>,
    /// Microseconds for each push.
    pub(super) cpu_us_per_push: Option<f64>,
    /// Microseconds for each handshake of its own.
    pub(super) cpu_us_per_handshake: Option<f64>,
    /// At the end.
    pub(super) resident_bytes: Option<f64>,
    /// Connections that came to it before it was measured.
    pub(super) connections: Option<f64>,
    /// What each of those took; none if the memory did not grow with them.
    pub(super) bytes_per_connection: Option<f64>,
}

pub(super) fn processes(addresses: &[&str], measured: &Measured, is_pushes: bool) -> Vec<Process> {
    let [first, before, after] = &measured.looks;
    let looks = first.iter().zip(before).zip(after);
    let answered = |((first, before), after): ((&Option<Reading>, &Option<Reading>), &Option<Reading>)| {
        Some(((*first)?, (*before)?, (*after)?))
    };
    addresses
        .iter()
        .zip(looks)
        .map(|(address, looks)| match answered(looks) {
            Some(readings) => process(address, readings, measured, is_pushes),
            None => silent(address),
        })
        .collect()
}

fn silent(address: &str) -> Process {
    Process {
        address: address.to_owned(),
        role: "unknown",
        answered: false,
        cpu_seconds: None,
        cpu_us_per_delivery: None,
        cpu_us_per_push: None,
        cpu_us_per_handshake: None,
        resident_bytes: None,
        connections: None,
        bytes_per_connection: None,
    }
}

fn process(
    address: &str,
    (first, before, after): (Reading, Reading, Reading),
    measured: &Measured,
    is_pushes: bool,
) -> Process {
    let grown = |of: fn(&Reading) -> Option<f64>| Some(of(&after)? - of(&before)?);
    let cpu_seconds = grown(|reading| reading.cpu);
    let per = |count: Option<f64>| Some(1e6 * cpu_seconds? / count.filter(|&count| count > 0.0)?);
    let tally = &measured.tally;
    let deliveries = grown(|reading| reading.deliveries).unwrap_or(tally.received as f64);
    let connections = (|| Some(before.connections? - first.connections?))().filter(|&count| count > 0.0);
    let memory = (|| Some(before.memory? - first.memory?))();
    Process {
        address: address.to_owned(),
        role: match (after.is_manager, after.deliveries.is_some()) {
            (true, true) => "manager and node",
            (true, false) => "manager",
            (false, true) => "node",
            (false, false) => "unknown",
        },
        answered: true,
        cpu_seconds,
        cpu_us_per_delivery: per(is_pushes.then_some(deliveries)),
        cpu_us_per_push: per(is_pushes.then_some(tally.answered as f64)),
        cpu_us_per_handshake: per(grown(|reading| reading.opened)).filter(|_| !is_pushes),
        resident_bytes: after.memory,
        connections,
        bytes_per_connection: memory
            .filter(|&memory| memory > 0.0)
            .zip(connections)
            .map(|(memory, connections)| memory / connections),
    }
}
