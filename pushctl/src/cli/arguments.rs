//! What can be said on the command line.

use std::time::Duration;

use super::dev::DevArguments;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Pushes to and listens at a Pushcast fleet.
#[derive(Debug, Parser)]
#[command(name = "pushctl", version, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a manager and its nodes in this process to try things out, with a page that shows them at work.
    Dev(DevArguments),
    /// Push a message to a room, a user, several users or everyone.
    Push(PushArguments),
    /// Connect as a client and print what is pushed to it, until interrupted.
    Listen(ListenArguments),
    /// List the connect-nodes a push-manager knows.
    Nodes(NodesArguments),
}

#[derive(Debug, Args)]
pub(super) struct ManagerArguments {
    /// The push-manager's gRPC address.
    #[arg(long, env = "PUSHCTL_MANAGER", default_value = "http://127.0.0.1:9000", global = true)]
    pub(super) manager: String,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct PushArguments {
    #[command(flatten)]
    pub(super) manager: ManagerArguments,
    #[command(subcommand)]
    pub(super) target: TargetArguments,
    /// Tenant; the default one if left out.
    #[arg(long, default_value = "", hide_default_value = true, global = true)]
    pub(super) app: String,
    /// `Service/NotifyType`, delivered with the content.
    #[arg(long, default_value = "", hide_default_value = true, global = true)]
    pub(super) uri: String,
    /// Your own id of this push: a repeat with the same one is shown to nobody twice.
    #[arg(long, default_value = "", hide_default_value = true, global = true)]
    pub(super) request_id: String,
    /// What to wait for.
    #[arg(long, value_enum, default_value_t = AckArgument::Nodes, global = true)]
    pub(super) ack: AckArgument,
    /// How long to wait for the answer, such as `2s`; the manager waits 5 s at most, unless it is set otherwise.
    #[arg(long, global = true, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "10s")]
    pub(super) timeout: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum AckArgument {
    /// The nodes that placed it.
    Nodes,
    /// The manager's log alone.
    Accepted,
}

const CONTENT_HELP: &str = "What to deliver: as it is, `-` for standard input, `@file` for a file's content";

#[derive(Debug, Subcommand)]
pub(super) enum TargetArguments {
    /// Everybody in a room.
    Room {
        /// The room's id.
        room: String,
        #[arg(help = CONTENT_HELP)]
        content: String,
    },
    /// Every connection of a user.
    User {
        /// The user's id.
        user: String,
        #[arg(help = CONTENT_HELP)]
        content: String,
    },
    /// Every connection of several users.
    Users {
        /// The users' ids, separated by commas.
        #[arg(value_delimiter = ',', num_args = 1, required = true)]
        users: Vec<String>,
        #[arg(help = CONTENT_HELP)]
        content: String,
    },
    /// Everyone connected.
    Everyone {
        #[arg(help = CONTENT_HELP)]
        content: String,
        /// Of every tenant.
        #[arg(long)]
        all_apps: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct ListenArguments {
    /// The node's WebSocket address.
    #[arg(long, env = "PUSHCTL_URL", default_value = "ws://127.0.0.1:8000/ws")]
    pub(super) url: String,
    /// Rooms to enter, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub(super) rooms: Vec<String>,
    /// Who to connect as; the node gives a name if left out.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) user: String,
    /// Tenant; the default one if left out.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) app: String,
    /// Print JSON, one object for each push.
    #[arg(long)]
    pub(super) json: bool,
    /// How to speak with the node.
    #[arg(long, value_enum, default_value_t = FormatArgument::Json)]
    pub(super) format: FormatArgument,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum FormatArgument {
    /// Subprotocol pushcast.v1.json.
    Json,
    /// Subprotocol pushcast.v1.protobuf.
    Protobuf,
}

#[derive(Debug, Args)]
pub(super) struct NodesArguments {
    #[command(flatten)]
    pub(super) manager: ManagerArguments,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_and_behind_the_target() {
        let line = "pushctl push --app a users u1,u2 hello --timeout 2s".split(' ');
        let Command::Push(push) = Arguments::try_parse_from(line).unwrap().command else { panic!("no push") };
        assert_eq!((push.app.as_str(), push.timeout), ("a", Duration::from_secs(2)));
        let TargetArguments::Users { users, content } = push.target else { panic!("no users") };
        assert_eq!((users, content.as_str()), (vec!["u1".to_owned(), "u2".to_owned()], "hello"));
    }
}
