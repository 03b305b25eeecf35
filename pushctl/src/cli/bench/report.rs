//! The figures of one run, as `--json` prints them. Times are seconds, sizes bytes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    delays::{Bucket, Quantiles},
    own_use::OwnUse,
    plan::Plan,
    process::{Process, processes},
    stage::{Measured, Outcome},
    verdict,
};

/// Everything about a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) scenario: &'static str,
    pub(super) manager: String,
    pub(super) nodes: Vec<String>,
    #[serde(flatten)]
    pub(super) asked: Asked,
    /// How long it was measured; rates are counted over it.
    pub(super) seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pushes: Option<Counted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deliveries: Option<Deliveries>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) handshakes: Option<Counted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<Bytes>,
    /// What the scraped nodes counted; none if none was scraped.
    pub(super) nodes_counted: Option<NodesCounted>,
    /// Whether everything that was offered was answered, everything that was promised arrived, every byte belongs to
    /// something, and the nodes counted the same.
    pub(super) adds_up: bool,
    pub(super) delays: BTreeMap<&'static str, Quantiles>,
    /// Of the delay that matters most in this scenario.
    pub(super) histogram: Vec<Bucket>,
    pub(super) processes: Vec<Process>,
    /// Sockets that did not stay, by close code or word.
    pub(super) ended: BTreeMap<String, u64>,
    pub(super) bench: OwnUse,
    /// What one should know when reading the figures.
    pub(super) notes: Vec<String>,
    /// What went wrong; the exit code is 1 if anything did.
    pub(super) problems: Vec<String>,
}

/// What the command line asked for.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Asked {
    pub(super) duration: f64,
    pub(super) sockets: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rooms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) members: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) in_flight: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unary: Option<bool>,
    /// A second, if there was a schedule.
    pub(super) rate: Option<f64>,
}

/// Pushes or handshakes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Counted {
    /// What the schedule had, if there was one.
    pub(super) due: Option<u64>,
    pub(super) offered: u64,
    pub(super) done: u64,
    pub(super) refused: u64,
    /// Done a second.
    pub(super) per_second: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Deliveries {
    /// The recipients of all answers.
    pub(super) expected: u64,
    pub(super) received: u64,
    /// Received a second.
    pub(super) per_second: f64,
}

/// What the sockets read while it was measured.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Bytes {
    pub(super) read: u64,
    /// In deliveries, frame headers included.
    pub(super) pushes: u64,
    /// In heartbeats, tickets and everything else.
    pub(super) other_frames: u64,
    /// In answers to upgrades.
    pub(super) upgrades: u64,
    /// In what was cut off when a socket ended.
    pub(super) cut: u64,
    /// On the wire for each delivery; none without any.
    pub(super) per_delivery: Option<f64>,
    pub(super) per_second: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct NodesCounted {
    /// Messages placed in connections.
    pub(super) deliveries: u64,
    /// Bytes of content in them.
    pub(super) content_bytes: u64,
}

impl Report {
    pub(super) fn of(
        plan: &Plan,
        manager: &str,
        duration: f64,
        addresses: &[&str],
        measured: Measured,
    ) -> Self {
        let asked = Asked::of(plan, duration);
        let seconds = measured.seconds.max(f64::MIN_POSITIVE);
        let (tally, wire) = (&measured.tally, measured.wire);
        let counted = Counted {
            due: measured.due.filter(|_| measured.outcome == Outcome::Whole),
            offered: tally.offered,
            done: tally.answered,
            refused: tally.refused,
            per_second: tally.answered as f64 / seconds,
        };
        let has_sockets = asked.sockets > 0;
        let is_pushes = matches!(plan, Plan::Pushes(_));
        let deliveries = Deliveries {
            expected: tally.expected,
            received: tally.received,
            per_second: tally.received as f64 / seconds,
        };
        let received = (tally.received > 0).then_some(tally.received as f64);
        let bytes = Bytes {
            read: wire.read,
            pushes: wire.pushes,
            other_frames: wire.others,
            upgrades: wire.upgrades,
            cut: wire.cut(),
            per_delivery: received.map(|received| wire.pushes as f64 / received),
            per_second: wire.read as f64 / seconds,
        };
        let (main, delays) = named_delays(plan, &measured);
        let processes = processes(addresses, &measured, is_pushes);
        let nodes_counted = nodes_counted(&measured).filter(|_| is_pushes && has_sockets);
        let mut report = Self {
            scenario: plan.scenario(),
            manager: manager.to_owned(),
            asked,
            seconds: measured.seconds,
            pushes: is_pushes.then_some(counted),
            deliveries: (is_pushes && has_sockets).then_some(deliveries),
            handshakes: matches!(plan, Plan::Connect { .. }).then_some(counted),
            bytes: has_sockets.then_some(bytes),
            nodes_counted,
            adds_up: false,
            delays,
            histogram: main,
            processes,
            ended: measured.ends.counts(),
            bench: measured.own,
            notes: Vec::new(),
            problems: Vec::new(),
            nodes: Vec::new(),
        };
        verdict::judge(&mut report, &measured);
        report.nodes = measured.nodes;
        report
    }
}

impl Asked {
    fn of(plan: &Plan, duration: f64) -> Self {
        let asked = Self {
            duration,
            sockets: plan.sockets(),
            format: plan.format().map(|format| match format {
                pushctl::format::Format::Json => "json",
                pushctl::format::Format::Protobuf => "protobuf",
            }),
            ..Self::default()
        };
        match plan {
            Plan::Pushes(pushes) => Self {
                rooms: Some(pushes.rooms),
                members: Some(pushes.members),
                content: Some(pushes.content),
                in_flight: Some(pushes.in_flight),
                unary: (pushes.members == 0).then_some(pushes.unary),
                rate: pushes.pace.rate(),
                ..asked
            },
            Plan::Idle { .. } => asked,
            Plan::Connect { pace, .. } => Self { rate: pace.rate(), ..asked },
        }
    }
}

/// The delays that this scenario has, and the buckets of the first among them.
fn named_delays(plan: &Plan, measured: &Measured) -> (Vec<Bucket>, BTreeMap<&'static str, Quantiles>) {
    let tally = &measured.tally;
    let mut all = match plan {
        Plan::Pushes(pushes) if pushes.members == 0 => vec![("answer", &tally.answer)],
        Plan::Pushes(_) => vec![
            ("last_receiver", &tally.last),
            ("median_receiver", &tally.median),
            ("first_receiver", &tally.first),
            ("each_receiver", &tally.each),
            ("answer", &tally.answer),
            ("handshake", &measured.handshakes),
        ],
        Plan::Idle { .. } | Plan::Connect { .. } => vec![("handshake", &measured.handshakes)],
    };
    if measured.due.is_some() {
        all.push(("begun_late", &tally.sent_late));
    }
    let main = all[0].1.buckets();
    (main, all.into_iter().filter_map(|(name, delays)| Some((name, delays.quantiles()?))).collect())
}

/// What all scraped nodes counted while it was measured; none if none of them is a node, or one did not answer.
fn nodes_counted(measured: &Measured) -> Option<NodesCounted> {
    let [_, before, after] = &measured.looks;
    let (mut deliveries, mut content, mut nodes) = (0.0, 0.0, 0);
    for (before, after) in before.iter().zip(after) {
        let (before, after) = ((*before)?, (*after)?);
        let (Some(then), Some(now)) = (before.deliveries, after.deliveries) else { continue };
        nodes += 1;
        deliveries += now - then;
        content += after.content? - before.content?;
    }
    (nodes > 0).then_some(NodesCounted { deliveries: deliveries as u64, content_bytes: content as u64 })
}
