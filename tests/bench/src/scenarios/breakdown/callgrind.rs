//! Instructions of the guard's driver, counted by callgrind.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

use super::{SHOWN, shorten};
use crate::{peers::ours::beside_this_program, process::find_in_path};

/// Deliveries that callgrind counts: rounds of the guard's `one_in_flight`, to 500 sockets each.
const ROUNDS: u32 = 100;
const PER_ROUND: u32 = 500;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Instructions {
    pub(crate) per_delivery: f64,
    /// Percent, and the function.
    pub(crate) functions: Vec<(f64, String)>,
}

/// Of one message in flight.
pub(super) fn instructions() -> anyhow::Result<Instructions> {
    let missing = "valgrind is not installed: `tests/bench/install.sh` does that";
    let valgrind = find_in_path("valgrind").context(missing)?;
    let annotate = find_in_path("callgrind_annotate").context(missing)?;
    let directory = tempfile::tempdir()?;
    let counts = directory.path().join("callgrind.out");
    let run = Command::new(valgrind)
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*measured_round*"])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(beside_this_program("delivery-driver")?)
        .args(["one_in_flight", &ROUNDS.to_string()])
        .stdin(Stdio::null())
        .output()?;
    ensure!(run.status.success(), "valgrind: {}", String::from_utf8_lossy(&run.stderr).trim());
    ensure!(fs::exists(&counts)?, "callgrind wrote no counts");
    let output = Command::new(annotate).args(["--auto=no", "--threshold=100"]).arg(&counts).output()?;
    ensure!(
        output.status.success(),
        "callgrind_annotate: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    parse_annotated(&String::from_utf8_lossy(&output.stdout), f64::from(ROUNDS * PER_ROUND))
}

/// `1,234,567 (12.34%)  file:function [object]` below a line with the total.
fn parse_annotated(text: &str, deliveries: f64) -> anyhow::Result<Instructions> {
    let mut total = None;
    let mut functions: Vec<(f64, String)> = Vec::new();
    for line in text.lines() {
        let Some((count, rest)) = line.trim_start().split_once(" (") else { continue };
        let Ok(count) = count.trim().replace(',', "").parse::<f64>() else { continue };
        let Some((_, name)) = rest.split_once("%)") else { continue };
        let name = name.trim();
        if name.starts_with("PROGRAM TOTALS") {
            total = Some(count);
        } else if let Some(total) = total {
            let name = name.rsplit_once(" [").map_or(name, |(name, _)| name);
            // The file comes first, and may have a colon of its own only in `C:`, which is not here.
            let name = shorten(name.split_once(':').map_or(name, |(_, function)| function));
            let share = 100.0 * count / total;
            // What was inlined is listed once per file it came from.
            match functions.iter_mut().find(|(_, known)| *known == name) {
                Some((sum, _)) => *sum += share,
                None => functions.push((share, name)),
            }
        }
    }
    let Some(total) = total else { bail!("callgrind_annotate named no total") };
    functions.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    functions.truncate(SHOWN);
    Ok(Instructions { per_delivery: total / deliveries, functions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_summed_by_function() {
        let text = "I refs\n---\n2,000 (100.0%)  PROGRAM TOTALS\n---\nIr  file:function\n---\n\
                    1,000 (50.00%)  a.rs:one [/x/driver]\n  600 (30.00%)  b.rs:two::h0123456789abcdef [/x/driver]\n\
                    \x20 200 (10.00%)  c.rs:one [/x/driver]\n  200 (10.00%)  ???:three [libc]\n";
        let found = parse_annotated(text, 100.0).unwrap();
        assert!((found.per_delivery - 20.0).abs() < 1e-9);
        let names: Vec<&str> = found.functions.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["one", "two", "three"]);
        assert!((found.functions[0].0 - 60.0).abs() < 1e-9);
        assert!(parse_annotated("nothing", 1.0).is_err());
    }
}
