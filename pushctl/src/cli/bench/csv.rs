//! The figures as rows, one for each: what a spreadsheet or a plot takes without being told the columns of a scenario.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{
    super::output::print_raw,
    report::{Counted, Report},
};

const HEAD: &str = "scenario,of,figure,value,unit";

/// Where rows go.
#[derive(Debug)]
pub(super) enum Sheet {
    StandardOutput,
    File(File, PathBuf),
}

impl Sheet {
    /// `-` is standard output. A file is made at once, so that one that cannot be is not found out after the load.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::StandardOutput);
        }
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::File(file, path.to_owned()))
    }

    pub(super) fn write(self, report: &Report) -> anyhow::Result<()> {
        let text = text(report);
        match self {
            Self::StandardOutput => Ok(print_raw(text.trim_end().as_bytes())?),
            Self::File(mut file, path) => {
                let written: io::Result<()> = file.write_all(text.as_bytes()).and_then(|()| file.flush());
                written.with_context(|| format!("cannot write {}", path.display()))
            }
        }
    }
}

fn text(report: &Report) -> String {
    let mut rows = Rows { scenario: report.scenario, text: format!("{HEAD}\n") };
    rows.add("run", "seconds", Some(report.seconds), "s");
    rows.add("run", "sockets", Some(report.asked.sockets as f64), "");
    rows.add("run", "content", report.asked.content.map(|bytes| bytes as f64), "B");
    rows.add("run", "in_flight", report.asked.in_flight.map(|pushes| pushes as f64), "");
    rows.add("run", "rate", report.asked.rate, "1/s");
    rows.add("run", "adds_up", Some(f64::from(u8::from(report.adds_up))), "");
    rows.counted("pushes", report.pushes.as_ref());
    rows.counted("handshakes", report.handshakes.as_ref());
    if let Some(deliveries) = report.deliveries {
        rows.add("deliveries", "expected", Some(deliveries.expected as f64), "");
        rows.add("deliveries", "received", Some(deliveries.received as f64), "");
        rows.add("deliveries", "per_second", Some(deliveries.per_second), "1/s");
    }
    if let Some(bytes) = report.bytes {
        for (figure, value) in [
            ("read", bytes.read),
            ("pushes", bytes.pushes),
            ("other_frames", bytes.other_frames),
            ("upgrades", bytes.upgrades),
            ("cut", bytes.cut),
        ] {
            rows.add("bytes", figure, Some(value as f64), "B");
        }
        rows.add("bytes", "per_delivery", bytes.per_delivery, "B");
    }
    if let Some(nodes) = report.nodes_counted {
        rows.add("nodes", "deliveries", Some(nodes.deliveries as f64), "");
        rows.add("nodes", "content", Some(nodes.content_bytes as f64), "B");
    }
    for (of, quantiles) in &report.delays {
        rows.add(of, "count", Some(quantiles.count as f64), "");
        for (figure, value) in [
            ("mean", quantiles.mean),
            ("p50", quantiles.p50),
            ("p90", quantiles.p90),
            ("p99", quantiles.p99),
            ("p99_9", quantiles.p99_9),
            ("max", quantiles.max),
        ] {
            rows.add(of, figure, Some(value), "s");
        }
    }
    for bucket in &report.histogram {
        rows.add("histogram", &format!("up_to_{}", bucket.up_to), Some(bucket.count as f64), "");
    }
    for process in &report.processes {
        let of = process.address.as_str();
        rows.add(of, "cpu", process.cpu_seconds, "s");
        rows.add(of, "cpu_per_delivery", process.cpu_us_per_delivery, "us");
        rows.add(of, "cpu_per_push", process.cpu_us_per_push, "us");
        rows.add(of, "cpu_per_handshake", process.cpu_us_per_handshake, "us");
        rows.add(of, "resident", process.resident_bytes, "B");
        rows.add(of, "per_connection", process.bytes_per_connection, "B");
    }
    for (code, count) in &report.ended {
        rows.add("ended", code, Some(*count as f64), "");
    }
    rows.add("bench", "busy", Some(report.bench.busy), "");
    rows.add("bench", "waited_for_a_core", report.bench.waited_for_a_core, "");
    rows.text
}

struct Rows {
    scenario: &'static str,
    text: String,
}

impl Rows {
    /// What is not known has no row. No field of ours holds a comma or a quote: addresses were parsed as such.
    fn add(&mut self, of: &str, figure: &str, value: Option<f64>, unit: &str) {
        if let Some(value) = value {
            self.text.push_str(&format!("{},{of},{figure},{value},{unit}\n", self.scenario));
        }
    }

    fn counted(&mut self, of: &str, counted: Option<&Counted>) {
        let Some(counted) = counted else { return };
        self.add(of, "due", counted.due.map(|due| due as f64), "");
        self.add(of, "offered", Some(counted.offered as f64), "");
        self.add(of, "done", Some(counted.done as f64), "");
        self.add(of, "refused", Some(counted.refused as f64), "");
        self.add(of, "per_second", Some(counted.per_second), "1/s");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_has_no_row() {
        let mut rows = Rows { scenario: "fanout", text: String::new() };
        rows.add("run", "rate", None, "1/s");
        rows.add("last_receiver", "p50", Some(0.00025), "s");
        assert_eq!(rows.text, "fanout,last_receiver,p50,0.00025,s\n");
    }

    #[test]
    fn a_file_that_cannot_be_made_is_said_before_the_load() {
        let error = Sheet::open(Path::new("/no/such/folder/out.csv")).unwrap_err();
        assert!(error.to_string().contains("cannot write /no/such/folder/out.csv"), "{error}");
        assert!(matches!(Sheet::open(Path::new("-")), Ok(Sheet::StandardOutput)));
    }
}
