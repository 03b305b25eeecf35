//! A table as wide as the terminal: what does not fit is left out, the least important first.

use anstyle::Style;
use unicode_width::UnicodeWidthStr as _;

use super::style::{STRONG, paint};

/// Between two columns.
pub(super) const GAP: usize = 2;
/// The first column is never cut shorter than this, however narrow the terminal.
const FIRST_AT_LEAST: usize = 4;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// What stands above it.
    pub(super) title: &'static str,
    /// The same where room is scarce.
    pub(super) short: &'static str,
    /// Which column goes first where room is scarce: the one with the largest. The first column always stays.
    pub(super) rank: u8,
}

/// A text in a table and its colour.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) style: Style,
}

impl Cell {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::styled(text, Style::new())
    }

    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

/// One column of those that fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fitted {
    /// Which.
    pub(super) index: usize,
    /// What stands above it.
    pub(super) title: &'static str,
    /// How wide it is.
    pub(super) width: usize,
}

/// The columns that fit into a width, in their order; without one all do.
pub(super) fn fit<const N: usize>(
    columns: &[Column; N],
    rows: &[[Cell; N]],
    width: Option<usize>,
) -> Vec<Fitted> {
    let sized = |title: fn(&Column) -> &'static str| {
        let of_column = |(index, column): (usize, &Column)| {
            let cells = rows.iter().map(|row| row[index].text.width());
            let title = title(column);
            Fitted { index, title, width: cells.max().unwrap_or(0).max(title.width()) }
        };
        columns.iter().enumerate().map(of_column).collect::<Vec<_>>()
    };
    let mut fitted = sized(|column| column.title);
    let Some(width) = width else { return fitted };
    if total(&fitted) > width {
        fitted = sized(|column| column.short);
    }
    while total(&fitted) > width && fitted.len() > 1 {
        let least = fitted.iter().skip(1).map(|column| columns[column.index].rank).max();
        fitted.retain(|column| column.index == 0 || Some(columns[column.index].rank) != least);
    }
    let over = total(&fitted).saturating_sub(width);
    if let Some(first) = fitted.first_mut() {
        first.width = first.width.saturating_sub(over).max(FIRST_AT_LEAST);
    }
    fitted
}

/// The table as painted text, its lines without trailing blanks.
pub(super) fn table<const N: usize>(
    columns: &[Column; N],
    rows: &[[Cell; N]],
    width: Option<usize>,
) -> String {
    let fitted = fit(columns, rows, width);
    let head = fitted.iter().map(|column| (Cell::styled(column.title, STRONG), column.width)).collect();
    let body = rows
        .iter()
        .map(|row| fitted.iter().map(|column| (row[column.index].clone(), column.width)).collect());
    std::iter::once(head).chain(body).map(line).collect::<Vec<_>>().join("\n")
}

fn line(cells: Vec<(Cell, usize)>) -> String {
    let mut line = String::new();
    let mut gap = 0;
    for (cell, width) in cells {
        let text = cut(&cell.text, width);
        line.push_str(&" ".repeat(gap));
        line.push_str(&paint(cell.style, &text));
        gap = GAP + width.saturating_sub(text.width());
    }
    line
}

/// The text in at most this many columns; what is missing at its end shows as `…`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if kept.width() >= width {
            kept.pop();
            break;
        }
    }
    kept.push('…');
    kept
}

fn total(columns: &[Fitted]) -> usize {
    columns.iter().map(|column| column.width).sum::<usize>() + GAP * columns.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column { title: "NODE", short: "NODE", rank: 0 },
        Column { title: "CONNECTIONS", short: "CONNS", rank: 1 },
        Column { title: "ADDRESS", short: "ADDRESS", rank: 2 },
    ];

    fn shown(width: Option<usize>) -> String {
        let row = |cells: [&str; 3]| cells.map(Cell::plain);
        let text = table(&COLUMNS, &[row(["n1", "12", "h:1"]), row(["a-long-name-7", "3", "h:22"])], width);
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn without_a_width_everything_is_shown() {
        let expected = "NODE           CONNECTIONS  ADDRESS\n\
                        n1             12           h:1\n\
                        a-long-name-7  3            h:22";
        assert_eq!(shown(None), expected);
        assert_eq!(shown(Some(35)), expected);
    }

    #[test]
    fn where_room_is_scarce_titles_shorten_then_columns_go_then_names_are_cut() {
        assert_eq!(shown(Some(34)).lines().next(), Some("NODE           CONNS  ADDRESS"));
        assert_eq!(shown(Some(28)).lines().next(), Some("NODE           CONNS"));
        assert_eq!(shown(Some(13)), "NODE\nn1\na-long-name-7");
        assert_eq!(shown(Some(8)), "NODE\nn1\na-long-…");
        assert_eq!(shown(Some(1)), "NODE\nn1\na-l…");
    }

    #[test]
    fn wide_characters_count_as_two() {
        assert_eq!(cut("聊天室", 6), "聊天室");
        assert_eq!(cut("聊天室", 5), "聊天…");
        assert_eq!(cut("聊天室", 4), "聊…");
    }
}
