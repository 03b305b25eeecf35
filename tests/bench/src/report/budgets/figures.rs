//! The figures that have a bound, and the bounds.

use super::{Bound, Budget, Findings};
use crate::{
    peers::Peer,
    scenarios::{
        SOCKETS,
        connect::{Shaken, Way},
        fan_out::{Case, FanOut},
        idle::Who,
        manager::{Batches, FLEET},
    },
    statistics::Series,
};

/// Bytes that may stay of a join or leave, which is none of them: malloc's smallest block takes 32 B, so this is one block
/// for 32 of them, and a page more or less at the end, which is chance, is far below it.
const NOTHING: f64 = 1.0;

/// All that was measured, in the order of the scenarios.
pub(super) fn all(findings: &Findings) -> Vec<Budget> {
    let mut budgets = fan_outs(findings);
    budgets.extend(connections(findings));
    budgets.extend(latencies(findings));
    budgets.extend(others(findings));
    budgets.extend(manager(findings));
    budgets.retain(|budget| budget.value.median().is_some());
    budgets
}

fn fan_outs(findings: &Findings) -> Vec<Budget> {
    let to_bun =
        rate(findings, Case::ThirtyTwo, Peer::Ours).over(&rate(findings, Case::ThirtyTwo, Peer::Bun));
    let (eight, thirty_two) = (load(findings, Case::Eight), load(findings, Case::ThirtyTwo));
    vec![
        Budget::new(
            "1 in flight: CPU per delivery, to the bare loop",
            micros_ratio(findings, Case::One, Peer::Bare),
            Bound::AtMost(1.07),
            "×",
        ),
        Budget::new(
            "8 in flight: deliveries/s",
            rate(findings, Case::Eight, Peer::Ours),
            Bound::AtLeast(2e6),
            "",
        )
        .limited_by(eight.clone()),
        Budget::new(
            "8 in flight: deliveries/s, to the best peer",
            to_best_peer(findings),
            Bound::AtLeast(1.5),
            "×",
        )
        .limited_by(eight),
        Budget::new("32 in flight: deliveries/s, to Bun", to_bun, Bound::AtLeast(1.0), "×")
            .limited_by(thirty_two),
        Budget::new(
            "500 rooms of 10: CPU per delivery, to the bare loop",
            micros_ratio(findings, Case::Rooms, Peer::Bare),
            Bound::AtMost(1.12),
            "×",
        ),
        Budget::new(
            "500 rooms of 10: CPU per delivery, to Bun",
            micros_ratio(findings, Case::Rooms, Peer::Bun),
            Bound::AtMost(1.0),
            "×",
        ),
    ]
}

fn connections(findings: &Findings) -> Vec<Budget> {
    let idle = |who| findings.idle.as_ref()?.iter().find(|(other, _)| *other == who).map(|(_, bytes)| *bytes);
    let shaken = findings.connect.as_ref();
    let shaken = shaken.map(|all| all.series(Way::Frame, Shaken::per_core_second)).unwrap_or_default();
    let [protobuf, json] = Who::OURS.map(|who| once(idle(who)));
    let mut budgets = vec![
        Budget::new("idle connection, protobuf: process memory", protobuf, Bound::AtMost(2048.0), "B"),
        Budget::new("idle connection, JSON: process memory", json, Bound::AtMost(2048.0), "B"),
        Budget::new(
            "handshakes per second of CPU, connect frame included",
            shaken,
            Bound::AtLeast(25_000.0),
            "",
        ),
    ];
    if let Some(churn) = findings.churn {
        let (rate, growth) = (churn.same.per_second(), churn.same.growth());
        let figure = |value: f64| once(Some(value));
        budgets.extend([
            Budget::new(
                "connections in one process",
                figure(churn.sockets as f64),
                Bound::AtLeast(19_000.0),
                "",
            ),
            Budget::new("joins and leaves/s of these", figure(rate), Bound::AtLeast(10_000.0), "")
                .limited_by(figure(churn.same.load)),
            Budget::new(
                "what stays in memory of each join or leave",
                figure(growth / rate),
                Bound::AtMost(NOTHING),
                "B",
            ),
        ]);
    }
    budgets
}

