//! `pushctl push`.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, IsTerminal as _, Read},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::Path,
};

use anyhow::Context as _;
use bytes::Bytes;
use pushcast_proto::pushmanager::v1::{Ack, PushAnswer};
use pushctl::push::{Push, Target};

use super::{
    arguments::{AckArgument, ContentArgument, PushArguments, TargetArguments},
    failures::call_failed,
    output::{Misuse, counted, print, print_json, remark, with_tip},
    readable,
    style::{DIM, GOOD, STRONG, WARNING, paint},
};

/// No push-manager can be set to take more, so that reading an endless file ends.
const MAX_CONTENT: u64 = 1 << 20;

pub(super) async fn run(arguments: PushArguments) -> anyhow::Result<()> {
    let PushArguments { manager, target, app, uri, request_id, ack, timeout } = arguments;
    let client = manager.client()?;
    let (target, content) = split(target)?;
    let ack = match ack {
        AckArgument::Nodes => Ack::Nodes,
        AckArgument::Accepted => Ack::Accepted,
    };
    let push = Push { target, content: read_content(content)?, app, uri, request_id, ack };
    let answer =
        client.push(push, Some(timeout)).await.map_err(|status| call_failed(&manager.manager, &status))?;
    if manager.json {
        return print_json(&answer);
    }
    let is_terminal = io::stdout().is_terminal();
    Ok(print(&if is_terminal { describe_at_length(&answer, ack) } else { describe(&answer, ack) })?)
}

fn split(target: TargetArguments) -> anyhow::Result<(Target, OsString)> {
    let (target, ContentArgument { content }, example) = match target {
        TargetArguments::Room { room, content } => (Target::Room(room), content, "room r1"),
        TargetArguments::User { user, content } => (Target::User(user), content, "user u1"),
        TargetArguments::Users { users, content } => {
            let users = users.split(',').map(str::to_owned).collect();
            (Target::Users(users), content, "users u1,u2")
        }
        TargetArguments::Everyone { content, all_apps: true } => {
            (Target::EveryoneOfAllApps, content, "everyone --all-apps")
        }
        TargetArguments::Everyone { content, all_apps: false } => (Target::Everyone, content, "everyone"),
    };
    let content = content.ok_or_else(|| {
        with_tip(
            Misuse("what to push is missing".to_owned()),
            format!(
                "`pushctl push {example} hello`; in place of hello, `-` takes standard input and `@file` a file"
            ),
        )
    })?;
    Ok((target, content))
}

fn read_content(argument: OsString) -> anyhow::Result<Bytes> {
    let bytes = argument.into_vec();
    match bytes.as_slice() {
        b"-" => {
            if io::stdin().is_terminal() {
                remark("type the content; Ctrl-D at the beginning of a line ends it");
            }
            read_all(io::stdin().lock(), "standard input")
        }
        [b'@', path @ ..] => {
            let path = Path::new(OsStr::from_bytes(path));
            let name = path.display().to_string();
            let file =
                File::open(path).with_context(|| format!("cannot read the content file {name}")).map_err(
                    |error| with_tip(error, "content that begins with @ goes through standard input: `-`"),
                )?;
            read_all(file, &name)
        }
        _ => Ok(bytes.into()),
    }
}

fn read_all(source: impl Read, name: &str) -> anyhow::Result<Bytes> {
    let mut content = Vec::new();
    source
        .take(MAX_CONTENT + 1)
        .read_to_end(&mut content)
        .with_context(|| format!("cannot read the content from {name}"))?;
    if content.len() as u64 > MAX_CONTENT {
        let error =
            anyhow::anyhow!("{name} holds more than 1 MiB, and no push-manager takes that much at once");
        return Err(with_tip(error, "push where to get it instead, its URL for example"));
    }
    Ok(content.into())
}

/// One line, and one for each user and for what is pending.
fn describe(answer: &PushAnswer, ack: Ack) -> String {
    let mut text = format!("{}: {}", readable::word(&answer.message_id), summary(answer, ack));
    push_details(&mut text, answer);
    text
}

