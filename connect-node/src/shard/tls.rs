//! TLS beneath the outbox: rustls driven by hand on a non-blocking socket.
//!
//! An outbox knows nothing of TLS: it hands over plain bytes and keeps what was not taken. So bytes count as taken only
//! once the kernel has the last byte of what they became. Those that are encrypted and not sent yet stay in the outbox
//! as well, are not encrypted a second time, and are those that the next send begins with; `committed` says how many
//! they are, since nothing may take them out of the outbox any more.

use std::{
    cell::RefCell,
    io::{self, ErrorKind, Read, Write},
    task::{Context, Poll, Waker},
};

use rustls::ServerConnection;
use tokio::net::TcpStream;

use super::transport::Transport;

/// Plain bytes encrypted ahead of what the kernel takes: one record of the largest size. While a slow client takes them
/// nothing counts as taken, so they have to be few enough to go out within the time that a socket may take nothing.
const ENCRYPT_AHEAD: usize = 16 * 1024;

/// Encrypted bytes read at a time, or records may have nothing in them and keep a shard busy for long.
const READ_AT_A_TIME: usize = 64 * 1024;

/// A socket after its TLS handshake.
#[derive(Debug)]
pub(super) struct TlsSocket {
    tcp: TcpStream,
    /// One thread alone has it; borrowed for one call at a time.
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    session: ServerConnection,
    /// Plain bytes that are encrypted and not yet taken by the kernel to the last byte.
    committed: usize,
    /// There may be something to receive though the socket has nothing.
    unread: bool,
}

impl TlsSocket {
    pub(super) fn new(tcp: TcpStream, session: ServerConnection) -> Self {
        // What came with the end of the handshake may be in the session already.
        Self { tcp, state: RefCell::new(State { session, committed: 0, unread: true }) }
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_unread() { Poll::Ready(Ok(())) } else { self.tcp.poll_read_ready(cx) }
    }

    pub(super) fn has_unread(&self) -> bool {
        self.state.borrow().unread
    }
}

impl Transport for TlsSocket {
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let state = &mut *self.state.borrow_mut();
        let mut taken = 0;
        loop {
            let all = write_out(&mut state.session, &self.tcp)?;
            if !all {
                return if taken > 0 { Ok(taken) } else { Err(ErrorKind::WouldBlock.into()) };
            }
            taken += std::mem::take(&mut state.committed);
            if taken >= bytes.len() {
                return Ok(taken.min(bytes.len()));
            }
            let ahead = bytes.len().min(taken + ENCRYPT_AHEAD);
            state.committed = state.session.writer().write(&bytes[taken..ahead])?;
            if state.committed == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
        }
    }

    fn committed(&self) -> usize {
        self.state.borrow().committed
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let state = &mut *self.state.borrow_mut();
        state.unread = false;
        let mut socket = Drained { tcp: &self.tcp, all: false, read: 0 };
        let mut filled = 0;
        let ended = loop {
            match state.session.reader().read(&mut buffer[filled..]) {
                Ok(0) if filled < buffer.len() => break Ok(0),
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The peer went without saying so within TLS, as many do; WebSocket has its own end.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break Ok(0),
                Err(error) => break Err(error),
            }
            if filled == buffer.len() {
                state.unread = true;
                return Ok(filled);
            }
            if socket.read >= READ_AT_A_TIME {
                // Others get their turn first.
                break Err(ErrorKind::Interrupted.into());
            }
            if let Err(error) = take_in(state, &mut socket) {
                break Err(error);
            }
        };
        match ended {
            Err(error) if error.kind() == ErrorKind::WouldBlock && filled == 0 => Err(error),
            // What came before the end goes first; the end is found again.
            ended if filled > 0 => {
                state.unread = !matches!(ended, Err(error) if error.kind() == ErrorKind::WouldBlock);
                Ok(filled)
            }
            ended => {
                state.unread = matches!(&ended, Err(error) if error.kind() == ErrorKind::Interrupted);
                ended
            }
        }
    }

    fn wake_when_writable(&self, waker: &Waker) {
        self.tcp.wake_when_writable(waker);
    }

    fn finish(&self) {
        let state = &mut *self.state.borrow_mut();
        state.session.send_close_notify();
        // If the socket does not take it, the end of the stream says the same.
        let _ = write_out(&mut state.session, &self.tcp);
        self.tcp.finish();
    }
}

/// Decrypts what the socket has, some records at most; `WouldBlock` if it has nothing.
fn take_in(state: &mut State, socket: &mut Drained<'_>) -> io::Result<()> {
    if socket.all {
        return Err(ErrorKind::WouldBlock.into());
    }
    state.session.read_tls(socket)?;
    let taken = state.session.process_new_packets();
    // An alert, if that failed; the answer to a change of keys, which may also go with what is sent next.
    if state.session.wants_write() {
        let _ = write_out(&mut state.session, socket.tcp);
    }
    taken.map(drop).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Gives the kernel what is encrypted. Whether that was all.
fn write_out(session: &mut ServerConnection, tcp: &TcpStream) -> io::Result<bool> {
    while session.wants_write() {
        match session.write_tls(&mut Straight(tcp)) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// The socket as rustls reads it; remembers when it has given everything there was.
struct Drained<'a> {
    tcp: &'a TcpStream,
    all: bool,
    read: usize,
}

impl Read for Drained<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.tcp.receive(buffer)?;
        self.all = read > 0 && read < buffer.len();
        self.read += read;
        Ok(read)
    }
}

