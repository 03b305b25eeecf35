//! Drives the path of a message without a socket, as a whole and step by step.
//!
//! `delivery-driver CASE ROUNDS` sets the case up and then runs so many rounds of it. To be run under
//! `valgrind --tool=callgrind`, which counts inside of `measured_round` alone. What the whole path of a node costs is in
//! [`delivery`]; beside it, in the order of a message's way: the manager's [`log`], [`ingest`], [`tables`], [`frames`],
//! [`outbox`].

mod delivery;
mod frames;
mod ingest;
mod log;
mod messages;
mod outbox;
mod tables;

use anyhow::{Context as _, bail};
use connect_node::shard::frames::Format;

/// Something that is counted, set up and ready.
trait Case {
    /// Makes what the next round needs.
    fn prepare(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// One round. Never to be inlined, called by none but `main`, and without closures: callgrind knows by the names
    /// of functions where to count, and a closure has its function's name in its own.
    fn measured_round(&mut self) -> anyhow::Result<()>;

    /// Whether so many rounds did what they are counted for.
    fn check(&self, rounds: usize) -> anyhow::Result<()>;
}

fn named(name: &str) -> anyhow::Result<Box<dyn Case>> {
    use delivery::{Delivery, Shape};
    Ok(match name {
        "one_in_flight" => {
            Box::new(Delivery::new(Shape { sockets: 500, rooms: 1, messages: 1, wanted: true })?)
        }
        "eight_in_flight" => {
            Box::new(Delivery::new(Shape { sockets: 500, rooms: 1, messages: 8, wanted: true })?)
        }
        "unwanted" => {
            Box::new(Delivery::new(Shape { sockets: 1000, rooms: 1000, messages: 64, wanted: false })?)
        }
        "log_append" => Box::new(log::Append::new()),
        "batch_encode_1" => Box::new(log::Send::new(1)?),
        "batch_encode_16" => Box::new(log::Send::new(16)?),
        "batch_decode_64" => Box::new(ingest::Decode::new(64)),
        "window_insert_1" => Box::new(ingest::Insert::new(1)?),
        "window_insert_64" => Box::new(ingest::Insert::new(64)?),
        "table_look_up" => Box::new(tables::LookUps::new(true)),
        "table_look_up_nobody" => Box::new(tables::LookUps::new(false)),
        "frame_encode_json" => Box::new(frames::Encode::new(Format::Json)?),
        "frame_encode_protobuf" => Box::new(frames::Encode::new(Format::Protobuf)?),
        "outbox_send" => Box::new(outbox::Send::new()),
        "outbox_flush" => Box::new(outbox::Flush::new()),
        _ => bail!("no case is called {name:?}"),
    })
}

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut case = named(&args.next().context("which case?")?)?;
    let rounds: usize = args.next().context("how many rounds?")?.parse()?;
    for _ in 0..rounds {
        case.prepare()?;
        case.measured_round()?;
    }
    case.check(rounds)
}
