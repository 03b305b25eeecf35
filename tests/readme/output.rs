//! What the README shows of a command's output, against what the command printed.

use serde_json::Value;

use super::shape;

/// Stands in the README for any number of lines.
const ANY_LINES: &str = "…";

/// An output block.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shown {
    line: usize,
    form: Form,
}

#[derive(Debug, Clone, PartialEq)]
enum Form {
    /// Compared line by line; empty lines do not count.
    Lines(Vec<String>),
    /// One value, however it is broken into lines.
    Json(Value),
}

impl Shown {
    pub(super) fn new(line: usize, text: &str, json: bool) -> Result<Self, String> {
        let form = if json {
            Form::Json(serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))?)
        } else {
            Form::Lines(significant(text))
        };
        Ok(Self { line, form })
    }

    /// Whether it ends with `…`: then the command goes on running.
    pub(super) fn goes_on(&self) -> bool {
        matches!(&self.form, Form::Lines(lines) if lines.last().is_some_and(|line| line == ANY_LINES))
    }

    /// Whether a command that goes on has begun to print what is shown, as far as one line tells.
    pub(super) fn has_begun(&self, printed: &str) -> bool {
        let Form::Lines(shown) = &self.form else { return false };
        let first = shown.iter().find(|line| *line != ANY_LINES);
        first.is_some_and(|first| printed.lines().any(|line| shape::line(first, line).is_ok()))
    }

    /// Whether what was printed has the shape of what is shown.
    pub(super) fn check(&self, printed: &str) -> Result<(), String> {
        let checked = match &self.form {
            Form::Json(shown) => serde_json::from_str(printed)
                .map_err(|error| format!("no JSON: {error}"))
                .and_then(|printed| shape::json(shown, &printed)),
            Form::Lines(shown) => lines(shown, &significant(printed)),
        };
        checked.map_err(|error| format!("README.md:{} shows something else: {error}", self.line))
    }
}

fn significant(text: &str) -> Vec<String> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The error is that of the attempt that came furthest.
fn lines(shown: &[String], printed: &[String]) -> Result<(), String> {
    match (shown.split_first(), printed.split_first()) {
        (None, None) => Ok(()),
        (None, Some((line, _))) => Err(format!("it has no `{line}`")),
        (Some((first, rest)), _) if first == ANY_LINES => {
            let mut error = None;
            for start in 0..=printed.len() {
                match lines(rest, &printed[start..]) {
                    Ok(()) => return Ok(()),
                    Err(reason) => {
                        error.get_or_insert(reason);
                    }
                }
            }
            Err(format!("behind `…`: {}", error.unwrap_or_default()))
        }
        (Some((first, _)), None) => Err(format!("`{first}` was not printed")),
        (Some((first, rest)), Some((line, others))) => {
            shape::line(first, line)?;
            lines(rest, others)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shown: &str, printed: &str) -> bool {
        Shown::new(1, shown, false).unwrap().check(printed).is_ok()
    }

    #[test]
    fn lines_stand_one_below_the_other() {
        assert!(check("a\n\nb 1\n", "a\nb 2\n\n"));
        assert!(!check("a\nb\n", "a\n"));
        assert!(!check("a\n", "a\nb\n"));
        assert!(!check("a\nb\n", "b\na\n"));
    }

    #[test]
    fn an_ellipsis_stands_for_any_lines() {
        assert!(check("…\nb\n…\n", "a\nb\nc\nd\n"));
        assert!(check("…\nb\n", "b\na\nb\n"));
        assert!(check("a\n…\n", "a\n"));
        assert!(!check("…\nb\n", "a\nb\nc\n"));
        assert!(!check("a\n…\nc\n", "a\nb\n"));
    }

    #[test]
    fn a_command_goes_on_when_its_output_does() {
        let shown = Shown::new(1, "…\nlistening at 1\nhello\n…\n", false).unwrap();
        assert!(shown.goes_on());
        assert!(!shown.has_begun("compiling\n"));
        assert!(shown.has_begun("compiling\nlistening at 7\n"));
        assert!(shown.check("compiling\nlistening at 7\n").is_err());
        assert!(shown.check("compiling\nlistening at 7\nhello\nbye\n").is_ok());
    }

    #[test]
    fn json_may_be_broken_into_lines() {
        let shown = Shown::new(1, "{\"a\": 1,\n \"b\": []}\n", true).unwrap();
        assert!(shown.check("{\"a\":7,\"b\":[\"x\"]}").is_ok());
        assert!(shown.check("{\"a\":7}").is_err());
        assert!(shown.check("hello").is_err());
        assert!(Shown::new(1, "{…}", true).is_err());
    }
}
