//! Every metric of a manager, by name, in one place.

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use pushcast_common::telemetry;
use tonic::Code;

use crate::{
    api::{Api, Rpc},
    api_auth::denied::{REASONS, Reason},
    link_state::Counted,
};

/// The codes whose series exist from the start.
const USUAL_CODES: [Code; 7] = [
    Code::Ok,
    Code::InvalidArgument,
    Code::Unavailable,
    Code::DeadlineExceeded,
    Code::Unauthenticated,
    Code::PermissionDenied,
    Code::ResourceExhausted,
];

/// States of links, in the order of [`Metrics::links`].
pub(crate) const LINK_STATES: [&str; 3] = ["linked", "linking", "down"];

#[derive(Debug)]
pub(crate) struct Metrics {
    broadcast_nodes: [Counter; 4],
    broadcast_delivered: [Counter; 4],
    /// By rpc, then in the order of `USUAL_CODES`.
    requests: [[Counter; 7]; 7],
    request_seconds: [Histogram; 7],
    pub(crate) ack_seconds: Histogram,
    pending_answers: [Counter; 7],
    /// In the order of `Reason::ALL`.
    pub(crate) refused_calls: [Counter; REASONS],
    pub(crate) handed_up: Counter,
    pub(crate) gaps: Counter,
    pub(crate) gap_messages: Counter,
    pub(crate) link_failures: Counter,
    pub(crate) log_bytes: Gauge,
    pub(crate) log_age: Gauge,
    pub(crate) log_head: Gauge,
    pub(crate) link_lag: Gauge,
    pub(crate) clock_offset: Gauge,
    pub(crate) known_nodes: Gauge,
    pub(crate) links: [Gauge; 3],
}

impl Metrics {
    pub(crate) fn new() -> Self {
        telemetry::build_info("push_manager", env!("CARGO_PKG_VERSION"));
        describe();
        let by_api = |name: &'static str| Api::ALL.map(|api| counter!(name, "api" => api.name()));
        Self {
            broadcast_nodes: by_api("push_manager_broadcast_nodes_total"),
            broadcast_delivered: by_api("push_manager_broadcast_delivered_total"),
            requests: Rpc::ALL.map(|rpc| USUAL_CODES.map(|code| request_counter(rpc, code))),
            request_seconds: Rpc::ALL
                .map(|rpc| histogram!("push_manager_request_seconds", "api" => rpc.name())),
            ack_seconds: histogram!("push_manager_ack_seconds"),
            pending_answers: Rpc::ALL
                .map(|rpc| counter!("push_manager_pending_answers_total", "api" => rpc.name())),
            refused_calls: Reason::ALL
                .map(|reason| counter!("push_manager_refused_calls_total", "reason" => reason.name())),
            handed_up: counter!("push_manager_handed_up_total"),
            gaps: counter!("push_manager_gaps_total"),
            gap_messages: counter!("push_manager_gap_messages_total"),
            link_failures: counter!("push_manager_link_failures_total"),
            log_bytes: gauge!("push_manager_log_bytes"),
            log_age: gauge!("push_manager_log_age_seconds"),
            log_head: gauge!("push_manager_log_head"),
            link_lag: gauge!("push_manager_link_lag"),
            clock_offset: gauge!("push_manager_clock_offset_seconds"),
            known_nodes: gauge!("push_manager_known_nodes"),
            links: LINK_STATES.map(|state| gauge!("push_manager_links", "state" => state)),
        }
    }

    /// A push or control was answered, or refused, with this code.
    pub(crate) fn request(&self, rpc: impl Into<Rpc>, code: Code) {
        let rpc = rpc.into();
        match USUAL_CODES.iter().position(|&usual| usual == code) {
            Some(index) => self.requests[rpc.index()][index].increment(1),
            None => request_counter(rpc, code).increment(1),
        }
    }

    /// An answer named this many nodes as pending.
    pub(crate) fn answered_with_pending(&self, rpc: Rpc, nodes: usize) {
        self.pending_answers[rpc.index()].increment(u64::from(nodes > 0));
    }

    /// Microseconds from acceptance to the answer.
    pub(crate) fn answered_after(&self, rpc: Rpc, micros: u64) {
        self.request_seconds[rpc.index()].record(seconds(micros));
    }

