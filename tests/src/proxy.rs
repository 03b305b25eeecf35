//! A network that can be made bad while it is used.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Bytes moved at once. Small, so that a throttled connection trickles as a slow line does.
const CHUNK: usize = 4 << 10;
/// Bytes of a TCP segment, as on a real line.
const SEGMENT: u32 = 1460;
/// Chunks on their way in one direction of a connection: room for a delay at full speed.
const IN_FLIGHT: usize = 256;

/// How the network is.
#[derive(Debug, Clone, Default)]
struct Conditions {
    /// Connections of an older era are cut.
    era: u64,
    refusing: bool,
    silent: bool,
    delay: Duration,
    bytes_per_second: Option<u32>,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<Option<String>>,
    conditions: watch::Receiver<Conditions>,
    // When the line is free again, for each direction.
    busy_until: [Mutex<Instant>; 2],
}

/// A TCP proxy to one target. Everything can be changed while connections are open; without any change it
/// forwards as it gets. It ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    conditions: watch::Sender<Conditions>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// A proxy without a target: connections wait for one.
    ///
    /// # Panics
    /// If it cannot listen.
    pub fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Accepted sockets inherit it: what the kernel would swallow is not throttled.
        socket.set_recv_buffer_size(32 << 10).expect("a small buffer");
        // A segment of loopback is larger than that, and TCP would wait for timers once the buffer was full.
        socket2::SockRef::from(&socket).set_tcp_mss(SEGMENT).expect("small segments");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let listener = socket.listen(128).expect("a bound socket");
        let addr = listener.local_addr().expect("a bound socket");
        let (conditions, receiver) = watch::channel(Conditions::default());
        let now = Instant::now();
        let shared = Arc::new(Shared {
            target: Mutex::new(None),
            conditions: receiver,
            busy_until: [Mutex::new(now), Mutex::new(now)],
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Self { addr, shared, conditions, _tasks: tasks }
    }

    /// A proxy to this target.
    pub fn to(target: &str) -> Self {
        let proxy = Self::start();
        proxy.set_target(target);
        proxy
    }

    /// Where to connect, `host:port`.
    pub fn addr(&self) -> String {
        self.addr.to_string()
    }

    /// Where new connections go.
    pub fn set_target(&self, target: &str) {
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.to_owned());
    }

    /// Cuts all connections; new ones are allowed.
    pub fn cut(&self) {
        self.conditions.send_modify(|conditions| conditions.era += 1);
    }

    /// Cuts all connections and refuses new ones, until [`Proxy::heal`].
    pub fn drop_all(&self) {
        self.conditions.send_modify(|conditions| {
            conditions.era += 1;
            conditions.refusing = true;
        });
    }

    /// Keeps all sockets open and forwards nothing, until [`Proxy::heal`].
    pub fn go_silent(&self) {
        self.conditions.send_modify(|conditions| conditions.silent = true);
    }

    /// What is sent arrives that much later, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.conditions.send_modify(|conditions| conditions.delay = delay);
    }

    /// All connections together carry no more, in each direction.
    pub fn throttle(&self, bytes_per_second: u32) {
        self.conditions.send_modify(|conditions| conditions.bytes_per_second = Some(bytes_per_second));
    }

    /// A good network again; cut connections stay cut.
    pub fn heal(&self) {
        self.conditions.send_modify(|conditions| {
            *conditions = Conditions { era: conditions.era, ..Conditions::default() }
        });
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _peer)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if !shared.conditions.borrow().refusing {
            connections.spawn(carry(socket, Arc::clone(&shared)));
        }
    }
}

