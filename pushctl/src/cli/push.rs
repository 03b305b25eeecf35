//! `pushctl push`.

use std::io::Read as _;

use anyhow::Context as _;
use bytes::Bytes;
use pushcast_proto::pushmanager::v1::{Ack, PushAnswer};
use pushctl::push::{Push, PushClient, Target};

use super::{
    arguments::{AckArgument, PushArguments, TargetArguments},
    output::{Misuse, call_failed, print},
};

pub(super) async fn run(arguments: PushArguments) -> anyhow::Result<()> {
    let PushArguments { manager, target, app, uri, request_id, ack, timeout } = arguments;
    let client = PushClient::new(&manager.manager).map_err(|error| Misuse(error.to_string()))?;
    let (target, content) = match target {
        TargetArguments::Room { room, content } => (Target::Room(room), content),
        TargetArguments::User { user, content } => (Target::User(user), content),
        TargetArguments::Users { users, content } => (Target::Users(users), content),
        TargetArguments::Everyone { content, all_apps: true } => (Target::EveryoneOfAllApps, content),
        TargetArguments::Everyone { content, all_apps: false } => (Target::Everyone, content),
    };
    let ack = match ack {
        AckArgument::Nodes => Ack::Nodes,
        AckArgument::Accepted => Ack::Accepted,
    };
    let push = Push { target, content: read_content(content)?, app, uri, request_id, ack };
    let answer =
        client.push(push, Some(timeout)).await.map_err(|status| call_failed(&manager.manager, &status))?;
    if manager.json {
        print(&serde_json::to_string(&answer)?)?;
    } else {
        print(&describe(&answer, ack))?;
    }
    Ok(())
}

fn read_content(argument: String) -> anyhow::Result<Bytes> {
    if argument == "-" {
        let mut content = Vec::new();
        std::io::stdin().read_to_end(&mut content).context("standard input")?;
        return Ok(content.into());
    }
    match argument.strip_prefix('@') {
        Some(path) => Ok(std::fs::read(path).with_context(|| format!("content file {path}"))?.into()),
        None => Ok(argument.into_bytes().into()),
    }
}

fn describe(answer: &PushAnswer, ack: Ack) -> String {
    if ack == Ack::Accepted {
        return format!("{}: accepted", answer.message_id);
    }
    let mut text = format!(
        "{}: {} on {} of {}",
        answer.message_id,
        counted(answer.recipients, "connection"),
        answer.delivered_nodes,
        counted(answer.nodes, "node")
    );
    let mut users: Vec<_> = answer.recipients_by_user.iter().collect();
    users.sort();
    for (user, recipients) in users {
        text.push_str(&format!("\n  {user}: {recipients}"));
    }
    if !answer.pending_nodes.is_empty() {
        text.push_str(&format!(
            "\npending: {} (not acknowledged yet; sent when the node can take it)",
            answer.pending_nodes.join(", ")
        ));
    }
    text
}

fn counted(number: u32, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reads_like_a_sentence() {
        let answer = PushAnswer {
            message_id: "m-1".to_owned(),
            nodes: 3,
            acked: 2,
            delivered_nodes: 1,
            recipients: 1,
            pending_nodes: vec!["n3".to_owned()],
            recipients_by_user: [("u2".to_owned(), 0), ("u1".to_owned(), 1)].into(),
        };
        let expected = "m-1: 1 connection on 1 of 3 nodes\n  u1: 1\n  u2: 0\n\
                        pending: n3 (not acknowledged yet; sent when the node can take it)";
        assert_eq!(describe(&answer, Ack::Nodes), expected);
        assert_eq!(describe(&answer, Ack::Accepted), "m-1: accepted");
    }
}
