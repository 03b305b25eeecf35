//! nats-server, its subscribers over WebSocket.

use std::{fs, io::Write as _, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;

use super::{Plan, Server, free_port, not_installed, room_name};
use crate::{
    cores,
    process::{Program, find_in_path, output_of},
    publisher::{Publisher, Raw},
    swarm::{Counting, Hello},
    wire,
};

/// What a client says first; no +OK for everything, no echo of its own.
const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\n";

fn binary() -> anyhow::Result<PathBuf> {
    find_in_path("nats-server").ok_or_else(|| not_installed("nats-server"))
}

pub(super) fn version() -> anyhow::Result<String> {
    // `nats-server: v2.9.10`
    let said = output_of(&binary()?, &["--version"]).unwrap_or_default();
    Ok(said.trim().rsplit(' ').next().unwrap_or_default().trim_start_matches('v').to_owned())
}

pub(super) struct Nats {
    program: Program,
    addr: SocketAddr,
    plain: SocketAddr,
    rooms: usize,
    content: usize,
}

impl Nats {
    pub(super) fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        let (port, plain) = (free_port()?, free_port()?);
        let text = format!(
            "listen: \"127.0.0.1:{plain}\"\nwebsocket {{\n  listen: \"127.0.0.1:{port}\"\n  no_tls: true\n}}\n"
        );
        let file = plan.directory.join("nats.conf");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let arguments = ["-c", &file.to_string_lossy()];
        let mut program =
            Program::start("nats-server", Some(cores::SERVER), &binary()?, &arguments, plan.directory)?;
        program.wait_for_listeners(&[&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{plain}")])?;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self { program, addr: local(port), plain: local(plain), rooms: plan.rooms, content: plan.content })
    }
}

impl Server for Nats {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn hello(&self, _n: usize, room: usize) -> Hello {
        let request = wire::upgrade(&self.addr.to_string(), "/", None);
        let subscribe = format!("{CONNECT}SUB {} 1\r\n", room_name(room));
        Hello { request, upgrade: true, then: wire::client_frame(subscribe.as_bytes()) }
    }

    fn counting(&self) -> Counting {
        // It gathers what waits for a client into one frame.
        Counting::InFrames(self.content as u32)
    }

    fn publisher(&self) -> anyhow::Result<Box<dyn Publisher>> {
        let content = "x".repeat(self.content);
        let message =
            |room| format!("PUB {} {}\r\n{content}\r\n", room_name(room), self.content).into_bytes();
        let rooms = (0..self.rooms).map(message).collect();
        let publisher = Raw::connect(self.plain, rooms, |stream| Ok(stream.write_all(CONNECT.as_bytes())?))?;
        Ok(Box::new(publisher))
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        self.program.cpu()
    }

    fn memory(&self) -> anyhow::Result<u64> {
        self.program.memory()
    }
}
