//! The path of a message, as a whole and step by step, costs no more instructions than when it was last looked at.
//!
//! Counts do not depend on the machine's load, so a limit of 10 % holds anywhere; they do depend on the
//! compiler, so figures are kept per version of it. After a change that is worth its instructions, or with a
//! new compiler: `make guard-record`.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

/// Name of a case, rounds, and what is done so many times in each of them.
const CASES: [(&str, u64, f64); 15] = [
    // A node's whole path, per delivery, or per message that nobody wants.
    ("one_in_flight", 100, 500.0),
    ("eight_in_flight", 50, 4000.0),
    ("unwanted", 400, 64.0),
    // A manager's part: once per message, then per batch of 1 and per message of a batch of 16, for each node.
    ("log_append", 200, 64.0),
    ("batch_encode_1", 1000, 1.0),
    ("batch_encode_16", 500, 16.0),
    // A node's steps, per message.
    ("batch_decode_64", 100, 64.0),
    ("window_insert_1", 2000, 1.0),
    ("window_insert_64", 200, 64.0),
    ("table_look_up", 10, 1000.0),
    ("table_look_up_nobody", 10, 1000.0),
    // Per frame.
    ("frame_encode_json", 50, 16.0),
    ("frame_encode_protobuf", 50, 16.0),
    ("outbox_send", 100, 8.0),
    ("outbox_flush", 100, 8.0),
];

/// More than this is slower.
const TOLERANCE: f64 = 1.10;

type Figures = BTreeMap<String, BTreeMap<String, f64>>;

fn figures_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("figures.json")
}

fn compiler() -> String {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let output = Command::new(rustc).arg("--version").output().expect("the compiler that built this runs");
    let version = String::from_utf8(output.stdout).expect("a version is text");
    version.split_whitespace().nth(1).expect("`rustc 1.2.3 (…)`").to_owned()
}

/// Instructions of all rounds, as callgrind counts them.
fn instructions(case: &str, rounds: u64) -> f64 {
    let out = tempfile::NamedTempFile::new().expect("a temporary file");
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*measured_round*"])
        .arg(format!("--callgrind-out-file={}", out.path().display()))
        .arg(env!("CARGO_BIN_EXE_delivery-driver"))
        .args([case, &rounds.to_string()])
        .output()
        .expect("valgrind is installed (tests/install.sh does that)");
    let log = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{log}");
    let totals = fs::read_to_string(out.path()).expect("callgrind wrote its counts");
    let line = totals.lines().find_map(|line| line.strip_prefix("totals: ")).expect("a total");
    line.trim().parse().expect("a number")
}

#[test]
fn a_delivery_costs_no_more_than_recorded() {
    let compiler = compiler();
    let text = fs::read_to_string(figures_file()).unwrap_or_else(|_| "{}".to_owned());
    let mut figures: Figures = serde_json::from_str(&text).expect("figures.json is readable");
    let mut measured = BTreeMap::new();
    for (case, rounds, per_round) in CASES {
        let each = instructions(case, rounds) / (rounds as f64 * per_round);
        measured.insert(case.to_owned(), (each * 10.0).round() / 10.0);
    }
    println!("instructions each with rustc {compiler}: {measured:?}");
    if std::env::var_os("RECORD").is_some() {
        figures.insert(compiler, measured);
        let text = serde_json::to_string_pretty(&figures).expect("numbers are JSON");
        fs::write(figures_file(), text + "\n").expect("figures.json is writable");
        return;
    }
    let recorded = figures
        .get(&compiler)
        .unwrap_or_else(|| panic!("no figures for rustc {compiler} yet: run `make guard-record`"));
    let mut changed = Vec::new();
    for (case, now) in &measured {
        let before =
            recorded.get(case).unwrap_or_else(|| panic!("no figure for {case}: run `make guard-record`"));
        if *now > before * TOLERANCE {
            changed.push(format!("{case}: {now} instructions, recorded were {before}"));
        } else if *now < before / 2.0 {
            changed.push(format!("{case}: {now} instructions, {before} recorded: record the better figure"));
        }
    }
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}
