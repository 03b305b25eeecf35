//! What can be said on the command line.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::{
    bench::BenchArguments,
    dev::DevArguments,
    examples,
    manager_arguments::{ApiKeyArguments, ManagerArguments, TlsArguments},
    style,
};

/// Pushes to and listens at a Pushcast fleet.
#[derive(Debug, Parser)]
#[command(
    name = "pushctl",
    version,
    styles = style::CLAP,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = examples::ALL
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a manager and its nodes in this process to try things out, with a page that shows them at work.
    #[command(after_help = examples::DEV)]
    Dev(DevArguments),
    /// Push a message to a room, a user, several users or everyone.
    Push(PushArguments),
    /// Connect as a client and print what is pushed to it, until interrupted.
    Listen(ListenArguments),
    /// List the connect-nodes a push-manager knows.
    Nodes(NodesArguments),
    /// Watch a push-manager at work: its nodes, rates, efficiency and latencies.
    Top(TopArguments),
    /// Put a load on a running fleet and say what it took.
    Bench(BenchArguments),
    /// Make keys for those who call a push-manager.
    Key(KeyArguments),
    /// Make and check tokens of clients.
    Token(TokenArguments),
    /// Print the completions for a shell.
    Completions(CompletionsArguments),
}

#[derive(Debug, Args)]
#[command(
    disable_help_subcommand = true,
    subcommand_value_name = "TARGET",
    subcommand_help_heading = "Targets",
    after_help = examples::PUSH
)]
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
    /// Your own id of this push: clients that drop repeats, as they should, show a repeat with the same one only once.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true, global = true)]
    pub(super) request_id: String,
    /// What to wait for: the nodes that place it, or only the manager's log.
    #[arg(long, value_enum, default_value_t = AckArgument::Nodes, global = true)]
    pub(super) ack: AckArgument,
    /// How long to wait for the answer; a manager waits 5 s at most, unless it is set otherwise.
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        value_parser = duration,
        default_value = "10s"
    )]
    pub(super) timeout: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum AckArgument {
    Nodes,
    Accepted,
}

/// Not required by the parser, so that its absence is explained.
#[derive(Debug, Args)]
pub(super) struct ContentArgument {
    /// What to deliver: as it is, `-` for standard input, `@file` for a file's content.
    #[arg(value_name = "CONTENT")]
    pub(super) content: Option<OsString>,
}

#[derive(Debug, Subcommand)]
pub(super) enum TargetArguments {
    /// Everybody in a room.
    #[command(
        override_usage = "pushctl push room [OPTIONS] <ROOM> <CONTENT>",
        after_help = examples::PUSH_ROOM
    )]
    Room {
        /// The room's id.
        room: String,
        #[command(flatten)]
        content: ContentArgument,
    },
    /// Every connection of a user.
    #[command(
        override_usage = "pushctl push user [OPTIONS] <USER> <CONTENT>",
        after_help = examples::PUSH_USER
    )]
    User {
        /// The user's id.
        user: String,
        #[command(flatten)]
        content: ContentArgument,
    },
    /// Every connection of several users.
    #[command(
        override_usage = "pushctl push users [OPTIONS] <USERS> <CONTENT>",
        after_help = examples::PUSH_USERS
    )]
    Users {
        /// The users' ids, separated by commas.
        users: String,
        #[command(flatten)]
        content: ContentArgument,
    },
    /// Everyone connected.
    #[command(
        override_usage = "pushctl push everyone [OPTIONS] <CONTENT>",
        after_help = examples::PUSH_EVERYONE
    )]
    Everyone {
        #[command(flatten)]
        content: ContentArgument,
        /// Of every tenant.
        #[arg(long)]
        all_apps: bool,
    },
}

#[derive(Debug, Args)]
#[command(after_help = examples::LISTEN)]
pub(super) struct ListenArguments {
    /// The WebSocket address of a node; any node will do, every push goes to all of them. Of several, separated by
    /// commas, the next is tried when one is lost.
    #[arg(
        long = "url",
        env = "PUSHCTL_URL",
        hide_env_values = true,
        value_name = "URL",
        value_delimiter = ',',
        default_value = "ws://127.0.0.1:8000/ws"
    )]
    pub(super) urls: Vec<String>,
    /// Rooms to enter, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub(super) rooms: Vec<String>,
    /// Who to connect as; the node gives a name if left out. With a token it is the token's.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) user: String,
    /// File with the token to connect with; read again when it is about to expire. The variable PUSHCTL_TOKEN may
    /// hold the token itself.
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// File with the certificates (PEM) that those of wss:// nodes are checked against; this machine's if left out.
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
    /// Tenant; the default one if left out.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) app: String,
    /// End after this many pushes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) count: Option<u64>,
    /// Print one JSON object for each push: `text`, or `content` in base64 where it is no text.
    #[arg(long, conflicts_with = "content")]
    pub(super) json: bool,
    /// Print the content alone, byte for byte, and a line feed; made safe where it goes to a terminal.
    #[arg(long)]
    pub(super) content: bool,
    /// Which of the two subprotocols to speak with the node.
    #[arg(long, value_enum, default_value_t = FormatArgument::Json)]
    pub(super) format: FormatArgument,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum FormatArgument {
    Json,
    Protobuf,
}

