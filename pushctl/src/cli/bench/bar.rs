//! The line that moves while a load runs; nothing of it is in a pipe.

use std::{
    cell::Cell,
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use super::super::{
    style::{DIM, TARGET, paint},
    table::cut,
};

/// Often enough to look alive.
const EVERY: Duration = Duration::from_millis(100);
/// Columns of the bar itself.
const WIDTH: usize = 20;

/// The line on standard error, if that is a terminal.
#[derive(Debug)]
pub(super) struct Bar {
    is_shown: bool,
    last: Cell<Option<Instant>>,
}

impl Bar {
    pub(super) fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), last: Cell::new(None) }
    }

    /// How often [`show`](Self::show) is worth a call.
    pub(super) const fn every() -> Duration {
        EVERY
    }

    /// Shows how far something is, unless that was just done.
    pub(super) fn show(&self, what: &str, part: f64, beside: impl FnOnce() -> String) {
        let now = Instant::now();
        if !self.is_shown || self.last.get().is_some_and(|last| now - last < EVERY) {
            return;
        }
        self.last.set(Some(now));
        let columns = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let (bar, words) = (drawn(part), beside());
        let room = columns.saturating_sub(WIDTH + what.len() + 5);
        let line = format!("{what} {} {}", paint(TARGET, bar), paint(DIM, cut(&words, room)));
        // Where standard error is closed there is nobody to show it to.
        let _unread = write!(anstream::stderr(), "\r\x1b[2K{line}").and_then(|()| io::stderr().flush());
    }

    /// Takes it away again, so that what is printed next begins a line.
    pub(super) fn clear(&self) {
        if self.last.take().is_some() {
            let _unread = write!(anstream::stderr(), "\r\x1b[2K").and_then(|()| io::stderr().flush());
        }
    }
}

fn drawn(part: f64) -> String {
    let full = (part.clamp(0.0, 1.0) * WIDTH as f64).round() as usize;
    format!("{}{}", "━".repeat(full), "╌".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_its_part() {
        assert_eq!(drawn(0.0), "╌".repeat(20));
        assert_eq!(drawn(0.5), "━".repeat(10) + &"╌".repeat(10));
        assert_eq!([drawn(1.0), drawn(7.0)], ["━".repeat(20), "━".repeat(20)]);
        assert_eq!(drawn(f64::NAN).chars().count(), 20);
    }
}
