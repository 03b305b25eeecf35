//! The mistakes found so far, and the checks that find them.

use std::{collections::BTreeMap, fmt, fs, ops::RangeInclusive, path::Path, time::Duration};

use super::{Addr, EXIT_USAGE, ExitOutcome, size::parse_size};

/// The way in which a door stands open to everybody.
pub const OPEN: &str = "none";

/// One mistake: which setting, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The flag, with its dashes.
    pub flag: String,
    /// What is wrong with it, as a sentence part.
    pub message: String,
}

/// Every mistake of one command line. A check that fails records itself and returns a value that is
/// only fit for going on checking; [`check`](Self::check) decides at the end.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
    /// Flags whose value came from a variable, so that the message can name it.
    variables: BTreeMap<String, String>,
}

impl Problems {
    pub(crate) fn new(variables: BTreeMap<String, String>) -> Self {
        Self { found: Vec::new(), variables }
    }

    /// Records a mistake. `flag` is spelled with its dashes.
    pub fn push(&mut self, flag: &str, message: impl Into<String>) {
        self.found.push(Problem { flag: flag.to_owned(), message: message.into() });
    }

    /// The mistakes so far, in the order found.
    pub fn found(&self) -> &[Problem] {
        &self.found
    }

    /// Whether all is well so far.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// `Ok` if nothing was found, otherwise the end of the process with exit code 64.
    pub fn check(self) -> Result<(), ExitOutcome> {
        match self.is_empty() {
            true => Ok(()),
            false => Err(ExitOutcome { code: EXIT_USAGE, text: format!("{self}\n") }),
        }
    }

    /// `host:port`; the host may be a name.
    pub fn addr(&mut self, flag: &str, value: &str) -> Option<Addr> {
        value.parse().map_err(|error| self.push(flag, format!("{error}"))).ok()
    }

    /// Several addresses, comma-separated; blanks around them and empty ones are dropped.
    pub fn addrs(&mut self, flag: &str, value: &str) -> Vec<Addr> {
        let texts = value.split(',').map(str::trim).filter(|text| !text.is_empty());
        texts.filter_map(|text| self.addr(flag, text)).collect()
    }

    /// A time like `30s` or `500ms`; zero is refused (nothing of ours can last no time).
    pub fn duration(&mut self, flag: &str, value: &str) -> Duration {
        self.duration_within(flag, value, Duration::from_micros(1)..=Duration::MAX)
    }

    /// A time within bounds (both included).
    pub fn duration_within(&mut self, flag: &str, value: &str, within: RangeInclusive<Duration>) -> Duration {
        let Ok(duration) = humantime::parse_duration(value.trim()) else {
            self.push(flag, format!("\"{value}\" is not a duration (examples: 500ms, 30s, 2m)"));
            return *within.start();
        };
        if !within.contains(&duration) {
            let least = humantime::format_duration(*within.start());
            let message = match *within.end() {
                Duration::MAX => format!("\"{value}\" is too short, at least {least} is needed"),
                most => {
                    format!("\"{value}\" is not between {least} and {}", humantime::format_duration(most))
                }
            };
            self.push(flag, message);
        }
        duration
    }

    /// Bytes: a plain number or one with `KiB`, `MiB`, `GiB`.
    pub fn size(&mut self, flag: &str, value: &str) -> u64 {
        self.size_within(flag, value, 0..=u64::MAX)
    }

    /// Bytes within bounds (both included).
    pub fn size_within(&mut self, flag: &str, value: &str, within: RangeInclusive<u64>) -> u64 {
        let Some(size) = parse_size(value) else {
            self.push(flag, format!("\"{value}\" is not a size (examples: 65536, 64KiB, 128MiB, 1GiB)"));
            return *within.start();
        };
        self.check_range(flag, value, size, &within, " bytes");
        size
    }

    /// A whole number within bounds (both included).
    pub fn number(&mut self, flag: &str, value: &str, within: RangeInclusive<u64>) -> u64 {
        let Ok(number) = value.trim().parse() else {
            self.push(flag, format!("\"{value}\" is not a whole number"));
            return *within.start();
        };
        self.check_range(flag, value, number, &within, "");
        number
    }

    fn check_range(
        &mut self,
        flag: &str,
        value: &str,
        number: u64,
        within: &RangeInclusive<u64>,
        unit: &str,
    ) {
        if within.contains(&number) {
            return;
        }
        let (least, most) = (within.start(), within.end());
        let message = match *most {
            u64::MAX => format!("\"{value}\" is too small, at least {least}{unit} are needed"),
            _ => format!("\"{value}\" is not between {least} and {most}{unit}"),
        };
        self.push(flag, message);
    }

    /// `--auth` and its like, which have no default: one of the ways `known`; `None` is a mistake, recorded.
    pub fn how(&mut self, flag: &str, value: Option<&str>, known: &[&str]) -> Option<String> {
        let choices = known.join(", ");
        match value {
            Some(value) if known.contains(&value) => return Some(value.to_owned()),
            Some(other) => self.push(flag, format!("\"{other}\" is not known; choose one of: {choices}")),
            None => self.push(
                flag,
                format!(
                    "must be given, it has no default; choose one of: {choices} (none lets everybody in)"
                ),
            ),
        }
        None
    }

