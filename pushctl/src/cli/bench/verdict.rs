//! Whether the figures add up, what one should know when reading them, and what went wrong.

use super::{
    super::numbers,
    process::Process,
    report::Report,
    stage::{Measured, Outcome},
    tally::Tally,
};

/// Fills in the last part of a report.
pub(super) fn judge(report: &mut Report, measured: &Measured) {
    let tally = &measured.tally;
    let is_handshakes = report.handshakes.is_some();
    report.adds_up = if is_handshakes { tally.offered == tally.answered } else { tally.adds_up() }
        && measured.wire.cut() == 0
        && nodes_agree(report);
    report.problems = problems(report, measured);
    report.notes = notes(report, measured);
}

fn problems(report: &Report, measured: &Measured) -> Vec<String> {
    let tally = &measured.tally;
    let mut problems = Vec::new();
    if let Outcome::Broken(why) = &measured.outcome {
        problems.push(format!("ended after {:.1} of {:.1} s: {why}", report.seconds, report.asked.duration));
    }
    if tally.refused > 0 {
        let words = tally.refusals_in_words().join("; ");
        problems.push(format!("{} of {} pushes were refused ({words})", tally.refused, tally.offered));
    }
    // What broke says so itself.
    let is_broken = matches!(measured.outcome, Outcome::Broken(_));
    let unanswered = tally.offered - tally.answered - tally.refused;
    if report.pushes.is_some() && !is_broken && unanswered > 0 {
        problems.push(format!("{unanswered} of {} pushes were never answered", tally.offered));
    }
    let unfinished = unanswered.saturating_sub(measured.ends.total());
    if report.handshakes.is_some() && !is_broken && unfinished > 0 {
        problems.push(format!("{unfinished} of {} handshakes did not come to their end", tally.offered));
    }
    if !is_broken && tally.received < tally.expected {
        let missing = tally.expected - tally.received;
        problems.push(format!("{missing} of {} deliveries never arrived", tally.expected));
    }
    if measured.ends.total() > 0 && !is_broken {
        let what = if report.handshakes.is_some() { "handshakes failed" } else { "sockets did not stay" };
        problems.push(format!("{} {what}: {}", measured.ends.total(), measured.ends.in_words()));
    }
    problems
}

fn notes(report: &Report, measured: &Measured) -> Vec<String> {
    let (tally, wire) = (&measured.tally, measured.wire);
    let mut notes = Vec::new();
    if measured.outcome == Outcome::Interrupted {
        notes.push("stopped by hand: the figures are of the time until then".to_owned());
    }
    notes.extend(report.bench.warning());
    notes.extend(rate_reached(report));
    if tally.received > tally.expected {
        notes.push(more_than_promised(tally));
    } else if tally.with_pending > 0 {
        notes.push(format!(
            "{} answers left out a node that was pending: the fleet is overloaded",
            tally.with_pending
        ));
    }
    if tally.given_up > 0 {
        let given_up = tally.given_up;
        notes.push(format!(
            "{given_up} pushes were given up for missing deliveries and have no last receiver"
        ));
    }
    if wire.foreign > 0 {
        notes.push(format!("{} deliveries of others' pushes came in between", wire.foreign));
    }
    if wire.cut() > 0 {
        notes.push(format!("{} bytes were read of frames that never ended", wire.cut()));
    }
    if !nodes_agree(report) {
        notes.push("the nodes counted something else than what arrived: others use this fleet, or not all of its nodes are scraped".to_owned());
    }
    notes.extend(not_known(report));
    notes
}

/// Deliveries that no answer speaks of, and why there may be some.
fn more_than_promised(tally: &Tally) -> String {
    let why = match (tally.with_pending, tally.refused) {
        (0, 0) => "no answer left out a node, so some arrived twice".to_owned(),
        (0, refused) => format!("{refused} pushes that were refused may have been delivered all the same"),
        (pending, _) => format!("{pending} answers left out a node that was pending"),
    };
    format!("{} deliveries more arrived than the answers promised: {why}", tally.received - tally.expected)
}