/// The same for a terminal: what matters first, and in colours.
fn describe_at_length(answer: &PushAnswer, ack: Ack) -> String {
    let style = if ack == Ack::Accepted || answer.recipients > 0 { GOOD } else { WARNING };
    let mut text = format!("{}\n", paint(style, summary(answer, ack)));
    if answer.nodes > 0 && ack != Ack::Accepted {
        let efficiency = 100.0 * f64::from(answer.delivered_nodes) / f64::from(answer.nodes);
        text.push_str(&format!("efficiency {}  ", paint(STRONG, format_args!("{efficiency:.0} %"))));
    }
    text.push_str(&paint(DIM, readable::word(&answer.message_id)));
    push_details(&mut text, answer);
    text
}

fn summary(answer: &PushAnswer, ack: Ack) -> String {
    if ack == Ack::Accepted {
        return "accepted".to_owned();
    }
    let nobody = match (answer.recipients, answer.acked) {
        (0, 0) => ": none has acknowledged it yet",
        (0, _) => ": nobody is connected for it",
        _ => "",
    };
    format!(
        "{} on {} of {}{nobody}",
        counted(answer.recipients, "connection"),
        answer.delivered_nodes,
        counted(answer.nodes, "node")
    )
}

fn push_details(text: &mut String, answer: &PushAnswer) {
    let mut users: Vec<_> = answer.recipients_by_user.iter().collect();
    users.sort();
    for (user, &recipients) in users {
        let count = paint(if recipients == 0 { WARNING } else { STRONG }, recipients);
        text.push_str(&format!("\n  {}: {count}", readable::word(user)));
    }
    if !answer.pending_nodes.is_empty() {
        text.push_str(&format!(
            "\n{} {} (not acknowledged yet; sent when the node can take it)",
            paint(WARNING, "pending:"),
            readable::word(&answer.pending_nodes.join(", "))
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> PushAnswer {
        PushAnswer {
            message_id: "m-1".to_owned(),
            nodes: 3,
            acked: 2,
            delivered_nodes: 1,
            recipients: 1,
            pending_nodes: vec!["n3".to_owned()],
            recipients_by_user: [("u2".to_owned(), 0), ("u1".to_owned(), 1)].into(),
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn an_answer_reads_like_a_sentence() {
        let details =
            "\n  u1: 1\n  u2: 0\npending: n3 (not acknowledged yet; sent when the node can take it)";
        let expected = format!("m-1: 1 connection on 1 of 3 nodes{details}");
        assert_eq!(plain(&describe(&answer(), Ack::Nodes)), expected);
        let expected = format!("1 connection on 1 of 3 nodes\nefficiency 33 %  m-1{details}");
        assert_eq!(plain(&describe_at_length(&answer(), Ack::Nodes)), expected);
        let accepted = PushAnswer { message_id: "m-1".to_owned(), ..PushAnswer::default() };
        assert_eq!(describe(&accepted, Ack::Accepted), "m-1: accepted");
    }

    #[test]
    fn that_nobody_is_there_is_said() {
        let nobody = PushAnswer { nodes: 3, acked: 3, message_id: "m-1".to_owned(), ..PushAnswer::default() };
        let expected = "m-1: 0 connections on 0 of 3 nodes: nobody is connected for it";
        assert_eq!(describe(&nobody, Ack::Nodes), expected);
        let unknown = PushAnswer { acked: 0, ..nobody };
        let expected = "m-1: 0 connections on 0 of 3 nodes: none has acknowledged it yet";
        assert_eq!(describe(&unknown, Ack::Nodes), expected);
    }

    #[test]
    fn content_is_read_up_to_what_anybody_takes() {
        assert_eq!(read_all(&[7_u8; 10][..], "x").unwrap().len(), 10);
        assert_eq!(read_all(&vec![7_u8; 1 << 20][..], "x").unwrap().len(), 1 << 20);
        assert!(read_all(io::repeat(7), "x").unwrap_err().chain().any(|e| e.to_string().contains("1 MiB")));
    }
}
