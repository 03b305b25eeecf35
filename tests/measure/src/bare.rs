//! What the kernel alone costs: a thread on core 0 that sends the same bytes to every socket, again and again.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::server::{pin_self, thread_cpu};

pub(crate) struct Bare {
    pub(crate) micros_per_send: f64,
}

/// Sends `bytes` to each of `sockets` in rounds for `each`; a thread on core 1 reads them.
pub(crate) fn run(sockets: usize, bytes: usize, each: Duration) -> anyhow::Result<Bare> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = Vec::with_capacity(sockets);
    let mut far = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        near.push(TcpStream::connect(listener.local_addr()?)?);
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        far.push(socket);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || read_all(near, &stop))
    };
    let sender = thread::spawn(move || -> anyhow::Result<Bare> {
        pin_self(0)?;
        let payload = vec![b'x'; bytes];
        let (start, cpu) = (Instant::now(), thread_cpu()?);
        let mut sends = 0_u64;
        while start.elapsed() < each {
            for socket in &mut far {
                socket.write_all(&payload)?;
                sends += 1;
            }
        }
        let spent = thread_cpu()? - cpu;
        Ok(Bare { micros_per_send: spent.as_secs_f64() * 1e6 / sends as f64 })
    });
    let bare = sender.join().ok().context("the bare loop panicked")??;
    stop.store(true, Ordering::Relaxed);
    reader.join().ok().context("the reader panicked")?;
    Ok(bare)
}

fn read_all(mut sockets: Vec<TcpStream>, stop: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    for socket in &sockets {
        // A socket that cannot be made non-blocking would only make this thread slower.
        let _ = socket.set_nonblocking(true);
    }
    while !stop.load(Ordering::Relaxed) {
        for socket in &mut sockets {
            while socket.read(&mut buffer).is_ok_and(|read| read == buffer.len()) {}
        }
    }
}
