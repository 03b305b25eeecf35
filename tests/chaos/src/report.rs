//! One line for each scenario, and what it means.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use crate::{callers::Fared, check::Verdict};

/// Reasons of unrecovered resumes that the rules name (DESIGN 6, rules 10 and 11).
const NAMED: [&str; 3] = ["incomplete", "controls", "window"];

/// Which resumes may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrecovered {
    /// None: the fault is one that the fleet makes good.
    None,
    /// Some, each for a reason that the rules name.
    Named,
    /// Some, or the scenario proves nothing, for reasons that the rules name.
    Some,
}

/// What came of a scenario.
#[derive(Debug)]
pub struct Report {
    /// Its name.
    pub name: String,
    /// The checker's word.
    pub verdict: Verdict,
    /// Why nodes could not make clients whole.
    pub reasons: BTreeMap<String, u64>,
    /// Which resumes may fail.
    pub allowed: Unrecovered,
    /// How the callers fared.
    pub fared: Fared,
    /// Why connections ended.
    pub causes: BTreeMap<String, u64>,
    /// Clients without a connection at the end.
    pub offline: usize,
    /// How long it took.
    pub took: Duration,
    /// Where the logs are, if something is wrong.
    pub logs: Option<PathBuf>,
}

impl Report {
    /// What is not as promised; empty if all is.
    pub fn broken(&self) -> Vec<String> {
        let verdict = &self.verdict;
        let mut broken = Vec::new();
        if !verdict.is_clean() {
            broken.push("a promise about messages is broken".to_owned());
        }
        if self.offline > 0 {
            broken.push(format!("{} clients did not come back", self.offline));
        }
        if verdict.accepted == 0 || verdict.delivered == 0 {
            broken.push("nothing was pushed".to_owned());
        }
        match self.allowed {
            Unrecovered::None if verdict.unrecovered > 0 => {
                broken.push("resumes failed that must not".to_owned());
            }
            Unrecovered::Some if verdict.unrecovered == 0 => {
                broken.push("no resume failed where some must".to_owned());
            }
            _ => {}
        }
        let unnamed = self.reasons.keys().filter(|reason| !NAMED.contains(&reason.as_str()));
        broken.extend(unnamed.map(|reason| format!("the rules do not name the reason {reason:?}")));
        broken
    }

    /// For tests.
    ///
    /// # Panics
    /// If something is not as promised.
    pub fn assert_kept(&self) {
        assert!(self.broken().is_empty(), "{}", self.details());
    }

    /// Everything that helps to find out why.
    pub fn details(&self) -> String {
        let mut text = format!("{self}\n");
        for line in self.broken().iter().chain(&self.verdict.examples) {
            text.push_str(&format!("  {line}\n"));
        }
        for (cause, count) in &self.causes {
            text.push_str(&format!("  {count} connections: {cause}\n"));
        }
        for (code, count) in &self.fared.errors {
            text.push_str(&format!("  {count} pushes: {code}\n"));
        }
        if let Some(logs) = &self.logs {
            text.push_str(&format!("  logs: {}\n", logs.display()));
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { accepted, delivered, lost, duplicated, out_of_order, .. } = &self.verdict;
        let Verdict { unrecovered, resumes, missed_and_told, uncertain, strange, .. } = &self.verdict;
        write!(
            f,
            "{:<22} accepted {accepted}, delivered {delivered}, lost {lost}, duplicated {duplicated}, out of order \
             {out_of_order}, unrecovered {unrecovered} of {resumes} resumes",
            self.name
        )?;
        let known: u64 = self.reasons.values().sum();
        let mut why: Vec<String> =
            self.reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        if *unrecovered > known {
            why.push(format!("told by a node that died since {}", unrecovered - known));
        }
        if *missed_and_told > 0 {
            why.push(format!("{missed_and_told} messages missed and told so"));
        }
        if *unrecovered > 0 {
            write!(f, " ({})", why.join(", "))?;
        }
        if *strange > 0 {
            write!(f, ", strange {strange}")?;
        }
        if *uncertain > 0 {
            write!(f, ", uncertain {uncertain}")?;
        }
        write!(f, "; {} sent again; {:.0} s", self.fared.sent_again, self.took.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(allowed: Unrecovered, verdict: Verdict) -> Report {
        Report {
            name: "test".to_owned(),
            verdict: Verdict { accepted: 1, delivered: 1, resumes: 9, ..verdict },
            reasons: BTreeMap::new(),
            allowed,
            fared: Fared::default(),
            causes: BTreeMap::new(),
            offline: 0,
            took: Duration::ZERO,
            logs: None,
        }
    }

    #[test]
    fn every_broken_promise_breaks_the_report() {
        assert!(report(Unrecovered::None, Verdict::default()).broken().is_empty());
        for verdict in [
            Verdict { lost: 1, ..Verdict::default() },
            Verdict { duplicated: 1, ..Verdict::default() },
            Verdict { out_of_order: 1, ..Verdict::default() },
            Verdict { strange: 1, ..Verdict::default() },
            Verdict { uncertain: 1, ..Verdict::default() },
        ] {
            assert_eq!(report(Unrecovered::Named, verdict.clone()).broken().len(), 1, "{verdict:?}");
        }
    }

    #[test]
    fn unrecovered_resumes_count_as_the_scenario_says() {
        let some = Verdict { unrecovered: 2, ..Verdict::default() };
        assert_eq!(report(Unrecovered::None, some.clone()).broken().len(), 1);
        assert_eq!(report(Unrecovered::Some, Verdict::default()).broken().len(), 1);
        let mut report = report(Unrecovered::Named, some);
        report.reasons.insert("incomplete".to_owned(), 2);
        assert!(report.broken().is_empty());
        report.reasons.insert("position".to_owned(), 1);
        assert_eq!(report.broken().len(), 1);
    }
}
