//! The machine, the method, the servers; and at the end what is missing.

use super::{
    Findings,
    numbers::{LOAD_IS_THE_LIMIT, MARK},
    table::Table,
};
use crate::scenarios::CONTENT;

pub(super) fn introduction(findings: &Findings) -> String {
    let machine = &findings.machine;
    let mut table = Table::new(&["server", "version", "as shipped but for"]);
    for (peer, version) in &findings.versions {
        let version = version.clone().unwrap_or_else(|missing| format!("left out: {missing}"));
        table.row(&[peer.name(), &version, peer.settings()]);
    }
    let rounds = match findings.settings.rounds {
        1 => "1 round".to_owned(),
        rounds => format!("{rounds} rounds"),
    };
    format!(
        "# Results\n\n\
         Written by `make bench` on {}; not edited by hand. {} with {} cores, Linux {}, {}.\n\n\
         The server's process is on core 0; everything else is on core 1: the sockets, who publishes, and the \
         push-manager where the connect-node is measured. Figures are medians of {} of {} s each, where nothing \
         else is said, in which the servers take turns, with the smallest and the largest in parentheses. Ratios are taken within a round; they, \
         not the times, carry over to other machines. The load is the same program for every server: plain \
         non-blocking sockets, epoll, one buffer; it counts the messages in what it reads, socket by socket. With *n* in \
         flight, message *k* is published when every socket of its room has message *k* − *n*; no server's own \
         acknowledgement plays a part. CPU is the scheduler's count of nanoseconds, summed over the server's threads and \
         child processes. Content is {CONTENT} B.{MARK} marks figures for which the load's core was busy for more than \
         {:.0} % of the time, so that the server may be capable of more.\n\n{}",
        machine.date,
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.compiler,
        rounds,
        findings.settings.each.as_secs_f64(),
        LOAD_IS_THE_LIMIT * 100.0,
        table.render()
    )
}

/// Above this, what others did on the machine is worth a warning.
const NOT_QUIET: f64 = 0.05;

/// A warning, if the machine was not this program's alone.
pub(super) fn others(findings: &Findings) -> Option<String> {
    let percent = 100.0 * findings.others;
    (findings.others > NOT_QUIET).then(|| {
        format!(
            "**The machine was not quiet**: before or after the run, others kept a core busy for {percent:.0} % of the \
             time. Do not quote these figures.\n"
        )
    })
}

pub(super) fn failures(findings: &Findings) -> Option<String> {
    let mut table = Table::new(&["what", "why"]);
    for failure in &findings.failures.0 {
        table.row(&[failure.what.clone(), failure.reason.replace('\n', " ").replace('|', "/")]);
    }
    (!table.is_empty()).then(|| format!("## Left out\n\n{}", table.render()))
}
