//! What the kernel alone costs: a thread that sends the same bytes to every socket of a room, for each trigger that
//! comes on a control connection.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::{Plan, Server};
use crate::{
    cores, procfs,
    publisher::{Publisher, Raw},
    swarm::{Counting, Hello},
};

/// What surrounds the content in a protobuf delivery of ours, about: header, message_id, manager, seq, room.
const AROUND: usize = 64;

/// A trigger is the number of a room.
const TRIGGER: usize = 4;

pub(crate) struct Bare {
    addr: SocketAddr,
    tid: i32,
    rooms: usize,
    message: usize,
    stop: Arc<AtomicBool>,
    /// Ends when the publisher's connection does, or with the first connection after `stop`.
    worker: Option<thread::JoinHandle<anyhow::Result<()>>>,
}

impl Bare {
    /// On the server's core.
    pub(super) fn start(plan: Plan<'_>) -> anyhow::Result<Self> {
        Self::start_on(plan, Some(cores::SERVER))
    }

    /// On this core, or wherever the kernel puts it.
    pub(crate) fn start_on(plan: Plan<'_>, core: Option<usize>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let (started, start) = mpsc::sync_channel(1);
        let message = plan.content + AROUND;
        let (sockets, rooms, most) = (plan.sockets, plan.rooms, plan.in_flight);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let worker = thread::spawn(move || {
            core.map_or(Ok(()), cores::pin_self)?;
            // Nobody waits for it any more if starting failed.
            let _waits = started.send(rustix::thread::gettid().as_raw_nonzero().get());
            let members = accept(&listener, sockets, rooms, &stopped)?;
            let (control, _) = listener.accept()?;
            if stopped.load(Ordering::Relaxed) { Ok(()) } else { serve(members, control, message, most) }
        });
        let tid = start.recv().context("the bare loop cannot run on the server's core")?;
        Ok(Self { addr, tid, rooms, message, stop, worker: Some(worker) })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it if it still waits for somebody to connect.
        let _woken = TcpStream::connect(self.addr);
        if let Some(worker) = self.worker.take() {
            // Sockets that went away are how it ends.
            let _ended = worker.join();
        }
    }
}

/// The sockets by room, when all are there.
fn accept(
    listener: &TcpListener,
    sockets: usize,
    rooms: usize,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<Vec<TcpStream>>> {
    let mut members: Vec<Vec<TcpStream>> = (0..rooms).map(|_| Vec::new()).collect();
    for _ in 0..sockets {
        let (mut socket, _) = listener.accept()?;
        ensure!(!stop.load(Ordering::Relaxed), "nobody connects any more");
        socket.set_nodelay(true)?;
        let mut room = [0; TRIGGER];
        socket.read_exact(&mut room)?;
        members[u32::from_le_bytes(room) as usize].push(socket);
    }
    Ok(members)
}

/// Sends for every trigger, and `most` messages in one write at most.
fn serve(
    mut members: Vec<Vec<TcpStream>>,
    mut control: TcpStream,
    message: usize,
    most: usize,
) -> anyhow::Result<()> {
    let messages = vec![b'x'; message * most];
    // With several rooms a write cannot carry more than one message, and a trigger is one room's.
    let mut triggers = vec![0; TRIGGER * most.max(members.len())];
    let mut filled = 0;
    loop {
        let read = control.read(&mut triggers[filled..])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let whole = filled - filled % TRIGGER;
        let mut waiting = triggers[..whole].chunks_exact(TRIGGER).peekable();
        while let Some(trigger) = waiting.next() {
            let mut together = 1;
            while together < most && waiting.next_if_eq(&trigger).is_some() {
                together += 1;
            }
            let room = trigger.iter().rev().fold(0, |room, byte| room << 8 | usize::from(*byte));
            for socket in &mut members[room] {
                socket.write_all(&messages[..message * together])?;
            }
        }
        triggers.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

impl Server for Bare {
    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn hello(&self, _n: usize, room: usize) -> Hello {
        Hello { request: (room as u32).to_le_bytes().to_vec(), ..Hello::default() }
    }

    fn counting(&self) -> Counting {
        Counting::Bytes(self.message as u32)
    }

    fn publisher(&self) -> anyhow::Result<Box<dyn Publisher>> {
        let triggers = (0..self.rooms as u32).map(|room| room.to_le_bytes().to_vec()).collect();
        Ok(Box::new(Raw::connect(self.addr, triggers, |_control| Ok(()))?))
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        procfs::cpu_of_own_thread(self.tid)
    }

    fn memory(&self) -> anyhow::Result<u64> {
        anyhow::bail!("the bare loop is no process of its own")
    }
}
