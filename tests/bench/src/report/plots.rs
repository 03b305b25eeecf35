//! The two plots, drawn from what was measured.

use super::{Findings, numbers::digits};
use crate::{
    peers::Peer,
    plot::{Bars, Group, Line, Lines},
    scenarios::{
        fan_out::Case,
        manager::{Batches, FLEET},
    },
};

/// Deliveries per second of one core; none without fan-out.
pub(crate) fn deliveries(findings: &Findings) -> Option<String> {
    let all = findings.fan_out.as_ref()?;
    let mut groups = Vec::new();
    for peer in Peer::ALL {
        let rate = |case| all.series(peer, case, |flight| flight.deliveries_per_second()).median();
        let values = Case::ONE_ROOM.map(rate);
        if values.iter().any(Option::is_some) {
            groups.push(Group {
                name: peer.name().to_owned(),
                values: values.map(|value| value.unwrap_or(0.0) / 1e6).to_vec(),
            });
        }
    }
    let bars = Bars {
        title: "Million deliveries per second on one core, one room of 5000 sockets, 128 B",
        series: &["1 in flight", "8 in flight", "32 in flight"],
        groups,
    };
    Some(bars.svg(digits))
}

/// What one more node costs over the size of the fleet; none without the manager's figures.
pub(crate) fn nodes(findings: &Findings) -> Option<String> {
    let manager = findings.manager.as_ref()?;
    let line = |name: &str, batches| Line {
        name: name.to_owned(),
        points: FLEET
            .iter()
            .filter_map(|nodes| Some((*nodes as f64, manager.one_more_node(*nodes, batches).median()?)))
            .collect(),
    };
    let lines = Lines {
        title: "µs of manager CPU per message for one more node",
        x: "nodes in the fleet",
        lines: vec![line("one batch of 16 in flight", Batches::Single), line("piped", Batches::Piped)],
    };
    Some(lines.svg(digits))
}
