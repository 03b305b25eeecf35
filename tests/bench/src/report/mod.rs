//! Everything that was measured, as Markdown.

mod breakdown;
mod budgets;
mod connections;
mod fan_out;
mod introduction;
mod manager;
mod node;
mod numbers;
pub(crate) mod plots;
mod table;

use crate::{
    machine::Machine,
    peers::Peer,
    scenarios::{
        Failures, Settings, breakdown::Breakdown, churn::Churn, connect::Handshakes, fan_out::FanOut,
        half::Halves, idle::Idle, latency::Latencies, manager::Manager, resume::Resume, shards::Shards,
        slow::Slow, storm::Storm, tables::Figures,
    },
    statistics::Series,
};

/// What there is to report; none where it was not asked for.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) settings: Settings,
    pub(crate) machine: Machine,
    /// What others did before and after, 0 to 1.
    pub(crate) others: f64,
    pub(crate) versions: Vec<(Peer, Result<String, String>)>,
    pub(crate) fan_out: Option<FanOut>,
    pub(crate) rooms: Option<FanOut>,
    pub(crate) idle: Option<Idle>,
    pub(crate) connect: Option<Handshakes>,
    pub(crate) churn: Option<Churn>,
    pub(crate) tables: Option<Figures>,
    pub(crate) latency: Option<Latencies>,
    pub(crate) half: Option<Halves>,
    pub(crate) slow: Option<Slow>,
    pub(crate) storm: Option<Storm>,
    pub(crate) shards: Option<Shards>,
    pub(crate) unwanted: Option<Series>,
    pub(crate) manager: Option<Manager>,
    pub(crate) resume: Option<Resume>,
    pub(crate) breakdown: Option<Breakdown>,
    pub(crate) failures: Failures,
}

impl Findings {
    pub(crate) fn nothing_yet(settings: Settings, machine: Machine) -> Self {
        Self {
            settings,
            machine,
            others: 0.0,
            versions: crate::machine::versions(),
            fan_out: None,
            rooms: None,
            idle: None,
            connect: None,
            churn: None,
            tables: None,
            latency: None,
            half: None,
            slow: None,
            storm: None,
            shards: None,
            unwanted: None,
            manager: None,
            resume: None,
            breakdown: None,
            failures: Failures::default(),
        }
    }

    /// The sections of what was measured.
    pub(crate) fn measured(&self) -> String {
        let sections = [
            introduction::others(self),
            budgets::section(self),
            fan_out::section(self),
            connections::idle(self),
            connections::handshakes(self),
            connections::churn(self),
            connections::tables(self),
            node::latency(self),
            node::half(self),
            node::slow(self),
            node::storm(self),
            node::shards(self),
            node::unwanted(self),
            manager::section(self),
            node::resume(self),
            breakdown::section(self),
            introduction::failures(self),
        ];
        sections.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    /// The whole of RESULTS.md.
    pub(crate) fn page(&self) -> String {
        format!("{}\n{}", introduction::introduction(self), self.measured())
    }
}
