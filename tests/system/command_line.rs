//! `pushctl` as a person uses it.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use pushcast_tests::{
    eventually::{check, eventually},
    fleet::{Fleet, Node, Plan},
    ports::free_port,
    processes::{Finished, Process, command, run},
};

const WITHIN: Duration = Duration::from_secs(20);

async fn pushctl(arguments: &[&str]) -> Finished {
    let mut command = command("pushctl");
    command.args(arguments);
    run(command, WITHIN).await
}

fn listen(node: &Node, arguments: &[&str]) -> Process {
    let url = node.url();
    Process::start_ours("pushctl", "pushctl", [&["listen", "--url", &url], arguments].concat())
}

async fn connected(listener: &Process, times: usize) {
    eventually("pushctl is connected", WITHIN, async || {
        check(listener.log().matches("connected to").count() >= times, || listener.log())
    })
    .await;
}

async fn printed(listener: &Process, lines: &[&str]) {
    eventually("pushctl prints the pushes", WITHIN, async || {
        check(listener.printed() == lines, || format!("{:?}", listener.printed()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_is_printed_where_it_is_listened_for() {
    let fleet = Fleet::of(Plan { nodes: 2, ..Plan::default() }).await;
    let manager = &fleet.managers[0].addr.grpc;
    let in_room = listen(&fleet.nodes[0], &["--rooms", "r1,r2", "--user", "u1"]);
    let elsewhere = listen(&fleet.nodes[1], &["--user", "u2", "--format", "protobuf"]);
    connected(&in_room, 1).await;
    connected(&elsewhere, 1).await;

    let pushed = pushctl(&["push", "--manager", manager, "room", "r1", "hello"]).await;
    assert_eq!((pushed.code, pushed.stderr.as_str()), (Some(0), ""));
    assert!(pushed.stdout.ends_with(": 1 connection on 1 of 2 nodes\n"), "{}", pushed.stdout);
    let pushed = pushctl(&["push", "user", "u2", "hi", "--manager", manager, "--uri", "chat/Message"]).await;
    assert_eq!(pushed.code, Some(0), "{}", pushed.stderr);
    let pushed = pushctl(&["push", "users", "u1,u2,u3", "both", "--manager", manager]).await;
    assert!(pushed.stdout.contains("\n  u1: 1\n  u2: 1\n  u3: 0"), "{}", pushed.stdout);
    let pushed =
        pushctl(&["push", "everyone", "all\nof you", "--manager", manager, "--ack", "accepted"]).await;
    assert!(pushed.stdout.ends_with(": accepted\n"), "{}", pushed.stdout);

    printed(&in_room, &["room r1: hello", "user u1: both", r#"everyone: "all\nof you""#]).await;
    printed(&elsewhere, &["user u2 (chat/Message): hi", "user u2: both", r#"everyone: "all\nof you""#]).await;

    let nodes = pushctl(&["nodes", "--manager", manager]).await;
    assert_eq!(nodes.code, Some(0), "{}", nodes.stderr);
    assert!(nodes.stdout.contains("n1") && nodes.stdout.contains("2 nodes known"), "{}", nodes.stdout);
    let nodes = pushctl(&["nodes", "--json", "--manager", manager]).await;
    let nodes: serde_json::Value = serde_json::from_str(&nodes.stdout).unwrap();
    assert_eq!(nodes["nodes"][1]["node_id"], "n2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn content_comes_from_the_argument_a_file_or_standard_input() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let manager = &fleet.managers[0].addr.grpc;
    let listener = listen(&fleet.nodes[0], &["--user", "u1", "--json"]);
    connected(&listener, 1).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from a file").unwrap();
    let argument = format!("@{}", file.path().display());
    let pushed = pushctl(&["push", "user", "u1", &argument, "--manager", manager]).await;
    assert_eq!(pushed.code, Some(0), "{}", pushed.stderr);
    let mut from_stdin = command("pushctl");
    from_stdin.args(["push", "user", "u1", "-", "--manager", manager]);
    from_stdin.stdin(Stdio::from(std::fs::File::open(file.path()).unwrap()));
    assert_eq!(run(from_stdin, WITHIN).await.code, Some(0));
    eventually("both came", WITHIN, async || check(listener.printed().len() == 2, || listener.log())).await;
    for line in listener.printed() {
        let push: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&push["user_id"], &push["text"]), (&"u1".into(), &"from a file".into()), "{line}");
    }
    let missing = pushctl(&["push", "user", "u1", "@/no/such/file", "--manager", manager]).await;
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("/no/such/file"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_comes_back_to_a_restarted_node() {
    let addr = format!("127.0.0.1:{}", free_port());
    let flags = [("--ws-addr", addr.as_str())];
    let mut node = Node::alone("n1", &flags).await;
    let listener = listen(&node, &["--rooms", "r", "--user", "u1"]);
    connected(&listener, 1).await;
    node.process.terminate();
    node.process.exit(WITHIN).await;
    let node = Node::alone("n1", &flags).await;
    // Several tries of growing length may go by before the node is back.
    eventually("pushctl is connected again", Duration::from_secs(60), async || {
        check(listener.log().matches("connected to").count() >= 2, || listener.log())
    })
    .await;
    assert!(listener.log().contains("closed with code 1012"), "{}", listener.log());
    assert_eq!(node.push_here("r", "welcome back").await, 1);
    printed(&listener, &["room r: welcome back"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_final_close_ends_listening_with_its_reason() {
    let node = Node::alone("n1", &[]).await;
    let user = "x".repeat(129);
    let mut listener = listen(&node, &["--user", &user]);
    let status = listener.exit(WITHIN).await;
    assert_eq!(status.code(), Some(1));
    let log = listener.log();
    assert!(log.contains("4504") && log.contains("invalid_argument"), "{log}");
}

#[tokio::test]
async fn what_is_wrong_is_said_with_where_and_what_to_do() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let failed = pushctl(&["push", "room", "r", "x", "--manager", &nobody]).await;
    assert_eq!(failed.code, Some(1));
    for part in [&nobody, "nothing listens at", "is a push-manager running there?", "--manager"] {
        assert!(failed.stderr.contains(part), "{part} is missing: {}", failed.stderr);
    }
    let usage: [&[&str]; 9] = [
        &["push", "room", "r"],
        &["push", "rooom", "r", "x"],
        &["push", "room", "r", "x", "--timeout", "soon"],
        &["push", "room", "r", "x", "--ack", "perhaps"],
        &["push", "room", "r", "x", "--manager", "not an address"],
        &["nodes", "--manager", "ftp://h:1"],
        &["nodes", "--ca-file", "/no/such/file"],
        &["nodes", "--manager", "https://h:1", "--ca-file", "/no/such/file"],
        &["listen", "--format", "xml"],
    ];
    for arguments in usage {
        let failed = pushctl(arguments).await;
        assert_eq!(failed.code, Some(64), "{arguments:?}: {}", failed.stderr);
        assert!(!failed.stderr.is_empty(), "{arguments:?}");
        assert_eq!(failed.stdout, "", "{arguments:?}");
    }
    let failed = pushctl(&["listen", "--url", "no url"]).await;
    assert_eq!(failed.code, Some(64), "{}", failed.stderr);
    assert!(failed.stderr.contains("not a WebSocket address"), "{}", failed.stderr);
    for arguments in [&["--help"][..], &["--version"], &["push", "--help"]] {
        let help = pushctl(arguments).await;
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_push_names_the_field() {
    let fleet = Fleet::of(Plan { nodes: 1, ..Plan::default() }).await;
    let manager = &fleet.managers[0].addr.grpc;
    let failed = pushctl(&["push", "room", "a\nb", "x", "--manager", manager]).await;
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("INVALID_ARGUMENT"), "{}", failed.stderr);
    assert!(failed.stderr.contains("room_id"), "{}", failed.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_pipe_ends_it_quietly() {
    let node = Node::alone("n1", &[]).await;
    let pushctl = command("pushctl");
    let script = "\"$0\" listen --url \"$1\" --rooms r --user u1 | head -n 1; echo \"${PIPESTATUS[0]}\"";
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).arg(pushctl.get_program()).arg(node.url());
    let mut shell = Process::start("bash", shell);
    connected(&shell, 1).await;
    // It ends because `head` does, without waiting for another line.
    assert_eq!(node.push_here("r", "first").await, 1);
    let status = shell.exit(WITHIN).await;
    assert_eq!(status.code(), Some(0));
    printed(&shell, &["room r: first", "0"]).await;
    assert!(!shell.log().contains("ipe"), "{}", shell.log());
}
