//! `pushctl bench` against real fleets: its figures add up, and what goes wrong is said.

use std::{process::Command, time::Duration};

use pushcast_tests::{
    eventually::{check, eventually},
    fleet::{Fleet, Manager, Node, Plan},
    ports::free_port,
    processes::{Finished, Process, command, run},
};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(60);

/// Short, for these figures are checked and not believed.
const SHORT: [&str; 4] = ["--duration", "300ms", "--warm-up", "100ms"];

async fn bench(arguments: &[&str]) -> Finished {
    let mut command = command("pushctl");
    command.arg("bench").args(arguments);
    run(command, WITHIN).await
}

/// The figures of a run that went well.
async fn figures(arguments: &[&str]) -> Value {
    let finished = bench(&[arguments, &["--json"]].concat()).await;
    assert_eq!(finished.code, Some(0), "{}{}", finished.stderr, finished.stdout);
    assert_eq!(finished.stderr, "", "nothing moves in a pipe");
    serde_json::from_str(&finished.stdout).unwrap()
}

async fn two_nodes() -> Fleet {
    Fleet::of(Plan { nodes: 2, ..Plan::default() }).await
}

/// `--scrape` of all processes.
fn scraped(fleet: &Fleet) -> String {
    let managers = fleet.managers.iter().map(|manager| manager.addr.http.clone());
    managers.chain(fleet.nodes.iter().map(|node| node.addr.http.clone())).collect::<Vec<_>>().join(",")
}

fn number(figures: &Value, pointer: &str) -> u64 {
    figures.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer}: {figures}"))
}

