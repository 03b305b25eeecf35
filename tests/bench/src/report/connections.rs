//! Connections: what they take while they do nothing, while they come, and while they go from room to room.

use super::{
    Findings,
    numbers::{digits, marked, ratio, spread},
    table::Table,
};
use crate::scenarios::{
    churn::{EARLY, Leg},
    connect::{HANDSHAKES, Shaken, Way},
    idle::IDLE,
    tables::{MEMBERS, ROOMS},
};

pub(super) fn idle(findings: &Findings) -> Option<String> {
    let idle = findings.idle.as_ref()?;
    let mut table = Table::new(&["server", "bytes of process memory per connection"]);
    for (who, bytes) in idle {
        table.row(&[who.name(), digits(*bytes)]);
    }
    Some(format!(
        "## {} idle connections\n\nOnce, by the difference in resident memory; Pushcast's have had a heartbeat, and are to \
         take 2,048 B at most.\n\n{}",
        digits(IDLE as f64),
        table.render()
    ))
}

pub(super) fn handshakes(findings: &Findings) -> Option<String> {
    let all = findings.connect.as_ref()?;
    let mut table = Table::new(&[
        "who takes them in",
        "µs CPU per handshake",
        "to bare",
        "handshakes per second of CPU",
        "handshakes/s reached",
        "µs CPU per close",
    ]);
    for way in Way::ALL {
        let micros = all.series(way, Shaken::micros);
        let reached = spread(&all.series(way, Shaken::per_second));
        table.row(&[
            way.name().to_owned(),
            spread(&micros),
            ratio(&micros, &all.series(Way::Bare, Shaken::micros)),
            spread(&all.series(way, Shaken::per_core_second)),
            marked(reached, &all.series(way, |shaken| shaken.load)),
            spread(&all.series(way, Shaken::micros_of_closing)),
        ]);
    }
    Some(format!(
        "## Handshakes\n\n{} connections in each round, 100 handshakes under way, one shard; nothing is closed before all of \
         a leg of 5,000 are open. From accept() to `connected` 25,000 per second of CPU are to be reached. The kernel does \
         its own part of opening a connection where the client asks for it, which is on the load's core for every row: \
         what is reached may be bounded by that.\n\n{}",
        digits(HANDSHAKES as f64),
        table.render()
    ))
}

pub(super) fn churn(findings: &Findings) -> Option<String> {
    let churn = findings.churn?;
    let mut table = Table::new(&[
        "rooms",
        "joins and leaves/s",
        "µs CPU each",
        "memory before, MiB",
        "after 5 s",
        "at the end",
        "growth, B/s",
    ]);
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let mut row = |rooms: &str, leg: &Leg| {
        let [before, early, end] = leg.memory.map(mib);
        let load = [(0, leg.load)].into_iter().collect();
        let rate = marked(digits(leg.per_second()), &load);
        table.row(&[rooms.to_owned(), rate, digits(leg.micros()), before, early, end, digits(leg.growth())]);
    };
    row("the same ones, joined and left again and again", &churn.same);
    row("another one for every join", &churn.fresh);
    let limit = churn.limit.map_or_else(String::new, |files| {
        format!(", which is all that the limit of open files here, {}, allows", digits(files as f64))
    });
    Some(format!(
        "## Joins and leaves\n\n{} connections in one process{limit}, whose --max-connections says so. After everybody had a \
         heartbeat, one after the other joins or leaves a room, half of them being inside one at any time: for {:.0} s the \
         same rooms, then for {:.0} s rooms that were never there before. Once. Growth is from {} s after the beginning to \
         the end. In the first case nothing may stay. In the second a connection remembers the last 64 rooms that it left \
         for ten minutes, so that a control which comes late does not put it back: the memory grows until it remembers \
         64.\n\n{}",
        digits(churn.sockets as f64),
        churn.same.wall.as_secs_f64(),
        churn.fresh.wall.as_secs_f64(),
        EARLY.as_secs(),
        table.render()
    ))
}

pub(super) fn tables(findings: &Findings) -> Option<String> {
    let figures = findings.tables.as_ref()?;
    let mut table = Table::new(&["step", "each", ""]);
    for (step, series, unit) in [
        ("a connection enters", &figures.connect, "µs"),
        ("joins a room", &figures.join, "µs"),
        ("the members of a room are looked up", &figures.look_up, "ns"),
        ("a room that nobody is in is looked up", &figures.look_up_nobody, "ns"),
        ("leaves its room", &figures.leave, "µs"),
        ("a connection goes", &figures.disconnect, "µs"),
    ] {
        table.row(&[step, &spread(series), unit]);
    }
    let memory = figures.bytes.map_or_else(String::new, |bytes| {
        format!(
            " A member took {} B of resident memory: {} B for the connection and its user, {} B for being in a room.",
            digits(bytes.connection + bytes.stay),
            digits(bytes.connection),
            digits(bytes.stay)
        )
    });
    Some(format!(
        "## The tables alone\n\n{} members, each a user of its own and in one of {} rooms, without sockets, on core 0; in an \
         order that no cache foresees.{memory}\n\n{}",
        digits(MEMBERS as f64),
        digits(ROOMS as f64),
        table.render()
    ))
}