#[derive(Debug, Args)]
#[command(after_help = examples::NODES)]
pub(super) struct NodesArguments {
    #[command(flatten)]
    pub(super) manager: ManagerArguments,
}

#[derive(Debug, Args)]
#[command(after_help = examples::TOP)]
pub(super) struct TopArguments {
    /// The push-manager's HTTP address.
    #[arg(
        long,
        env = "PUSHCTL_HTTP",
        hide_env_values = true,
        value_name = "ADDRESS",
        default_value = "http://127.0.0.1:9001"
    )]
    pub(super) http: String,
    #[command(flatten)]
    pub(super) key: ApiKeyArguments,
    #[command(flatten)]
    pub(super) tls: TlsArguments,
    /// From one look to the next, 100 ms to 1 minute.
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "1s")]
    pub(super) interval: Duration,
    /// Print one snapshot of one interval, and end.
    #[arg(long)]
    pub(super) once: bool,
    /// Print one JSON object for each interval.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_invalid| "give one like 2s or 500ms".to_owned())
}

/// A manager asked more often would be busy with answering that; rarer than this nobody calls it live.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(60);
    if allowed.contains(&interval) { Ok(interval) } else { Err("not within 100ms to 1m".to_owned()) }
}

#[derive(Debug, Args)]
#[command(disable_help_subcommand = true, subcommand_value_name = "COMMAND")]
pub(super) struct KeyArguments {
    #[command(subcommand)]
    pub(super) command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key: the key itself goes to standard output, this once; its line, which is not secret, into the keys
    /// file.
    #[command(after_help = examples::KEY_NEW)]
    New(NewKeyArguments),
}

#[derive(Debug, Args)]
pub(super) struct NewKeyArguments {
    /// What the manager's logs and errors call it: who calls with it, say.
    #[arg(long)]
    pub(super) name: String,
    /// The apps it may push to, separated by commas; `*` is all, and all at once.
    #[arg(long, default_value = "*")]
    pub(super) apps: String,
    /// The rpcs it may call, separated by commas, such as PushToRoom,PushToUser,ListNodes; `*` is all.
    #[arg(long, default_value = "*")]
    pub(super) methods: String,
    /// How many pushes and controls it may send; any if left out.
    #[arg(long, value_name = "N")]
    pub(super) pushes_per_second: Option<String>,
    /// How much content it may send, such as 1MiB; any if left out.
    #[arg(long, value_name = "SIZE")]
    pub(super) bytes_per_second: Option<String>,
    /// The file of the manager's --api-keys-file, to add the line to; printed to standard error if left out.
    #[arg(long, value_name = "FILE")]
    pub(super) keys_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = examples::COMPLETIONS)]
pub(super) struct CompletionsArguments {
    /// The shell.
    #[arg(value_enum)]
    pub(super) shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct TokenArguments {
    #[command(subcommand)]
    pub(super) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Sign a token, to try a fleet whose nodes run with --auth jwt.
    New(NewTokenArguments),
    /// Say what a node would say to a token.
    Check(CheckTokenArguments),
}

#[derive(Debug, Args)]
pub(super) struct NewTokenArguments {
    /// What to sign with: a file with a secret (HS256), or a private key in PEM (EdDSA, ES256 or RS256).
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: PathBuf,
    /// Whom the token is for.
    #[arg(long, value_name = "ID")]
    pub(super) user: String,
    /// Its tenant; the default one if left out.
    #[arg(long, value_name = "APP")]
    pub(super) app: Option<String>,
    /// Rooms it may enter by itself, separated by commas; a `*` at the end stands for whatever follows.
    #[arg(long, value_name = "ROOM,…")]
    pub(super) rooms: Option<String>,
    /// How long it is good for.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub(super) life: String,
    /// The id of the key, for nodes that know several.
    #[arg(long, value_name = "ID")]
    pub(super) kid: Option<String>,
    /// Who issues it, for nodes with --jwt-issuer.
    #[arg(long, value_name = "NAME")]
    pub(super) issuer: Option<String>,
    /// For whom it is meant, for nodes with --jwt-audience.
    #[arg(long, value_name = "NAME")]
    pub(super) audience: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CheckTokenArguments {
    /// The file that the node has as --jwt-keys.
    #[arg(long, value_name = "FILE")]
    pub(super) keys: PathBuf,
    /// File with the token; else it is the variable PUSHCTL_TOKEN, or what comes on standard input.
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// The node's --jwt-issuer.
    #[arg(long, value_name = "NAME,…")]
    pub(super) issuer: Option<String>,
    /// The node's --jwt-audience.
    #[arg(long, value_name = "NAME,…")]
    pub(super) audience: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
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
        assert_eq!(users, "u1,u2");
        assert_eq!(content.content.unwrap(), "hello");
    }

    #[test]
    fn nodes_are_given_one_by_one_or_all_at_once() {
        for line in ["pushctl listen --url a --url b,c", "pushctl listen --url a,b,c"] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            let Command::Listen(listen) = arguments.command else { panic!("no listen") };
            assert_eq!(listen.urls, ["a", "b", "c"]);
        }
    }

    #[test]
    fn an_interval_is_neither_a_hail_nor_a_drizzle() {
        assert_eq!(interval("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["99ms", "2m", "0s", "often"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
