//! Wrong settings end a process at once, with all of them named.

use std::{net::TcpListener, time::Duration};

use pushcast_tests::{
    etcd::Etcd,
    fleet::{Fleet, Node},
    processes::{Finished, Process, command, run},
};

const WITHIN: Duration = Duration::from_secs(20);

async fn start(binary: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = command(binary);
    command.args(arguments).envs(variables.iter().copied());
    run(command, WITHIN).await
}

#[tokio::test]
async fn all_mistakes_are_reported_together() {
    let cases: [(&'static str, &'static [&'static str], &'static [&'static str]); 4] = [
        (
            "push-manager",
            &[
                "--grpc-addr",
                "nonsense",
                "--max-content",
                "2MiB",
                "--log-age",
                "soon",
                "--colour",
                "--log-bytes=x",
                "--drain-delay=11m",
            ],
            &[
                "--grpc-addr",
                "--max-content",
                "--log-age",
                "--colour",
                "--log-bytes",
                "--drain-delay",
                "--api-auth",
                "--fleet-auth",
            ],
        ),
        ("push-manager", &["--api-auth", "none", "--fleet-auth", "none"], &["--nodes", "--etcd-endpoints"]),
        (
            "connect-node",
            &[
                "--ws-addr",
                "1",
                "--heartbeat",
                "-1s",
                "--shards",
                "0",
                "--outbox-bytes",
                "none",
                "--node-id",
                "",
                "--max-connections-per-user",
                "0",
                "--max-frame=2MiB",
                "--trusted-proxies",
                "10.0.0.0/33",
            ],
            &[
                "--ws-addr",
                "--heartbeat",
                "--shards",
                "--outbox-bytes",
                "--auth",
                "--fleet-auth",
                "--max-connections-per-user",
                "--max-frame",
                "10.0.0.0/33",
            ],
        ),
        (
            "connect-node",
            &["--auth", "basic", "--fleet-auth", "mtls", "--etcd-endpoints", "localhost:x"],
            &["--auth", "--fleet-auth", "--etcd-endpoints"],
        ),
    ];
    for (binary, arguments, complaints) in cases.into_iter().chain(doors()) {
        let ended = start(binary, arguments, &[]).await;
        assert_eq!(ended.code, Some(64), "{binary} {arguments:?}: {}", ended.stderr);
        for complaint in complaints {
            assert!(ended.stderr.contains(complaint), "{complaint} is missing: {}", ended.stderr);
        }
    }
}

/// What is wrong about who is let in.
fn doors() -> [(&'static str, &'static [&'static str], &'static [&'static str]); 8] {
    [
        // Open to everybody at an address that everybody reaches.
        (
            "push-manager",
            &["--api-auth", "none", "--fleet-auth", "none", "--nodes", "127.0.0.1:1"],
            &["--grpc-addr 0.0.0.0:9000", "--http-addr 0.0.0.0:9001", "--insecure"],
        ),
        (
            "connect-node",
            &["--auth", "none", "--fleet-auth", "none"],
            &["--ws-addr 0.0.0.0:8000", "--grpc-addr 0.0.0.0:8001", "127.0.0.1:8000", "--insecure"],
        ),
        ("connect-node", &["--auth", "jwt", "--fleet-auth", "none"], &["--jwt-keys: --auth jwt needs"]),
        (
            "connect-node",
            &["--auth", "none", "--fleet-auth", "key", "--fleet-ca-file", "x", "--tls-key-file", "x"],
            &[
                "--fleet-key-file: must be given with --fleet-auth key",
                "--fleet-ca-file: is of use only with --fleet-auth mtls",
                "--tls-key-file: needs --tls-cert-file",
            ],
        ),
        (
            "push-manager",
            &["--api-auth", "none", "--fleet-auth", "mtls", "--fleet-ca-file", "/no/such/ca"],
            &["--fleet-cert-file: must be given", "--fleet-private-key-file: must be given"],
        ),
        (
            "connect-node",
            &["--auth", "jwt", "--fleet-auth", "none", "--jwt-keys", "/no/such/file", "--auth-cookie", "c"],
            &["/no/such/file\": cannot be read", "--auth-cookie: needs --allowed-origins"],
        ),
        (
            "connect-node",
            &["--auth", "jwt", "--fleet-auth", "none", "--jwt-keys", "http://keys.example/jwks"],
            &["plain http", "--insecure"],
        ),
        (
            "connect-node",
            &["--auth", "none", "--insecure", "--jwt-issuer", "x", "--allowed-origins", "app.example/x"],
            &[
                "--jwt-issuer: is of use only with --auth jwt",
                "\"app.example/x\" is no origin",
                "--fleet-auth",
            ],
        ),
    ]
}

#[tokio::test]
async fn variables_set_what_flags_do_not() {
    let auth = [("CONNECT_NODE_AUTH", "none"), ("CONNECT_NODE_FLEET_AUTH", "none")];
    let from_variable = [&auth[..], &[("CONNECT_NODE_WS_ADDR", "nonsense")]].concat();
    let ended = start("connect-node", &[], &from_variable).await;
    assert_eq!(ended.code, Some(64));
    assert!(
        ended.stderr.contains("CONNECT_NODE_WS_ADDR") || ended.stderr.contains("--ws-addr"),
        "{}",
        ended.stderr
    );
    // A flag beats it, and an empty variable is none.
    let mut node = command("connect-node");
    node.args(["--ws-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0"]);
    node.envs(from_variable).env("CONNECT_NODE_SHARDS", "").env("CONNECT_NODE_NODE_ID", "");
    let mut node = Process::start("n1", node);
    node.listening().await;
}

#[tokio::test]
async fn help_shows_every_setting_with_its_variable_and_default() {
    for (binary, flags) in [
        (
            "push-manager",
            &[
                "--grpc-addr",
                "--http-addr",
                "--etcd-endpoints",
                "--etcd-prefix",
                "--etcd-lease",
                "--fleet-auth",
                "--api-auth",
                "--api-keys-file",
                "PUSH_MANAGER_API_KEYS_FILE",
                "--nodes",
                "--max-deadline",
                "--max-content",
                "--log-bytes",
                "--log-age",
                "--drain-delay",
                "--etcd-user",
                "--etcd-password-file",
                "--etcd-ca",
                "--etcd-cert",
                "--etcd-key",
                "PUSH_MANAGER_GRPC_ADDR",
                "9000",
                "9001",
                "64KiB",
                "128MiB",
            ][..],
        ),
        (
            "connect-node",
            &[
                "--grpc-addr",
                "--http-addr",
                "--etcd-endpoints",
                "--etcd-prefix",
                "--etcd-lease",
                "--fleet-auth",
                "--ws-addr",
                "--advertise-addr",
                "--node-id",
                "--public-url",
                "--zone",
                "--shards",
                "--auth",
                "--jwt-keys",
                "--jwt-issuer",
                "--jwt-audience",
                "--jwt-leeway",
                "--token-warning",
                "--auth-cookie",
                "--allowed-origins",
                "--insecure",
                "--link-wait",
                "--drain-spread",
                "--outbox-bytes",
                "--max-connections",
                "--max-connections-per-address",
                "--max-connections-per-user",
                "--handshakes-per-second",
                "--frames-per-second",
                "--bytes-per-second",
                "--max-rooms",
                "--max-head",
                "--max-url",
                "--max-frame",
                "--trusted-proxies",
                "--heartbeat",
                "CONNECT_NODE_WS_ADDR",
                "8000",
                "8001",
                "8002",
                "25s",
                "30s",
                "15s",
                "1MiB",
            ],
        ),
    ] {
        let help = start(binary, &["--help"], &[]).await;
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
        for flag in flags {
            assert!(help.stdout.contains(flag), "{binary} --help does not mention {flag}:\n{}", help.stdout);
        }
        let version = start(binary, &["--version"], &[]).await;
        assert_eq!(version.code, Some(0));
        assert!(version.stdout.starts_with(binary), "{}", version.stdout);
    }
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_flag() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    for (binary, flag, open) in [
        (
            "push-manager",
            "--grpc-addr",
            &["--http-addr", "127.0.0.1:0", "--api-auth", "none", "--nodes", "127.0.0.1:1"][..],
        ),
        (
            "push-manager",
            "--http-addr",
            &["--grpc-addr", "127.0.0.1:0", "--api-auth", "none", "--nodes", "127.0.0.1:1"],
        ),
        (
            "connect-node",
            "--ws-addr",
            &["--grpc-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--auth", "none"],
        ),
        (
            "connect-node",
            "--grpc-addr",
            &["--ws-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--auth", "none"],
        ),
        (
            "connect-node",
            "--http-addr",
            &["--ws-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--auth", "none"],
        ),
    ] {
        let ended = start(binary, &[&["--fleet-auth", "none", flag, &taken], open].concat(), &[]).await;
        assert_eq!(ended.code, Some(1), "{binary} {flag}: {}", ended.stderr);
        assert!(ended.stderr.contains(flag) && ended.stderr.contains(&taken), "{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_with_the_same_id_ends_with_a_clear_message() {
    let etcd = Etcd::start().await;
    let endpoint = etcd.endpoint();
    let mut flags = Fleet::registry_flags(&endpoint).to_vec();
    flags.push(("--link-wait", "1s"));
    let mut first = Node::start("n1", &flags).await;
    first.ready().await;
    let mut second = Node::start("n1", &flags).await;
    // It waits out one lease first: the other might be its own dead predecessor.
    let status = second.process.exit(WITHIN).await;
    assert_eq!(status.code(), Some(1), "{status}");
    let log = second.process.log();
    assert!(log.contains("n1") && log.contains("taken"), "{log}");
    assert!(first.process.is_running());
    let record = etcd.get("/pushcast/nodes/n1").await.unwrap();
    assert!(record.contains(&first.addr.grpc), "{record}");

    // A dead one's place is free as soon as its lease has ended.
    first.process.kill();
    let third = Node::start("n1", &flags).await;
    third.ready().await;
}
