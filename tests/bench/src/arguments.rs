//! The command line.

use std::time::Duration;

use clap::{Parser, Subcommand, value_parser};

/// Measures Pushcast beside a bare loop of send() and beside other servers, on this machine.
///
/// `all` writes tests/bench/RESULTS.md and its plots; anything else is printed. The servers of this workspace are taken
/// from beside this program; `cargo build --release --workspace` builds them, `tests/bench/install.sh` gets the others.
#[derive(Debug, Parser)]
#[command(name = "bench", version)]
pub(crate) struct Arguments {
    /// What to measure
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
    /// Rounds, of which the medians are taken
    #[arg(long, global = true, value_name = "N", default_value_t = 3, value_parser = value_parser!(u16).range(1..=99))]
    pub(crate) rounds: u16,
    /// Time in which one figure is taken; some take a multiple of it
    #[arg(long, global = true, value_name = "S", default_value = "2", value_parser = seconds)]
    pub(crate) seconds: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum Scenario {
    /// Everything: about a quarter of an hour
    All,
    /// One room of 5000 sockets, 1, 8 and 32 messages in flight, every server
    Fanout,
    /// 500 rooms of 10 sockets, every server
    Rooms,
    /// Memory of 10,000 idle connections, every server, ours in both formats
    Idle,
    /// Handshakes of one core, 10,000 connections
    Connect,
    /// 19,000 connections that join and leave rooms 10,000 times a second
    Churn,
    /// The node's tables alone, with 1,000,000 members and no sockets
    Tables,
    /// Push to the last of 1000 sockets at 20 pushes a second
    Latency,
    /// Push to the last of 1000 and of 5000 sockets at half of what a server can do
    Half,
    /// What healthy sockets notice of those that stop reading
    Slow,
    /// What those who are there notice of 10,000 that come and go at once
    Storm,
    /// A burst with two shards against one, on all cores
    Shards,
    /// Messages that nobody wants, 100,000 rooms in the tables
    Unwanted,
    /// The push-manager alone: pushes a second, and what one more node costs
    Manager,
    /// A node with 10,000 clients dies
    Resume,
    /// What of a delivery's time is the kernel's send, what is ours
    Breakdown,
}

/// Long enough for a figure, and short enough that no client is due a sign of life.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.2..=5.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("must be from 0.2 to 5".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn times_and_rounds_have_bounds() {
        let parse = |arguments: &[&str]| Arguments::try_parse_from([&["bench"], arguments].concat());
        let arguments = parse(&["idle", "--rounds", "1", "--seconds", "0.5"]).unwrap();
        assert_eq!(arguments.scenario, Scenario::Idle);
        assert_eq!(arguments.seconds, Duration::from_millis(500));
        for wrong in [["--rounds", "0"], ["--seconds", "0"], ["--seconds", "NaN"], ["--seconds", "60"]] {
            assert!(parse(&[&["all"], &wrong[..]].concat()).is_err(), "{wrong:?}");
        }
        assert!(parse(&[]).is_err());
    }
}