/// Every push was answered and received by so many, every byte belongs to something, the nodes counted the same, and
/// there is a delay for each.
fn adds_up(figures: &Value, receivers: u64, content: u64) {
    let at = |pointer: &str| number(figures, pointer);
    let offered = at("/pushes/offered");
    assert!(offered > 0, "{figures}");
    assert_eq!(at("/pushes/done"), offered);
    assert_eq!(at("/deliveries/expected"), offered * receivers);
    assert_eq!(at("/deliveries/received"), offered * receivers);
    assert_eq!(at("/nodes_counted/deliveries"), offered * receivers);
    assert_eq!(at("/nodes_counted/content_bytes"), offered * receivers * content);
    let (pushes, others) = (at("/bytes/pushes"), at("/bytes/other_frames"));
    assert_eq!((at("/bytes/read"), at("/bytes/upgrades"), at("/bytes/cut")), (pushes + others, 0, 0));
    // Around the content stand a header, ids and the room; of all that there is less than of this.
    let around = pushes - offered * receivers * content;
    assert!((50..400).contains(&(around / (offered * receivers))), "{figures}");
    for delay in ["first_receiver", "median_receiver", "last_receiver", "answer"] {
        assert_eq!(at(&format!("/delays/{delay}/count")), offered, "{delay}");
    }
    assert_eq!(at("/delays/each_receiver/count"), offered * receivers);
    let bars = figures["histogram"].as_array().unwrap();
    assert_eq!(bars.iter().map(|bar| bar["count"].as_u64().unwrap()).sum::<u64>(), offered);
    assert_eq!(figures["adds_up"], true);
    assert_eq!((&figures["problems"], &figures["ended"]), (&serde_json::json!([]), &serde_json::json!({})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fan_out_adds_up_in_both_formats() {
    let fleet = two_nodes().await;
    let (manager, scrape) = (fleet.managers[0].addr.grpc.clone(), scraped(&fleet));
    for format in ["json", "protobuf"] {
        let arguments =
            ["fanout", "--sockets", "21", "--in-flight", "3", "--content", "1000", "--format", format];
        let all = [&arguments[..], &SHORT, &["--manager", &manager, "--scrape", &scrape]].concat();
        let figures = figures(&all).await;
        adds_up(&figures, 21, 1000);
        assert_eq!(figures["nodes"].as_array().unwrap().len(), 2, "those that the manager names: {figures}");
        assert_eq!(number(&figures, "/delays/handshake/count"), 21);
        let roles: Vec<&str> =
            figures["processes"].as_array().unwrap().iter().map(|p| p["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["manager", "node", "node"]);
        for process in figures["processes"].as_array().unwrap() {
            assert!(process["cpu_us_per_delivery"].as_f64().unwrap() >= 0.0, "{process}");
            assert!(process["resident_bytes"].as_f64().unwrap() > 0.0, "{process}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_every_length_add_up() {
    let fleet = two_nodes().await;
    let (manager, scrape) = (fleet.managers[0].addr.grpc.clone(), scraped(&fleet));
    for (content, format) in [(28, "json"), (28, "protobuf"), (65_536, "json"), (65_536, "protobuf")] {
        let content_text = content.to_string();
        let arguments =
            ["fanout", "--sockets", "4", "--in-flight", "4", "--content", &content_text, "--format", format];
        let all = [&arguments[..], &SHORT, &["--manager", &manager, "--scrape", &scrape]].concat();
        adds_up(&figures(&all).await, 4, content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_add_up_and_nodes_may_be_given() {
    let fleet = two_nodes().await;
    let (manager, scrape, url) = (&fleet.managers[0].addr.grpc, scraped(&fleet), fleet.nodes[1].url());
    let arguments = ["rooms", "--rooms", "5", "--members", "3", "--manager", manager, "--scrape", &scrape];
    let figures = figures(&[&arguments[..], &SHORT, &["--url", &url]].concat()).await;
    adds_up(&figures, 3, 128);
    assert_eq!(figures["nodes"], serde_json::json!([url]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_keeps_its_schedule_or_says_that_it_did_not() {
    let fleet = two_nodes().await;
    let (manager, scrape) = (&fleet.managers[0].addr.grpc, scraped(&fleet));
    let arguments = ["latency", "--sockets", "10", "--rate", "50", "--manager", manager, "--scrape", &scrape];
    let figures = figures(&[&arguments[..], &SHORT].concat()).await;
    adds_up(&figures, 10, 128);
    let (due, offered) = (number(&figures, "/pushes/due"), number(&figures, "/pushes/offered"));
    assert_eq!(due, 15, "50 a second for 0.3 s");
    assert_eq!(number(&figures, "/delays/begun_late/count"), offered);
    let said = figures["notes"].to_string().contains("were due and never begun");
    assert_eq!(offered < due, said, "{figures}");
    let p50 = |delay: &str| figures["delays"][delay]["p50"].as_f64().unwrap();
    assert!(
        p50("first_receiver") <= p50("median_receiver") && p50("median_receiver") <= p50("last_receiver")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_that_cannot_be_generated_is_said_with_what_was_reached() {
    let fleet = two_nodes().await;
    let manager = &fleet.managers[0].addr.grpc;
    let arguments = ["manager", "--manager", manager, "--rate", "10000000", "--in-flight", "1"];
    let figures = figures(&[&arguments[..], &SHORT].concat()).await;
    assert_eq!(number(&figures, "/pushes/due"), 3_000_000);
    assert!(number(&figures, "/pushes/offered") < 3_000_000);
    let notes = figures["notes"].to_string();
    assert!(notes.contains("asked for 10,000,000 pushes/s, reached "), "{notes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_answers_every_push_on_a_stream_and_by_calls() {
    let fleet = two_nodes().await;
    let manager = &fleet.managers[0];
    for way in [&["--in-flight", "100"][..], &["--unary", "--in-flight", "10"]] {
        let before = manager.metrics().await.sum("push_manager_requests_total", &[("code", "OK")]);
        let figures = figures(&[&["manager", "--manager", &manager.addr.grpc], way, &SHORT].concat()).await;
        let offered = number(&figures, "/pushes/offered");
        assert!(offered > 0 && number(&figures, "/pushes/done") == offered, "{figures}");
        assert_eq!((&figures["adds_up"], &figures["deliveries"]), (&Value::Bool(true), &Value::Null));
        assert_eq!(number(&figures, "/delays/answer/count"), offered);
        let counted = manager.metrics().await.sum("push_manager_requests_total", &[("code", "OK")]) - before;
        assert!(counted > offered as f64, "the first push and the warm-up are not among the figures");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_hold_and_are_counted() {
    let flags = [("--heartbeat", "1s")];
    let fleet = Fleet::of(Plan { nodes: 2, node_flags: &flags, ..Plan::default() }).await;
    let (manager, scrape) = (&fleet.managers[0].addr.grpc, scraped(&fleet));
    // Longer than two heartbeats, after which a client that answers none would be closed.
    let figures =
        figures(&["idle", "--sockets", "31", "--duration", "3s", "--manager", manager, "--scrape", &scrape])
            .await;
    let processes = figures["processes"].as_array().unwrap();
    let connections: Vec<f64> =
        processes.iter().filter_map(|process| process["connections"].as_f64()).collect();
    assert_eq!(connections.iter().sum::<f64>(), 31.0, "{figures}");
    assert_eq!(connections.len(), 2, "{figures}");
    for node in &processes[1..] {
        // A page of memory may have been there already.
        let is_said = figures["notes"].to_string().contains("its memory did not grow");
        assert!(node["bytes_per_connection"].as_f64().map_or(is_said, |bytes| bytes > 0.0), "{figures}");
    }
    assert_eq!((&figures["ended"], &figures["adds_up"]), (&serde_json::json!({}), &Value::Bool(true)));
    assert!(number(&figures, "/bytes/other_frames") > 0, "heartbeats came: {figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_handshake_is_one_that_a_node_opened() {
    let fleet = two_nodes().await;
    let manager = &fleet.managers[0].addr.grpc;
    let opened = async || {
        let mut sum = 0.0;
        for node in &fleet.nodes {
            sum += node.metrics().await.sum("connect_node_opened_total", &[]);
        }
        sum as u64
    };
    let before = opened().await;
    let figures = figures(&["connect", "--at-once", "5", "--duration", "300ms", "--manager", manager]).await;
    let done = number(&figures, "/handshakes/done");
    assert!(done > 0, "{figures}");
    assert_eq!(number(&figures, "/handshakes/offered"), done);
    assert_eq!(number(&figures, "/delays/handshake/count"), done);
    // And one on each node before, to see whether somebody is there.
    assert_eq!(opened().await - before, done + 2);
    assert_eq!((&figures["ended"], &figures["adds_up"]), (&serde_json::json!({}), &Value::Bool(true)));
    let read = number(&figures, "/bytes/upgrades") + number(&figures, "/bytes/other_frames");
    assert_eq!((number(&figures, "/bytes/read"), number(&figures, "/bytes/cut")), (read, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_the_rows_say_the_same() {
    let fleet = two_nodes().await;
    let manager = &fleet.managers[0].addr.grpc;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let arguments = [&["fanout", "--sockets", "4", "--manager", manager, "--csv", path][..], &SHORT].concat();
    let finished = bench(&arguments).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for part in ["fanout: 4 sockets on 2 nodes", "last receiver", "adds up     yes", "█", "the bench itself"]
    {
        assert!(finished.stdout.contains(part), "{part}: {}", finished.stdout);
    }
    let rows = std::fs::read_to_string(path).unwrap();
    let offered = rows.lines().find_map(|row| row.strip_prefix("fanout,pushes,offered,")).unwrap();
    let grouped = finished.stdout.replace(',', "");
    assert!(grouped.contains(&format!("{} offered", offered.trim_end_matches(','))), "{rows}{grouped}");
    assert!(rows.lines().all(|row| row.split(',').count() == 5), "{rows}");
    let to_stdout = bench(&[&["manager", "--manager", manager, "--csv"][..], &SHORT].concat()).await;
    assert!(
        to_stdout.stdout.starts_with("scenario,of,figure,value,unit\nmanager,run,"),
        "{}",
        to_stdout.stdout
    );
    assert!(to_stdout.stdout.lines().all(|row| row.split(',').count() == 5), "{}", to_stdout.stdout);
}

/// A bench that runs until something happens to it, and has pushed.
async fn under_way(manager: &Manager, arguments: &[&str]) -> Process {
    let common = ["--manager", &manager.addr.grpc, "--duration", "5m", "--warm-up", "0s", "--json"];
    let bench = Process::start_ours("bench", "pushctl", [&["bench"], arguments, &common[..]].concat());
    pushed(manager, 20.0).await;
    bench
}

/// Waits until so many pushes more have been answered.
async fn pushed(manager: &Manager, more: f64) {
    let before = manager.metrics().await.sum("push_manager_requests_total", &[]);
    eventually("pushes are answered", WITHIN, async || {
        let now = manager.metrics().await.sum("push_manager_requests_total", &[]);
        check(now >= before + more, || format!("{now} after {before}"))
    })
    .await;
}

/// Waits for its end; answers with its exit code, its figures and what it complained of.
async fn ended(mut bench: Process) -> (Option<i32>, Value, String) {
    let status = bench.exit(WITHIN).await;
    let figures = eventually("its figures are there", WITHIN, async || {
        let printed = bench.printed().join("\n");
        serde_json::from_str(&printed).map_err(|error| format!("{error}: {printed}{}", bench.log()))
    });
    (status.code(), figures.await, bench.log())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_goes_away_ends_it_with_what_was_measured() {
    let fleet = two_nodes().await;
    for arguments in [&["fanout", "--sockets", "6"][..], &["manager", "--unary", "--in-flight", "4"]] {
        let manager = Manager::start("m2", &Fleet::registry_flags(&fleet.etcd.endpoint())).await;
        manager.ready().await;
        manager.knows(&["n1", "n2"], WITHIN).await;
        let bench = under_way(&manager, arguments).await;
        manager.process.kill();
        let (code, figures, log) = ended(bench).await;
        assert_eq!(code, Some(1), "{log}");
        assert!(number(&figures, "/pushes/done") > 0, "{figures}");
        let problem = figures["problems"][0].as_str().unwrap();
        assert!(problem.starts_with("ended after ") && problem.contains("went away"), "{problem}");
        assert!(
            log.contains(problem.split(" (").next().unwrap()),
            "it is said beside the figures, too: {log}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_go_away_end_it_with_the_last() {
    let fleet = two_nodes().await;
    let bench = under_way(&fleet.managers[0], &["fanout", "--sockets", "6"]).await;
    fleet.nodes[0].process.kill();
    // It goes on with the other one's sockets.
    pushed(&fleet.managers[0], 5.0).await;
    fleet.nodes[1].process.kill();
    let (code, figures, log) = ended(bench).await;
    assert_eq!(code, Some(1), "{log}");
    assert_eq!(figures["ended"], serde_json::json!({ "lost": 6 }));
    let problems = figures["problems"].to_string();
    assert!(problems.contains("no socket is left: 6 × lost"), "{problems}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_a_node_closes_are_counted_by_code() {
    let fleet = two_nodes().await;
    for arguments in [&["idle", "--sockets", "8"][..], &["latency", "--sockets", "8", "--rate", "100"]] {
        let node = Node::start("n3", &Fleet::registry_flags(&fleet.etcd.endpoint())).await;
        node.ready().await;
        fleet.managers[0].knows(&["n1", "n2", "n3"], WITHIN).await;
        let url = node.url();
        let all =
            [&["bench"], arguments, &["--manager", &fleet.managers[0].addr.grpc, "--url", &url]].concat();
        let bench =
            Process::start_ours("bench", "pushctl", [&all[..], &["--duration", "5m", "--json"]].concat());
        eventually("all are connected", WITHIN, async || {
            let connections = node.metrics().await.sum("connect_node_connections", &[]);
            check(connections == 8.0, || connections.to_string())
        })
        .await;
        if arguments[0] == "latency" {
            // Beyond the warm-up, so that there is something to report.
            pushed(&fleet.managers[0], 150.0).await;
        }
        node.process.terminate();
        let (code, figures, log) = ended(bench).await;
        assert_eq!(code, Some(1), "{log}");
        assert_eq!(figures["ended"], serde_json::json!({ "1012": 8 }), "{figures}");
        fleet.managers[0].knows(&["n1", "n2"], WITHIN).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_it_with_what_was_measured() {
    let fleet = two_nodes().await;
    let bench = under_way(&fleet.managers[0], &["fanout", "--sockets", "6"]).await;
    bench.interrupt();
    let (code, figures, log) = ended(bench).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(number(&figures, "/pushes/done") > 0, "{figures}");
    assert!(figures["notes"].to_string().contains("stopped by hand"), "{figures}");
    assert_eq!(figures["adds_up"], true, "what was under way came to its end: {figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_said_before_any_load() {
    let fleet = two_nodes().await;
    let manager = fleet.managers[0].addr.clone();
    let nobody = format!("127.0.0.1:{}", free_port());
    let cases: [(&[&str], &[&str]); 8] = [
        (&["fanout", "--manager", &nobody], &["nothing listens at", "is a push-manager running there?"]),
        (&["manager", "--manager", &nobody], &["nothing listens at"]),
        (&["manager", "--manager", &manager.http], &["does not speak gRPC"]),
        (&["fanout", "--manager", &manager.grpc, "--url", &nobody], &["nothing listens there", "--url"]),
        (&["connect", "--manager", &manager.grpc, "--url", &nobody], &["nothing listens there", "--url"]),
        (&["idle", "--manager", &manager.grpc, "--url", &manager.http], &["404", "ws://host:8000/ws"]),
        (
            &["idle", "--manager", &manager.grpc, "--url", &manager.grpc],
            &["does not speak WebSocket", "8000"],
        ),
        (&["idle", "--manager", &manager.grpc, "--scrape", &nobody], &["--scrape", "nothing listens there"]),
    ];
    for (arguments, parts) in cases {
        let finished = bench(arguments).await;
        assert_eq!(
            (finished.code, finished.stdout.as_str()),
            (Some(1), ""),
            "{arguments:?}: {}",
            finished.stderr
        );
        for part in parts {
            assert!(finished.stderr.contains(part), "{arguments:?}: {part} is missing: {}", finished.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_another_fleet_are_not_measured() {
    let fleet = two_nodes().await;
    let stranger = Node::alone("n9", &[]).await;
    let (manager, url) = (&fleet.managers[0].addr.grpc, stranger.url());
    let finished = bench(&["fanout", "--sockets", "5", "--manager", manager, "--url", &url]).await;
    assert_eq!(finished.code, Some(1));
    for part in ["a push to a room of 5 sockets reached 0 of them", "pushctl nodes"] {
        assert!(finished.stderr.contains(part), "{}", finished.stderr);
    }
}

/// The same with a limit of open files, soft and hard.
async fn limited(soft: u32, hard: u32, arguments: &[&str]) -> Finished {
    let pushctl = command("pushctl");
    let mut shell = Command::new("sh");
    let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$@\"");
    shell.args(["-c", &script, "sh"]).arg(pushctl.get_program()).arg("bench").args(arguments);
    for (name, value) in pushctl.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    run(shell, WITHIN).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_sockets_than_descriptors_raise_the_limit_or_say_which() {
    let node = Node::alone("n1", &[]).await;
    let url = node.url();
    let arguments = ["idle", "--sockets", "200", "--duration", "100ms", "--url", &url];
    let raised = limited(64, 1024, &arguments).await;
    assert_eq!(raised.code, Some(0), "{}", raised.stderr);
    let refused = limited(64, 128, &arguments).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{}", refused.stderr);
    for part in ["264 file descriptors", "RLIMIT_NOFILE", "is 128: 64 sockets are possible", "ulimit -Hn"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
}

#[tokio::test]
async fn what_makes_no_load_is_refused() {
    let cases: [(&[&str], &str); 7] = [
        (&["fanout", "--sockets", "0"], "0 is not in 1..=1000000"),
        (&["fanout", "--content", "0"], "0 is not in 28..=1048576"),
        (&["rooms", "--members", "0"], "0 is not in 1..=1000000"),
        (&["latency", "--rate", "0"], "not within 0.01 to 10000000 a second"),
        (&["idle", "--duration", "0s"], "not within 100ms to 1d"),
        (&["idle", "--scrape", "nowhere"], "--scrape nowhere: not an HTTP address (the port is missing)"),
        (&["idle", "--json", "--csv"], "--json and --csv both go to standard output"),
    ];
    for (arguments, part) in cases {
        let finished = bench(arguments).await;
        assert_eq!(finished.code, Some(64), "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(part), "{arguments:?}: {}", finished.stderr);
    }
}
