//! From an accepted socket to a WebSocket connection: TLS if it is asked for, then hyper speaks HTTP, and leaves.
//!
//! `/ws` is matched before axum's router, which answers everything else. What hyper needed for HTTP (17 KiB)
//! is gone once the connection is a WebSocket.

use std::{cell::RefCell, convert::Infallible, net::IpAddr, rc::Rc, time::Duration};

use axum::body::{Body, Bytes};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use pushcast_proto::client::v1::Connect;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tower_service::Service;

use super::{
    connection::Connection,
    frames::{FORMATS, Format},
    socket::Socket,
    task::ConnectionTask,
    thread::Core,
    tls::TlsSocket,
    tls_handshake,
};
use crate::{
    limits::{Peer, Place, Refusal},
    metrics,
    readiness::Permit,
};

/// How long a client may take to send its request head; afterwards 1,000 half requests cost nothing.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a socket may speak HTTP in all: whoever keeps it open for another request, as a load balancer's health
/// check does, opens a new one.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long whoever sent what is no request may take to read so, and how much more of it is thrown away meanwhile: a
/// socket that is closed with something unread is reset, and the answer lost.
const LAST_WORDS: Duration = Duration::from_secs(1);
const MOST_UNREAD: usize = 256 * 1024;

/// What a successful upgrade asked for.
struct Upgrade {
    format: Format,
    /// The connect frame, if it came in the URL.
    connect: Option<Result<Connect, String>>,
    /// The token that came in a header; empty if none did.
    token: String,
    /// Its place among the connections of its address, if it came through a proxy.
    place: Option<Place<IpAddr>>,
}

/// A socket on which a WebSocket begins.
struct Upgraded {
    socket: Socket,
    /// What the client sent right behind its request.
    sent: Bytes,
    upgrade: Upgrade,
}

/// Serves HTTP on a socket until it becomes a WebSocket, and then hands it to the shard.
pub(super) async fn serve(core: Rc<Core>, socket: TcpStream, mut permit: Permit) {
    // Until it says something a socket costs next to nothing: everybody may come at once.
    tokio::select! {
        biased;
        said = socket.readable() => if said.is_err() { return },
        () = core.stop.cancelled() => return,
        () = tokio::time::sleep(HEAD_TIMEOUT) => return Refusal::SlowHead.count(),
    }
    let turn = core.handshakes.turn();
    core.wake();
    tokio::select! {
        biased;
        turn = turn => if turn.is_err() { return },
        () = core.stop.cancelled() => return,
    }
    let mut handshake = core.handshakes.begin();
    let upgraded = tokio::select! {
        biased;
        // Whoever gets in when all are being dropped would be left over.
        () = core.stop.cancelled() => return,
        upgraded = until_upgraded(&core, socket, permit.peer()) => upgraded,
        () = tokio::time::sleep(HTTP_TIMEOUT) => return,
        () = handshake.crowded_out() => return Refusal::Crowd.count(),
    };
    drop(handshake);
    let Some(Upgraded { socket, sent, upgrade }) = upgraded else { return };
    if let Some(place) = upgrade.place {
        permit = permit.at(place);
    }
    let key = {
        let mut shard = core.shard.borrow_mut();
        let now = core.clock.now();
        let key = shard.open(Connection::new(socket, upgrade.format, now.millis).with_permit(permit));
        if !upgrade.token.is_empty() {
            shard.bring_token(key, upgrade.token);
        }
        if let Some(connect) = upgrade.connect {
            shard.on_url(key, connect, now);
        }
        if !sent.is_empty() {
            shard.feed(key, &sent, now);
        }
        if shard.draining {
            shard.close_restarting(key, now);
        }
        key
    };
    drop(sent);
    core.connections.spawn_local(ConnectionTask::new(Rc::clone(&core), key));
    core.wake_to_flush();
}

/// `None` if it came to no upgrade.
async fn until_upgraded(core: &Rc<Core>, socket: TcpStream, peer: Peer) -> Option<Upgraded> {
    let Some(tls) = &core.tls else {
        let (socket, sent, upgrade) = speak_http(core, socket, peer).await?;
        return Some(Upgraded { socket: Socket::Plain(socket), sent, upgrade });
    };
    let stream = tls_handshake::accept(core, tls, socket).await?;
    let (stream, sent, upgrade) = speak_http(core, stream, peer).await?;
    let (socket, session) = stream.into_inner();
    Some(Upgraded { socket: Socket::Tls(Box::new(TlsSocket::new(socket, session))), sent, upgrade })
}

async fn speak_http<S>(core: &Rc<Core>, mut stream: S, peer: Peer) -> Option<(S, Bytes, Upgrade)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let accepted: Rc<RefCell<Option<Upgrade>>> = Rc::default();
    let service = {
        let (core, accepted) = (Rc::clone(core), Rc::clone(&accepted));
        service_fn(move |request| answer(Rc::clone(&core), Rc::clone(&accepted), peer, request))
    };
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(core.admission.gate.limits.max_head)
        .serve_connection(TokioIo::new(&mut stream), service)
        .without_shutdown();
    let sent = match http.await {
        Ok(parts) => parts.read_buf,
        Err(error) => {
            end_of_http(core, &mut stream, &error).await;
            return None;
        }
    };
    Some((stream, sent, accepted.take()?))
}

/// What came was no request, or did not come in time. hyper has answered the former.
async fn end_of_http(core: &Core, stream: &mut (impl AsyncRead + AsyncWrite + Unpin), error: &hyper::Error) {
    tracing::debug!(%error, "HTTP ended before an upgrade.");
    if error.is_timeout() {
        Refusal::SlowHead.count();
    }
    if error.is_parse_too_large() {
        Refusal::Head.count();
    }
    if error.is_parse() {
        tokio::select! {
            () = last_words(stream) => {}
            () = core.stop.cancelled() => {}
            () = tokio::time::sleep(LAST_WORDS) => {}
        }
    }
}

