//! Somebody who does what the README says, and looks whether it comes out as it says. They have one terminal for
//! commands that end, and stay in the directory those go to; one that goes on has a terminal of its own.

use std::{fs, path::PathBuf, time::Duration};

use pushcast_tests::eventually::{check, eventually};

use super::{
    script::{Action, Command, Step},
    terminal::{Place, Terminal, words},
};

/// Building everything from nothing takes 3 min on two idle cores and several times that on busy ones, where other
/// tests run beside; whoever waits as long as this hangs.
const BUILD: Duration = Duration::from_secs(25 * 60);
/// The same for everything else; some of it fetches packages.
const WITHIN: Duration = Duration::from_secs(5 * 60);

/// A command that goes on running.
struct Running<'a> {
    step: &'a Step,
    command: &'a Command,
    terminal: Terminal,
}

#[derive(Default)]
pub(super) struct Reader<'a> {
    section: &'a str,
    running: Vec<Running<'a>>,
    /// Where a command left the terminal, once one has ended.
    dir: Option<PathBuf>,
    /// Of the lines that `make run` prints to be tried.
    pub(super) lines_tried: usize,
}

impl<'a> Reader<'a> {
    /// Does what a step says, after ending what the section before it left running.
    pub(super) async fn follow(&mut self, step: &'a Step, place: &Place) {
        if step.section != self.section {
            self.end_section().await;
            self.section = &step.section;
        }
        match &step.action {
            Action::Save { path, text } => {
                let file = self.here(place).dir.join(path);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Action::Run(command) => self.run(step, command, place).await,
        }
    }

    /// The place as the terminal for commands that end has it now.
    fn here(&self, place: &Place) -> Place {
        Place { dir: self.dir.clone().unwrap_or_else(|| place.dir.clone()), ..place.clone() }
    }

    async fn run(&mut self, step: &'a Step, command: &'a Command, place: &Place) {
        let goes_on = command.until.is_some() || command.shown.as_ref().is_some_and(|shown| shown.goes_on());
        if !goes_on {
            let left = tempfile::NamedTempFile::new().unwrap();
            let and_where = format!("{}\npwd >{}", command.text, left.path().display());
            let terminal = Terminal::run(&and_where, &self.here(place));
            Running { step, command, terminal }.end().await;
            self.dir = Some(fs::read_to_string(left.path()).unwrap().trim_end().into());
            return;
        }
        let mut running = Running { step, command, terminal: Terminal::run(&command.text, place) };
        running.start().await;
        if command.text.trim() == "make run" {
            running.show().await;
            self.lines_tried = try_lines(&running.terminal.text(), place).await;
        }
        self.running.push(running);
    }

    /// Waits until everything that goes on has printed what is shown of it, then stops it, the last first.
    pub(super) async fn end_section(&mut self) {
        for running in &mut self.running {
            running.show().await;
        }
        while let Some(mut running) = self.running.pop() {
            let ended = running.terminal.ended();
            assert!(ended.is_none(), "{}:\n{}", running.what("does not go on"), running.terminal.text());
            running.terminal.interrupt().await;
        }
    }
}

impl Command {
    fn within(&self) -> Duration {
        if self.text.contains("make") { BUILD } else { WITHIN }
    }
}

impl Running<'_> {
    async fn end(&mut self) {
        let what = self.what("ends");
        let terminal = &mut self.terminal;
        let within = self.command.within();
        let status =
            eventually(&what, within, async || terminal.ended().ok_or_else(|| terminal.text())).await;
        let printed = self.terminal.text();
        assert!(status.success(), "{} with {}:\n{printed}", self.what("ended"), words(status));
        if let Some(shown) = &self.command.shown {
            shown
                .check(&printed)
                .unwrap_or_else(|error| panic!("{error}\n{}:\n{printed}", self.what("printed")));
        }
    }

    async fn start(&mut self) {
        let command = self.command;
        self.wait("starts", |printed| {
            let has_started = match (&command.until, &command.shown) {
                (Some(until), _) => printed.contains(until.as_str()),
                (None, shown) => shown.as_ref().is_none_or(|shown| shown.has_begun(printed)),
            };
            check(has_started, || "it says nothing of it".to_owned())
        })
        .await;
    }

    async fn show(&mut self) {
        let Some(shown) = &self.command.shown else { return };
        self.wait("prints what is shown", |printed| shown.check(printed)).await;
    }

