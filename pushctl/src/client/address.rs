//! The URL a client asks for, and what the answer to it means.

use std::{io, sync::Arc, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use pushcast_common::tls;
use rustls::ClientConfig;

use super::{
    ConnectBy, ConnectError, Options,
    tungstenite::{
        self,
        error::{ProtocolError, UrlError},
    },
};

/// The URL to ask for, with the connect data in it if it is to go there.
pub(super) fn upgrade_url(options: &Options) -> String {
    if options.by == ConnectBy::Frame {
        return options.url.clone();
    }
    // Every room is encoded by itself: a comma between two is a separator, one inside is not.
    let rooms: Vec<String> = options.rooms.iter().map(|room| encode(room)).collect();
    let separator = if options.url.contains('?') { '&' } else { '?' };
    let mut url = format!("{}{separator}user_id={}", options.url, encode(&options.user_id));
    for (name, value) in
        [("app", encode(&options.app)), ("token", encode(&options.token)), ("rooms", rooms.join(","))]
    {
        if !value.is_empty() {
            url.push_str(&format!("&{name}={value}"));
        }
    }
    url
}

fn encode(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

/// What a node's certificate is checked against.
pub(super) fn trust(options: &Options) -> Result<Arc<ClientConfig>, ConnectError> {
    let read = || tls::client::trusting(None, None).map(Arc::new);
    let cannot = |reason| ConnectError::Tls { url: options.url.clone(), reason };
    options.tls.clone().map_or_else(read, Ok).map_err(cannot)
}

/// What a failed upgrade means to the caller.
pub(super) fn connect_error(url: &str, error: tungstenite::Error) -> ConnectError {
    let url = url.to_owned();
    match error {
        tungstenite::Error::Http(response) => ConnectError::Refused {
            url,
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
            body: response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned(),
        },
        tungstenite::Error::Url(error) => ConnectError::BadUrl { url, reason: what_is_wrong(&error) },
        tungstenite::Error::HttpFormat(error) => ConnectError::BadUrl { url, reason: error.to_string() },
        tungstenite::Error::Protocol(ProtocolError::HttparseError(error)) => {
            ConnectError::NotWebSocket { url, reason: error.to_string() }
        }
        tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            ConnectError::Unreachable { url, reason: "nothing listens there".to_owned() }
        }
        tungstenite::Error::Io(error) if is_of_tls(&error) => {
            ConnectError::Tls { url, reason: error.to_string() }
        }
        tungstenite::Error::Io(error) => {
            ConnectError::Unreachable { url, reason: format!("cannot connect ({error})") }
        }
        error => ConnectError::Unreachable { url, reason: format!("cannot connect ({error})") },
    }
}

fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<rustls::Error>())
}

fn what_is_wrong(error: &UrlError) -> String {
    match error {
        UrlError::UnsupportedUrlScheme => "it does not begin with ws:// or wss://".to_owned(),
        error => error.to_string(),
    }
}

fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_encoded_one_by_one() {
        let options = Options {
            user_id: "ü 1".to_owned(),
            rooms: vec!["a,b".to_owned(), "c".to_owned()],
            by: ConnectBy::Url,
            ..Options::new("ws://h:1/ws")
        };
        assert_eq!(upgrade_url(&options), "ws://h:1/ws?user_id=%C3%BC%201&rooms=a%2Cb,c");
    }

    #[test]
    fn by_frame_the_url_is_left_alone() {
        assert_eq!(upgrade_url(&Options::new("ws://h:1/ws")), "ws://h:1/ws");
    }
}