async fn last_words(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let (mut unread, mut thrown_away) = ([0; 4096], 0);
    while let Ok(read @ 1..) = stream.read(&mut unread).await {
        thrown_away += read;
        if thrown_away > MOST_UNREAD {
            return;
        }
    }
}

async fn answer(
    core: Rc<Core>,
    accepted: Rc<RefCell<Option<Upgrade>>>,
    peer: Peer,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if request.uri().path() != "/ws" {
        return core.router.clone().call(request.map(Body::new)).await;
    }
    Ok(match upgrade(&core, peer, &request) {
        Ok((response, upgrade)) => {
            *accepted.borrow_mut() = Some(upgrade);
            response
        }
        Err(response) => *response,
    })
}

fn upgrade(
    core: &Core,
    peer: Peer,
    request: &Request<Incoming>,
) -> Result<(Response<Body>, Upgrade), Box<Response<Body>>> {
    let refused = |refusal: Refusal| Box::new(refuse(refusal));
    let gate = &core.admission.gate;
    // What costs least comes first, since this is where a crowd is turned away.
    core.admission.admit().and_then(|()| gate.handshake()).map_err(refused)?;
    let place = gate.admit(peer, request.uri(), request.headers()).map_err(refused)?;
    let token = core.doors.pass(request.headers()).map_err(|not_allowed| {
        metrics::origin_refused();
        Box::new(plain(StatusCode::FORBIDDEN, &not_allowed.to_string()))
    })?;
    let format = subprotocol(request).map_err(|message| Box::new(bad_request(&message)))?;
    let mut response = create_response_with_body(request, Body::empty)
        .map_err(|error| Box::new(bad_request(&error.to_string())))?;
    if let Some(format) = format {
        let name = HeaderValue::from_static(format.subprotocol());
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    let connect = connect_in_url(request.uri().query().unwrap_or_default());
    Ok((response, Upgrade { format: format.unwrap_or(Format::Json), connect, token, place }))
}

/// The first known subprotocol among those offered; `None` if none was offered.
fn subprotocol(request: &Request<Incoming>) -> Result<Option<Format>, String> {
    let mut offered = Vec::new();
    for value in request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL) {
        let value = value.to_str().map_err(|_| "Sec-WebSocket-Protocol is not ASCII".to_owned())?;
        offered.extend(value.split(',').map(str::trim).filter(|name| !name.is_empty()));
    }
    let known = |name: &&str| FORMATS.into_iter().find(|format| format.subprotocol() == *name);
    match offered.iter().find_map(known) {
        Some(format) => Ok(Some(format)),
        None if offered.is_empty() => Ok(None),
        None => Err(format!(
            "none of the subprotocols offered ({}) is known here; offer pushcast.v1.json or pushcast.v1.protobuf",
            offered.join(", ")
        )),
    }
}

/// The connect frame in the URL: any of `token`, `user_id`, `rooms`, `app` makes one (DESIGN 8). Other
/// parameters are ignored. A browser cannot read a 400, so mistakes are told after the upgrade.
fn connect_in_url(query: &str) -> Option<Result<Connect, String>> {
    let mut connect = Connect::default();
    let mut found = false;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !matches!(name, "token" | "user_id" | "rooms" | "app") {
            continue;
        }
        found = true;
        let result = match name {
            "token" => decode(name, value).map(|value| connect.token = value),
            "user_id" => decode(name, value).map(|value| connect.user_id = value),
            "app" => decode(name, value).map(|value| connect.app = value),
            // Split before decoding, so that a room's name may hold a comma.
            _ => value
                .split(',')
                .filter(|room| !room.is_empty())
                .map(|room| decode(name, room))
                .collect::<Result<_, _>>()
                .map(|rooms| connect.rooms = rooms),
        };
        if let Err(message) = result {
            return Some(Err(message));
        }
    }
    found.then_some(Ok(connect))
}

fn decode(name: &str, value: &str) -> Result<String, String> {
    let bytes = percent_encoding::percent_decode_str(value);
    let text = bytes.decode_utf8().map_err(|_| format!("{name}: not UTF-8 after percent-decoding"))?;
    Ok(text.into_owned())
}

fn bad_request(message: &str) -> Response<Body> {
    plain(StatusCode::BAD_REQUEST, message)
}

fn refuse(refusal: Refusal) -> Response<Body> {
    refusal.count();
    let mut response = plain(refusal.status(), refusal.text());
    if let Some(seconds) = refusal.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    // The socket is of no further use, and a refused client should not hold it.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_four_parameters_is_a_connect_frame() {
        assert_eq!(connect_in_url(""), None);
        assert_eq!(connect_in_url("v=1&x"), None);
        let connect = connect_in_url("rooms=a,b%2Cc,%E6%88%BF&app=x&user_id=u%201&v=2");
        let expected = Connect {
            app: "x".to_owned(),
            user_id: "u 1".to_owned(),
            rooms: vec!["a".to_owned(), "b,c".to_owned(), "房".to_owned()],
            ..Connect::default()
        };
        assert_eq!(connect, Some(Ok(expected)));
        assert_eq!(connect_in_url("token="), Some(Ok(Connect::default())));
        assert_eq!(
            connect_in_url("user_id=%ff"),
            Some(Err("user_id: not UTF-8 after percent-decoding".to_owned()))
        );
    }
}
