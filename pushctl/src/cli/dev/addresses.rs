//! The sockets of the whole fleet, all bound before anything starts, on loopback only.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use pushcast_common::settings::{Addr, bind};

use super::{super::output::Misuse, DevArguments};

/// Ports between one node and the next.
const STEP: u16 = 10;

/// Everything bound.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) manager: push_manager::Listeners,
    pub(super) nodes: Vec<connect_node::Listeners>,
    pub(super) addresses: Addresses,
}

/// Where everything listens.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    pub(super) grpc: SocketAddr,
    pub(super) http: SocketAddr,
    pub(super) nodes: Vec<NodeAddresses>,
}

#[derive(Debug, Clone)]
pub(super) struct NodeAddresses {
    pub(super) id: String,
    pub(super) ws: SocketAddr,
    pub(super) grpc: SocketAddr,
}

impl Sockets {
    /// Binds what the arguments ask for.
    pub(super) fn bind(arguments: &DevArguments) -> anyhow::Result<Self> {
        let grpc = listen("--grpc-addr", &loopback("--grpc-addr", &arguments.grpc_addr)?)?;
        let http = listen("--http-addr", &loopback("--http-addr", &arguments.http_addr)?)?;
        let first = loopback("--ws-addr", &arguments.ws_addr)?;
        let last = u32::from(first.port) + u32::from(STEP * (arguments.nodes - 1)) + 2;
        if first.port != 0 && last > u32::from(u16::MAX) {
            let text = format!("--ws-addr {first}: {} nodes need ports up to {last}", arguments.nodes);
            return Err(Misuse(text).into());
        }
        let nodes =
            (0..arguments.nodes).map(|index| bind_node(&first, index)).collect::<anyhow::Result<Vec<_>>>()?;
        let addresses = Addresses {
            grpc: grpc.local_addr()?,
            http: http.local_addr()?,
            nodes: nodes.iter().enumerate().map(node_addresses).collect::<io::Result<_>>()?,
        };
        Ok(Self { manager: push_manager::Listeners { grpc, http }, nodes, addresses })
    }
}

fn bind_node(first: &Addr, index: u16) -> anyhow::Result<connect_node::Listeners> {
    let at = |offset: u16| {
        let port = if first.port == 0 { 0 } else { first.port + STEP * index + offset };
        listen("--ws-addr", &Addr { host: first.host.clone(), port })
    };
    Ok(connect_node::Listeners { ws: at(0)?, grpc: at(1)?, http: at(2)? })
}

fn node_addresses((index, node): (usize, &connect_node::Listeners)) -> io::Result<NodeAddresses> {
    let id = format!("n{}", index + 1);
    Ok(NodeAddresses { id, ws: node.ws.local_addr()?, grpc: node.grpc.local_addr()? })
}

fn loopback(flag: &'static str, text: &str) -> anyhow::Result<Addr> {
    let addr: Addr = text.parse().map_err(|error| Misuse(format!("{flag}: {error}")))?;
    let is_loopback = match addr.host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => addr.host == "localhost",
    };
    if is_loopback {
        return Ok(addr);
    }
    let text = format!(
        "{flag} {addr}: `pushctl dev` lets everybody in and so stays on loopback (127.0.0.1, ::1, localhost); to be \
         reached from elsewhere, start push-manager and connect-node"
    );
    Err(Misuse(text).into())
}

fn listen(flag: &'static str, addr: &Addr) -> anyhow::Result<TcpListener> {
    Ok(bind(flag, addr)?)
}
