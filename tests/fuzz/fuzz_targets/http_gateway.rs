//! Requests to a manager's HTTP port, as bytes: the manager runs, with an address where no node is.

#![no_main]

use std::{
    io::{Read as _, Write as _},
    net::{self, SocketAddr, TcpListener, TcpStream},
    sync::LazyLock,
    thread,
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use push_manager::{Config, Listeners};
use pushcast_common::{registry::Registry, shutdown::Shutdown};

/// Longer than any answer takes; a deadline in a request is bounded by the manager's own (1 s here).
const PATIENCE: Duration = Duration::from_secs(20);

static MANAGER: LazyLock<SocketAddr> = LazyLock::new(|| {
    let bound = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("it is a socket");
        listener
    };
    let listeners = Listeners { grpc: bound(), http: bound() };
    let addr = listeners.http.local_addr().expect("it is bound");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = Config { max_deadline: Duration::from_secs(1), ..Config::default() };
        let ended = runtime.block_on(push_manager::run(config, listeners, Registry::none(), Shutdown::new()));
        panic!("the manager ended: {ended:?}");
    });
    addr
});

const PATHS: [&str; 10] = [
    "/v1/rooms/r1/push",
    "/v1/users/u1/push",
    "/v1/push-to-users",
    "/v1/broadcast",
    "/v1/rooms/r1/join",
    "/v1/rooms/r1/leave",
    "/v1/users/u1/kick",
    "/v1/nodes",
    "/readyz",
    "/v1/",
];

fuzz_target!(|input: &[u8]| {
    let Some((&kind, rest)) = input.split_first() else { return };
    let mut socket = TcpStream::connect(*MANAGER).expect("the manager listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("it is a socket");
    let request = request(kind, rest);
    // It may have refused what it saw so far.
    let _sent = socket.write_all(&request);
    let _done = socket.shutdown(net::Shutdown::Write);
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("no answer: {error}"),
    }
    let status = answer.get(9..12).unwrap_or_default();
    assert!(!status.starts_with(b"50") || status == b"503", "{}", String::from_utf8_lossy(&answer));
});

/// Everything as it is, or a well-formed request whose query, header and body are.
fn request(kind: u8, rest: &[u8]) -> Vec<u8> {
    let Some(path) = PATHS.get(usize::from(kind) % 16) else { return rest.to_vec() };
    let method = if kind & 0x80 == 0 { "POST" } else { "GET" };
    let mut parts = rest.splitn(3, |byte| *byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (query, header, body) = (part(), part(), part());
    let mut request = format!("{method} {path}?").into_bytes();
    request.extend_from_slice(query);
    request.extend_from_slice(b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    if !header.is_empty() {
        request.extend_from_slice(header);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    request
}
