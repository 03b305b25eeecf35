//! What can be said about a load.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};

use super::{
    super::{
        arguments::{FormatArgument, duration},
        examples,
        manager_arguments::ManagerArguments,
    },
    marker,
};

/// More sockets than one address has ports, several times over, and still few enough to be counted in 32 bits.
const MOST_SOCKETS: i64 = 1_000_000;

#[derive(Debug, Args)]
#[command(
    disable_help_subcommand = true,
    subcommand_value_name = "SCENARIO",
    subcommand_help_heading = "Scenarios",
    after_help = examples::BENCH
)]
pub(in crate::cli) struct BenchArguments {
    #[command(flatten)]
    pub(super) manager: ManagerArguments,
    #[command(flatten)]
    pub(super) common: CommonArguments,
    #[command(subcommand)]
    pub(super) scenario: ScenarioArguments,
}

#[derive(Debug, Args)]
pub(super) struct CommonArguments {
    /// The WebSocket address of a node, once for each node the sockets are spread over; those that the manager's
    /// nodes publish if left out.
    #[arg(long = "url", value_name = "URL", value_delimiter = ',', global = true)]
    pub(super) urls: Vec<String>,
    /// How long to measure.
    #[arg(long, value_name = "DURATION", value_parser = measured, default_value = "10s", global = true)]
    pub(super) duration: Duration,
    /// The HTTP address of a manager or a node, once for each process: its processor time, memory and counters are
    /// read before and after.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', global = true)]
    pub(super) scrape: Vec<String>,
    /// Write the figures as CSV rows into a file; to standard output without one.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", global = true)]
    pub(super) csv: Option<PathBuf>,
    /// File with the token that every socket shows, where nodes ask for one; the variable PUSHCTL_TOKEN may hold the
    /// token itself. It has to allow rooms that begin with bench-, in the default tenant; all sockets are its user's.
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum ScenarioArguments {
    /// One large room: deliveries a second, and the time from a push to its last receiver.
    #[command(after_help = examples::BENCH_FANOUT)]
    Fanout {
        /// Sockets in the room, spread over the nodes.
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = sockets())]
        sockets: u32,
        /// Pushes whose deliveries have not all arrived, at most.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = in_flight())]
        in_flight: u32,
        /// Pushes a second, on a schedule; as many as the pushes in flight allow if left out.
        #[arg(long, value_name = "PER_SECOND", allow_negative_numbers = true, value_parser = rate)]
        rate: Option<f64>,
        #[command(flatten)]
        load: LoadArguments,
    },
    /// Many small rooms, pushed to one after the other.
    Rooms {
        /// Rooms.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = sockets())]
        rooms: u32,
        /// Sockets in each room, spread over the nodes.
        #[arg(long, value_name = "N", default_value_t = 10, value_parser = sockets())]
        members: u32,
        /// Pushes whose deliveries have not all arrived, at most.
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = in_flight())]
        in_flight: u32,
        /// Pushes a second, on a schedule; as many as the pushes in flight allow if left out.
        #[arg(long, value_name = "PER_SECOND", allow_negative_numbers = true, value_parser = rate)]
        rate: Option<f64>,
        #[command(flatten)]
        load: LoadArguments,
    },
    /// Connections that only hold: the memory each takes on its node, best one that was just started.
    Idle {
        /// Connections, spread over the nodes.
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = sockets())]
        sockets: u32,
        /// Which of the two subprotocols to speak with the nodes.
        #[arg(long, value_enum, default_value_t = FormatArgument::Json)]
        format: FormatArgument,
    },
    /// Connections that come and go: handshakes a second, and how long each takes.
    Connect {
        /// Connections that shake hands or close at the same time.
        #[arg(long, value_name = "N", default_value_t = 64, value_parser = sockets())]
        at_once: u32,
        /// Handshakes a second, on a schedule; as many as possible if left out.
        #[arg(long, value_name = "PER_SECOND", allow_negative_numbers = true, value_parser = rate)]
        rate: Option<f64>,
        /// Which of the two subprotocols to speak with the nodes.
        #[arg(long, value_enum, default_value_t = FormatArgument::Json)]
        format: FormatArgument,
    },
    /// One room at a fixed, low rate: what the first, the median and the last receiver wait, counted from the time
    /// a push was due.
    #[command(after_help = examples::BENCH_LATENCY)]
    Latency {
        /// Sockets in the room, spread over the nodes.
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = sockets())]
        sockets: u32,
        /// Pushes a second, on a schedule.
        #[arg(long, value_name = "PER_SECOND", default_value = "20", allow_negative_numbers = true, value_parser = rate)]
        rate: f64,
        /// Pushes whose deliveries have not all arrived, at most; what is due beyond that waits, and its delay counts.
        #[arg(long, value_name = "N", default_value_t = 1024, value_parser = in_flight())]
        in_flight: u32,
        #[command(flatten)]
        load: LoadArguments,
    },
    /// Pushes for nobody: how many a manager takes, numbers, sends to its nodes and answers.
    #[command(after_help = examples::BENCH_MANAGER)]
    Manager {
        /// Pushes without an answer, at most.
        #[arg(long, value_name = "N", default_value_t = 1024, value_parser = in_flight())]
        in_flight: u32,
        /// A call for each push, instead of one PushStream for all.
        #[arg(long)]
        unary: bool,
        /// Pushes a second, on a schedule; as many as the pushes in flight allow if left out.
        #[arg(long, value_name = "PER_SECOND", allow_negative_numbers = true, value_parser = rate)]
        rate: Option<f64>,
        /// Bytes of content in each push; it begins with a mark of 28 bytes, by which the bench knows its own.
        #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = content())]
        content: u32,
        /// The same load before, which counts for nothing.
        #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1s")]
        warm_up: Duration,
    },
}

