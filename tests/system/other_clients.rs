//! Programs of other people, in another language, from the contract alone.

use std::{path::PathBuf, process::Command, time::Duration};

use pushcast_tests::{fleet::Fleet, processes::run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_pushes_with_stubs_from_our_protos_and_receives_in_both_formats() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "{} is missing; run tests/install.sh (or `make test`)", python.display());
    let fleet = Fleet::start().await;
    let mut command = Command::new(python);
    command.arg(root.join("tests/python/roundtrip.py")).arg("--protos").arg(root.join("proto"));
    command.args(["--manager", &fleet.managers[0].addr.grpc]);
    for node in &fleet.nodes {
        command.args(["--node", &node.url()]);
    }
    let finished = run(command, Duration::from_secs(60)).await;
    assert_eq!(finished.code, Some(0), "{}{}", finished.stdout, finished.stderr);
    assert!(finished.stdout.trim_end().ends_with("all received"), "{}", finished.stdout);
}
