//! Clients that only read, and callers that only push.

use std::{cell::Cell, rc::Rc, time::Duration};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use pushcast_proto::pushmanager::v1::{
    PushToRoomRequest, push_manager_service_client::PushManagerServiceClient,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};

/// Sockets that count what they read.
pub(crate) struct Load {
    bytes: Rc<Cell<u64>>,
    /// Dropping it ends the readers.
    _readers: JoinSet<()>,
}

impl Load {
    /// Connects so many protobuf clients, all in `room`.
    pub(crate) async fn connect(ws: &str, sockets: usize, room: &str) -> anyhow::Result<Self> {
        let bytes = Rc::new(Cell::new(0));
        let mut readers = JoinSet::new();
        for n in 0..sockets {
            let mut socket = TcpStream::connect(ws).await?;
            let request = format!(
                "GET /ws?user_id=user-{n}&rooms={room} HTTP/1.1\r\nHost: {ws}\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: pushcast.v1.protobuf\r\n\r\n"
            );
            socket.write_all(request.as_bytes()).await?;
            let mut head = [0; 4096];
            let read = socket.read(&mut head).await?;
            ensure!(head[..read].starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head[..read]));
            readers.spawn_local(read_on(socket, Rc::clone(&bytes)));
        }
        let load = Self { bytes, _readers: readers };
        load.settle().await;
        Ok(load)
    }

    /// Bytes read by all sockets.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Waits until nothing has come for a while.
    pub(crate) async fn settle(&self) {
        let mut before = u64::MAX;
        while self.bytes() != before {
            before = self.bytes();
            sleep(Duration::from_millis(300)).await;
        }
    }
}

async fn read_on(socket: TcpStream, bytes: Rc<Cell<u64>>) {
    // On the stack of the poll, not in the task: 10,000 tasks would be 160 MB.
    while socket.readable().await.is_ok() {
        let mut buffer = [0; 16 * 1024];
        match socket.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => bytes.set(bytes.get() + read as u64),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Pushes to a room with so many unary calls in flight, for `each`. Returns how many were acknowledged.
pub(crate) async fn push(
    manager: &str,
    room: &str,
    content: usize,
    in_flight: usize,
    each: Duration,
) -> anyhow::Result<u64> {
    let client = PushManagerServiceClient::connect(format!("http://{manager}")).await?;
    let content = Bytes::from(vec![b'x'; content]);
    let until = Instant::now() + each;
    let mut callers = JoinSet::new();
    for _ in 0..in_flight {
        let (mut client, content, room) = (client.clone(), content.clone(), room.to_owned());
        callers.spawn_local(async move {
            let mut pushes = 0;
            while Instant::now() < until {
                let request = PushToRoomRequest {
                    room_id: room.clone(),
                    content: content.clone(),
                    ..PushToRoomRequest::default()
                };
                let answer = client.push_to_room(request).await?.into_inner();
                ensure!(answer.pending_nodes.is_empty(), "the node is pending: it is too slow for this");
                pushes += 1;
            }
            Ok(pushes)
        });
    }
    let mut pushes = 0;
    while let Some(done) = callers.join_next().await {
        pushes += done.context("a caller panicked")??;
    }
    Ok(pushes)
}
