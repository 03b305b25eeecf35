//! Measures one connect-node through the whole path: caller, manager, link, node, sockets.
//!
//! `cargo build --release --workspace && target/release/measure [node|resume]`. The node runs on core 0, the manager and
//! this load on core 1. Beside the node, in the same run, a bare loop that only sends the same bytes to as
//! many sockets: the ratio to it is what carries over to other machines. Then, on both cores, a node that dies under
//! 10,000 clients.

#![allow(clippy::print_stdout)]

mod bare;
mod load;
mod server;
mod storm;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use load::Load;
use server::Servers;

/// Sockets in the room.
const SOCKETS: usize = 5000;

/// Content of every push, bytes.
const CONTENT: usize = 128;

/// How long each figure is taken.
const EACH: Duration = Duration::from_secs(6);

/// Connections whose memory is taken.
const IDLE: usize = 10_000;

fn main() -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    match std::env::args().nth(1).as_deref() {
        None => {
            one_node()?;
            a_storm()
        }
        Some("node") => one_node(),
        Some("resume") => a_storm(),
        Some(other) => anyhow::bail!("{other:?} is nothing that can be measured; it may be node or resume"),
    }
}

fn a_storm() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(storm::run())
}

fn one_node() -> anyhow::Result<()> {
    // On a thread of its own, so that what is measured next is not pinned.
    let measured = std::thread::spawn(pinned).join();
    measured.map_err(|_| anyhow::anyhow!("the measurement panicked"))?
}

fn pinned() -> anyhow::Result<()> {
    server::pin_self(1)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        fan_out().await?;
        idle().await
    })
}

async fn fan_out() -> anyhow::Result<()> {
    let servers = Servers::start().await?;
    let load = Load::connect(&servers.ws, SOCKETS, "r1").await?;
    println!("{SOCKETS} sockets in one room, {CONTENT} B of content, one shard on one core");
    let bare = bare::run(SOCKETS, CONTENT + FRAME_AROUND, EACH)?;
    println!("  bare loop of send(): {:.2} us CPU per send", bare.micros_per_send);
    for in_flight in [1, 8, 32] {
        let before = (servers.node_cpu()?, load.bytes(), Instant::now());
        let pushes = load::push(&servers.grpc, "r1", CONTENT, in_flight, EACH).await?;
        let seconds = before.2.elapsed().as_secs_f64();
        load.settle().await;
        let cpu = servers.node_cpu()? - before.0;
        let deliveries = (pushes * SOCKETS as u64) as f64;
        let received = (load.bytes() - before.1) as f64 / deliveries;
        ensure!(received > CONTENT as f64, "{received:.1} B per delivery arrived: some are missing");
        let micros = cpu.as_secs_f64() * 1e6 / deliveries;
        println!(
            "  {in_flight:2} in flight: {:.0} deliveries/s, {micros:.2} us CPU of the node each ({:.2} x the bare loop), \
             {received:.0} B on the wire each",
            deliveries / seconds,
            micros / bare.micros_per_send,
        );
    }
    Ok(())
}

/// What surrounds the content in a protobuf delivery, about: header, message_id, manager, seq, room.
const FRAME_AROUND: usize = 56;

async fn idle() -> anyhow::Result<()> {
    let servers = Servers::start().await?;
    let warm = Load::connect(&servers.ws, 100, "warm").await?;
    let before = servers.node_memory()?;
    let load = Load::connect(&servers.ws, IDLE, "idle").await.context("connecting the idle ones")?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = servers.node_memory()?;
    let each = (after - before) as f64 / IDLE as f64;
    println!("{IDLE} idle connections, each a user in one room: {each:.0} B of process memory each");
    drop((warm, load));
    Ok(())
}