    async fn wait(&mut self, what: &str, is_there: impl Fn(&str) -> Result<(), String>) {
        let what = self.what(what);
        let terminal = &mut self.terminal;
        eventually(&what, self.command.within(), async || {
            let ended = terminal.ended();
            let printed = terminal.text();
            let Err(reason) = is_there(&printed) else { return Ok(()) };
            let Some(status) = ended else { return Err(format!("{reason}\n{printed}")) };
            panic!("{what}: {reason}; it ended with {}:\n{printed}", words(status))
        })
        .await;
    }

    fn what(&self, what: &str) -> String {
        format!("README.md:{}: `{}` {what}", self.step.line, self.command.text.trim())
    }
}

/// Tries what `pushctl dev` prints, as it is printed; says how many lines that were.
async fn try_lines(printed: &str, place: &Place) -> usize {
    let after = printed.split_once("each in a terminal of its own:").expect("it prints lines to try").1;
    let lines: Vec<&str> = after
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("listening"))
        .filter(|l| !l.is_empty())
        .collect();
    let mut listener = None;
    for line in &lines {
        let mut terminal = Terminal::run(line, place);
        let listens = line.contains(" listen ");
        let what = format!("`{line}`, which `make run` printed, works");
        eventually(&what, WITHIN, async || match terminal.ended() {
            Some(status) if !listens && status.success() => Ok(()),
            Some(status) => panic!("{line}: {}:\n{}", words(status), terminal.text()),
            None if listens && terminal.text().contains("connected") => Ok(()),
            None => Err(terminal.text()),
        })
        .await;
        if listens {
            listener = Some(terminal);
        }
    }
    let listener = listener.expect("one of the lines listens");
    eventually("the listener got what the other lines pushed", WITHIN, async || {
        let text = listener.text();
        if text.matches("hello").count() == lines.len() - 1 { Ok(()) } else { Err(text) }
    })
    .await;
    lines.len()
}

#[cfg(test)]
mod tests {
    use super::{super::script::parse, *};

    /// Does what a README says, in a directory of its own.
    async fn read(readme: &str) {
        let steps = parse(readme).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = ("PATH".into(), std::env::var_os("PATH").unwrap());
        let place = Place { dir: dir.path().to_owned(), environment: vec![path] };
        let mut reader = Reader::default();
        for step in &steps {
            reader.follow(step, &place).await;
        }
        reader.end_section().await;
    }

    #[tokio::test]
    async fn what_goes_on_may_print_what_comes_of_a_later_command() {
        read(
            "```sh\nmkfifo pipe\necho up 1\ncat pipe\ncat pipe\n```\n```text\nup 7\nhello\n…\n```\n\
             ```python\n# try/it\n```\n```sh\ncat try/it\necho hello > pipe\n```\n```text\n# try/it\n```\n",
        )
        .await;
    }

    #[tokio::test]
    async fn a_terminal_stays_where_a_command_left_it() {
        read(
            "```sh\nmkdir try\ncd try\n```\n```python\n# here\n```\n```sh\n(cd ..)\n```\n\
             ```sh\nls\n```\n```text\nhere\n```\n```sh\nls\ncat\n```\n```text\ntry\n…\n```\n",
        )
        .await;
    }

    #[tokio::test]
    #[should_panic(expected = "README.md:5: `ls try` ended with exit code 2")]
    async fn a_command_that_leaves_the_reader_elsewhere_fails_the_next_one() {
        read("```sh\nmkdir try\ncd try\n```\n```sh\nls try\n```\n").await;
    }

    #[tokio::test]
    #[should_panic(expected = "README.md:4 shows something else: `two` is not `one`")]
    async fn another_output_than_shown_fails() {
        read("```sh\necho one\n```\n```text\ntwo\n```\n").await;
    }

    #[tokio::test]
    #[should_panic(expected = "README.md:1: `exit 3` ended with exit code 3")]
    async fn a_command_that_fails_fails() {
        read("```sh\nexit 3\n```\n").await;
    }

    #[tokio::test]
    #[should_panic(
        expected = "README.md:2: `echo down` starts: it says nothing of it; it ended with exit code 0:\ndown"
    )]
    async fn what_ends_instead_of_starting_fails() {
        read("<!-- until: up -->\n```sh\necho down\n```\n").await;
    }

    #[tokio::test]
    #[should_panic(expected = "`hello` was not printed; it ended with exit code 0")]
    async fn what_does_not_print_all_that_is_shown_fails() {
        read("```sh\necho up\n```\n```text\nup\nhello\n…\n```\n").await;
    }
}