/// What a schedule asked for that could not be done.
fn rate_reached(report: &Report) -> Option<String> {
    let (counted, what) = match (&report.pushes, &report.handshakes) {
        (Some(pushes), _) => (pushes, "pushes"),
        (None, Some(handshakes)) => (handshakes, "handshakes"),
        (None, None) => return None,
    };
    let (due, rate) = (counted.due?, report.asked.rate?);
    let missed = due.saturating_sub(counted.offered);
    (missed > 0).then(|| {
        format!(
            "asked for {} {what}/s, reached {}: {missed} were due and never begun, and their delays, longer than all \
             others, are in no figure",
            numbers::rate(rate),
            numbers::rate(counted.per_second)
        )
    })
}

/// Whether the nodes counted what arrived; also if they were not asked.
fn nodes_agree(report: &Report) -> bool {
    let (Some(nodes), Some(deliveries)) = (report.nodes_counted, report.deliveries) else { return true };
    let content = report.asked.content.unwrap_or(0) as u64;
    nodes.deliveries == deliveries.received && nodes.content_bytes == deliveries.received * content
}

/// Of processes that were scraped: what they did not say.
fn not_known(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    let names = |is_one: fn(&Process) -> bool| {
        let names: Vec<&str> =
            report.processes.iter().filter(|process| is_one(process)).map(|p| p.address.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = names(|process| !process.answered) {
        notes.push(format!("no longer answers with metrics: {names}"));
    }
    if let Some(names) = names(|process| process.answered && process.cpu_seconds.is_none()) {
        notes.push(format!(
            "exports no process_cpu_seconds_total, so its processor time is not known: {names}"
        ));
    }
    if let Some(names) = names(|process| process.answered && process.resident_bytes.is_none()) {
        notes.push(format!("exports no process_resident_memory_bytes, so its memory is not known: {names}"));
    }
    let has_room_left = |process: &Process| {
        process.connections.is_some()
            && process.resident_bytes.is_some()
            && process.bytes_per_connection.is_none()
    };
    if report.scenario == "idle"
        && let Some(names) = names(has_room_left)
    {
        notes.push(format!(
            "its memory did not grow, since earlier connections left room in it; start it anew to see what one takes: {names}"
        ));
    }
    if report.scenario == "idle" && report.processes.is_empty() {
        notes.push(
            "--scrape host:8002, once for each node, says what a connection takes of its memory".to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::{rc::Rc, time::Duration};

    use super::{
        super::{
            ends::{End, Ended, Ends},
            own_use::OwnUse,
            plan::{Pace, Plan, Pushes},
            servers::Reading,
            wire::{Counts, Wire},
        },
        *,
    };

    fn plan(pace: Pace) -> Plan {
        Plan::Pushes(Pushes {
            scenario: "fanout",
            rooms: 1,
            members: 10,
            content: 100,
            format: Default::default(),
            pace,
            in_flight: 1,
            unary: false,
            warm_up: Duration::ZERO,
            may_linger: true,
        })
    }

    fn node(deliveries: f64) -> Option<Reading> {
        let memory = Some(1e6 + deliveries);
        Some(Reading {
            cpu: Some(deliveries / 1e5),
            memory,
            deliveries: Some(deliveries),
            content: Some(100.0 * deliveries),
            ..Reading::default()
        })
    }

    fn measured() -> Measured {
        let counts = Rc::<Counts>::default();
        counts.read.set(2_030);
        counts.pushes.set(2_000);
        counts.others.set(30);
        Measured {
            nodes: vec!["ws://h:1/ws".to_owned()],
            seconds: 2.0,
            due: None,
            tally: Tally { offered: 2, answered: 2, expected: 20, received: 20, ..Tally::default() },
            wire: Wire::of(&counts),
            handshakes: Default::default(),
            ends: Ends::default(),
            looks: [vec![node(0.0)], vec![node(5.0)], vec![node(25.0)]],
            own: OwnUse::default(),
            outcome: Outcome::Whole,
        }
    }

    fn report(pace: Pace, measured: Measured) -> Report {
        Report::of(&plan(pace), "http://h:9000", 2.0, &["h:8002"], measured)
    }

    #[test]
    fn what_arrived_as_promised_adds_up() {
        let report = report(Pace::FlatOut, measured());
        assert!(report.adds_up && report.problems.is_empty() && report.notes.is_empty(), "{report:?}");
        assert_eq!(report.deliveries.map(|deliveries| deliveries.per_second), Some(10.0));
        let node = &report.processes[0];
        assert_eq!((node.role, node.cpu_us_per_delivery.map(f64::round)), ("node", Some(10.0)));
    }

    #[test]
    fn every_kind_of_loss_is_a_problem() {
        let missing = Tally { received: 19, ..measured().tally };
        let report1 = report(Pace::FlatOut, Measured { tally: missing, ..measured() });
        assert!(!report1.adds_up);
        assert_eq!(report1.problems, ["1 of 20 deliveries never arrived"]);
        let unanswered = Tally { offered: 3, ..measured().tally };
        let report2 = report(Pace::FlatOut, Measured { tally: unanswered, ..measured() });
        assert_eq!(report2.problems, ["1 of 3 pushes were never answered"]);
        let outcome = Outcome::Broken("the manager went away".to_owned());
        let report3 = report(Pace::FlatOut, Measured { outcome, ..measured() });
        assert_eq!(report3.problems, ["ended after 2.0 of 2.0 s: the manager went away"]);
        let mut ends = Ends::default();
        for _ in 0..2 {
            let how = End::Closed { code: 4001, reason: "slow_consumer".to_owned(), error: None };
            ends.count(Ended { target: 0, was_open: true, how }, &[]);
        }
        let report4 = report(Pace::FlatOut, Measured { ends, ..measured() });
        assert_eq!(report4.problems, ["2 sockets did not stay: 2 × 4001 (slow_consumer)"]);
        assert_eq!(report4.ended, [("4001".to_owned(), 2)].into());
    }

    #[test]
    fn what_arrives_beyond_the_answers_has_a_reason() {
        let more = Tally { received: 21, ..measured().tally };
        for (tally, part) in [
            (more.clone(), "so some arrived twice"),
            (Tally { with_pending: 2, ..more.clone() }, "2 answers left out a node"),
            (Tally { refused: 1, answered: 1, ..more }, "1 pushes that were refused may have been delivered"),
        ] {
            let report = report(Pace::FlatOut, Measured { tally, ..measured() });
            assert!(!report.adds_up);
            assert!(
                report.notes[0].starts_with("1 deliveries more arrived") && report.notes[0].contains(part)
            );
        }
    }

    #[test]
    fn a_rate_that_was_not_reached_is_said() {
        let report = report(Pace::PerSecond(5.0), Measured { due: Some(10), ..measured() });
        assert!(report.problems.is_empty());
        assert!(
            report.notes[0].starts_with("asked for 5.0 pushes/s, reached 1.0: 8 were due and never begun"),
            "{report:?}"
        );
    }

    #[test]
    fn what_others_do_and_what_is_not_exported_is_said() {
        let silent = Some(Reading { deliveries: Some(26.0), content: Some(2600.0), ..Reading::default() });
        let looks = [vec![node(0.0)], vec![node(5.0)], vec![silent]];
        let report = report(Pace::FlatOut, Measured { looks, ..measured() });
        assert!(!report.adds_up && report.problems.is_empty());
        let notes = report.notes.join("\n");
        for part in
            ["others use this fleet", "no process_cpu_seconds_total", "no process_resident_memory_bytes"]
        {
            assert!(notes.contains(part), "{part}: {notes}");
        }
        assert_eq!(report.processes[0].cpu_us_per_delivery, None, "and not 0");
    }
}
