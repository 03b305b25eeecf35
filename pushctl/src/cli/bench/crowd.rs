//! Who connects: a user for each socket, in a room for every so many of them, on one node after the other.

use std::{
    io,
    time::{Duration, Instant},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pushctl::format::Format;
use tokio::time::timeout;

use super::{
    super::output::with_tip,
    bar::Bar,
    delays::Delays,
    ends::{End, Ended},
    nodes::not_connected,
    swarm::Swarm,
};

/// Handshakes under way at once: more than a node does at the same time, fewer than its listener keeps waiting.
const AT_ONCE: usize = 128;
/// As the library's client: a node gives a client half of it for its first frame.
const SILENCE: Duration = Duration::from_secs(10);

/// Names that nobody else uses, so that no load meets another or a real user.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    name: String,
    /// Sockets in each room; none: they are in no room.
    members: Option<usize>,
    format: Format,
    /// What all of them show; none if empty.
    token: String,
}

impl Crowd {
    /// One by a random name. It is not the mark of the pushes, which has to stand in their content alone.
    pub(super) fn new(members: Option<usize>, format: Format, token: &str) -> Self {
        let name = format!("bench-{:012x}", rand::random::<u64>() >> 16);
        Self { name, members, format, token: token.to_owned() }
    }

    /// Who one of them is, in the query of a URL: a token says that by itself.
    fn identity(&self, who: usize) -> String {
        match self.token.as_str() {
            "" => format!("user_id={}-{who}", self.name),
            token => format!("token={}", utf8_percent_encode(token, NON_ALPHANUMERIC)),
        }
    }

    /// The name of a room.
    pub(super) fn room(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    /// Begins the connection of one of them; its handshake counts since `due`.
    pub(super) fn connect(&self, swarm: &mut Swarm, who: usize, due: Instant) -> anyhow::Result<()> {
        let target = who % swarm.targets().len();
        let room = self.members.map(|members| self.room(who / members));
        let node = &swarm.targets()[target];
        let request = node.request(&self.identity(who), room.as_deref(), self.format);
        let url = node.url.clone();
        swarm.connect(target, request, due).map_err(|error| not_opened(&error, &url, swarm.sockets()))
    }

    /// Connects so many, and waits until all are connected; answers with how long each took. The first that fails is an
    /// error.
    pub(super) async fn connect_all(
        &self,
        swarm: &mut Swarm,
        sockets: usize,
        bar: &Bar,
    ) -> anyhow::Result<Delays> {
        let mut took = Delays::default();
        let mut begun = 0;
        while swarm.open_sockets() < sockets {
            while begun < sockets && swarm.sockets() < swarm.open_sockets() + AT_ONCE {
                self.connect(swarm, begun, Instant::now())?;
                begun += 1;
            }
            let turned = timeout(SILENCE, swarm.turn(|_number, _at| {})).await;
            let happened = swarm.happened();
            let now = Instant::now();
            happened.connected.iter().for_each(|(_, due)| took.record(now.saturating_duration_since(*due)));
            if let Some(ended) = happened.ended.into_iter().next() {
                return Err(failed(ended, swarm, sockets));
            }
            match turned {
                Ok(turned) => turned?,
                Err(_elapsed) => {
                    let target = swarm.awaited_node().unwrap_or(0);
                    let ended = Ended { target, was_open: false, how: End::Left };
                    return Err(failed(ended, swarm, sockets));
                }
            };
            let open = swarm.open_sockets();
            bar.show("connecting", open as f64 / sockets as f64, || format!("{open} of {sockets} sockets"));
        }
        Ok(took)
    }
}

/// One of a crowd did not make it.
fn failed(ended: Ended, swarm: &Swarm, sockets: usize) -> anyhow::Error {
    let url = swarm.targets()[ended.target].url.clone();
    let (open, was_open) = (swarm.open_sockets(), ended.was_open);
    let error = ended.how.into_connect_error(&url);
    // The first one says it all; of later ones it is of interest how far it went.
    if open == 0 && !was_open {
        return not_connected(error);
    }
    let tip = "what one node takes is its --max-connections; give more nodes, or ask for fewer sockets";
    with_tip(anyhow::anyhow!("{open} of {sockets} sockets were connected, then {error}"), tip)
}

/// This process or this machine has no more of something.
fn not_opened(error: &io::Error, url: &str, sockets: usize) -> anyhow::Error {
    if error.kind() == io::ErrorKind::AddrNotAvailable {
        let error =
            anyhow::anyhow!("{url}: after {sockets} sockets this machine has no port left towards it");
        let tip =
            "give more nodes by --url, run pushctl on several machines, or see net.ipv4.ip_local_port_range";
        return with_tip(error, tip);
    }
    anyhow::anyhow!("{url}: cannot open another socket beside {sockets} ({error})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_takes_the_place_of_names() {
        let crowd = Crowd::new(Some(2), Format::Json, "");
        assert_eq!(crowd.identity(3), format!("user_id={}-3", crowd.name));
        assert_eq!(Crowd::new(None, Format::Json, "ab.c=").identity(3), "token=ab%2Ec%3D");
    }
}