    /// A node acknowledged messages.
    pub(crate) fn acknowledged(&self, counted: &[Counted; 4]) {
        for (api, counted) in counted.iter().enumerate().filter(|(_, counted)| counted.nodes > 0) {
            self.broadcast_nodes[api].increment(counted.nodes);
            self.broadcast_delivered[api].increment(counted.delivered);
        }
    }
}

pub(crate) fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// The name of a code as gRPC spells it.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn request_counter(rpc: Rpc, code: Code) -> Counter {
    counter!("push_manager_requests_total", "api" => rpc.name(), "code" => code_name(code))
}

/// Handshakes of callers, by outcome.
pub(crate) const TLS_HANDSHAKES: &str = "push_manager_tls_handshakes_total";

/// The series of a manager whose listeners speak TLS, at 0.
pub(crate) fn describe_tls() {
    describe_counter!(
        TLS_HANDSHAKES,
        "TLS handshakes of callers, by outcome: ok, failed, plain (nothing encrypted came), timeout."
    );
    for outcome in ["ok", "failed", "plain", "timeout"] {
        counter!(TLS_HANDSHAKES, "outcome" => outcome).increment(0);
    }
    describe_reads("push_manager_tls_certificate_reads_total", "Times another certificate was there");
}

/// The series of a manager that asks callers for certificates, at 0.
pub(crate) fn describe_client_ca() {
    describe_reads(
        "push_manager_client_ca_reads_total",
        "Times the authority of callers' certificates was read anew",
    );
}

/// The series of a manager whose callers prove who they are, at 0.
pub(crate) fn describe_api_keys() {
    describe_reads("push_manager_api_keys_reads_total", "Times the file of callers was read anew");
}

fn describe_reads(name: &'static str, what: &str) {
    describe_counter!(name, format!("{what}, by outcome: ok, or failed and left as it was."));
    for outcome in ["ok", "failed"] {
        counter!(name, "outcome" => outcome).increment(0);
    }
}

fn describe() {
    describe_counter!("push_manager_broadcast_nodes_total", "Acknowledgements: nodes a push went to.");
    describe_counter!(
        "push_manager_broadcast_delivered_total",
        "Acknowledgements of nodes that had somebody for the push."
    );
    describe_counter!(
        "push_manager_requests_total",
        "Pushes and controls answered or refused, items of streams included."
    );
    describe_histogram!(
        "push_manager_request_seconds",
        Unit::Seconds,
        "From acceptance to the answer; of a stream, the oldest push of each group answered at once."
    );
    describe_histogram!(
        "push_manager_ack_seconds",
        Unit::Seconds,
        "From acceptance to one node's acknowledgement, the oldest message of each acknowledgement."
    );
    describe_counter!(
        "push_manager_pending_answers_total",
        "Answers that named a node as pending: it was too slow to be waited for, or has no link."
    );
    describe_counter!(
        "push_manager_refused_calls_total",
        "Calls and items of streams that were refused: nothing or nothing known was shown, or the caller may not."
    );
    describe_counter!("push_manager_handed_up_total", "Controls that nodes decided and this manager logged.");
    describe_counter!("push_manager_gaps_total", "Gaps said to nodes: the log no longer reached back.");
    describe_counter!("push_manager_gap_messages_total", "Messages that Gaps said are lost for a node.");
    describe_counter!(
        "push_manager_link_failures_total",
        "Links that broke, were refused or could not be made."
    );
    describe_counter!(
        "push_manager_fleet_refused_total",
        "Connections to nodes at which one side did not prove to be of this fleet, or broke off before it could."
    );
    counter!("push_manager_fleet_refused_total").increment(0);
    describe_gauge!("push_manager_log_bytes", Unit::Bytes, "What the log takes, index included.");
    describe_gauge!("push_manager_log_age_seconds", Unit::Seconds, "Age of the oldest message in the log.");
    describe_gauge!("push_manager_log_head", "Newest seq accepted.");
    describe_gauge!(
        "push_manager_link_lag",
        "Messages not yet acknowledged by the node that is furthest behind, linked or not."
    );
    describe_gauge!(
        "push_manager_clock_offset_seconds",
        Unit::Seconds,
        "The furthest a node's clock was seen from this manager's since its link was made."
    );
    describe_gauge!("push_manager_known_nodes", "Nodes known, linked or not.");
    describe_gauge!("push_manager_links", "Nodes by the state of the link to them.");
}
