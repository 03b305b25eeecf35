//! `pushctl listen`.

use std::{
    io::IsTerminal as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use pushcast_common::{shutdown, tls};
use pushcast_proto::client::v1::Push;
use pushctl::{
    client::{ConnectError, Options, content},
    format::Format,
    session::{Session, SessionError, SessionEvent},
};
use rustls::ClientConfig;

use super::{
    arguments::{FormatArgument, ListenArguments},
    failures::connect_tip,
    output::{Misuse, leave_line, print, print_json, print_raw, remark, with_tip},
    pipe::reader_gone,
    readable,
    style::{DIM, TARGET, paint},
    token::TokenSource,
    watch::Watch,
};

/// How a push is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A line for people, with the time.
    Terminal,
    /// A line for other programs, and for people who read what they wrote.
    Plain,
    Json,
    /// The content and nothing else.
    Content,
}

pub(super) async fn run(arguments: ListenArguments) -> anyhow::Result<()> {
    if arguments.rooms.iter().any(String::is_empty) {
        return Err(Misuse(
            "--rooms: a room without a name; commas part rooms, and nothing stands between two".to_owned(),
        )
        .into());
    }
    if arguments.urls.len() > 1 && arguments.urls.iter().any(String::is_empty) {
        return Err(Misuse(
            "--url: an address is empty; commas part nodes, and nothing stands between two".to_owned(),
        )
        .into());
    }
    let form = form(&arguments, std::io::stdout().is_terminal());
    let count = arguments.count;
    let stop = shutdown::on_signals().context("cannot wait for Ctrl-C")?;
    let token = TokenSource::new(arguments.token_file.clone());
    let tls = trust(&arguments)?;
    let options = Options { token: token.read()?, tls, ..options(arguments) };
    let mut session = Session::new(options);
    let ended = tokio::select! {
        ended = receive(&mut session, form, count, &token) => ended,
        () = stop.begun() => {
            leave_line();
            Ok(())
        }
        () = reader_gone() => Ok(()),
    };
    session.close().await;
    ended
}

/// What nodes' certificates are checked against, read once and before anything else is done.
fn trust(arguments: &ListenArguments) -> anyhow::Result<Option<Arc<ClientConfig>>> {
    if !arguments.urls.iter().any(|url| url.starts_with("wss://")) {
        return match arguments.ca_file {
            Some(_) => Err(Misuse("--ca-file: has no effect, no --url begins with wss://".to_owned()).into()),
            None => Ok(None),
        };
    }
    let config = tls::client::trusting(arguments.ca_file.as_deref(), None);
    Ok(Some(Arc::new(config.map_err(|error| Misuse(format!("--ca-file: {error}")))?)))
}

fn form(arguments: &ListenArguments, is_terminal: bool) -> Form {
    match (arguments.json, arguments.content) {
        (true, _) => Form::Json,
        (_, true) if !is_terminal => Form::Content,
        _ if is_terminal => Form::Terminal,
        _ => Form::Plain,
    }
}

fn options(arguments: ListenArguments) -> Options {
    let ListenArguments { urls, rooms, user, app, format, .. } = arguments;
    let format = match format {
        FormatArgument::Json => Format::Json,
        FormatArgument::Protobuf => Format::Protobuf,
    };
    let mut urls = urls.iter().map(|url| whole_url(url));
    // The parser gives one at least.
    let url = urls.next().unwrap_or_default();
    Options { app, user_id: user, rooms, format, urls: urls.collect(), ..Options::new(url) }
}

/// `host:8000` is as good as `ws://host:8000/ws`.
pub(super) fn whole_url(url: &str) -> String {
    let url = if url.contains("://") { url.to_owned() } else { format!("ws://{url}") };
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    match after_scheme.split_once('/') {
        None => format!("{url}/ws"),
        Some((_, "")) => format!("{url}ws"),
        Some(_) => url,
    }
}

/// Prints what comes, until it is enough or over.
async fn receive(
    session: &mut Session,
    form: Form,
    count: Option<u64>,
    token: &TokenSource,
) -> anyhow::Result<()> {
    let mut watch = Watch::default();
    let mut left = count;
    while left != Some(0) {
        match session.next().await.map_err(session_failed)? {
            SessionEvent::Push(push) => {
                show(form, push)?;
                left = left.map(|left| left - 1);
            }
            SessionEvent::Connected(connected) => watch.connected(&connected),
            SessionEvent::Rooms(rooms) => Watch::rooms_changed(&rooms),
            SessionEvent::TokenExpiring(left) => renew(session, token, left).await,
            SessionEvent::Error(error) => remark(&format!("{}: {}", error.code, error.message)),
            SessionEvent::Interrupted { cause, .. } => {
                watch.interrupted(&cause, session.progress().ticket().is_some());
            }
            SessionEvent::Heartbeat(_) => {}
        }
    }
    Ok(())
}

/// Shows what is in the token's file by now. Where that does not help, the session ends when the token does.
async fn renew(session: &mut Session, token: &TokenSource, left: Duration) {
    let seconds = left.as_secs();
    let renewed = match token.read() {
        Ok(token) if token == session.token() => Err(anyhow::anyhow!("there is no other one yet")),
        Ok(token) => session.renew(&token).await.map_err(anyhow::Error::from),
        Err(error) => Err(error),
    };
    match renewed {
        Ok(()) => remark("the token was about to expire; the one there is now was shown to the node"),
        Err(error) => remark(&format!("the token expires in {seconds} s and was not renewed: {error:#}")),
    }
}

