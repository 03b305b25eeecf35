//! How a socket of the load begins.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};

use crate::wire;

/// What a client says first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hello {
    /// Before anything is answered.
    pub(crate) request: Vec<u8>,
    /// Whether the answer to it is that of an upgrade.
    pub(crate) upgrade: bool,
    /// Behind the answer: login and subscription, where they are frames.
    pub(crate) then: Vec<u8>,
}

/// Sockets that shake hands at the same time: enough that the server is never idle, far below its accept queue.
pub(crate) const AT_ONCE: usize = 100;

/// A server that takes longer for one of them is not the one to be measured.
const PATIENCE: Duration = Duration::from_secs(10);

/// Largest answer to an upgrade.
const HEAD: usize = 4096;

/// A socket that is connected, and what came behind the answer.
pub(crate) type Connected = (TcpStream, Vec<u8>);

/// Connects sockets `0..count`, non-blocking from then on, in this order.
pub(crate) fn connect(
    server: SocketAddr,
    count: usize,
    hello: &dyn Fn(usize) -> Hello,
) -> anyhow::Result<Vec<Connected>> {
    let mut connected = Vec::with_capacity(count);
    while connected.len() < count {
        let first = connected.len();
        let mut batch = Vec::with_capacity(AT_ONCE);
        for n in first..count.min(first + AT_ONCE) {
            let hello = hello(n);
            let mut stream = TcpStream::connect(server).with_context(|| format!("connecting socket {n}"))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&hello.request)?;
            batch.push((stream, hello));
        }
        for (n, (mut stream, hello)) in (first..).zip(batch) {
            let rest = if hello.upgrade { read_head(&mut stream, n)? } else { Vec::new() };
            stream.write_all(&hello.then)?;
            stream.set_nonblocking(true)?;
            connected.push((stream, rest));
        }
    }
    Ok(connected)
}

fn read_head(stream: &mut TcpStream, n: usize) -> anyhow::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD);
    let end = loop {
        if let Some(end) = wire::end_of_head(&head) {
            break end;
        }
        ensure!(head.len() < HEAD, "the answer to the upgrade of socket {n} does not end");
        let mut piece = [0; HEAD];
        match stream.read(&mut piece) {
            Ok(0) => bail!("the server closed socket {n} instead of answering its upgrade"),
            Ok(read) => head.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                bail!("no answer to the upgrade of socket {n} within {PATIENCE:?}")
            }
            Err(error) => return Err(error).context(format!("the upgrade of socket {n}")),
        }
    };
    wire::check_upgraded(&head).with_context(|| format!("socket {n}"))?;
    Ok(head.split_off(end))
}
