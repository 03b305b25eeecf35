//! Errors of a fleet as a stranger needs them: what was wrong, where, what to do.

use std::io;

use pushctl::client::ConnectError;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::output::with_tip;

const TRY_A_FLEET: &str = "`pushctl dev` starts a fleet to try";
const WHICH_MANAGER: &str = "--manager or PUSHCTL_MANAGER names another manager's gRPC address";
/// For a manager that wants to know who calls.
pub(super) const WHICH_KEY: &str = "--api-key-file or PUSHCTL_API_KEY gives the key that it asks for";
/// For a manager that speaks TLS, and may want to know who calls.
pub(super) const WHICH_CERTIFICATE: &str = "--ca-file names the certificates that the manager's is checked against; --cert-file and --private-key-file, yours";
const WHICH_PORT: &str = "what is wanted is the gRPC port of a push-manager, 9000 by default (its HTTP port is 9001); with TLS it is https://";

/// An address without its scheme.
pub(super) fn host_and_port(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, rest)| rest).trim_end_matches('/')
}

/// Whether a connection failed because of what one side showed, or did not speak TLS.
pub(super) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<rustls::Error>())
}

/// A failed call to a manager.
pub(super) fn call_failed(manager: &str, status: &Status) -> anyhow::Error {
    let manager = host_and_port(manager);
    if std::error::Error::source(status).is_some() {
        return not_reached(manager, status);
    }
    // Nothing of ours answers so: a node, another gRPC server, an HTTP server.
    if status.code() == Code::Unimplemented {
        return with_tip(anyhow::anyhow!("{manager} is no push-manager"), WHICH_PORT);
    }
    let error =
        anyhow::anyhow!("{manager} says {}: {}", pushctl::push::code_name(status.code()), said(status));
    match advice(status) {
        Some(tip) => with_tip(error, tip),
        None => error,
    }
}

fn not_reached(manager: &str, status: &Status) -> anyhow::Error {
    let innermost = innermost(status);
    let kind = innermost.downcast_ref::<io::Error>().map(io::Error::kind);
    let reason = innermost.to_string();
    if kind == Some(io::ErrorKind::ConnectionRefused) {
        let error = anyhow::anyhow!("nothing listens at {manager}: is a push-manager running there?");
        return with_tip(error, format!("{TRY_A_FLEET}; {WHICH_MANAGER}"));
    }
    if innermost.downcast_ref::<io::Error>().is_some_and(is_of_tls) {
        return with_tip(anyhow::anyhow!("no TLS connection to {manager}: {reason}"), WHICH_CERTIFICATE);
    }
    // A connection that came about and was broken off is tonic's UNKNOWN.
    if status.code() == Code::Unavailable {
        return with_tip(
            anyhow::anyhow!("cannot reach a push-manager at {manager}: {reason}"),
            WHICH_MANAGER,
        );
    }
    with_tip(anyhow::anyhow!("what listens at {manager} does not speak gRPC ({reason})"), WHICH_PORT)
}

/// What a manager complains about, each thing once.
fn said(status: &Status) -> String {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    match violations {
        [] => status.message().to_owned(),
        [one] => one.description.clone(),
        // The message says all of them, also those too many to be listed.
        _ => status.message().to_owned(),
    }
}

fn advice(status: &Status) -> Option<&'static str> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
    match details.error_info().map(|info| info.reason.as_str()) {
        Some("NO_CONNECT_NODES") => {
            Some("start a connect-node, or see whether it and the manager have the same etcd")
        }
        Some("NO_KEY") => Some(WHICH_KEY),
        Some("NO_CERTIFICATE") => {
            Some("--cert-file and --private-key-file give the certificate that it asks for")
        }
        Some("UNKNOWN_CERTIFICATE") => {
            Some("a line with cert=<its name> in the file of the manager's --api-keys-file lets it in")
        }
        Some("UNKNOWN_KEY") => Some(
            "is its line in the file of the manager's --api-keys-file? `pushctl key new` makes another one",
        ),
        Some("METHOD_NOT_ALLOWED" | "APP_NOT_ALLOWED") => {
            Some("the caller's line in the file of the manager's --api-keys-file says what it may")
        }
        Some("OVER_RATE") => {
            Some("try again in a moment; the caller's line in the manager's file says how much it may")
        }
        Some("NOT_READY" | "DRAINING") => Some("try another manager, or this one in a moment"),
        _ if status.code() == Code::DeadlineExceeded => {
            Some("it may have been accepted all the same: repeat it with the same --request-id to be certain")
        }
        _ if violations.iter().any(|violation| violation.field == "content") => {
            Some("a manager takes up to its --max-content, 64 KiB by default")
        }
        _ => None,
    }
}

fn innermost(status: &Status) -> &(dyn std::error::Error + 'static) {
    let mut error: &(dyn std::error::Error + 'static) = status;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

/// What to do when a node cannot be connected to.
pub(super) fn connect_tip(error: &ConnectError) -> Option<String> {
    match error {
        ConnectError::Unreachable { .. } => {
            Some(format!("{TRY_A_FLEET}; --url or PUSHCTL_URL names another node"))
        }
        ConnectError::Tls { .. } => Some(
            "--ca-file names the certificates that the node's is checked against; a node without TLS has ws://".to_owned(),
        ),
        ConnectError::Refused { status: 404, .. } | ConnectError::NotWebSocket { .. } => Some(
            "what is wanted is the WebSocket port of a connect-node, 8000 by default: ws://host:8000/ws"
                .to_owned(),
        ),
        ConnectError::BadUrl { .. }
        | ConnectError::Refused { .. }
        | ConnectError::Closed { .. }
        | ConnectError::TimedOut { .. } => None,
    }
}
