//! `pushctl listen`, `push`, `nodes` and `completions` in terminals of several kinds, and in pipes.

use std::{
    ffi::OsStr,
    io::Write as _,
    os::unix::ffi::OsStrExt as _,
    process::{Command, Output, Stdio},
    time::Duration,
};

use pushcast_tests::{
    dev::Dev,
    eventually::{check, eventually},
    metrics::scrape,
    processes::{Finished, Process, command, run},
};
use pushctl::push::{Push, PushClient};
use serde_json::Value;

use super::tmux::{Tmux, pushctl};

const WITHIN: Duration = Duration::from_secs(30);

/// What would turn a terminal red, name it anew and clear it.
const EVIL: &str = "\u{1b}[31mred\u{1b}]0;pwned\u{7}\u{1b}[2J\u{9b}2J\u{202e}";

async fn finish(arguments: &[&str]) -> Finished {
    let mut command = command("pushctl");
    command.args(arguments);
    run(command, WITHIN).await
}

fn listen(dev: &Dev, arguments: &[&str]) -> Process {
    Process::start_ours("pushctl", "pushctl", [&["listen", "--url", &dev.nodes[0]], arguments].concat())
}

async fn connected(listener: &Process) {
    eventually("pushctl is connected", WITHIN, async || {
        check(listener.log().contains("connected to"), || listener.log())
    })
    .await;
}

/// Waits for so many lines: they may still be on their way to us when the process has ended.
async fn printed(listener: &Process, n: usize) -> Vec<String> {
    eventually("pushctl prints the pushes", WITHIN, async || {
        let printed = listener.printed();
        if printed.len() == n { Ok(printed) } else { Err(format!("{printed:?}\n{}", listener.log())) }
    })
    .await
}

