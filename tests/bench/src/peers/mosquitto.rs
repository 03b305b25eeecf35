//! mosquitto, its subscribers over WebSocket.

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

/// Seconds after which a silent client is asked; no scenario takes so long.
const KEEP_ALIVE: u8 = 60;

fn binary() -> anyhow::Result<PathBuf> {
    find_in_path("mosquitto").ok_or_else(|| not_installed("mosquitto"))
}

pub(super) fn version() -> anyhow::Result<String> {
    // `mosquitto version 2.0.11`, then the usage.
    let said = output_of(&binary()?, &["-h"]).unwrap_or_default();
    let line = said.lines().next().unwrap_or_default();
    Ok(line.trim_start_matches("mosquitto version ").to_owned())
}

pub(super) struct Mosquitto {
    program: Program,
    addr: SocketAddr,
    plain: SocketAddr,
    rooms: usize,
    content: usize,
}

impl Mosquitto {
    pub(super) fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        let (port, plain) = (free_port()?, free_port()?);
        let text = format!(
            "allow_anonymous true\nlistener {plain} 127.0.0.1\nlistener {port} 127.0.0.1\nprotocol websockets\n"
        );
        let file = plan.directory.join("mosquitto.conf");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        let arguments = ["-c", &file.to_string_lossy()];
        let mut program =
            Program::start("mosquitto", Some(cores::SERVER), &binary()?, &arguments, plan.directory)?;
        program.wait_for_listeners(&[&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{plain}")])?;
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Self { program, addr: local(port), plain: local(plain), rooms: plan.rooms, content: plan.content })
    }
}

/// An MQTT packet: its first byte, its length, the rest.
fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    let mut len = body.len();
    loop {
        let more = if len > 0x7f { 0x80 } else { 0 };
        packet.push(more | (len & 0x7f) as u8);
        len >>= 7;
        if len == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

/// MQTT 3.1.1, a clean session.
fn connect(client: &str) -> Vec<u8> {
    packet(0x10, &[&text("MQTT")[..], &[4, 2, 0, KEEP_ALIVE], &text(client)].concat())
}

/// QoS 0.
fn subscribe(topic: &str) -> Vec<u8> {
    packet(0x82, &[&[0, 1][..], &text(topic), &[0]].concat())
}

/// QoS 0.
fn publish(topic: &str, content: usize) -> Vec<u8> {
    packet(0x30, &[&text(topic)[..], &vec![b'x'; content]].concat())
}

impl Server for Mosquitto {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn hello(&self, n: usize, room: usize) -> Hello {
        let request = wire::upgrade(&self.addr.to_string(), "/mqtt", Some("mqtt"));
        let login = wire::client_frame(&connect(&format!("user-{n:06}")));
        let subscribe = wire::client_frame(&subscribe(&room_name(room)));
        Hello { request, upgrade: true, then: [login, subscribe].concat() }
    }

    fn counting(&self) -> Counting {
        Counting::InFrames(self.content as u32)
    }

    fn publisher(&self) -> anyhow::Result<Box<dyn Publisher>> {
        let rooms = (0..self.rooms).map(|room| publish(&room_name(room), self.content)).collect();
        let publisher =
            Raw::connect(self.plain, rooms, |stream| Ok(stream.write_all(&connect("publisher"))?))?;
        Ok(Box::new(publisher))
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        self.program.cpu()
    }

    fn memory(&self) -> anyhow::Result<u64> {
        self.program.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_as_mqtt_has_them() {
        assert_eq!(
            connect("a"),
            [&[0x10, 13, 0, 4][..], b"MQTT", &[4, 2, 0, KEEP_ALIVE, 0, 1, b'a']].concat()
        );
        assert_eq!(subscribe("t"), [0x82, 6, 0, 1, 0, 1, b't', 0]);
        let long = publish("t", 128);
        assert_eq!(long[..3], [0x30, 0x83, 0x01], "131 is 0x83 0x01");
        assert_eq!(long.len(), 3 + 131);
    }
}
