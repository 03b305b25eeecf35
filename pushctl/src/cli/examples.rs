//! What stands below the help of each command: lines to copy.

pub(super) const ALL: &str = "Start here:
  pushctl dev                          a fleet to try, and a page that shows it
  pushctl listen --rooms r1 --user u1
  pushctl push room r1 hello

Exit codes: 0 done, 1 failed, 64 used wrongly.";

pub(super) const DEV: &str = "Examples:
  pushctl dev
  pushctl dev --nodes 1 --http-addr 127.0.0.1:9101
  pushctl dev --ws-addr 127.0.0.1:0    free ports for the nodes

It prints where everything is once it runs. Ctrl-C stops it, and nothing is
kept.";

pub(super) const PUSH: &str = "Examples:
  pushctl push room r1 hello
  pushctl push user u1 @picture.png --uri chat/Picture
  date | pushctl push everyone -";

pub(super) const PUSH_ROOM: &str = "Examples:
  pushctl push room r1 hello
  pushctl push room r1 @picture.png --uri chat/Picture
  echo '-x' | pushctl push room r1 -   what begins with - or @, too";

pub(super) const PUSH_USER: &str = "Examples:
  pushctl push user u1 'you have mail'
  pushctl push user u1 paid --request-id order-7 --json";

pub(super) const PUSH_USERS: &str = "Example:
  pushctl push users u1,u2,u3 'the game begins'";

pub(super) const PUSH_EVERYONE: &str = "Examples:
  pushctl push everyone 'back in five minutes'
  pushctl push everyone --all-apps @notice.txt";

pub(super) const LISTEN: &str = "Examples:
  pushctl listen --rooms r1,r2 --user u1
  pushctl listen --rooms r1 --json | jq .text
  pushctl listen --rooms r1 --content --count 1 > first.bin
  pushctl listen --rooms r1 --url 10.0.0.5:8000,10.0.0.6:8000

On a terminal each push is a line with the time (UTC), whom it is for, its
uri and its content; in a pipe it is `room r1: hello`. Content that is no
text, or could upset a terminal, is shown in quotes with escapes. After a lost
connection it goes on where it was, and says whether anything may be missing.
Ctrl-C ends it with exit code 0.";

pub(super) const NODES: &str = "Examples:
  pushctl nodes
  pushctl nodes --manager 10.0.0.5:9000 --json";

pub(super) const TOP: &str = "Examples:
  pushctl top
  pushctl top --http 10.0.0.5:9001 --interval 5s
  pushctl top --once                   one snapshot, in a script too

Keys: q quit, p pause, + and - the interval, arrows or j and k scroll,
s sort, ? help.
In a pipe it prints a line for each interval until the pipe closes.";

pub(super) const BENCH: &str = "Examples:
  pushctl bench fanout
  pushctl bench rooms --rooms 500 --in-flight 32 --format protobuf
  pushctl bench idle --sockets 10000 --scrape 10.0.0.5:8002
  pushctl bench connect --json | jq .handshakes.per_second

It uses rooms and users of its own, and everybody on the fleet feels the load.
Exit code 1 if anything was lost, refused or closed; the figures are shown all
the same.";

pub(super) const BENCH_FANOUT: &str = "Examples:
  pushctl bench fanout --sockets 5000 --in-flight 8
  pushctl bench fanout --url ws://10.0.0.5:8000/ws --url ws://10.0.0.6:8000/ws
  pushctl bench fanout --scrape 10.0.0.5:9001,10.0.0.5:8002 --csv run.csv";

pub(super) const BENCH_LATENCY: &str = "Examples:
  pushctl bench latency
  pushctl bench latency --rate 200 --duration 1m

A push that is sent late, because those before it took too long, counts from
when it was due: waiting in line is part of the delay.";

pub(super) const BENCH_MANAGER: &str = "Examples:
  pushctl bench manager
  pushctl bench manager --unary --in-flight 64";

pub(super) const KEY_NEW: &str = "Examples:
  pushctl key new --name me --keys-file api.keys > me.key
  pushctl key new --name checkout --apps shop --methods PushToUser \\
                  --pushes-per-second 100 --keys-file api.keys > checkout.key
  push-manager --api-auth keys --api-keys-file api.keys ...
  pushctl push room r1 hello --api-key-file me.key

To take a key away, take its line out of the file: managers that run notice.";

pub(super) const COMPLETIONS: &str = "To install them:
  bash        pushctl completions bash > \\
              ~/.local/share/bash-completion/completions/pushctl
  zsh         pushctl completions zsh > ~/.zfunc/_pushctl
              with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  fish        pushctl completions fish > ~/.config/fish/completions/pushctl.fish
  elvish      pushctl completions elvish >> ~/.config/elvish/rc.elv
  powershell  pushctl completions powershell >> $PROFILE";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_of_eighty_columns_wraps_none_of_them() {
        let all = [
            ALL,
            DEV,
            PUSH,
            PUSH_ROOM,
            PUSH_USER,
            PUSH_USERS,
            PUSH_EVERYONE,
            LISTEN,
            NODES,
            TOP,
            BENCH,
            BENCH_FANOUT,
            BENCH_LATENCY,
            BENCH_MANAGER,
            KEY_NEW,
            COMPLETIONS,
        ];
        let too_long: Vec<&str> =
            all.iter().flat_map(|text| text.lines()).filter(|line| line.chars().count() > 80).collect();
        assert!(too_long.is_empty(), "{too_long:?}");
    }
}
