//! A TCP proxy in front of etcd that can be cut (connections refused) or frozen (half-open).

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Cut,
    Frozen,
}

pub(crate) struct Proxy {
    addr: String,
    mode: Arc<watch::Sender<Mode>>,
    /// Ends with the proxy.
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let mode = Arc::new(watch::Sender::new(Mode::Open));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, Arc::clone(&mode)));
        Self { addr, mode, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn open(&self) {
        self.mode.send_replace(Mode::Open);
    }

    /// Ends all connections and every new one.
    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Passes nothing on any more, but keeps all connections and accepts new ones.
    pub(crate) fn freeze(&self) {
        self.mode.send_replace(Mode::Frozen);
    }
}

async fn accept(listener: TcpListener, target: String, mode: Arc<watch::Sender<Mode>>) {
    let mut connections = JoinSet::new();
    loop {
        let (near, _) = listener.accept().await.unwrap();
        if *mode.borrow() == Mode::Cut {
            continue;
        }
        let Ok(far) = TcpStream::connect(&target).await else { continue };
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        connections.spawn(pass(near_read, far_write, mode.subscribe()));
        connections.spawn(pass(far_read, near_write, mode.subscribe()));
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let now = *mode.borrow_and_update();
        tokio::select! {
            changed = mode.changed() => if changed.is_err() || *mode.borrow() == Mode::Cut {
                return;
            },
            read = from.read(&mut buffer), if now == Mode::Open => match read {
                Ok(n) if n > 0 => if to.write_all(&buffer[..n]).await.is_err() {
                    return;
                },
                _ => return,
            },
            () = tokio::time::sleep(Duration::from_secs(60)) => {}
        }
    }
}