/// What every load on sockets has.
#[derive(Debug, Args)]
pub(super) struct LoadArguments {
    /// Bytes of content in each push; it begins with a mark of 28 bytes, by which the bench knows its own.
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = content())]
    pub(super) content: u32,
    /// Which of the two subprotocols to speak with the nodes.
    #[arg(long, value_enum, default_value_t = FormatArgument::Json)]
    pub(super) format: FormatArgument,
    /// The same load before, which counts for nothing.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1s")]
    pub(super) warm_up: Duration,
}

fn sockets() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=MOST_SOCKETS)
}

/// One stream takes no more unanswered pushes from anybody.
fn in_flight() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=65_536)
}

/// The mark by which a delivery is known has to fit, and no manager takes more than 1 MiB.
fn content() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(marker::BYTES as i64..=1 << 20)
}

/// Shorter than this nothing is measured; longer than a day nobody waits.
fn measured(text: &str) -> Result<Duration, String> {
    let span = duration(text)?;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(86_400);
    if allowed.contains(&span) { Ok(span) } else { Err("not within 100ms to 1d".to_owned()) }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=10_000_000.0).contains(&rate) => Ok(rate),
        Ok(_) => Err("not within 0.01 to 10000000 a second".to_owned()),
        Err(_invalid) => Err("give a number, like 20 or 0.5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::arguments::{Arguments, Command};

    fn parsed(line: &str) -> Result<BenchArguments, clap::Error> {
        let arguments = Arguments::try_parse_from(line.split(' '))?;
        let Command::Bench(bench) = arguments.command else { panic!("no bench") };
        Ok(bench)
    }

    #[test]
    fn common_flags_stand_before_and_behind_the_scenario() {
        for line in
            ["pushctl bench --duration 2s rooms --rooms 5", "pushctl bench rooms --rooms 5 --duration 2s"]
        {
            let bench = parsed(line).unwrap();
            assert_eq!(bench.common.duration, Duration::from_secs(2));
            assert!(
                matches!(bench.scenario, ScenarioArguments::Rooms { rooms: 5, members: 10, .. }),
                "{line}"
            );
        }
    }

    #[test]
    fn csv_goes_to_a_file_or_to_standard_output() {
        let csv = |line| parsed(line).unwrap().common.csv;
        assert_eq!(csv("pushctl bench idle"), None);
        assert_eq!(csv("pushctl bench idle --csv"), Some("-".into()));
        assert_eq!(csv("pushctl bench idle --csv --sockets 5"), Some("-".into()));
        assert_eq!(csv("pushctl bench idle --csv out.csv"), Some("out.csv".into()));
    }

    #[test]
    fn a_size_of_nothing_is_refused_with_what_may_be() {
        for line in [
            "fanout --sockets 0",
            "fanout --in-flight 0",
            "fanout --content 0",
            "fanout --rate 0",
            "fanout --rate -1",
            "fanout --rate NaN",
            "latency --rate often",
            "rooms --rooms 0",
            "rooms --members 0",
            "connect --at-once 0",
            "idle --duration 0s",
            "manager --content 27",
        ] {
            let error = parsed(&format!("pushctl bench {line}")).unwrap_err().to_string();
            let says_what_may_be = ["is not in 1..=", "is not in 28..=", "not within", "give a number"];
            assert!(says_what_may_be.iter().any(|part| error.contains(part)), "{line}: {error}");
        }
    }
}
