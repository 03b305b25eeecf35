//! What was to be reached, and whether it is.

use super::{
    Findings,
    numbers::{digits, marked, spread},
    table::Table,
};
use crate::{
    peers::Peer,
    scenarios::{
        fan_out::Case,
        manager::{Batches, FLEET},
    },
    statistics::Series,
};

/// A figure and its bound.
struct Budget {
    figure: &'static str,
    /// By round.
    value: Series,
    bound: Bound,
    unit: &'static str,
    /// How busy the load's core was, where that may have been the limit.
    load: Series,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Budget {
    /// By the median.
    fn is_met(&self) -> bool {
        self.value.median().is_some_and(|value| match self.bound {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        })
    }
}

pub(super) fn section(findings: &Findings) -> Option<String> {
    let budgets = all(findings);
    let mut table = Table::new(&["figure", "measured", "budget", "met"]);
    for budget in &budgets {
        let (sign, bound) = match budget.bound {
            Bound::AtMost(bound) => ("≤", bound),
            Bound::AtLeast(bound) => ("≥", bound),
        };
        table.row(&[
            budget.figure.to_owned(),
            marked(with_unit(spread(&budget.value), budget.unit), &budget.load),
            with_unit(format!("{sign} {}", digits(bound)), budget.unit),
            if budget.is_met() { "yes" } else { "**no**" }.to_owned(),
        ]);
    }
    (!table.is_empty()).then(|| format!("## Budgets\n\n{}", table.render()))
}

fn with_unit(number: String, unit: &str) -> String {
    if unit.is_empty() { number } else { format!("{number} {unit}") }
}

fn all(findings: &Findings) -> Vec<Budget> {
    let mut budgets = Vec::new();
    let mut add = |figure, value: Series, bound, unit| {
        if value.median().is_some() {
            budgets.push(Budget { figure, value, bound, unit, load: Series::default() });
        }
    };
    add(
        "1 in flight: CPU per delivery, to the bare loop",
        micros_ratio(findings, Case::One, Peer::Bare),
        Bound::AtMost(1.07),
        "×",
    );
    add("8 in flight: deliveries/s", rate(findings, Case::Eight, Peer::Ours), Bound::AtLeast(2e6), "");
    add("8 in flight: deliveries/s, to the best peer", to_best_peer(findings), Bound::AtLeast(1.5), "×");
    let to_bun =
        rate(findings, Case::ThirtyTwo, Peer::Ours).over(&rate(findings, Case::ThirtyTwo, Peer::Bun));
    add("32 in flight: deliveries/s, to Bun", to_bun, Bound::AtLeast(1.0), "×");
    add(
        "500 rooms of 10: CPU per delivery, to the bare loop",
        micros_ratio(findings, Case::Rooms, Peer::Bare),
        Bound::AtMost(1.12),
        "×",
    );
    add(
        "500 rooms of 10: CPU per delivery, to Bun",
        micros_ratio(findings, Case::Rooms, Peer::Bun),
        Bound::AtMost(1.0),
        "×",
    );
    let unwanted = findings.unwanted.clone().unwrap_or_default();
    add("a message nobody wants, 100,000 rooms in the tables", unwanted, Bound::AtMost(0.5), "µs");
    let idle = findings.idle.as_ref();
    let idle = idle.and_then(|idle| Some(idle.iter().find(|(peer, _)| *peer == Peer::Ours)?.1));
    add("idle connection, process memory", once(idle), Bound::AtMost(2048.0), "B");
    let latency = |peer| findings.latency.as_ref()?.iter().find(|(other, _)| *other == peer).map(|(_, l)| l);
    if let (Some(ours), Some(bare)) = (latency(Peer::Ours), latency(Peer::Bare)) {
        let (p50, p99) = (ours.p50.over(&bare.p50), ours.p99.over(&bare.p99));
        add("push to the last of 1000 sockets, p50, to the bare loop", p50, Bound::AtMost(1.15), "×");
        add("the same, p99", p99, Bound::AtMost(1.3), "×");
    }
    if let Some(shards) = &findings.shards {
        let (time, cpu) =
            (shards.two.millis.over(&shards.one.millis), shards.two.micros.over(&shards.one.micros));
        add("two shards: time of a burst, to one shard", time, Bound::AtMost(0.6), "×");
        add("two shards: CPU per delivery, to one shard", cpu, Bound::AtMost(1.15), "×");
    }
    let slow = findings.slow.as_ref().map(|slow| slow.p99_beside.over(&slow.p99_alone)).unwrap_or_default();
    add("5 % stop reading: p99 of the others, to without them", slow, Bound::AtMost(1.2), "×");
    let own = findings.breakdown.as_ref().and_then(|breakdown| breakdown.samples.as_ref());
    let own = own.map(|samples| 100.0 * samples.user / (samples.user + samples.kernel));
    add("1 in flight: share of the node's CPU that is its own code", once(own), Bound::AtMost(10.0), "%");
    budgets.extend(manager(findings));
    budgets
}

/// A figure that is taken once.
fn once(value: Option<f64>) -> Series {
    value.map(|value| (0, value)).into_iter().collect()
}

fn manager(findings: &Findings) -> Vec<Budget> {
    let Some(manager) = &findings.manager else { return Vec::new() };
    // The worst of all sizes, since it is to be flat.
    let worst = |batches, times: f64| {
        let sizes = FLEET.iter().map(|nodes| manager.one_more_node(*nodes, batches).times(times));
        let worst = sizes.max_by(|a, b| a.median().unwrap_or(0.0).total_cmp(&b.median().unwrap_or(0.0)));
        worst.unwrap_or_default()
    };
    let budget = |figure, value: Series, bound, unit, load| Budget { figure, value, bound, unit, load };
    let stream = manager.stream(|run| run.pushes_per_second());
    let unary = manager.unary(|run| run.pushes_per_second());
    let budgets = [
        budget(
            "manager: PushStream into 3 nodes, pushes/s",
            stream,
            Bound::AtLeast(100_000.0),
            "",
            manager.stream(|run| run.load),
        ),
        budget("manager: unary pushes/s", unary, Bound::AtLeast(25_000.0), "", manager.unary(|run| run.load)),
        budget(
            "one more node, at worst: manager CPU per batch of 16",
            worst(Batches::Single, Batches::SINGLE as f64),
            Bound::AtMost(8.0),
            "µs",
            Series::default(),
        ),
        budget(
            "one more node, at worst: manager CPU per message, piped",
            worst(Batches::Piped, 1.0),
            Bound::AtMost(0.1),
            "µs",
            Series::default(),
        ),
    ];
    budgets.into_iter().filter(|budget| budget.value.median().is_some()).collect()
}

fn fan_out(findings: &Findings, case: Case) -> Option<&crate::scenarios::fan_out::FanOut> {
    if case == Case::Rooms { findings.rooms.as_ref() } else { findings.fan_out.as_ref() }
}

fn rate(findings: &Findings, case: Case, peer: Peer) -> Series {
    let samples = fan_out(findings, case);
    samples.map(|all| all.series(peer, case, |flight| flight.deliveries_per_second())).unwrap_or_default()
}

fn micros_ratio(findings: &Findings, case: Case, base: Peer) -> Series {
    let Some(all) = fan_out(findings, case) else { return Series::default() };
    let micros = |peer| all.series(peer, case, |flight| flight.micros_per_delivery());
    micros(Peer::Ours).over(&micros(base))
}

fn to_best_peer(findings: &Findings) -> Series {
    let peers = [Peer::Bun, Peer::Nchan, Peer::Nats, Peer::Mosquitto];
    let rates = peers.map(|peer| rate(findings, Case::Eight, peer));
    let best = rates.iter().filter(|rate| rate.median().is_some());
    let best = best.max_by(|a, b| a.median().unwrap_or(0.0).total_cmp(&b.median().unwrap_or(0.0)));
    best.map(|best| rate(findings, Case::Eight, Peer::Ours).over(best)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_met_when_it_is_just_reached() {
        let budget = |value, bound| Budget {
            value: once(Some(value)),
            figure: "x",
            bound,
            unit: "",
            load: Series::default(),
        };
        assert!(budget(1.07, Bound::AtMost(1.07)).is_met());
        assert!(!budget(1.08, Bound::AtMost(1.07)).is_met());
        assert!(budget(2.0, Bound::AtLeast(2.0)).is_met());
        assert!(!budget(1.9, Bound::AtLeast(2.0)).is_met());
        let unknown = Budget { value: Series::default(), ..budget(0.0, Bound::AtMost(1.0)) };
        assert!(!unknown.is_met(), "nothing measured is nothing reached");
    }
}
