//! The push-manager's figures.

use super::{
    Findings,
    numbers::{digits, marked, spread},
    table::Table,
};
use crate::scenarios::manager::{Batches, CALLS, FAST, FLEET};

pub(super) fn section(findings: &Findings) -> Option<String> {
    let manager = findings.manager.as_ref()?;
    let mut table = Table::new(&["pushes into 3 nodes", "pushes/s", "µs of manager CPU each"]);
    let stream = spread(&manager.stream(|run| run.pushes_per_second()));
    let cells = [
        marked(stream, &manager.stream(|run| run.load)),
        spread(&manager.stream(|run| run.micros_per_push())),
    ];
    let name = format!("PushStream, {} in flight", FAST.items * FAST.requests);
    table.row(&[&[name][..], &cells].concat());
    let unary = spread(&manager.unary(|run| run.pushes_per_second()));
    let cells =
        [marked(unary, &manager.unary(|run| run.load)), spread(&manager.unary(|run| run.micros_per_push()))];
    table.row(&[&[format!("unary, {CALLS} in flight")][..], &cells].concat());
    let mut fleet = Table::new(&[
        "nodes",
        "one batch of 16 in flight: µs per push",
        "one more node, per batch",
        "piped: µs per push",
        "messages per batch",
        "one more node, per message",
    ]);
    for nodes in FLEET {
        let one_more = |batches, times| {
            let median = manager.one_more_node(nodes, batches).median();
            median.map_or_else(|| "–".to_owned(), |micros| digits(micros * times))
        };
        fleet.row(&[
            nodes.to_string(),
            spread(&manager.at(nodes, Batches::Single, |run| run.micros_per_push())),
            one_more(Batches::Single, Batches::SINGLE as f64),
            spread(&manager.at(nodes, Batches::Piped, |run| run.micros_per_push())),
            spread(&manager.at(nodes, Batches::Piped, |run| run.messages_per_batch())),
            one_more(Batches::Piped, 1.0),
        ]);
    }
    Some(format!(
        "## The push-manager and the size of the fleet\n\nThe manager on core 0, its nodes being sinks on core 1 that \
         acknowledge and do nothing else.\n\n{}\n\"One more node\" is what the manager takes beyond what it takes with one \
         node, shared among the others; accepting and answering a push costs the same for any fleet.\n\n{}\n\
         ![](nodes.svg)\n",
        table.render(),
        fleet.render()
    ))
}
