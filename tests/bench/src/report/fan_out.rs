//! The tables of the one large room and of the many small ones.

use super::{
    Findings,
    numbers::{digits, marked, ratio, spread},
    table::Table,
};
use crate::{
    flight::Flight,
    peers::Peer,
    scenarios::{
        SOCKETS,
        fan_out::{Case, FanOut},
    },
};

pub(super) fn section(findings: &Findings) -> Option<String> {
    let mut text = String::new();
    if let Some(all) = &findings.fan_out {
        text.push_str(&format!("## One room of {SOCKETS} sockets\n\n"));
        let mut table = Table::new(&[
            "server",
            "1 in flight: µs CPU per delivery",
            "to bare",
            "deliveries/s",
            "8 in flight: µs",
            "deliveries/s",
            "32 in flight: µs",
            "deliveries/s",
        ]);
        for peer in Peer::ALL {
            let mut row = vec![peer.name().to_owned()];
            for case in Case::ONE_ROOM {
                row.push(spread(&all.series(peer, case, Flight::micros_per_delivery)));
                if case == Case::One {
                    row.push(to_bare(all, peer, case));
                }
                row.push(rate(all, peer, case));
            }
            table.row(&row);
        }
        text.push_str(&table.render());
        text.push_str(
            "\nThe bare loop puts as many messages into one write as are in flight. ![](deliveries.svg)\n",
        );
        text.push_str(&beside(all));
    }
    if let Some(all) = &findings.rooms {
        text.push_str(if text.is_empty() { "" } else { "\n" });
        text.push_str("## 500 rooms of 10 sockets, one message in flight in each\n\n");
        let mut table = Table::new(&["server", "µs CPU per delivery", "to bare", "deliveries/s"]);
        for peer in Peer::ALL {
            let micros = all.series(peer, Case::Rooms, Flight::micros_per_delivery);
            let cells = [spread(&micros), to_bare(all, peer, Case::Rooms), rate(all, peer, Case::Rooms)];
            table.row(&[&[peer.name().to_owned()][..], &cells].concat());
        }
        text.push_str(&table.render());
    }
    (!text.is_empty()).then_some(text)
}

fn to_bare(all: &FanOut, peer: Peer, case: Case) -> String {
    let micros = |peer| all.series(peer, case, Flight::micros_per_delivery);
    ratio(&micros(peer), &micros(Peer::Bare))
}

fn rate(all: &FanOut, peer: Peer, case: Case) -> String {
    let rate = all.series(peer, case, Flight::deliveries_per_second);
    marked(spread(&rate), &all.series(peer, case, |flight| flight.load))
}

/// What a delivery costs beside the node, and on the wire.
fn beside(all: &FanOut) -> String {
    let per_delivery = |figure: fn(&Flight) -> f64| {
        let series = all.series(Peer::Ours, Case::One, |flight| figure(flight) / flight.deliveries as f64);
        series.median()
    };
    let manager = per_delivery(|flight| flight.beside.as_secs_f64() * 1e6);
    let (Some(manager), Some(bytes)) = (manager, per_delivery(|flight| flight.bytes as f64)) else {
        return String::new();
    };
    format!(
        "Pushcast's CPU is the connect-node's. Its push-manager took {} µs per delivery more with one in flight, which \
         is {} µs per push, on the load's core. A delivery was {bytes:.0} B on the wire.\n",
        digits(manager),
        digits(manager * SOCKETS as f64),
    )
}
