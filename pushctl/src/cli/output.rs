//! What is printed, and how failing is worded. Standard output carries data, standard error what is said about it.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
};

use serde::Serialize;

use super::{
    readable,
    style::{DIM, error_label, paint, tip_label},
};

/// The caller has to say something else; nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Misuse(pub(super) String);

/// What to do about an error; the outermost context of one.
#[derive(Debug)]
struct Tip(String);

impl fmt::Display for Tip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error, with what to do about it.
pub(super) fn with_tip(error: impl Into<anyhow::Error>, tip: impl Into<String>) -> anyhow::Error {
    error.into().context(Tip(tip.into()))
}

/// How many columns the terminal has that standard output goes to; none if it goes elsewhere.
pub(super) fn terminal_width() -> Option<usize> {
    if !io::stdout().is_terminal() {
        return None;
    }
    crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns)).filter(|&columns| columns > 0)
}

/// Writes painted lines to standard output at once, so that a reader of the pipe sees each as it comes.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Writes bytes and a line feed, as they are. Not for a terminal.
pub(super) fn print_raw(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Writes one line of JSON.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(print_raw(readable::json(&serde_json::to_string(value)?).as_bytes())?)
}

/// Tells the person, beside the output.
pub(super) fn remark(text: &str) {
    let text = paint(DIM, format_args!("pushctl: {}", readable::remark(text)));
    // Where standard error is closed there is nobody to tell.
    let _unread = writeln!(anstream::stderr(), "{text}");
}

/// Tells the person a line as it is, to be copied.
pub(super) fn say(line: &str) {
    let _unread = writeln!(anstream::stderr(), "{line}");
}

/// Tells the person what to do.
pub(super) fn tip(text: &str) {
    let _unread = writeln!(anstream::stderr(), "  {} {}", tip_label(), readable::remark(text));
}

/// Leaves the line on which a terminal shows `^C` to that.
pub(super) fn leave_line() {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let _unread = writeln!(stderr);
    }
}

/// Tells why it failed, and what to do about it.
pub(super) fn complain(error: &anyhow::Error) {
    let said_tip = error.downcast_ref::<Tip>();
    let chain = error.chain().skip(usize::from(said_tip.is_some()));
    let what = chain.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    let _unread = writeln!(anstream::stderr(), "{} {}", error_label(), readable::remark(&what));
    if let Some(Tip(text)) = said_tip {
        tip(text);
    }
}

/// `1 node`, `2 nodes`.
pub(super) fn counted(number: impl Into<u64>, noun: &str) -> String {
    let number = number.into();
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
