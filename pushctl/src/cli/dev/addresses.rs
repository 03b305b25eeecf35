//! The sockets of the whole fleet, all bound before anything starts, on loopback only.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use pushcast_common::settings::{Addr, BindError, bind};

use super::{
    super::output::{Misuse, with_tip},
    DevArguments,
};

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
    pub(super) http: SocketAddr,
}

impl NodeAddresses {
    /// Binds them anew, for a node that has been stopped.
    pub(super) fn bind(&self) -> Result<connect_node::Listeners, BindError> {
        let at = |addr: SocketAddr| bind("--ws-addr", &same(addr));
        Ok(connect_node::Listeners { ws: at(self.ws)?, grpc: at(self.grpc)?, http: at(self.http)? })
    }
}

/// An address that is bound, as a setting.
pub(super) fn same(addr: SocketAddr) -> Addr {
    Addr { host: addr.ip().to_string(), port: addr.port() }
}

impl Sockets {
    /// Binds what the arguments ask for. All addresses that cannot be had are named at once.
    pub(super) fn bind(arguments: &DevArguments) -> anyhow::Result<Self> {
        let grpc = loopback("--grpc-addr", &arguments.grpc_addr)?;
        let http = loopback("--http-addr", &arguments.http_addr)?;
        let first = loopback("--ws-addr", &arguments.ws_addr)?;
        let last = u32::from(first.port) + u32::from(STEP * (arguments.nodes - 1)) + 2;
        if first.port != 0 && last > u32::from(u16::MAX) {
            let text = format!("--ws-addr {first}: {} nodes need ports up to {last}", arguments.nodes);
            return Err(Misuse(text).into());
        }
        let mut binder = Binder::default();
        let manager = (binder.listen("--grpc-addr", &grpc, ""), binder.listen("--http-addr", &http, ""));
        let nodes: Vec<_> = (0..arguments.nodes).map(|index| binder.node(&first, index)).collect();
        let (Some(grpc), Some(http), Some(nodes)) =
            (manager.0, manager.1, nodes.into_iter().collect::<Option<Vec<_>>>())
        else {
            return Err(binder.failure());
        };
        let addresses = Addresses {
            grpc: grpc.local_addr()?,
            http: http.local_addr()?,
            nodes: nodes.iter().enumerate().map(node_addresses).collect::<io::Result<_>>()?,
        };
        Ok(Self { manager: push_manager::Listeners { grpc, http }, nodes, addresses })
    }
}

/// Binds one address after the other, and remembers which it could not have.
#[derive(Debug, Default)]
struct Binder {
    problems: Vec<String>,
}

impl Binder {
    fn listen(&mut self, flag: &'static str, addr: &Addr, whose: &str) -> Option<TcpListener> {
        match bind(flag, addr) {
            Ok(listener) => Some(listener),
            Err(error) => {
                self.problems.push(format!("{error}{whose}"));
                None
            }
        }
    }

    fn node(&mut self, first: &Addr, index: u16) -> Option<connect_node::Listeners> {
        let mut at = |offset: u16, of: &str| {
            let port = if first.port == 0 { 0 } else { first.port + STEP * index + offset };
            let whose = format!(" ({of} of node n{})", index + 1);
            self.listen("--ws-addr", &Addr { host: first.host.clone(), port }, &whose)
        };
        // All three, so that each that is taken is named.
        let (ws, grpc, http) = (at(0, "WebSocket"), at(1, "gRPC"), at(2, "HTTP"));
        Some(connect_node::Listeners { ws: ws?, grpc: grpc?, http: http? })
    }

    fn failure(self) -> anyhow::Error {
        let tip = "`pushctl dev --grpc-addr 127.0.0.1:0 --http-addr 127.0.0.1:0 --ws-addr 127.0.0.1:0` takes free \
                   ports and says which";
        with_tip(anyhow::anyhow!("{}", self.problems.join("\n")), tip)
    }
}

fn node_addresses((index, node): (usize, &connect_node::Listeners)) -> io::Result<NodeAddresses> {
    let id = format!("n{}", index + 1);
    Ok(NodeAddresses {
        id,
        ws: node.ws.local_addr()?,
        grpc: node.grpc.local_addr()?,
        http: node.http.local_addr()?,
    })
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
