//! How askers come about: connection, upgrade, connect frame, and the answer that all is well.

use std::{
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, bail};
use prost::Message as _;
use pushcast_proto::client::v1::{ServerFrame, server_frame};

use super::{Askers, say};
use crate::{
    swarm::{AT_ONCE, Hello},
    wire,
};

/// A server that answers nobody for so long is not the one to be measured.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The upgrade has been asked for.
    Upgrading,
    /// `connected` has not come yet.
    Greeting,
    Open,
}

impl Askers {
    /// Connects a socket for each of these, with [`AT_ONCE`] handshakes under way until all are done. Each ends with
    /// `connected`, in protobuf.
    pub(crate) fn connect(server: SocketAddr, hellos: &[Hello]) -> anyhow::Result<Self> {
        Self::connect_at_once(server, hellos, AT_ONCE)
    }

    /// The same with so many under way.
    pub(crate) fn connect_at_once(
        server: SocketAddr,
        hellos: &[Hello],
        at_once: usize,
    ) -> anyhow::Result<Self> {
        let mut askers = Self::new()?;
        let mut stages: Vec<Stage> = Vec::with_capacity(hellos.len());
        let mut open = 0;
        while open < hellos.len() {
            while stages.len() < hellos.len() && stages.len() - open < at_once {
                let n = stages.len();
                // In the loopback interface this is done when it returns, without anybody having waited.
                let stream = TcpStream::connect(server).with_context(|| format!("connecting socket {n}"))?;
                say(&stream, &hellos[n].request)?;
                askers.add(stream)?;
                stages.push(Stage::Upgrading);
            }
            let read = askers.turn(PATIENCE, |n, stream, bytes| match stages[n] {
                Stage::Upgrading => {
                    let Some(end) = wire::end_of_head(bytes) else { return Ok(0) };
                    wire::check_upgraded(&bytes[..end])?;
                    if !hellos[n].then.is_empty() {
                        say(stream, &hellos[n].then)?;
                    }
                    stages[n] = Stage::Greeting;
                    Ok(end)
                }
                Stage::Greeting => {
                    let Some((payload, end)) = wire::server_frame(bytes) else { return Ok(0) };
                    check_connected(payload)?;
                    stages[n] = Stage::Open;
                    open += 1;
                    Ok(end)
                }
                // A ticket or a heartbeat, of which nothing is wanted yet.
                Stage::Open => Ok(bytes.len()),
            })?;
            if read == 0 {
                bail!(
                    "{open} of {} sockets are connected, and nobody is answered for {PATIENCE:?}",
                    hellos.len()
                );
            }
        }
        Ok(askers)
    }
}

fn check_connected(payload: &[u8]) -> anyhow::Result<()> {
    match ServerFrame::decode(payload)?.frame {
        Some(server_frame::Frame::Connected(_)) => Ok(()),
        Some(server_frame::Frame::Error(error)) => {
            bail!("the server refused it: {} ({})", error.message, error.code)
        }
        other => bail!("the server answered with something else than `connected`: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use pushcast_proto::client::v1::{Connected, Error};

    use super::*;

    #[test]
    fn only_connected_ends_a_handshake() {
        let answer = |frame| ServerFrame { id: 1, frame: Some(frame) }.encode_to_vec();
        check_connected(&answer(server_frame::Frame::Connected(Connected::default()))).unwrap();
        let error = Error { code: "invalid_argument".to_owned(), message: "no user".to_owned() };
        let error = check_connected(&answer(server_frame::Frame::Error(error))).unwrap_err().to_string();
        assert!(error.contains("no user (invalid_argument)"), "{error}");
    }
}
