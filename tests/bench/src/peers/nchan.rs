//! nginx with the nchan module.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;

use super::{Plan, Server, free_port, not_installed, room_name};
use crate::{
    cores,
    process::{Program, find_in_path, output_of},
    publisher::{Publisher, Raw},
    swarm::{Counting, Hello},
    wire,
};

/// Where Debian's package leaves what loads the module.
const LOADS_MODULE: &str = "/etc/nginx/modules-enabled/50-mod-nchan.conf";

fn binary() -> anyhow::Result<PathBuf> {
    let nginx = find_in_path("nginx").ok_or_else(|| not_installed("nginx"))?;
    if fs::exists(LOADS_MODULE)? { Ok(nginx) } else { Err(not_installed("libnginx-mod-nchan")) }
}

pub(super) fn version() -> anyhow::Result<String> {
    // `nginx version: nginx/1.22.1`
    let nginx = output_of(&binary()?, &["-v"]).unwrap_or_default();
    let nginx = nginx.trim().rsplit('/').next().unwrap_or_default().to_owned();
    let query = ["-W", "-f", "${Version}", "libnginx-mod-nchan"];
    let nchan = find_in_path("dpkg-query").and_then(|dpkg| output_of(&dpkg, &query)).unwrap_or_default();
    Ok(format!("nginx {nginx}, nchan {}", nchan.trim()))
}

pub(super) struct Nchan {
    program: Program,
    addr: SocketAddr,
    rooms: usize,
    content: usize,
}

impl Nchan {
    pub(super) fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        let port = free_port()?;
        let directory = plan.directory.display();
        let text = format!(
            "include {LOADS_MODULE};
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
worker_processes 1;
worker_rlimit_nofile 20000;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /sub {{ nchan_subscriber websocket; nchan_channel_id $arg_room; }}
    location = /pub {{ nchan_publisher http; nchan_channel_id $arg_room; }}
  }}
}}
"
        );
        let file = plan.directory.join("nginx.conf");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let arguments = ["-c", &file.to_string_lossy(), "-e", "stderr"];
        // Its worker would outlive a killed master.
        let program = Program::start("nginx", Some(cores::SERVER), &binary()?, &arguments, plan.directory)?;
        let mut program = program.ended_gently();
        program.wait_for_listeners(&[&format!("127.0.0.1:{port}")])?;
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self { program, addr, rooms: plan.rooms, content: plan.content })
    }
}

impl Server for Nchan {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn hello(&self, _n: usize, room: usize) -> Hello {
        let request = wire::upgrade(&self.addr.to_string(), &format!("/sub?room={}", room_name(room)), None);
        Hello { request, upgrade: true, then: Vec::new() }
    }

    fn counting(&self) -> Counting {
        Counting::Frames(self.content as u32)
    }

    fn publisher(&self) -> anyhow::Result<Box<dyn Publisher>> {
        let content = "x".repeat(self.content);
        let post = |room| {
            let room = room_name(room);
            let len = self.content;
            format!("POST /pub?room={room} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{content}")
                .into_bytes()
        };
        Ok(Box::new(Raw::connect(self.addr, (0..self.rooms).map(post).collect(), |_stream| Ok(()))?))
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        self.program.cpu()
    }

    fn memory(&self) -> anyhow::Result<u64> {
        self.program.memory()
    }
}
