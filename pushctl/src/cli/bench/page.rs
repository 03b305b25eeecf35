//! The figures as a person reads them.

use std::fmt::Write as _;

use super::{
    super::{
        numbers::{bytes, count, rate},
        output::counted,
        style::{BAD, DIM, GOOD, STRONG, WARNING, paint},
        table::{Cell, Column, table},
    },
    delays::{Bucket, Quantiles},
    process::Process,
    report::{Counted, Report},
};

const DELAYS: [Column; 8] = [
    Column { title: "DELAY", short: "DELAY", rank: 0 },
    Column { title: "P50", short: "P50", rank: 1 },
    Column { title: "P90", short: "P90", rank: 4 },
    Column { title: "P99", short: "P99", rank: 2 },
    Column { title: "P99.9", short: "P99.9", rank: 5 },
    Column { title: "MAX", short: "MAX", rank: 3 },
    Column { title: "MEAN", short: "MEAN", rank: 6 },
    Column { title: "COUNT", short: "COUNT", rank: 7 },
];

const PROCESSES: [Column; 9] = [
    Column { title: "PROCESS", short: "PROCESS", rank: 0 },
    Column { title: "ROLE", short: "ROLE", rank: 5 },
    Column { title: "CPU", short: "CPU", rank: 4 },
    Column { title: "CPU/DELIVERY", short: "/DELIVERY", rank: 1 },
    Column { title: "CPU/PUSH", short: "/PUSH", rank: 2 },
    Column { title: "CPU/HANDSHAKE", short: "/HANDSHAKE", rank: 1 },
    Column { title: "MEMORY", short: "MEMORY", rank: 6 },
    Column { title: "CONNECTIONS", short: "CONNS", rank: 7 },
    Column { title: "PER CONNECTION", short: "PER CONN", rank: 3 },
];

/// Columns of the longest bar of a histogram.
const BAR: usize = 40;
const UNKNOWN: &str = "-";

/// What is measured first of all, in words, and the order in which delays are shown.
const NAMES: [(&str, &str); 7] = [
    ("first_receiver", "first receiver"),
    ("median_receiver", "median receiver"),
    ("last_receiver", "last receiver"),
    ("each_receiver", "each receiver"),
    ("answer", "answer"),
    ("handshake", "handshake"),
    ("begun_late", "begun late by"),
];

/// The whole page, painted; tables as wide as the terminal if it is one.
pub(super) fn page(report: &Report, width: Option<usize>) -> String {
    let mut sections = vec![head(report), figures(report)];
    let delays: Vec<_> =
        NAMES.iter().filter_map(|(key, name)| Some(delay_row(name, report.delays.get(key)?))).collect();
    if !delays.is_empty() {
        sections.push(table(&DELAYS, &delays, width));
    }
    if !report.histogram.is_empty() {
        sections.push(format!("{}\n{}", paint(STRONG, what_the_bars_are(report)), bars(&report.histogram)));
    }
    if !report.processes.is_empty() {
        sections.push(match report.scenario {
            "manager" => processes(report, [0, 1, 2, 4, 6], width),
            "idle" => processes(report, [0, 1, 2, 6, 7, 8], width),
            "connect" => processes(report, [0, 1, 2, 5, 6], width),
            _ => processes(report, [0, 1, 2, 3, 4, 6, 7, 8], width),
        });
    }
    sections.push(own(report));
    sections.join("\n\n")
}

fn head(report: &Report) -> String {
    let asked = &report.asked;
    let mut words = Vec::new();
    if asked.sockets > 0 {
        let nodes = counted(report.nodes.len() as u64, "node");
        let sockets = match (report.scenario, asked.rooms.zip(asked.members)) {
            ("rooms", Some((rooms, members))) => {
                format!("{} of {} on {nodes}", counted(rooms, "room"), counted(members, "socket"))
            }
            ("connect", _) => format!("{} at once on {nodes}", counted(asked.sockets, "socket")),
            _ => format!("{} on {nodes}", counted(asked.sockets, "socket")),
        };
        words.push(sockets);
    }
    words.extend(asked.content.map(|content| format!("{content} B of content")));
    words.extend(asked.format.map(str::to_owned));
    words.extend(asked.in_flight.map(|pushes| format!("{pushes} in flight")));
    words.extend(
        asked.unary.map(|unary| if unary { "unary calls".to_owned() } else { "one stream".to_owned() }),
    );
    words.extend(asked.rate.map(|asked| format!("{} a second asked", rate(asked))));
    words.push(format!("{:.1} s", report.seconds));
    format!("{} {}", paint(STRONG, format_args!("{}:", report.scenario)), words.join(", "))
}

