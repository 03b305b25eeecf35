//! A small HTTP client: one request, one connection.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(15);

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// GET.
pub async fn get(addr: &str, path: &str) -> Result<Response, String> {
    send(addr, http::Method::GET, path, Bytes::new()).await
}

/// POST with a body as it is.
pub async fn post(addr: &str, path: &str, body: impl Into<Bytes>) -> Result<Response, String> {
    send(addr, http::Method::POST, path, body.into()).await
}

/// One request; an error is the network's, not the server's.
pub async fn send(addr: &str, method: http::Method, path: &str, body: Bytes) -> Result<Response, String> {
    send_with(addr, method, path, &[], body).await
}

/// One request with headers of one's own.
pub async fn send_with(
    addr: &str,
    method: http::Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Response, String> {
    tokio::time::timeout(TIMEOUT, exchange(addr, method, path, headers, body))
        .await
        .unwrap_or_else(|elapsed| Err(elapsed.into()))
        .map_err(|error| format!("{addr}{path}: {error}"))
}

async fn exchange(
    addr: &str,
    method: http::Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let socket = TcpStream::connect(addr).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    let request = http::Request::builder().method(method).uri(path).header("host", addr);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Full::new(body))?;
    let exchange = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok::<_, hyper::Error>(Response { status: head.status.as_u16(), headers: head.headers, body })
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        response = &mut exchange => Ok(response?),
        // The connection may end right after the answer, which is then there.
        ended = &mut connection => { ended?; Ok(exchange.await?) }
    }
}
