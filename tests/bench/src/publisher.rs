//! Who publishes: bytes on one socket for most servers, a PushStream for ours.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    thread,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use pushcast_proto::pushmanager::v1::{PushItem, PushStreamRequest};
use pushctl::push::Push;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::caller;

/// Requests handed to the stream and not yet sent: more than there are ever messages in flight in all rooms together.
const QUEUE: usize = 1 << 15;

pub(crate) trait Publisher {
    /// A message to this room; it may wait for [`Publisher::flush`].
    fn publish(&mut self, room: usize) -> anyhow::Result<()>;

    /// Sends what waits.
    fn flush(&mut self) -> anyhow::Result<()>;

    /// Where the server answers, if anything has to be read there.
    fn answers(&self) -> anyhow::Result<Option<TcpStream>>;
}

/// Writes the same bytes for every message to a room.
pub(crate) struct Raw {
    stream: TcpStream,
    rooms: Vec<Vec<u8>>,
    waiting: Vec<u8>,
}

impl Raw {
    /// Connects; `begin` says what comes before the first message.
    pub(crate) fn connect(
        server: SocketAddr,
        rooms: Vec<Vec<u8>>,
        begin: impl FnOnce(&mut TcpStream) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(server).with_context(|| format!("cannot publish at {server}"))?;
        stream.set_nodelay(true)?;
        begin(&mut stream)?;
        Ok(Self { stream, rooms, waiting: Vec::new() })
    }
}

impl Publisher for Raw {
    fn publish(&mut self, room: usize) -> anyhow::Result<()> {
        self.waiting.extend_from_slice(&self.rooms[room]);
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if !self.waiting.is_empty() {
            self.stream.write_all(&self.waiting).context("the server takes no messages any more")?;
            self.waiting.clear();
        }
        Ok(())
    }

    fn answers(&self) -> anyhow::Result<Option<TcpStream>> {
        Ok(Some(self.stream.try_clone()?))
    }
}

/// One PushStream, with the default acknowledgement, on a thread of its own.
///
/// What is at hand at a flush goes into one request, as it goes into one write for the others. One by one, the thread would
/// be woken by the first message and send it alone, and the node would work in two batches that take turns for ever.
pub(crate) struct Stream {
    requests: Option<mpsc::Sender<PushStreamRequest>>,
    worker: Option<thread::JoinHandle<anyhow::Result<()>>>,
    content: Bytes,
    /// Names room `n`.
    name: fn(usize) -> String,
    waiting: Vec<PushItem>,
}

impl Stream {
    /// To the manager at this address.
    pub(crate) fn open(manager: &str, content: usize, name: fn(usize) -> String) -> anyhow::Result<Self> {
        let manager = manager.to_owned();
        let (requests, queue) = mpsc::channel(QUEUE);
        let worker = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(send_all(&manager, queue))
        });
        let content = Bytes::from(vec![b'x'; content]);
        Ok(Self { requests: Some(requests), worker: Some(worker), content, name, waiting: Vec::new() })
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.requests = None;
        match self.worker.take() {
            Some(worker) => worker.join().map_err(|_panicked| anyhow::anyhow!("the publisher panicked"))?,
            None => Ok(()),
        }
    }
}

impl Publisher for Stream {
    fn publish(&mut self, room: usize) -> anyhow::Result<()> {
        self.waiting.push(Push::to_room((self.name)(room), self.content.clone()).into_item(0));
        Ok(())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let request = PushStreamRequest { items: std::mem::take(&mut self.waiting) };
        if self.requests.as_ref().is_some_and(|requests| requests.blocking_send(request).is_ok()) {
            return Ok(());
        }
        self.end()?;
        bail!("the push stream has ended")
    }

    fn answers(&self) -> anyhow::Result<Option<TcpStream>> {
        Ok(None)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Its failure was told by the flush that met it.
        let _told = self.end();
    }
}

/// Sends what comes from the queue, until that ends and everything is answered.
async fn send_all(manager: &str, queue: mpsc::Receiver<PushStreamRequest>) -> anyhow::Result<()> {
    let mut client = caller::connect(manager).await?;
    let mut answers = client.push_stream(ReceiverStream::new(queue)).await?.into_inner();
    while let Some(response) = answers.message().await? {
        caller::check(&response)?;
    }
    Ok(())
}