/// The socket as rustls writes to it.
struct Straight<'a>(&'a TcpStream);

impl Write for Straight<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net, sync::Arc, thread, time::Duration};

    use rcgen::{CertificateParams, CertifiedKey, KeyPair};
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned,
        crypto::ring,
        pki_types::{PrivateKeyDer, ServerName},
    };
    use socket2::SockRef;
    use tokio::time::timeout;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::shard::{frames::put_header, outbox::Outbox};

    type Peer = StreamOwned<ClientConnection, net::TcpStream>;

    fn certified() -> CertifiedKey<KeyPair> {
        let signing_key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key }
    }

    /// Both ends of a connection; `with_peer` has the client's in a thread of its own.
    async fn connected<R: Send + 'static>(
        with_peer: impl FnOnce(Peer) -> R + Send + 'static,
    ) -> (TlsSocket, thread::JoinHandle<R>) {
        let CertifiedKey { cert, signing_key } = certified();
        let provider = Arc::new(ring::default_provider());
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        // As little as the kernel allows, so that it takes little at a time.
        SockRef::from(&listener).set_send_buffer_size(1).unwrap();
        let addr = listener.local_addr().unwrap();
        let peer = thread::spawn(move || {
            let socket = net::TcpStream::connect(addr).unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let session = ClientConnection::new(Arc::new(client), name).unwrap();
            let mut peer = StreamOwned::new(session, socket);
            while peer.conn.is_handshaking() {
                peer.conn.complete_io(&mut peer.sock).unwrap();
            }
            with_peer(peer)
        });
        let (socket, _) = listener.accept().await.unwrap();
        let stream = TlsAcceptor::from(Arc::new(server)).accept(socket).await.unwrap();
        let (tcp, session) = stream.into_inner();
        (TlsSocket::new(tcp, session), peer)
    }

    async fn until_sent(outbox: &mut Outbox, socket: &TlsSocket) {
        while !outbox.is_empty() {
            poll_fn(|cx| socket.tcp().poll_write_ready(cx)).await.unwrap();
            if outbox.flush(socket).unwrap() == 0 {
                // The kernel refused: have tokio ask it anew.
                let _ = socket.tcp().try_write(&[]);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    fn frame(len: usize, byte: u8) -> Vec<u8> {
        let mut frame = Vec::new();
        put_header(&mut frame, 0x2, len);
        frame.resize(frame.len() + len, byte);
        frame
    }

    fn payload_lens(mut bytes: &[u8]) -> Vec<usize> {
        let mut lens = Vec::new();
        while !bytes.is_empty() {
            let (head, len) = match bytes[1] {
                126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
                127 => (10, u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize),
                len => (2, usize::from(len)),
            };
            let (frame, rest) = bytes.split_at(head + len);
            assert!(frame[head..].iter().all(|byte| *byte == frame[head]), "a frame with parts of another");
            lens.push(len);
            bytes = rest;
        }
        lens
    }

    #[tokio::test]
    async fn frames_go_out_whole_and_in_order_and_what_is_committed_survives_a_drop() {
        for seed in 0_usize..12 {
            let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
            let (socket, peer) = connected(move |mut peer| {
                wait.recv().unwrap();
                let mut all = Vec::new();
                // The end may come without a close_notify, which nobody waits for.
                let _end = peer.read_to_end(&mut all);
                all
            })
            .await;
            let mut outbox = Outbox::default();
            let lens: Vec<usize> = (0..40).map(|n| [1, 130, 3_000, 70_000][(n * 7 + seed) % 4] + n).collect();
            let mut given = 0;
            // Until it has taken nothing more for long.
            for (n, len) in lens.iter().enumerate() {
                outbox.send(&socket, &frame(*len, n as u8)).unwrap();
                if n % 3 == seed % 3 {
                    outbox.flush(&socket).unwrap();
                }
                given += len;
            }
            assert!(!outbox.is_empty() && socket.committed() > 0, "{given} bytes did not fill the kernel");
            let drop = seed % 2 == 0;
            if drop {
                outbox.drop_unbegun(&socket);
                assert!(outbox.len() >= socket.committed());
            }
            outbox.push(&frame(5, 255));
            go.send(()).unwrap();
            timeout(Duration::from_secs(60), until_sent(&mut outbox, &socket)).await.expect("it takes all");
            socket.finish();
            let got = payload_lens(&peer.join().unwrap());
            let (last, before) = got.split_last().unwrap();
            assert_eq!(*last, 5);
            assert_eq!(before, &lens[..before.len()]);
            assert_eq!(before.len() < lens.len(), drop);
        }
    }

    #[tokio::test]
    async fn everything_is_received_however_small_the_buffer_is() {
        let sent: Vec<u8> = (0..300_000_u64).map(|n| ((n * n) >> 3) as u8).collect();
        let sending = sent.clone();
        let (socket, peer) = connected(move |mut peer| {
            peer.write_all(&sending).unwrap();
            peer.conn.send_close_notify();
            peer.flush().unwrap();
            peer
        })
        .await;
        let mut got = Vec::new();
        let mut buffer = [0; 1000];
        let receive = async {
            loop {
                poll_fn(|cx| socket.poll_read_ready(cx)).await.unwrap();
                match socket.receive(&mut buffer) {
                    Ok(0) => return,
                    Ok(read) => got.extend_from_slice(&buffer[..read]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        };
        timeout(Duration::from_secs(60), receive).await.expect("it does not wait for what it has");
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
        drop(peer.join().unwrap());
    }
}
