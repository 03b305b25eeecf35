//! Messages that nobody on the node wants, with many rooms in its tables.

use std::time::Duration;

use anyhow::ensure;
use prost::Message as _;
use pushcast_proto::client::v1::{ClientFrame, Connect, client_frame};

use super::{CONTENT, Failures, Settings, progress};
use crate::{
    caller::{Caller, Pace},
    cores,
    peers::{Plan, Server, ours::Ours, room_name},
    statistics::Series,
    swarm::{Hello, Swarm},
    wire,
};

/// Connections, each in as many rooms as one may be in.
const SOCKETS: usize = 100;
const ROOMS_EACH: usize = 1000;

/// Rooms in the tables.
pub(crate) const ROOMS: usize = SOCKETS * ROOMS_EACH;

/// Requests of 128 pushes, of which the link makes batches of 64 messages and more.
const PACE: Pace = Pace { items: 128, requests: 4 };

/// By round: microseconds of node CPU per message.
pub(crate) fn run(settings: Settings, failures: &mut Failures) -> Series {
    let mut micros = Series::default();
    for round in 0..settings.rounds {
        let what = format!("messages that nobody wants, round {}", round + 1);
        progress(&what);
        let measured = cores::on_load_core(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(measure(settings.each))
        });
        if let Some(each) = failures.note(&what, measured) {
            micros.push(round, each);
        }
    }
    micros
}

async fn measure(each: Duration) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let plan =
        Plan { directory: directory.path(), sockets: SOCKETS, rooms: ROOMS, content: CONTENT, in_flight: 1 };
    let ours = Ours::start(plan)?;
    let hello = |n| in_many_rooms(&ours.node_at.ws, n);
    let mut swarm = Swarm::connect(ours.addr(), ours.counting(), SOCKETS, 1, &hello)?;
    let mut caller = Caller::open(&ours.manager_at.grpc).await?;
    let nobody = |n: u64| format!("nobody-{:06}", n % ROOMS as u64);
    caller.push(PACE, each / 4, nobody).await?;
    let before = ours.cpu()?;
    let pushes = caller.push(PACE, each, nobody).await?;
    let spent = ours.cpu()? - before;
    swarm.read_until_quiet()?;
    ensure!(pushes > 0, "no push was answered");
    Ok(spent.as_secs_f64() * 1e6 / pushes as f64)
}

/// Socket `n`, in rooms that nobody else is in.
fn in_many_rooms(host: &str, n: usize) -> Hello {
    let rooms = (n * ROOMS_EACH..(n + 1) * ROOMS_EACH).map(room_name).collect();
    let connect = Connect { user_id: format!("user-{n:06}"), rooms, ..Connect::default() };
    let frame = ClientFrame { id: 1, frame: Some(client_frame::Frame::Connect(connect)) };
    Hello {
        request: wire::upgrade(host, "/ws", Some("pushcast.v1.protobuf")),
        upgrade: true,
        then: wire::client_frame(&frame.encode_to_vec()),
    }
}
