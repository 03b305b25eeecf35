//! Where the time of a delivery goes.

use super::{Findings, numbers::digits, table::Table};
use crate::scenarios::{SOCKETS, breakdown::Samples};

pub(super) fn section(findings: &Findings) -> Option<String> {
    let breakdown = findings.breakdown.as_ref()?;
    let mut text =
        format!("## Where a delivery's time goes\n\nOne message in flight to {SOCKETS} sockets.\n");
    if let Some((system, user)) = breakdown.time {
        text.push_str(&format!(
            "\nBy the kernel's accounting, {:.1} % of the node's CPU is spent in the kernel, {:.1} % in its own code.\n",
            100.0 * system,
            100.0 * user
        ));
    }
    if let Some(samples) = &breakdown.samples {
        text.push_str(&sampled(samples));
    }
    if let Some(instructions) = &breakdown.instructions {
        let mut table = Table::new(&["of our instructions", "function"]);
        for (share, name) in &instructions.functions {
            table.row(&[format!("{share:.1} %"), format!("`{name}`")]);
        }
        text.push_str(&format!(
            "\nThe guard's driver, which has a transport in place of sockets, executes {} instructions per delivery with \
             one in flight to 500 sockets, by callgrind:\n\n{}",
            digits(instructions.per_delivery),
            table.render()
        ));
    }
    Some(text)
}

fn sampled(samples: &Samples) -> String {
    let all = samples.kernel + samples.user;
    let mut table = Table::new(&["share of samples", ""]);
    let share = |part: f64| format!("{:.1} %", 100.0 * part / all);
    table.row(&[share(samples.send), "the send system call, in and below it".to_owned()]);
    table.row(&[share(samples.kernel - samples.send), "the rest of the kernel".to_owned()]);
    table.row(&[share(samples.user), "the node's own code".to_owned()]);
    for (part, name) in &samples.functions {
        table.row(&[share(*part), format!("of that `{name}`")]);
    }
    format!("\nBy perf's samples of cpu-clock:\n\n{}", table.render())
}