fn figures(report: &Report) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    if let Some(pushes) = &report.pushes {
        lines.push(("pushes", done(pushes, "answered")));
    }
    if let Some(handshakes) = &report.handshakes {
        lines.push(("handshakes", done(handshakes, "done")));
    }
    if let Some(deliveries) = report.deliveries {
        let text = format!(
            "{} received of {} expected, {} a second",
            number(deliveries.received),
            number(deliveries.expected),
            paint(STRONG, rate(deliveries.per_second))
        );
        lines.push(("deliveries", text));
    }
    if let Some(read) = report.bytes {
        let each = read.per_delivery.map(|each| format!(", {each:.1} B a delivery")).unwrap_or_default();
        let text = format!(
            "{} read = {} in deliveries + {} in other frames + {} in upgrades{each}",
            number(read.read),
            number(read.pushes),
            number(read.other_frames),
            number(read.upgrades)
        );
        lines.push(("bytes", text));
    }
    if let Some(nodes) = report.nodes_counted {
        let text = format!(
            "{} deliveries, {} bytes of content",
            number(nodes.deliveries),
            number(nodes.content_bytes)
        );
        lines.push(("nodes count", text));
    }
    if !report.ended.is_empty() {
        let ended = report.ended.iter().map(|(code, count)| format!("{code}: {count}"));
        lines.push(("ended", paint(BAD, ended.collect::<Vec<_>>().join(", "))));
    }
    if report.scenario != "idle" {
        let verdict = if report.adds_up { paint(GOOD, "yes") } else { paint(BAD, "no") };
        lines.push(("adds up", verdict));
    }
    let mut text = String::new();
    for (name, line) in lines {
        let _never_fails = writeln!(text, "  {name:<12}{line}");
    }
    text.truncate(text.trim_end().len());
    text
}

fn done(counted: &Counted, verb: &str) -> String {
    let due = counted.due.map(|due| format!("{} due, ", number(due))).unwrap_or_default();
    format!(
        "{due}{} offered, {} {verb}, {} a second",
        number(counted.offered),
        number(counted.done),
        paint(STRONG, rate(counted.per_second))
    )
}

fn number(value: u64) -> String {
    count(value as f64)
}

/// A delay with three digits, whatever its size.
fn delay(seconds: f64) -> String {
    let (value, unit) = match seconds {
        seconds if seconds < 0.000_999_5 => (1e6 * seconds, "µs"),
        seconds if seconds < 0.999_5 => (1e3 * seconds, "ms"),
        seconds => (seconds, "s"),
    };
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {unit}")
}

fn delay_row(name: &str, quantiles: &Quantiles) -> [Cell; 8] {
    let Quantiles { count: how_many, mean, p50, p90, p99, p99_9, max } = *quantiles;
    let cell = |seconds| Cell::plain(delay(seconds));
    [
        Cell::plain(name),
        cell(p50),
        cell(p90),
        cell(p99),
        cell(p99_9),
        cell(max),
        cell(mean),
        Cell::styled(number(how_many), DIM),
    ]
}

fn what_the_bars_are(report: &Report) -> &'static str {
    match report.scenario {
        "manager" => "from push to answer",
        "connect" if report.asked.rate.is_some() => "from when a handshake was due to `connected`",
        "idle" | "connect" => "from the first packet to `connected`",
        _ if report.asked.rate.is_some() => "from when a push was due to its last receiver",
        _ => "from a push to its last receiver",
    }
}

