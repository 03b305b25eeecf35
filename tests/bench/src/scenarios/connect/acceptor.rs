//! What the kernel alone takes for a client: a thread that accepts, reads what comes, and writes what a node would
//! answer, whatever was asked.

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
use prost::Message as _;
use pushcast_proto::client::v1::{Connected, ServerFrame, server_frame};

use crate::{cores, procfs, swarm::Hello, wire};

/// Longer than any request.
const REQUEST: usize = 4096;

/// A thread on the server's core; it ends with this value.
pub(super) struct Acceptor {
    pub(super) addr: SocketAddr,
    tid: i32,
    stop: Arc<AtomicBool>,
    worker: Option<thread::JoinHandle<anyhow::Result<()>>>,
}

impl Acceptor {
    /// For so many clients, then for so many others when these have gone, and so on.
    pub(super) fn start(legs: &[usize]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let (started, start) = mpsc::sync_channel(1);
        let stop = Arc::new(AtomicBool::new(false));
        let (legs, stopped) = (legs.to_vec(), Arc::clone(&stop));
        let worker = thread::spawn(move || {
            cores::pin_self(cores::SERVER)?;
            // Nobody waits for it any more if starting failed.
            let _waits = started.send(rustix::thread::gettid().as_raw_nonzero().get());
            legs.into_iter().try_for_each(|clients| serve(&listener, clients, &stopped))?;
            // Stays until it is dropped: the processor time of a thread that has ended is not known.
            listener.accept()?;
            Ok(())
        });
        let tid = start.recv().context("the bare loop cannot run on the server's core")?;
        Ok(Self { addr, tid, stop, worker: Some(worker) })
    }

    /// What a client says: as many bytes as one says to a node.
    pub(super) fn hello(n: usize) -> Hello {
        let path = format!("/ws?user_id=user-{n:06}&rooms=room-{n:06}");
        let request = wire::upgrade("127.0.0.1:8000", &path, Some("pushcast.v1.protobuf"));
        Hello { request, upgrade: true, then: Vec::new() }
    }

    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        procfs::cpu_of_own_thread(self.tid)
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it if it still waits for somebody to connect.
        let _woken = TcpStream::connect(self.addr);
        if let Some(worker) = self.worker.take() {
            // Clients that went away are how it ends.
            let _ended = worker.join();
        }
    }
}

/// Takes them in, and closes each socket when its client has closed it.
fn serve(listener: &TcpListener, clients: usize, stop: &AtomicBool) -> anyhow::Result<()> {
    let answer = answer();
    let mut buffer = [0; REQUEST];
    let mut sockets = Vec::with_capacity(clients);
    for _ in 0..clients {
        let (mut socket, _) = listener.accept()?;
        ensure!(!stop.load(Ordering::Relaxed), "nobody connects any more");
        socket.set_nodelay(true)?;
        // A request comes in one piece.
        ensure!(socket.read(&mut buffer)? > 0, "a client asked nothing");
        socket.write_all(&answer)?;
        sockets.push(socket);
    }
    for mut socket in sockets {
        while socket.read(&mut buffer)? > 0 {}
    }
    Ok(())
}

/// The head and the frame that a node answers, but for names.
fn answer() -> Vec<u8> {
    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                sec-websocket-protocol: pushcast.v1.protobuf\r\ndate: Sat, 28 Nov 2026 00:00:00 GMT\r\n\r\n";
    let connected = Connected {
        connection_id: "x".repeat(26),
        user_id: "user-000000".to_owned(),
        node_id: "node-8001".to_owned(),
        rooms: vec!["room-000000".to_owned()],
        as_of: 1_700_000_000_000,
        recovered: Some(false),
        heartbeat_ms: 25_000,
        ..Connected::default()
    };
    let frame = ServerFrame { id: 1, frame: Some(server_frame::Frame::Connected(connected)) };
    let payload = frame.encode_to_vec();
    // The length of a short frame is its second byte.
    debug_assert!(payload.len() < 126);
    [head.as_bytes(), &[0x82, payload.len() as u8], &payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::askers::Askers;

    #[test]
    fn clients_are_taken_in_leg_by_leg() {
        let acceptor = Acceptor::start(&[3, 5]).unwrap();
        for clients in [3, 5] {
            let hellos: Vec<Hello> = (0..clients).map(Acceptor::hello).collect();
            let askers = Askers::connect(acceptor.addr, &hellos).unwrap();
            assert_eq!(askers.len(), clients);
        }
        // Long enough for it to see that all have gone.
        thread::sleep(Duration::from_millis(50));
        assert!(acceptor.cpu().unwrap() > Duration::ZERO, "it is there after its last client");
    }

    #[test]
    fn clients_that_never_come_do_not_keep_it() {
        drop(Acceptor::start(&[3]).unwrap());
    }
}
