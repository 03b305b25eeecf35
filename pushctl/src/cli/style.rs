//! The few colours of the command line, each with one meaning.
//!
//! Text is painted always and printed through anstream, which leaves the colours out where they do not belong: in a
//! pipe, on a dumb terminal, with NO_COLOR.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};
use clap::builder::Styles;

/// What matters in a line: whom a push is for, what a count is.
pub(super) const STRONG: Style = Style::new().bold();
/// Whom a push came for, what to type.
pub(super) const TARGET: Style = AnsiColor::Cyan.on_default().bold();
/// What one may overlook: times, ids, remarks.
pub(super) const DIM: Style = Style::new().dimmed();
/// As it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// On its way to good or to bad.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default();
/// Wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
const ERROR: Style = BAD.bold();
const TIP: Style = GOOD.bold();

/// The help and the errors of clap.
pub(super) const CLAP: Styles = Styles::styled()
    .header(STRONG)
    .usage(STRONG)
    .literal(TARGET)
    .placeholder(Style::new())
    .error(ERROR)
    .valid(TIP)
    .invalid(WARNING);

/// The text with its colour around it.
pub(super) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// `error:`, as clap writes it.
pub(super) fn error_label() -> String {
    paint(ERROR, "error:")
}

/// `tip:`, as clap writes it.
pub(super) fn tip_label() -> String {
    paint(TIP, "tip:")
}

/// How a node's own state is shown.
pub(super) fn of_state(state: &str) -> Style {
    match state {
        "ready" => GOOD,
        "starting" | "draining" => WARNING,
        _ => DIM,
    }
}

/// How a link's state is shown.
pub(super) fn of_link(link: &str) -> Style {
    match link {
        "linked" => GOOD,
        "linking" => WARNING,
        "down" => BAD,
        _ => DIM,
    }
}
