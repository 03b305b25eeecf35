//! How soon connections get a message, and what goes wrong with them.

use super::{
    Findings,
    numbers::{digits, marked, ratio, spread},
    table::Table,
};
use crate::{
    peers::Peer,
    scenarios::{SOCKETS, half, latency, resume, shards, slow, storm, unwanted},
    statistics::Series,
};

pub(super) fn latency(findings: &Findings) -> Option<String> {
    let latencies = findings.latency.as_ref()?;
    let bare = latencies.iter().find(|(peer, _)| *peer == Peer::Bare).map(|(_, latency)| latency);
    let mut table = Table::new(&["server", "p50, µs", "to bare", "p99, µs", "to bare"]);
    for (peer, latency) in latencies {
        let against = |own: &Series, bare: Option<&Series>| {
            bare.map_or_else(|| "–".to_owned(), |bare| ratio(own, bare))
        };
        table.row(&[
            peer.name().to_owned(),
            spread(&latency.p50),
            against(&latency.p50, bare.map(|bare| &bare.p50)),
            spread(&latency.p99),
            against(&latency.p99, bare.map(|bare| &bare.p99)),
        ]);
    }
    Some(format!(
        "## Latency at low load\n\n{} sockets in one room, {} pushes/s for {} s: from when a push was due to its arrival \
         at the last socket.\n\n{}",
        latency::SOCKETS,
        latency::RATE,
        (findings.settings.each * latency::LONGER).as_secs_f64(),
        table.render()
    ))
}

pub(super) fn half(findings: &Findings) -> Option<String> {
    let halves = findings.half.as_ref()?;
    let mut table = Table::new(&[
        "server",
        "sockets",
        "most deliveries/s",
        "messages/s at half of it",
        "p50, ms",
        "p99, ms",
        "p99.9, ms",
    ]);
    for ((peer, sockets), half) in halves {
        let millis = |micros: &Series| marked(spread(&micros.times(1e-3)), &half.load);
        table.row(&[
            peer.name().to_owned(),
            digits(*sockets as f64),
            spread(&half.most),
            spread(&half.rate),
            millis(&half.p50),
            millis(&half.p99),
            millis(&half.p99_9),
        ]);
    }
    Some(format!(
        "## Latency at half of the most\n\nOne room. The most is what 32 messages in flight make, measured just before; then \
         messages go out on a schedule at half of that pace for {} s, and count from when they were due to their arrival at \
         the last socket. To be reached: a p99 of 20 ms. The bare loop tells what of it is the kernel's with {} sockets: a \
         message that comes while a loop is on its way through them waits for the next turn.\n\n{}",
        (findings.settings.each * half::LONGER).as_secs_f64(),
        digits(SOCKETS as f64),
        table.render()
    ))
}

pub(super) fn slow(findings: &Findings) -> Option<String> {
    let slow = findings.slow.as_ref()?;
    let mut table = Table::new(&["p99 of the healthy sockets", "µs", "to without them"]);
    table.row(&["nobody stops".to_owned(), spread(&slow.p99_alone), "1.00 ×".to_owned()]);
    let against = ratio(&slow.p99_beside, &slow.p99_alone);
    table.row(&["5 % stop reading".to_owned(), spread(&slow.p99_beside), against]);
    Some(format!(
        "## Slow sockets\n\nPushcast, {} sockets in one room, {} pushes/s of {} B for {} s, to as many healthy ones in both \
         cases; {} of those that stopped were closed for it meanwhile.\n\n{}",
        slow::SOCKETS,
        slow::RATE,
        slow::CONTENT,
        slow::TIME.as_secs(),
        slow.closed,
        table.render()
    ))
}

pub(super) fn storm(findings: &Findings) -> Option<String> {
    let storm = findings.storm.as_ref()?;
    let mut table = Table::new(&["p99 of those who are there", "µs", "to before"]);
    table.row(&["before".to_owned(), spread(&storm.p99_alone), "1.00 ×".to_owned()]);
    let against = ratio(&storm.p99_during, &storm.p99_alone);
    table.row(&["while crowds come and go".to_owned(), spread(&storm.p99_during), against]);
    Some(format!(
        "## A crowd comes and goes at once\n\nPushcast, one shard, {} sockets in one room, {} pushes/s for {} s, each until the last \
         socket has it. A crowd of {} connects as fast as its core lets it, without waiting for answers; when all are in, \
         which took {} s at worst, all go and come again. It came {} times in all, and shared the load's core at a low \
         priority.\n\n{}",
        storm::SOCKETS,
        storm::RATE,
        storm::TIME.as_secs(),
        digits(storm::CROWD as f64),
        spread(&storm.seconds),
        storm.crowds,
        table.render()
    ))
}

pub(super) fn shards(findings: &Findings) -> Option<String> {
    let shards = findings.shards.as_ref()?;
    let mut table = Table::new(&[
        "shards",
        "ms for the burst",
        "to one",
        "µs CPU per delivery",
        "to one",
        "of it the busiest shard",
    ]);
    for (name, burst) in [("1", &shards.one), ("2", &shards.two)] {
        table.row(&[
            name.to_owned(),
            spread(&burst.millis),
            ratio(&burst.millis, &shards.one.millis),
            spread(&burst.micros),
            ratio(&burst.micros, &shards.one.micros),
            burst.busiest.median().map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", 100.0 * share)),
        ]);
    }
    Some(format!(
        "## Two shards\n\nPushcast, nothing pinned, a burst of {} messages to one room of {SOCKETS} sockets, which do not \
         read meanwhile but for every {}st, until these have all of it.\n\n{}",
        shards::BURST,
        shards::PROBES,
        table.render()
    ))
}

pub(super) fn unwanted(findings: &Findings) -> Option<String> {
    let micros = findings.unwanted.as_ref()?;
    Some(format!(
        "## A message that nobody wants\n\nWith {} rooms in the tables and {} pushes per request, a message for a room that \
         nobody is in took {} µs of the node's CPU: received, decoded, kept in the window, refused, acknowledged.\n",
        digits(unwanted::ROOMS as f64),
        unwanted::PACE.items,
        spread(micros)
    ))
}

pub(super) fn resume(findings: &Findings) -> Option<String> {
    let storm = findings.resume?;
    Some(format!(
        "## A node dies\n\nOne of three nodes was killed with {} clients on it, on both cores, once: all were live on the two \
         others after {:.1} s, {} of them unrecovered. At {} clients who had not moved, pushes arrived with a p99 of {:.1} \
         ms meanwhile ({:.1} ms before).\n",
        resume::CLIENTS,
        storm.seconds,
        storm.unrecovered,
        resume::HEALTHY,
        storm.p99_during,
        storm.p99_before
    ))
}