fn latencies(findings: &Findings) -> Vec<Budget> {
    let mut budgets = Vec::new();
    let latency = |peer| findings.latency.as_ref()?.iter().find(|(other, _)| *other == peer).map(|(_, l)| l);
    if let (Some(ours), Some(bare)) = (latency(Peer::Ours), latency(Peer::Bare)) {
        let (p50, p99) = (ours.p50.over(&bare.p50), ours.p99.over(&bare.p99));
        budgets.extend([
            Budget::new(
                "push to the last of 1000 sockets, p50, to the bare loop",
                p50,
                Bound::AtMost(1.15),
                "×",
            ),
            Budget::new("the same, p99", p99, Bound::AtMost(1.3), "×"),
        ]);
    }
    for ((peer, sockets), half) in findings.half.iter().flatten() {
        let figure = match (peer, *sockets) {
            (Peer::Ours, SOCKETS) => "half of the most, to the last of 5000 sockets, p99",
            (Peer::Ours, _) => "half of the most, to the last of 1000 sockets, p99",
            _ => continue,
        };
        let p99 = half.p99.times(1e-3);
        budgets.push(Budget::new(figure, p99, Bound::AtMost(20.0), "ms").limited_by(half.load.clone()));
    }
    let slow = findings.slow.as_ref().map(|slow| slow.p99_beside.over(&slow.p99_alone)).unwrap_or_default();
    budgets.push(Budget::new(
        "5 % stop reading: p99 of the others, to without them",
        slow,
        Bound::AtMost(1.2),
        "×",
    ));
    let storm = findings.storm.as_ref();
    let storm = storm.map(|storm| storm.p99_during.over(&storm.p99_alone)).unwrap_or_default();
    budgets.push(Budget::new(
        "10,000 come and go at once: p99 of those who are there, to before",
        storm,
        Bound::AtMost(2.0),
        "×",
    ));
    budgets
}

fn others(findings: &Findings) -> Vec<Budget> {
    let mut budgets = Vec::new();
    let unwanted = findings.unwanted.clone().unwrap_or_default();
    budgets.push(Budget::new(
        "a message nobody wants, 100,000 rooms in the tables",
        unwanted,
        Bound::AtMost(0.5),
        "µs",
    ));
    if let Some(shards) = &findings.shards {
        let (time, cpu) =
            (shards.two.millis.over(&shards.one.millis), shards.two.micros.over(&shards.one.micros));
        budgets.extend([
            Budget::new("two shards: time of a burst, to one shard", time, Bound::AtMost(0.6), "×"),
            Budget::new("two shards: CPU per delivery, to one shard", cpu, Bound::AtMost(1.15), "×"),
        ]);
    }
    let own = findings.breakdown.as_ref().and_then(|breakdown| breakdown.samples.as_ref());
    let own = own.map(|samples| 100.0 * samples.user / (samples.user + samples.kernel));
    budgets.push(Budget::new(
        "1 in flight: share of the node's CPU that is its own code",
        once(own),
        Bound::AtMost(10.0),
        "%",
    ));
    budgets
}

/// A figure that is taken once.
pub(super) fn once(value: Option<f64>) -> Series {
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
    let stream = manager.stream(|run| run.pushes_per_second());
    let unary = manager.unary(|run| run.pushes_per_second());
    vec![
        Budget::new("manager: PushStream into 3 nodes, pushes/s", stream, Bound::AtLeast(100_000.0), "")
            .limited_by(manager.stream(|run| run.load)),
        Budget::new("manager: unary pushes/s", unary, Bound::AtLeast(25_000.0), "")
            .limited_by(manager.unary(|run| run.load)),
        Budget::new(
            "one more node, at worst: manager CPU per batch of 16",
            worst(Batches::Single, Batches::SINGLE as f64),
            Bound::AtMost(8.0),
            "µs",
        ),
        Budget::new(
            "one more node, at worst: manager CPU per message, piped",
            worst(Batches::Piped, 1.0),
            Bound::AtMost(0.1),
            "µs",
        ),
    ]
}

fn fan_out(findings: &Findings, case: Case) -> Option<&FanOut> {
    if case == Case::Rooms { findings.rooms.as_ref() } else { findings.fan_out.as_ref() }
}

fn rate(findings: &Findings, case: Case, peer: Peer) -> Series {
    let samples = fan_out(findings, case);
    samples.map(|all| all.series(peer, case, |flight| flight.deliveries_per_second())).unwrap_or_default()
}

/// How busy the load's core was with ours.
fn load(findings: &Findings, case: Case) -> Series {
    fan_out(findings, case).map(|all| all.series(Peer::Ours, case, |flight| flight.load)).unwrap_or_default()
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
