//! The README as a script: what its reader types and saves, in order, and what it says they will see.

use super::output::Shown;

/// One thing the reader does.
#[derive(Debug, PartialEq)]
pub(super) struct Step {
    /// Line of the README on which the block begins.
    pub(super) line: usize,
    /// The `##` heading it stands under; what goes on running ends with it.
    pub(super) section: String,
    /// The innermost heading.
    pub(super) heading: String,
    pub(super) action: Action,
}

#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// A `sh` block.
    Run(Command),
    /// A program, saved under the name that its first line gives.
    Save { path: String, text: String },
}

#[derive(Debug, PartialEq)]
pub(super) struct Command {
    pub(super) text: String,
    /// It goes on running, and counts as started when it has printed this.
    pub(super) until: Option<String>,
    pub(super) shown: Option<Shown>,
}

/// Reads the blocks. What a reader could take for a command but is none we would run is an error.
pub(super) fn parse(readme: &str) -> Result<Vec<Step>, String> {
    let mut parser = Parser::default();
    for (index, line) in readme.lines().enumerate() {
        parser.line(index + 1, line).map_err(|error| format!("README.md:{}: {error}", index + 1))?;
    }
    match parser.block {
        Some(block) => Err(format!("README.md:{}: this block does not end", block.line)),
        None => Ok(parser.steps),
    }
}

#[derive(Default)]
struct Parser {
    steps: Vec<Step>,
    section: String,
    heading: String,
    until: Option<String>,
    block: Option<Block>,
    /// Whether the block before this one was a command, with nothing said in between.
    after_command: bool,
}

struct Block {
    line: usize,
    language: String,
    text: String,
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) -> Result<(), String> {
        if let Some(block) = &mut self.block {
            if line != "```" {
                block.text.push_str(line);
                block.text.push('\n');
                return Ok(());
            }
            return match self.block.take() {
                Some(block) => self.block_ends(block),
                None => Ok(()),
            };
        }
        if let Some(language) = line.strip_prefix("```") {
            self.block = Some(Block { line: number, language: language.to_owned(), text: String::new() });
        } else if line.trim_start().starts_with("```") {
            return Err("a block of commands begins at the left edge".to_owned());
        } else if !line.trim().is_empty() {
            self.after_command = false;
            self.text_line(line)?;
        }
        Ok(())
    }

    fn text_line(&mut self, line: &str) -> Result<(), String> {
        if let Some(until) = &self.until {
            return Err(format!("`until: {until}` belongs to a `sh` block, which has to follow it"));
        }
        let hashes = line.chars().take_while(|&c| c == '#').count();
        if hashes > 0 {
            line.trim_start_matches('#').trim().clone_into(&mut self.heading);
            if hashes <= 2 {
                self.section.clone_from(&self.heading);
            }
        }
        let comment = line.strip_prefix("<!--").and_then(|line| line.strip_suffix("-->"));
        if let Some(until) = comment.and_then(|comment| comment.trim().strip_prefix("until:")) {
            self.until = Some(until.trim().to_owned());
        }
        Ok(())
    }

    fn block_ends(&mut self, block: Block) -> Result<(), String> {
        let Block { line, language, text } = block;
        let after_command = std::mem::take(&mut self.after_command);
        let until = self.until.take();
        if until.is_some() && language != "sh" {
            return Err("`until` belongs to a `sh` block".to_owned());
        }
        let action = match language.as_str() {
            "sh" => {
                self.after_command = true;
                Action::Run(Command { text, until, shown: None })
            }
            "python" => Action::Save { path: file_name(&text, "#")?, text },
            "go" => Action::Save { path: file_name(&text, "//")?, text },
            "text" | "json" if after_command => {
                return self.output(Shown::new(line, &text, language == "json")?);
            }
            "text" | "json" => {
                return Err(format!("a `{language}` block follows the command that prints it"));
            }
            // A picture.
            "" => return Ok(()),
            other => return Err(format!("`{other}` is no language of a block that is tested")),
        };
        let (section, heading) = (self.section.clone(), self.heading.clone());
        self.steps.push(Step { line, section, heading, action });
        Ok(())
    }

    fn output(&mut self, shown: Shown) -> Result<(), String> {
        match self.steps.last_mut().map(|step| &mut step.action) {
            Some(Action::Run(command)) => command.shown = Some(shown),
            _ => return Err("there is no command before this output".to_owned()),
        }
        Ok(())
    }
}

fn file_name(text: &str, comment: &str) -> Result<String, String> {
    let first = text.lines().next().unwrap_or_default();
    match first.strip_prefix(comment).map(str::trim) {
        Some(path) if !path.is_empty() && !path.contains(' ') => Ok(path.to_owned()),
        _ => Err(format!("a program's first line is `{comment} the/file/it/is/saved/as`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# Name\n\n## First\n\n```\na picture\n```\n### One\n```sh\nmake run\n```\n\n```text\n…\nok\n…\n```\n\
                          <!-- until: up -->\n```sh\nserver\n```\n## Second\n```python\n# try/a.py\nprint(1)\n```\n";

    #[test]
    fn blocks_are_steps_in_order() {
        let steps = parse(README).unwrap();
        let at: Vec<_> = steps.iter().map(|s| (s.line, s.section.as_str(), s.heading.as_str())).collect();
        assert_eq!(at, [(9, "First", "One"), (19, "First", "One"), (23, "Second", "Second")]);
        let shown = Shown::new(13, "…\nok\n…\n", false).unwrap();
        let run = Command { text: "make run\n".to_owned(), until: None, shown: Some(shown) };
        assert_eq!(steps[0].action, Action::Run(run));
        let server = Command { text: "server\n".to_owned(), until: Some("up".to_owned()), shown: None };
        assert_eq!(steps[1].action, Action::Run(server));
        let saved = Action::Save { path: "try/a.py".to_owned(), text: "# try/a.py\nprint(1)\n".to_owned() };
        assert_eq!(steps[2].action, saved);
    }

    #[test]
    fn a_block_that_would_go_untested_is_an_error() {
        for (readme, line) in [
            ("```bash\nls\n```", 3),
            ("  ```sh\n  ls\n  ```", 1),
            ("```json\n{}\n```", 3),
            ("```sh\nls\n```\nIt prints:\n```text\na\n```", 7),
            ("```sh\nls\n", 1),
            ("```go\npackage main\n```", 3),
            ("<!-- until: up -->\nNo block.", 2),
        ] {
            let error = parse(readme).unwrap_err();
            assert!(error.starts_with(&format!("README.md:{line}: ")), "{readme}: {error}");
        }
    }
}
