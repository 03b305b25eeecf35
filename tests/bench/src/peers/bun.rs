//! Bun's own publish(), which is uWebSockets underneath.

use std::{
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::ensure;

use super::{Plan, Server, free_port, not_installed, room_name};
use crate::{
    cores,
    process::{Program, output_of},
    publisher::{Publisher, Raw},
    swarm::{Counting, Hello},
    wire,
};

/// Where tests/bench/install.sh puts it.
fn binary() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
    let path = root.join("target/bench-peers/node_modules/bun/bin/bun.exe");
    if path.is_file() { Ok(path) } else { Err(not_installed("bun")) }
}

pub(super) fn version() -> anyhow::Result<String> {
    let said = output_of(&binary()?, &["--version"]).unwrap_or_default();
    Ok(said.trim().to_owned())
}

pub(super) struct Bun {
    program: Program,
    addr: SocketAddr,
    rooms: usize,
    content: usize,
}

impl Bun {
    pub(super) fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        let port = free_port()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/bun.js");
        let arguments = ["run", &script.to_string_lossy(), &port.to_string()];
        let mut program = Program::start("bun", Some(cores::SERVER), &binary()?, &arguments, plan.directory)?;
        program.wait_for_listeners(&[&format!("127.0.0.1:{port}")])?;
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self { program, addr, rooms: plan.rooms, content: plan.content })
    }
}

impl Server for Bun {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn hello(&self, _n: usize, room: usize) -> Hello {
        let request = wire::upgrade(&self.addr.to_string(), &format!("/room/{}", room_name(room)), None);
        Hello { request, upgrade: true, then: Vec::new() }
    }

    fn counting(&self) -> Counting {
        Counting::Frames(self.content as u32)
    }

    fn publisher(&self) -> anyhow::Result<Box<dyn Publisher>> {
        // The script publishes what is behind the room's name.
        let message =
            |room| wire::client_frame(&[room_name(room).as_bytes(), &vec![b'x'; self.content]].concat());
        let rooms = (0..self.rooms).map(message).collect();
        let request = wire::upgrade(&self.addr.to_string(), "/control", None);
        let publisher = Raw::connect(self.addr, rooms, |stream| {
            std::io::Write::write_all(stream, &request)?;
            let mut head = [0; 4096];
            let read = stream.read(&mut head)?;
            ensure!(head[..read].starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head[..read]));
            Ok(())
        })?;
        Ok(Box::new(publisher))
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        self.program.cpu()
    }

    fn memory(&self) -> anyhow::Result<u64> {
        self.program.memory()
    }
}