    /// A door with `none` at an address that other machines reach is a mistake, unless `--insecure` says that it is
    /// meant. `at` are the addresses of the door, each with its flag.
    pub fn open_door(&mut self, flag: &str, how: Option<&str>, at: &[(&str, Option<&Addr>)], insecure: bool) {
        if insecure || how != Some(OPEN) {
            return;
        }
        for (place, addr) in at.iter().filter_map(|(place, addr)| Some((place, (*addr)?))) {
            if !addr.is_loopback() {
                self.push(
                    flag,
                    format!(
                        "\"{OPEN}\" lets everybody in, and {place} {addr} is not this machine's alone: give another \
                         way, a loopback address such as 127.0.0.1:{}, or --insecure if this is meant",
                        addr.port
                    ),
                );
            }
        }
    }

    /// A text file that must be readable now (certificates, keys, passwords).
    pub fn file(&mut self, flag: &str, path: &str) -> Option<String> {
        match fs::read_to_string(Path::new(path)) {
            Ok(text) => Some(text),
            Err(error) => {
                self.push(flag, format!("cannot read \"{path}\": {error}"));
                None
            }
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { flag, message }) in self.found.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{flag}: {message}")?;
            if let Some(variable) = self.variables.get(flag) {
                write!(f, " (from {variable})")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(check: impl FnOnce(&mut Problems)) -> String {
        let mut problems = Problems::default();
        check(&mut problems);
        problems.to_string()
    }

    #[test]
    fn texts_say_what_is_wrong_and_what_to_do() {
        let cases = [
            (
                message(|p| _ = p.addr("--a", "foo")),
                "--a: \"foo\" is not host:port (example: 127.0.0.1:9000)",
            ),
            (
                message(|p| _ = p.duration("--d", "soon")),
                "--d: \"soon\" is not a duration (examples: 500ms, 30s, 2m)",
            ),
            (message(|p| _ = p.duration("--d", "0s")), "--d: \"0s\" is too short, at least 1us is needed"),
            (
                message(|p| _ = p.size("--s", "-1")),
                "--s: \"-1\" is not a size (examples: 65536, 64KiB, 128MiB, 1GiB)",
            ),
            (
                message(|p| _ = p.size_within("--s", "2MiB", 1..=1 << 20)),
                "--s: \"2MiB\" is not between 1 and 1048576 bytes",
            ),
            (message(|p| _ = p.number("--n", "0", 1..=64)), "--n: \"0\" is not between 1 and 64"),
            (message(|p| _ = p.number("--n", "many", 1..=64)), "--n: \"many\" is not a whole number"),
        ];
        for (got, want) in cases {
            assert_eq!(got, want);
        }
        let ways = ["jwt", "none"];
        assert!(message(|p| _ = p.how("--auth", None, &ways)).contains("choose one of: jwt, none"));
        assert!(message(|p| _ = p.how("--auth", Some("basic"), &ways)).contains("\"basic\" is not known"));
        assert!(message(|p| _ = p.file("--f", "/no/such/file")).contains("cannot read \"/no/such/file\""));
    }

    #[test]
    fn good_values_leave_no_trace() {
        let mut problems = Problems::default();
        assert_eq!(problems.how("--auth", Some("none"), &["jwt", "none"]).as_deref(), Some("none"));
        assert_eq!(problems.duration("--d", "1m 30s"), Duration::from_secs(90));
        assert_eq!(problems.size("--s", "1GiB"), 1 << 30);
        assert_eq!(problems.number("--n", "8", 1..=64), 8);
        let addrs = problems.addrs("--nodes", "a:1, b:2,,");
        assert_eq!(addrs.iter().map(Addr::to_string).collect::<Vec<_>>(), ["a:1", "b:2"]);
        assert_eq!(problems.check(), Ok(()));
    }

    #[test]
    fn an_open_door_is_for_this_machine_unless_it_is_meant() {
        let opens = |how: &str, at: &str, insecure: bool| {
            let addr = at.parse().ok();
            message(|p| p.open_door("--auth", Some(how), &[("--ws-addr", addr.as_ref())], insecure))
        };
        for at in ["0.0.0.0:8000", "[::]:8000", "10.0.0.7:8000", "example.com:8000"] {
            assert!(opens("none", at, false).contains("--insecure"), "{at}");
            assert_eq!(opens("none", at, true), "", "{at}");
            assert_eq!(opens("jwt", at, false), "", "{at}");
        }
        for at in ["127.0.0.1:8000", "127.9.9.9:0", "[::1]:8000", "localhost:8000"] {
            assert_eq!(opens("none", at, false), "", "{at}");
        }
    }

    #[test]
    fn all_problems_are_shown_with_the_variable_they_came_from() {
        let variables = BTreeMap::from([("--b".to_owned(), "PUSH_MANAGER_B".to_owned())]);
        let mut problems = Problems::new(variables);
        problems.push("--a", "is wrong");
        problems.push("--b", "is wrong too");
        let outcome = problems.check().unwrap_err();
        assert_eq!(outcome.code, 64);
        assert_eq!(outcome.text, "--a: is wrong\n--b: is wrong too (from PUSH_MANAGER_B)\n");
    }
}