async fn push(dev: &Dev, room: &str, content: impl Into<bytes::Bytes>) {
    let push = Push { uri: "chat/Message".to_owned(), ..Push::to_room(room, content) };
    let answer = PushClient::new(&dev.grpc).unwrap().push(push, Some(WITHIN)).await.unwrap();
    assert_eq!(answer.recipients, 1, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_a_push_is_a_coloured_line_with_its_time() {
    let dev = Dev::start().await;
    let tmux = Tmux::open(80, 24).await;
    tmux.start(&format!("\"$pushctl\" listen --rooms r1 --user u1 --url {}", dev.nodes[0]));
    tmux.has(&["connected to n1 as u1, rooms: r1"]).await;
    push(&dev, "r1", "hello").await;
    let screen = tmux.has(&["  room r1  chat/Message  hello"]).await;
    let time = screen.lines().find_map(|line| line.strip_suffix("  room r1  chat/Message  hello")).unwrap();
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "00:00:00.000");
    assert!(tmux.painted().contains("\u{1b}[36mroom r1"), "{}", tmux.painted());
    tmux.press("C-c");
    assert_eq!(tmux.ended().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_never_drives_the_terminal() {
    let dev = Dev::start().await;
    let tmux = Tmux::open(100, 24).await;
    let title = tmux.variable("pane_title");
    // Neither as a line for people nor as nothing but the content.
    for flags in ["", "--content", "--json"] {
        tmux.clear().await;
        tmux.start(&format!("\"$pushctl\" listen --rooms r1 --count 2 {flags} --url {}", dev.nodes[0]));
        tmux.has(&["connected to"]).await;
        push(&dev, "r1", EVIL).await;
        push(&dev, "r1", "the end").await;
        let screen = tmux.has(&["the end", "connected to"]).await;
        assert_eq!(tmux.ended().await, 0);
        let escape = if flags == "--json" { r"\u001b[31mred" } else { r"\u{1b}[31mred" };
        assert!(screen.contains(escape), "{screen}");
        assert!(!tmux.painted().contains("\u{1b}[31mred"), "{}", tmux.painted());
    }
    assert_eq!(tmux.variable("pane_title"), title);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_columns_hold_the_nodes_and_an_answer() {
    let dev = Dev::start().await;
    let tmux = Tmux::open(40, 24).await;
    assert_eq!(tmux.finish(&format!("clear; \"$pushctl\" nodes --manager {}", dev.grpc)).await, 0);
    let rows = tmux.rows();
    let head = rows.iter().position(|row| row.starts_with("NODE")).unwrap();
    assert_eq!(rows[head], "NODE  STATE  LINK    LAG  CONNS  ROOMS");
    for (row, node) in rows[head + 1..].iter().zip(["n1", "n2", "n3"]) {
        assert_eq!(*row, format!("{node}    ready  linked  0    0      0"));
    }
    assert_eq!(tmux.finish(&format!("clear; \"$pushctl\" push room r1 hi --manager {}", dev.grpc)).await, 0);
    let screen = tmux.screen();
    assert!(
        screen.contains("0 connections on 0 of 3 nodes: nobody is connected for it\nefficiency 0 %  "),
        "{screen}"
    );
    // Help wraps between words.
    assert_eq!(tmux.finish("clear; \"$pushctl\" --help | head -4").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colours_are_left_out_where_they_are_not_wanted() {
    let dev = Dev::start().await;
    let tmux = Tmux::open(100, 24).await;
    let commands = [
        format!("\"$pushctl\" nodes --manager {}", dev.grpc),
        format!("\"$pushctl\" push room r1 hi --manager {}", dev.grpc),
        "\"$pushctl\" push room".to_owned(),
        "\"$pushctl\" nodes --manager 127.0.0.1:1".to_owned(),
    ];
    for line in &commands {
        for (environment, is_coloured) in [("", true), ("NO_COLOR=1 ", false), ("TERM=dumb ", false)] {
            tmux.clear().await;
            tmux.finish(&format!("{environment}{line}")).await;
            let painted = tmux.painted();
            assert_eq!(painted.contains('\u{1b}'), is_coloured, "{environment}{line}: {painted}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_gets_no_escapes_unless_it_asks_for_them() {
    let dev = Dev::start().await;
    let listener = listen(&dev, &["--rooms", "r1", "--user", "u1"]);
    connected(&listener).await;
    push(&dev, "r1", "hello").await;
    push(&dev, "r1", EVIL).await;
    let lines = printed(&listener, 2).await;
    assert_eq!(lines[0], "room r1 (chat/Message): hello");
    let all = lines.concat() + &listener.log();
    assert!(!all.contains('\u{1b}') && !all.contains('\u{9b}'), "{all:?}");
    for arguments in [
        &["push", "room", "r1", "x", "--manager", &dev.grpc][..],
        &["nodes", "--manager", &dev.grpc],
        &["--help"],
        &["push", "room"],
        &["nodes", "--manager", "127.0.0.1:1"],
    ] {
        let Finished { stdout, stderr, .. } = finish(arguments).await;
        assert!(
            !stdout.contains('\u{1b}') && !stderr.contains('\u{1b}'),
            "{arguments:?}: {stdout:?} {stderr:?}"
        );
    }
    let mut forced = command("pushctl");
    forced.args(["nodes", "--manager", &dev.grpc]).env("CLICOLOR_FORCE", "1");
    let forced = run(forced, WITHIN).await;
    assert!(forced.stdout.contains("\u{1b}[32mready"), "{:?}", forced.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_bytes_come_through_as_they_were() {
    let dev = Dev::start().await;
    let bytes = [0xff, 0x00, b'\n', 0x1b, b'x'];
    let mut listeners = Vec::new();
    for format in ["json", "protobuf"] {
        for form in ["--json", "--content"] {
            let listener = listen(&dev, &["--rooms", "r1", "--count", "2", "--format", format, form]);
            connected(&listener).await;
            listeners.push((form, listener));
        }
    }
    // One as an argument, as no text could be, one from standard input.
    let mut by_argument = command("pushctl");
    by_argument
        .args(["push", "room", "r1"])
        .arg(OsStr::from_bytes(&[0xff, b'x']))
        .args(["--manager", &dev.grpc]);
    assert_eq!(run(by_argument, WITHIN).await.code, Some(0));
    let mut by_stdin = command("pushctl");
    by_stdin.args(["push", "room", "r1", "-", "--manager", &dev.grpc]);
    let pushed = with_stdin(by_stdin, &bytes);
    assert!(
        String::from_utf8_lossy(&pushed.stdout).contains(": 4 connections on 1 of 3 nodes\n"),
        "{pushed:?}"
    );

    for (form, mut listener) in listeners {
        assert_eq!(listener.exit(WITHIN).await.code(), Some(0));
        let printed = printed(&listener, if form == "--json" { 2 } else { 3 }).await;
        if form == "--json" {
            let contents: Vec<Value> = printed
                .iter()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()["content"].clone())
                .collect();
            assert_eq!(contents, ["/3g=", "/wAKG3g="]);
        } else {
            // The harness reads lines and shows what is no text as U+FFFD.
            assert_eq!(printed, ["\u{fffd}x", "\u{fffd}\0", "\u{1b}x"]);
        }
    }
}

fn with_stdin(mut command: Command, bytes: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_is_the_same_json_from_both_subprotocols() {
    let dev = Dev::start().await;
    let mut pushes = Vec::new();
    for format in ["json", "protobuf"] {
        let mut listener = listen(&dev, &["--rooms", "r1", "--count", "1", "--json", "--format", format]);
        connected(&listener).await;
        push(&dev, "r1", format!("grüße {EVIL}")).await;
        assert_eq!(listener.exit(WITHIN).await.code(), Some(0));
        let push: Value = serde_json::from_str(&printed(&listener, 1).await[0]).unwrap();
        pushes.push((push["text"].clone(), push["room_id"].clone(), push["uri"].clone()));
    }
    let expected = (format!("grüße {EVIL}").into(), "r1".into(), "chat/Message".into());
    assert_eq!(pushes, [expected.clone(), expected]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_listener_says_goodbye() {
    let dev = Dev::start().await;
    for signal in ["INT", "TERM"] {
        let mut listener = listen(&dev, &["--rooms", "r1", "--user", "u1"]);
        connected(&listener).await;
        let mut kill = Command::new("kill");
        kill.args(["-s", signal, &listener.pid().to_string()]);
        assert_eq!(run(kill, WITHIN).await.code, Some(0));
        assert_eq!(listener.exit(WITHIN).await.code(), Some(0));
    }
    // Whoever leaves does not wait for long until its node has noticed.
    let metrics = eventually("both have left", WITHIN, async || {
        let metrics = scrape(&dev.http).await;
        check(metrics.sum("connect_node_closed_total", &[]) >= 2.0, || metrics.text.clone()).map(|()| metrics)
    })
    .await;
    // 1005: a close frame without a code, which is how clients leave; 1006 would be a broken connection.
    assert_eq!(metrics.sum("connect_node_closed_total", &[("code", "1006")]), 0.0, "{}", metrics.text);
    assert_eq!(metrics.sum("connect_node_closed_total", &[]), 2.0, "{}", metrics.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_told_once_and_then_that_it_is_over() {
    let mut dev = Dev::start_to_restart().await;
    let listener = listen(&dev, &["--rooms", "r1", "--user", "u1"]);
    connected(&listener).await;
    dev.process.kill();
    dev.process.exit(WITHIN).await;
    // Several tries of growing length (20 s at most) go by.
    eventually("it still tries", WITHIN * 2, async || {
        check(listener.log().contains("still trying ("), || listener.log())
    })
    .await;
    assert_eq!(listener.log().matches("nothing listens there").count(), 1, "{}", listener.log());
    let again = dev.start_again().await;
    eventually("it is connected again", WITHIN * 2, async || {
        check(listener.log().contains("connected to n1 as u1 again after "), || listener.log())
    })
    .await;
    push(&again, "r1", "welcome back").await;
    assert_eq!(printed(&listener, 1).await, ["room r1 (chat/Message): welcome back"]);
}

#[tokio::test]
async fn a_push_without_content_is_explained_with_an_example() {
    for target in [&["room", "r1"][..], &["user", "u1"], &["users", "u1,u2"], &["everyone"]] {
        let failed = finish(&[&["push"], target].concat()).await;
        assert_eq!(failed.code, Some(64), "{failed:?}");
        let example = format!("`pushctl push {} hello`", target.join(" "));
        assert!(failed.stderr.starts_with("error: what to push is missing\n"), "{}", failed.stderr);
        assert!(failed.stderr.contains(&example), "{}", failed.stderr);
    }
}

/// Runs a pipe of bash's, and hands out what it prints last: the exit code of the pipe's first command.
async fn first_of_pipe(pipe: &str, argument: &str) -> Finished {
    let script = format!("{pipe}; echo \"first ended with ${{PIPESTATUS[0]}}\"");
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).arg(pushctl()).arg(argument).env("RUST_BACKTRACE", "0");
    run(shell, WITHIN).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_closes_the_pipe_has_seen_enough() {
    let dev = Dev::start().await;
    let pipes = [
        ("\"$0\" push room r1 hi --manager \"$1\" | true", &dev.grpc),
        ("\"$0\" nodes --manager \"$1\" | true", &dev.grpc),
        ("\"$0\" top --interval 100ms --http \"$1\" | head -2", &dev.http),
        ("\"$0\" top --interval 100ms --json --http \"$1\" | head -1", &dev.http),
        ("\"$0\" top --once --interval 100ms --http \"$1\" | true", &dev.http),
        ("\"$0\" completions bash | head -1", &dev.http),
        ("\"$0\" --help | head -1", &dev.http),
        // Nobody pushes: it ends because its reader does.
        ("\"$0\" listen --rooms r1 --url \"$1\" | true", &dev.nodes[0]),
    ];
    for (pipe, argument) in pipes {
        let ended = first_of_pipe(pipe, argument).await;
        assert!(ended.stdout.ends_with("first ended with 0\n"), "{pipe}: {ended:?}");
        let complaints: Vec<&str> =
            ended.stderr.lines().filter(|line| !line.contains("connected to")).collect();
        assert!(complaints.is_empty(), "{pipe}: {complaints:?}");
    }
}

#[tokio::test]
async fn completions_are_valid_and_bash_completes_with_them() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = finish(&["completions", shell]).await;
        assert_eq!((script.code, script.stderr.as_str()), (Some(0), ""), "{shell}");
        for word in ["listen", "completions", "request-id"] {
            assert!(script.stdout.contains(word), "{shell} does not know {word}");
        }
    }
    let complete = r#"
        set -eu
        source <("$0" completions bash)
        bash -n <("$0" completions bash)
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        _pushctl pushctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        echo "${COMPREPLY[@]}"
    "#;
    let cases: [(&[&str], &str); 4] = [
        (&["pushctl", "pu"], "push"),
        (&["pushctl", "push", "us"], "user users"),
        (&["pushctl", "top", "--int"], "--interval"),
        (&["pushctl", "listen", "--format", "p"], "protobuf"),
    ];
    for (words, expected) in cases {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "--noprofile", "-c", complete]).arg(pushctl()).args(words);
        let completed = run(bash, WITHIN).await;
        assert_eq!((completed.stdout.trim_end(), completed.code), (expected, Some(0)), "{completed:?}");
    }
    assert_eq!(finish(&["completions", "tcsh"]).await.code, Some(64));
}

#[tokio::test]
async fn every_help_has_an_example_and_fits_eighty_columns() {
    let commands = [
        "",
        "dev",
        "push",
        "push room",
        "push user",
        "push users",
        "push everyone",
        "listen",
        "nodes",
        "top",
        "completions",
    ];
    let tmux = Tmux::open(80, 50).await;
    for subcommand in commands {
        tmux.clear().await;
        assert_eq!(tmux.finish(&format!("\"$pushctl\" {subcommand} --help")).await, 0, "{subcommand}");
        let rows = tmux.rows();
        let joined = tmux.screen();
        // A line that the terminal has to wrap is longer than the terminal.
        let wrapped = joined.lines().find(|line| line.chars().count() > 80 && !line.contains("pushctl\" "));
        assert_eq!(wrapped, None, "{subcommand}: {rows:?}");
        let plain =
            finish(&[subcommand.split_whitespace().collect::<Vec<_>>(), vec!["--help"]].concat()).await;
        assert!(plain.stdout.contains("  pushctl "), "{subcommand} has no example: {}", plain.stdout);
    }
}
