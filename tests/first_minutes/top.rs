//! `pushctl top` in a terminal, its screen read and its keys pressed; and where it has none.

use std::time::Duration;

use pushcast_tests::{
    dev::Dev,
    eventually::{check, eventually},
    listener::Listener,
    processes::{Finished, Process, command, run},
};
use pushctl::{
    client::Options,
    push::{Push, PushClient},
};
use serde_json::Value;

use super::tmux::Tmux;

const WITHIN: Duration = Duration::from_secs(30);

/// A shorter interval than anybody wants, so that tests do not wait.
const OFTEN: &str = "--interval 100ms";

async fn listener(url: &str, user: &str, rooms: &[&str]) -> Listener {
    let rooms = rooms.iter().map(|&room| room.to_owned()).collect();
    Listener::connect(Options { user_id: user.to_owned(), rooms, ..Options::new(url) }).await
}

async fn push_times(dev: &Dev, n: usize) {
    let manager = PushClient::new(&dev.grpc).unwrap();
    for _ in 0..n {
        manager.push(Push::to_room("r1", "hello"), Some(WITHIN)).await.unwrap();
    }
}

async fn top(dev: &Dev, arguments: &[&str]) -> Finished {
    let mut command = command("pushctl");
    command.args(["top", "--http", &dev.http, "--interval", "100ms"]).args(arguments);
    run(command, WITHIN).await
}

/// What a shell shows that has printed something.
async fn shows_something(tmux: &Tmux) -> String {
    // What is typed is not what is printed.
    tmux.enter("clear; echo be\"\"fore");
    tmux.has(&["before\nready>"]).await
}