/// A line for each bucket, its bar as long as its part of the largest.
fn bars(buckets: &[Bucket]) -> String {
    let most = buckets.iter().map(|bucket| bucket.count).max().unwrap_or(0).max(1);
    let total: u64 = buckets.iter().map(|bucket| bucket.count).sum();
    let lines = buckets.iter().map(|bucket| {
        let eighths = (bucket.count as f64 / most as f64 * (8 * BAR) as f64).ceil() as usize;
        let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        let bar = "█".repeat(eighths / 8) + parts[eighths % 8];
        let part = 100.0 * bucket.count as f64 / total.max(1) as f64;
        let line = format!("  up to {:>7} {bar:<BAR$} {part:5.1} %", bound(bucket.up_to));
        format!("{line}  {}", paint(DIM, number(bucket.count)))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A bound of a bucket: 1, 2 or 5 of something.
fn bound(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.000_000_999 => format!("{:.0} ns", 1e9 * seconds),
        seconds if seconds < 0.000_999 => format!("{:.0} µs", 1e6 * seconds),
        seconds if seconds < 0.999 => format!("{:.0} ms", 1e3 * seconds),
        seconds => format!("{seconds:.0} s"),
    }
}

/// Those columns that say something in this scenario.
fn processes<const N: usize>(report: &Report, which: [usize; N], width: Option<usize>) -> String {
    let rows: Vec<_> = report
        .processes
        .iter()
        .map(|process| {
            let row = process_row(process);
            which.map(|column| row[column].clone())
        })
        .collect();
    table(&which.map(|column| PROCESSES[column]), &rows, width)
}

fn process_row(process: &Process) -> [Cell; 9] {
    let known = |text: Option<String>| Cell::plain(text.unwrap_or_else(|| UNKNOWN.to_owned()));
    let micros = |value: Option<f64>| known(value.map(|value| format!("{value:.2} µs")));
    [
        Cell::plain(process.address.as_str()),
        if process.answered { Cell::plain(process.role) } else { Cell::styled("silent", WARNING) },
        known(process.cpu_seconds.map(|seconds| format!("{seconds:.2} s"))),
        micros(process.cpu_us_per_delivery),
        micros(process.cpu_us_per_push),
        micros(process.cpu_us_per_handshake),
        known(process.resident_bytes.map(bytes)),
        known(process.connections.map(count)),
        known(process.bytes_per_connection.map(|each| format!("{each:.0} B"))),
    ]
}

fn own(report: &Report) -> String {
    let busy = 100.0 * report.bench.busy;
    let waited = match report.bench.waited_for_a_core {
        Some(waited) => format!(", waited for one {:.0} %", 100.0 * waited),
        None => String::new(),
    };
    let mut text = paint(DIM, format_args!("the bench itself: {busy:.0} % of a core{waited}"));
    for note in &report.notes {
        let _never_fails = write!(text, "\n{} {note}", paint(WARNING, "note:"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_have_three_digits() {
        let shown = [0.000_042, 0.000_123_4, 0.001_234, 0.0256, 0.256, 0.9999, 12.0].map(delay);
        assert_eq!(shown, ["42.0 µs", "123 µs", "1.23 ms", "25.6 ms", "256 ms", "1.00 s", "12.0 s"]);
    }

    #[test]
    fn a_bar_is_as_long_as_its_part_of_the_largest() {
        let bucket = |up_to, count| Bucket { above: 0.0, up_to, count };
        let text = bars(&[bucket(0.0002, 100), bucket(0.0005, 50), bucket(0.001, 0), bucket(2.0, 1)]);
        let plain = anstream::adapter::strip_str(&text).to_string();
        let lengths: Vec<usize> = plain
            .lines()
            .map(|line| line.chars().filter(|c| ('▏'..='▏').contains(c) || "█▎▍▌▋▊▉".contains(*c)).count())
            .collect();
        assert_eq!(lengths, [40, 20, 0, 1], "{plain}");
        assert!(plain.contains("up to  200 µs") && plain.contains("up to     2 s"), "{plain}");
        assert!(plain.contains("66.2 %  100"), "{plain}");
    }
}