/// One connection, from both sides, until either ends or it is cut.
async fn carry(near: TcpStream, shared: Arc<Shared>) {
    let mut conditions = shared.conditions.clone();
    let era = conditions.borrow_and_update().era;
    let target = shared.target.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(target) = target else { return };
    let Ok(far) = TcpStream::connect(target).await else { return };
    if near.set_nodelay(true).and(far.set_nodelay(true)).is_err() {
        return;
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        _ = async {
            tokio::join!(one_way(near_read, far_write, &shared, 0), one_way(far_read, near_write, &shared, 1))
        } => {}
        _ = conditions.wait_for(|conditions| conditions.era != era) => {}
    }
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared, direction: usize) {
    let (chunks, mut queue) = mpsc::channel::<(Instant, Vec<u8>)>(IN_FLIGHT);
    let read = async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + shared.conditions.borrow().delay;
            let chunk = buffer[..length].to_vec();
            // A slow line takes no more than it can carry.
            let slow = shared.conditions.borrow().bytes_per_second.is_some();
            if chunks.send((due, chunk)).await.is_err() {
                return;
            }
            while slow && chunks.capacity() < chunks.max_capacity() - 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let write = async {
        while let Some((due, chunk)) = queue.recv().await {
            // A timer would take a millisecond even if it is due.
            if due > Instant::now() {
                sleep_until(due).await;
            }
            wait_for_line(shared, direction, chunk.len()).await;
            let mut conditions = shared.conditions.clone();
            if conditions.wait_for(|conditions| !conditions.silent).await.is_err() {
                return;
            }
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        // The end of one direction is forwarded as well; the other may go on.
        let _gone = to.shutdown().await;
    };
    tokio::join!(read, write);
}

async fn wait_for_line(shared: &Shared, direction: usize, bytes: usize) {
    let Some(rate) = shared.conditions.borrow().bytes_per_second else { return };
    let until = {
        let mut busy = shared.busy_until[direction].lock().unwrap_or_else(PoisonError::into_inner);
        let needed = Duration::from_secs_f64(bytes as f64 / f64::from(rate));
        *busy = (*busy).max(Instant::now()) + needed;
        *busy
    };
    sleep_until(until).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo_server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = socket.split();
                    let _ended = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        addr
    }

    async fn round_trip(socket: &mut TcpStream, bytes: usize) -> Duration {
        let start = Instant::now();
        let sent = vec![7; bytes];
        let (mut read, mut write) = socket.split();
        let mut received = vec![0; bytes];
        let (sending, receiving) = tokio::join!(write.write_all(&sent), read.read_exact(&mut received));
        sending.unwrap();
        receiving.unwrap();
        assert_eq!(sent, received);
        start.elapsed()
    }

    #[tokio::test]
    async fn it_delays_and_throttles_and_heals() {
        let proxy = Proxy::to(&echo_server().await);
        let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
        round_trip(&mut socket, 100_000).await;
        proxy.delay(Duration::from_millis(100));
        assert!(round_trip(&mut socket, 10).await >= Duration::from_millis(200));
        proxy.heal();
        proxy.throttle(40_000);
        assert!(round_trip(&mut socket, 40_000).await >= Duration::from_millis(900));
        proxy.heal();
        // At the rate of before it would be 50 s, so a busy machine may take some.
        assert!(round_trip(&mut socket, 2_000_000).await < Duration::from_secs(20));
    }

    #[tokio::test]
    async fn it_goes_silent_without_closing() {
        let proxy = Proxy::to(&echo_server().await);
        let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
        round_trip(&mut socket, 10).await;
        proxy.go_silent();
        let silent = tokio::time::timeout(Duration::from_millis(200), round_trip(&mut socket, 10)).await;
        assert!(silent.is_err());
        proxy.heal();
        let mut late = [0; 10];
        socket.read_exact(&mut late).await.unwrap();
    }

    #[tokio::test]
    async fn it_cuts_and_refuses() {
        let proxy = Proxy::to(&echo_server().await);
        let mut socket = TcpStream::connect(proxy.addr()).await.unwrap();
        round_trip(&mut socket, 10).await;
        proxy.drop_all();
        assert!(!matches!(socket.read(&mut [0; 1]).await, Ok(1..)));
        let mut refused = TcpStream::connect(proxy.addr()).await.unwrap();
        assert!(!matches!(refused.read(&mut [0; 1]).await, Ok(1..)));
        proxy.heal();
        let mut healed = TcpStream::connect(proxy.addr()).await.unwrap();
        round_trip(&mut healed, 10).await;
    }
}
