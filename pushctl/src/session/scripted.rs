//! A node that plays a script, for the tests of the session.

use std::net::SocketAddr;

use futures::{SinkExt as _, StreamExt as _};
use pushcast_proto::client::v1::{ClientFrame, Connect, client_frame};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        protocol::CloseFrame,
    },
};

/// What a node does on a connection, after it has read the connect frame.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Sends these frames, in one write.
    Say(Vec<String>),
    /// Waits for a frame of the client's.
    Hear,
    /// Closes with a code. A script that ends without it drops the socket.
    Close(u16),
    /// Goes on only when the client has left.
    Stay,
}

pub(super) fn say<const N: usize>(frames: [&str; N]) -> Step {
    Step::Say(frames.map(ToOwned::to_owned).to_vec())
}

/// Listens on loopback, and plays one script for each connection, the last one again and again.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) url: String,
    heard: mpsc::Receiver<ClientFrame>,
    playing: JoinHandle<()>,
}

impl Node {
    pub(super) async fn play(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let (hearing, heard) = mpsc::channel(64);
        let playing = tokio::spawn(async move {
            let last = scripts.len() - 1;
            for connection in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                play(socket, &scripts[last.min(connection)], &hearing).await;
            }
        });
        Self { url, heard, playing }
    }

    /// The next frame a client sent.
    pub(super) async fn heard(&mut self) -> client_frame::Frame {
        self.heard.recv().await.unwrap().frame.unwrap()
    }

    /// The next connect frame a client sent.
    pub(super) async fn heard_connect(&mut self) -> Connect {
        match self.heard().await {
            client_frame::Frame::Connect(connect) => connect,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.playing.abort();
    }
}

async fn play(socket: TcpStream, script: &[Step], hearing: &mpsc::Sender<ClientFrame>) {
    #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let greet = |request: &Request, mut response: Response| {
        let offered = request.headers()["sec-websocket-protocol"].clone();
        response.headers_mut().insert("sec-websocket-protocol", offered);
        Ok(response)
    };
    let mut socket = accept_hdr_async(socket, greet).await.unwrap();
    hear(&mut socket, hearing).await;
    for step in script {
        match step {
            Step::Say(frames) => {
                for frame in frames {
                    socket.feed(Message::text(frame.as_str())).await.unwrap();
                }
                socket.flush().await.unwrap();
            }
            Step::Hear => hear(&mut socket, hearing).await,
            Step::Close(code) => {
                let close = CloseFrame { code: (*code).into(), reason: "".into() };
                socket.close(Some(close)).await.unwrap();
                while let Some(Ok(_)) = socket.next().await {}
            }
            Step::Stay => while let Some(Ok(_)) = socket.next().await {},
        }
    }
}

async fn hear(socket: &mut WebSocketStream<TcpStream>, hearing: &mpsc::Sender<ClientFrame>) {
    let frame = socket.next().await.unwrap().unwrap();
    hearing.send(serde_json::from_str(frame.to_text().unwrap()).unwrap()).await.unwrap();
}