fn session_failed(error: SessionError) -> anyhow::Error {
    let (tip, is_misuse) = match &error {
        SessionError::Connect(error) => (connect_tip(error), matches!(error, ConnectError::BadUrl { .. })),
        SessionError::Closed { .. } => (None, false),
    };
    let error = if is_misuse { Misuse(error.to_string()).into() } else { anyhow::Error::from(error) };
    match tip {
        Some(tip) => with_tip(error, tip),
        None => error,
    }
}

fn show(form: Form, push: Push) -> anyhow::Result<()> {
    match form {
        Form::Terminal => Ok(print(&terminal_line(&push, SystemTime::now()))?),
        Form::Plain => Ok(print(&plain_line(&push))?),
        Form::Content => Ok(print_raw(content(&push))?),
        Form::Json => print_json(&with_text(push)),
    }
}

/// Whom it came for, its uri if it has one, and the content.
fn plain_line(push: &Push) -> String {
    let uri = if push.uri.is_empty() { String::new() } else { format!(" ({})", readable::word(&push.uri)) };
    format!("{}{uri}: {}", target(push), readable::content(content(push)))
}

fn terminal_line(push: &Push, now: SystemTime) -> String {
    let mut parts = vec![paint(DIM, time_of_day(now)), paint(TARGET, target(push))];
    if !push.uri.is_empty() {
        parts.push(paint(DIM, readable::word(&push.uri)));
    }
    parts.push(readable::content(content(push)));
    parts.join("  ")
}

fn target(push: &Push) -> String {
    match (push.room_id.as_str(), push.user_id.as_str()) {
        ("", "") => "everyone".to_owned(),
        ("", user) => format!("user {}", readable::word(user)),
        (room, _) => format!("room {}", readable::word(room)),
    }
}

/// The same whichever subprotocol brought it: `text` if the content is text.
fn with_text(mut push: Push) -> Push {
    if push.text.is_empty() {
        match String::from_utf8(push.content) {
            Ok(text) => (push.text, push.content) = (text, Default::default()),
            Err(error) => push.content = error.into_bytes(),
        }
    }
    push
}

/// UTC, as the servers' logs have it.
fn time_of_day(now: SystemTime) -> String {
    // A clock before 1970 shows as midnight.
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since_1970.as_secs();
    format!(
        "{:02}:{:02}:{:02}.{:03}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        since_1970.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{
        super::arguments::{Arguments, Command},
        *,
    };

    fn push() -> Push {
        Push { room_id: "r1".to_owned(), text: "hello".to_owned(), ..Push::default() }
    }

    #[test]
    fn a_push_says_whom_it_came_for() {
        assert_eq!(plain_line(&push()), "room r1: hello");
        let push = Push { uri: "chat/Message".to_owned(), content: b"hello".into(), ..Push::default() };
        assert_eq!(plain_line(&push), "everyone (chat/Message): hello");
    }

    #[test]
    fn on_a_terminal_it_has_a_time_and_colours_and_nothing_of_its_own() {
        let push = Push { uri: "chat/\u{1b}]0;".to_owned(), text: "\u{1b}[31mred".to_owned(), ..push() };
        let line =
            terminal_line(&push, SystemTime::UNIX_EPOCH + Duration::from_millis(86_400_000 + 43_384_512));
        let plain = anstream::adapter::strip_str(&line).to_string();
        assert_eq!(plain, r#"12:03:04.512  room r1  chat/\u{1b}]0;  "\u{1b}[31mred""#);
        assert!(line.contains(&paint(TARGET, "room r1")));
    }

    #[test]
    fn json_is_the_same_from_both_subprotocols() {
        let binary = Push { text: String::new(), content: b"hello".into(), ..push() };
        assert_eq!(with_text(binary), push());
        let no_text = Push { text: String::new(), content: vec![0xff], ..push() };
        assert_eq!(with_text(no_text.clone()), no_text);
    }

    #[test]
    fn several_nodes_are_addresses_each() {
        let line = "pushctl listen --url h1:8000,ws://h2:8000/ws --url h3:8000";
        let Command::Listen(arguments) = Arguments::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("no listen")
        };
        let options = options(arguments);
        assert_eq!(options.url, "ws://h1:8000/ws");
        assert_eq!(options.urls, ["ws://h2:8000/ws", "ws://h3:8000/ws"]);
    }

    #[test]
    fn an_address_is_enough_of_a_url() {
        assert_eq!(whole_url("h:8000"), "ws://h:8000/ws");
        assert_eq!(whole_url("ws://h:8000"), "ws://h:8000/ws");
        assert_eq!(whole_url("ws://h:8000/"), "ws://h:8000/ws");
        assert_eq!(whole_url("ws://h:8000/ws"), "ws://h:8000/ws");
        assert_eq!(whole_url("ws://h/gate/ws?x=1"), "ws://h/gate/ws?x=1");
    }
}