/// The terminal works as before: the shell's screen, its echo, its cursor.
async fn is_as_it_was(tmux: &Tmux, before: &str) {
    let screen = tmux.has(&["end1:"]).await;
    assert!(screen.starts_with(before.trim_end()), "{screen}");
    assert!(!screen.contains("NODE") && !screen.contains("q quit"), "{screen}");
    assert_eq!((tmux.variable("alternate_on"), tmux.variable("cursor_flag")), ("0".into(), "1".into()));
    tmux.clear().await;
    assert_eq!(tmux.finish("stty -a | grep -cE '[^-]icanon|[^-]echo '").await, 0);
    assert!(!tmux.screen().contains("-icanon"), "{}", tmux.screen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_screen_follows_the_fleet() {
    let dev = Dev::start().await;
    let tmux = Tmux::open(100, 30).await;
    let before = shows_something(&tmux).await;
    tmux.start(&format!("\"$pushctl\" top --http {} {OFTEN}", dev.http));
    tmux.has(&[&dev.http, "version 0.1.0", "n3    ready  linked  0    0            0      0"]).await;
    tmux.has(&["total 0", "head 0", "since start -", "pending 0  gaps 0"]).await;

    let _on_n1 = listener(&dev.nodes[0], "u1", &["r1", "r2"]).await;
    let _also_on_n1 = listener(&dev.nodes[0], "u1", &[]).await;
    let _on_n2 = listener(&dev.nodes[1], "u2", &["r1"]).await;
    tmux.has(&[
        "n1    ready  linked  0    2            2      1",
        "n2    ready  linked  0    1            1      1",
    ])
    .await;

    // Of three nodes two have somebody in the room.
    push_times(&dev, 7).await;
    let screen = tmux.has(&["total 7", "head 7", "since start 67 %"]).await;
    assert!(
        screen.contains("pushes/s") && screen.contains("delivered/s") && screen.contains("ack p99"),
        "{screen}"
    );
    push_times(&dev, 5).await;
    tmux.has(&["total 12"]).await;
    // Bars move out to the left, so there have to be new ones.
    eventually("there are bars", WITHIN, async || {
        push_times(&dev, 1).await;
        check(tmux.screen().contains('█'), || tmux.screen())
    })
    .await;
    tmux.press("q");
    assert_eq!(tmux.ended().await, 0);
    is_as_it_was(&tmux, &before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_columns_and_twelve_rows_are_enough() {
    let dev = Dev::start_with(&[
        "--grpc-addr",
        "127.0.0.1:0",
        "--http-addr",
        "127.0.0.1:0",
        "--ws-addr",
        "127.0.0.1:0",
        "--nodes",
        "8",
    ])
    .await;
    let _listener = listener(&dev.nodes[6], "u1", &["r1"]).await;
    push_times(&dev, 2).await;
    let tmux = Tmux::open(40, 12).await;
    tmux.start(&format!("\"$pushctl\" top --http {} {OFTEN}", dev.http));
    let screen = tmux.has(&["total 2", "since start 12 %", "CONNS", "q quit", "n3    ready  linked"]).await;
    assert!(!screen.contains("n4 "), "{screen}");

    tmux.press("?");
    tmux.has(&["q Esc Ctrl-C", "scroll the nodes", "? again closes"]).await;
    tmux.press("?");
    for _ in 0..20 {
        tmux.press("j");
    }
    tmux.has(&["n8    ready"]).await;
    for _ in 0..3 {
        tmux.press("Up");
    }
    tmux.has(&["n5    ready"]).await;
    tmux.press("Home");
    tmux.press("s");
    // The fullest first.
    tmux.shows("n7 stands first", |screen| {
        screen.contains("CONNS  ROOMS\nn7    ready  linked  0    1      1")
    })
    .await;

    tmux.press("p");
    tmux.has(&["PAUSED"]).await;
    push_times(&dev, 1).await;
    tmux.press("p");
    tmux.has(&["total 3"]).await;

    tmux.resize(100, 30);
    tmux.has(&["ADDRESS", "nodes/s     reached", "pushes/s 0  max", "every 100ms"]).await;
    tmux.press("+");
    tmux.has(&["every 250ms"]).await;
    tmux.press("-");
    tmux.has(&["every 100ms"]).await;
    tmux.resize(20, 4);
    tmux.shows("next to nothing fits", |screen| screen.contains("NODE") && !screen.contains("total")).await;
    tmux.resize(40, 12);
    tmux.has(&["total 3"]).await;
    tmux.press("Escape");
    assert_eq!(tmux.ended().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_goes_is_missed_and_one_that_comes_is_found() {
    let dev = Dev::start_to_restart().await;
    push_times(&dev, 3).await;
    let tmux = Tmux::open(80, 24).await;
    tmux.start(&format!("\"$pushctl\" top --http {} {OFTEN}", dev.http));
    tmux.has(&["total 3", "n3    ready"]).await;
    dev.process.kill();
    let reason = format!("figures are old: nothing listens at {}", dev.http);
    // What was known stays.
    let screen = tmux.has(&["no answer for ", &reason, "total 3", "n3    ready"]).await;
    assert!(tmux.painted().contains("\u{1b}[38;5;1m") || tmux.painted().contains("\u{1b}[31m"), "{screen}");

    let mut dev = dev;
    dev.process.exit(WITHIN).await;
    let again = dev.start_again().await;
    push_times(&again, 1).await;
    let screen = tmux.has(&["total 1", "up ", "n3    ready"]).await;
    assert!(!screen.contains("no answer"), "{screen}");
    tmux.press("C-c");
    assert_eq!(tmux.ended().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_manager_it_waits_for_one() {
    let mut dev = Dev::start_to_restart().await;
    dev.process.terminate();
    dev.process.exit(WITHIN).await;
    let tmux = Tmux::open(100, 20).await;
    tmux.start(&format!("\"$pushctl\" top --http {} {OFTEN}", dev.http));
    let reason = format!("nothing listens at {}: is a push-manager running there?", dev.http);
    tmux.has(&["no answer for ", &reason, "q quit"]).await;
    let _again = dev.start_again().await;
    tmux.has(&["total 0", "n1    ready"]).await;
    tmux.press("q");
    assert_eq!(tmux.ended().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_leaves_the_terminal_as_it_was() {
    let dev = Dev::start().await;
    let tmux = Tmux::open(80, 24).await;
    let before = shows_something(&tmux).await;
    tmux.start(&format!("\"$pushctl\" top --http {}", dev.http));
    tmux.has(&["total 0", "n3    ready"]).await;
    let pid = eventually("the shell's child is there", WITHIN, async || {
        let shell = tmux.variable("pane_pid");
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        children.split_whitespace().next().map(str::to_owned).ok_or(children)
    })
    .await;
    let mut kill = std::process::Command::new("kill");
    kill.arg(pid);
    assert_eq!(run(kill, WITHIN).await.code, Some(0));
    assert_eq!(tmux.ended().await, 0);
    is_as_it_was(&tmux, &before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_colours_there_are_none_and_a_dumb_terminal_gets_lines() {
    let dev = Dev::start().await;
    let tmux = Tmux::open(100, 30).await;
    tmux.start(&format!("\"$pushctl\" top --http {} {OFTEN}", dev.http));
    tmux.has(&["n3    ready"]).await;
    assert!(has_colour(&tmux.painted()));
    tmux.press("q");
    tmux.ended().await;
    tmux.start(&format!("NO_COLOR=1 \"$pushctl\" top --http {} {OFTEN}", dev.http));
    tmux.has(&["n3    ready"]).await;
    assert!(!has_colour(&tmux.painted()), "{}", tmux.painted());
    tmux.press("q");
    tmux.ended().await;
    tmux.clear().await;
    tmux.start(&format!("TERM=dumb \"$pushctl\" top --http {} {OFTEN}", dev.http));
    tmux.has(&["pushes/s  nodes/s deliv/s  eff", "0    3/3      0\n"]).await;
    assert_eq!(tmux.variable("alternate_on"), "0");
    assert!(!tmux.painted().contains('\u{1b}'), "{}", tmux.painted());
    tmux.press("C-c");
    assert_eq!(tmux.ended().await, 0);
}

/// Whether any text has a foreground colour, as tmux writes it.
fn has_colour(painted: &str) -> bool {
    (0..8).any(|colour| {
        painted.contains(&format!("[3{colour}m")) || painted.contains(&format!("38;5;{colour}m"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_it_prints_a_snapshot_as_text_or_as_json() {
    let dev = Dev::start().await;
    let _listener = listener(&dev.nodes[0], "u1", &["r1"]).await;
    push_times(&dev, 4).await;
    let snapshot = top(&dev, &["--once"]).await;
    assert_eq!((snapshot.code, snapshot.stderr.as_str()), (Some(0), ""));
    for part in ["total 4", "since start 33 %", "NODE  STATE", "n1    ready  linked  0    1 "] {
        assert!(snapshot.stdout.contains(part), "{part} is missing: {}", snapshot.stdout);
    }
    assert!(!snapshot.stdout.contains('\u{1b}'), "{:?}", snapshot.stdout);
    let json = top(&dev, &["--once", "--json"]).await;
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&json["pushes"], &json["log_head"], &json["pushes_per_s"]),
        (&4.0.into(), &4.0.into(), &0.0.into())
    );
    assert_eq!(json["nodes"][0]["connections"], "1");
    assert_eq!(json["nodes"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_pipe_it_prints_a_line_each_interval_and_tells_of_outages_beside() {
    let mut dev = Dev::start_to_restart().await;
    let following =
        Process::start_ours("top", "pushctl", ["top", "--http", &dev.http, "--interval", "100ms", "--json"]);
    let lines_at_least = async |n: usize| {
        eventually("lines come", WITHIN, async || check(following.printed().len() >= n, || following.log()))
            .await;
    };
    lines_at_least(3).await;
    dev.process.kill();
    dev.process.exit(WITHIN).await;
    eventually("it says that nobody is there", WITHIN, async || {
        check(following.log().contains("nothing listens at"), || following.log())
    })
    .await;
    let before = following.printed().len();
    let again = dev.start_again().await;
    lines_at_least(before + 2).await;
    eventually("it says that the manager is back", WITHIN, async || {
        check(following.log().contains("answers again after"), || following.log())
    })
    .await;
    push_times(&again, 1).await;
    eventually("the push is counted", WITHIN, async || {
        let last: Value = serde_json::from_str(following.printed().last().unwrap()).unwrap();
        check(last["pushes"] == 1.0, || last.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_manager_is_told_from_what_is_not_there() {
    let dev = Dev::start().await;
    for (addr, says) in [(dev.grpc.as_str(), "does not speak HTTP/1.1"), ("127.0.0.1:1", "nothing listens")] {
        let mut command = command("pushctl");
        command.args(["top", "--once", "--http", addr]);
        let failed = run(command, WITHIN).await;
        assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""), "{failed:?}");
        assert!(failed.stderr.contains(says) && failed.stderr.contains("  tip: "), "{}", failed.stderr);
    }
}
