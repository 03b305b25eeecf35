//! Draws the state. What does not fit is left out: the charts first, then the topics, the least important first; the
//! title, a row of the nodes and the keys stay.

use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};
use tokio::time::Instant;

use super::{
    super::{
        nodes::{COLUMNS, row},
        numbers::span,
        style::{BAD, DIM, STRONG, TARGET, WARNING},
        table::{Cell, GAP, cut, fit},
    },
    charts,
    state::{Sort, State},
    summary::{Topic, topics},
};

/// Rows of nodes for which topics are left out.
const ROWS_AT_LEAST: usize = 3;
/// Columns of a topic's label: the longest and a gap, of one column where room is scarce.
const LABEL: usize = 12;
const LABEL_NARROW: usize = 11;
/// Below this many columns room is scarce.
const NARROW: usize = 60;

const HELP: [&str; 8] = [
    "q Esc Ctrl-C  quit",
    "p             pause",
    "+ -           a longer, shorter interval",
    "j k arrows    scroll the nodes",
    "s             by name, connections, lag",
    "",
    "efficiency: of the nodes reached, how",
    "many had somebody for the push",
];

/// What is known besides the state: the time, and whether colours are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene {
    pub(super) now: Instant,
    pub(super) has_colours: bool,
}

impl Scene {
    /// The same style on this screen.
    pub(super) fn style(self, style: anstyle::Style) -> Style {
        let effects = style.get_effects();
        let mut shown = Style::new();
        for (effect, modifier) in
            [(anstyle::Effects::BOLD, Modifier::BOLD), (anstyle::Effects::DIMMED, Modifier::DIM)]
        {
            if effects.contains(effect) {
                shown = shown.add_modifier(modifier);
            }
        }
        match style.get_fg_color() {
            Some(anstyle::Color::Ansi(colour)) if self.has_colours => shown.fg(ansi(colour)),
            _ => shown,
        }
    }
}

/// The colours that the command line uses.
fn ansi(colour: anstyle::AnsiColor) -> Color {
    match colour {
        anstyle::AnsiColor::Red => Color::Red,
        anstyle::AnsiColor::Green => Color::Green,
        anstyle::AnsiColor::Yellow => Color::Yellow,
        anstyle::AnsiColor::Cyan => Color::Cyan,
        _ => Color::Reset,
    }
}

/// Draws everything, and keeps the scrolling within what there is to scroll.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, scene: Scene) {
    let screen = frame.area();
    let width = usize::from(screen.width);
    let mut top = vec![title(state, width, scene)];
    top.extend(trouble(state, width, scene));
    let topics = topics(state);
    let n_nodes = state.nodes().len();

    let room = usize::from(screen.height).saturating_sub(top.len() + 1);
    let for_table = 1 + n_nodes.clamp(1, ROWS_AT_LEAST);
    let shown = most_important(&topics, room.saturating_sub(for_table));
    top.extend(shown.iter().map(|topic| topic_line(topic, width, state, scene)));
    let spare = room.saturating_sub(shown.len() + 1 + n_nodes.max(1));
    let charts_height = charts::height(spare);

    let (above, rest) = split(screen, top.len());
    let (charts_area, rest) = split(rest, charts_height);
    let (nodes_area, keys_area) = split(rest, usize::from(rest.height).saturating_sub(1));
    frame.render_widget(Paragraph::new(top), above);
    charts::draw(frame, charts_area, state, scene);
    let range = draw_nodes(frame, nodes_area, state, scene);
    frame.render_widget(Paragraph::new(keys(state, range, width, scene)), keys_area);
    if state.shows_help {
        draw_help(frame);
    }
}

/// The first so many rows, and the rest.
fn split(area: Rect, rows: usize) -> (Rect, Rect) {
    let rows = u16::try_from(rows).unwrap_or(u16::MAX).min(area.height);
    let upper = Rect { height: rows, ..area };
    (upper, Rect { y: area.y + rows, height: area.height - rows, ..area })
}

fn most_important(topics: &[Topic], lines: usize) -> Vec<&Topic> {
    let mut ranks: Vec<u8> = topics.iter().map(|topic| topic.rank).collect();
    ranks.sort_unstable();
    ranks.truncate(lines);
    topics.iter().filter(|topic| ranks.contains(&topic.rank)).collect()
}

fn title(state: &State, width: usize, scene: Scene) -> Line<'static> {
    let mut words = vec![(state.address.clone(), scene.style(TARGET))];
    if state.is_paused {
        words.push(("PAUSED".to_owned(), scene.style(WARNING.bold())));
    }
    if let Some(listed) = state.listed() {
        words.push((listed.manager_id.clone(), Style::new()));
    }
    if let Some(version) = state
        .sample()
        .and_then(|sample| sample.values_of("push_manager_build_info", "version").first().copied())
    {
        words.push((format!("version {version}"), Style::new()));
    }
    if let Some(up) = state.up_for(scene.now) {
        words.push((format!("up {}", span(up)), scene.style(WARNING)));
    }
    words.push((format!("every {}", humantime::format_duration(state.interval)), scene.style(DIM)));
    fitting(words, width)
}

fn trouble(state: &State, width: usize, scene: Scene) -> Option<Line<'static>> {
    let trouble = state.trouble()?;
    let lasted = span(scene.now.saturating_duration_since(trouble.since));
    let age = if state.listed().is_some() { ", figures are old" } else { "" };
    let text = format!("no answer for {lasted}{age}: {}", trouble.what);
    Some(Line::styled(cut(&text, width), scene.style(BAD.bold())))
}

fn topic_line(topic: &Topic, width: usize, state: &State, scene: Scene) -> Line<'static> {
    let label = if width < NARROW { LABEL_NARROW } else { LABEL };
    let mut line = Line::styled(format!("{:label$}", topic.label), scene.style(DIM));
    let is_old = state.trouble().is_some();
    let mut left = width.saturating_sub(label);
    for item in &topic.items {
        let needed = item.name.len() + 1 + item.value.len();
        if needed > left {
            break;
        }
        left = left.saturating_sub(needed + GAP);
        let style = match (item.is_bad, is_old) {
            (true, _) => BAD.bold(),
            (false, true) => DIM,
            (false, false) => STRONG,
        };
        line.push_span(Span::raw(format!("{} ", item.name)));
        line.push_span(Span::styled(item.value.clone(), scene.style(style)));
        line.push_span(Span::raw(" ".repeat(GAP)));
    }
    line
}

/// Draws the table; says which nodes of how many are shown, if not all are.
fn draw_nodes(frame: &mut Frame<'_>, area: Rect, state: &mut State, scene: Scene) -> Option<String> {
    let n_nodes = state.nodes().len();
    let visible = usize::from(area.height).saturating_sub(1);
    state.scroll = state.scroll.min(n_nodes.saturating_sub(visible));
    let rows: Vec<[Cell; 8]> =
        state.nodes().into_iter().map(|node| row(node, state.is_silent(node))).collect();
    let columns = fit(&COLUMNS, &rows, Some(usize::from(area.width)));
    let is_old = state.trouble().is_some();
    let line = |cells: &mut dyn Iterator<Item = (Cell, usize)>| {
        let span = |(cell, width): (Cell, usize)| {
            let text = format!("{:width$}{:GAP$}", cut(&cell.text, width), "");
            Span::styled(text, scene.style(if is_old { DIM } else { cell.style }))
        };
        Line::from(cells.map(span).collect::<Vec<_>>())
    };
    let mut lines =
        vec![line(&mut columns.iter().map(|column| (Cell::styled(column.title, STRONG), column.width)))];
    let shown = rows.iter().skip(state.scroll).take(visible);
    lines.extend(
        shown.map(|row| line(&mut columns.iter().map(|column| (row[column.index].clone(), column.width)))),
    );
    if n_nodes == 0 && state.listed().is_some() {
        lines.push(Line::styled("no node is known", scene.style(WARNING)));
    }
    frame.render_widget(Paragraph::new(lines), area);
    let last = (state.scroll + visible).min(n_nodes);
    (visible < n_nodes).then(|| format!("nodes {}-{last} of {n_nodes}", state.scroll + 1))
}

fn keys(state: &State, range: Option<String>, width: usize, scene: Scene) -> Line<'static> {
    let sort = match state.sort {
        Sort::Name => "name",
        Sort::Connections => "connections",
        Sort::Lag => "lag",
    };
    let pause = if state.is_paused { "p go on" } else { "p pause" };
    let texts = ["q quit", "? help", pause].map(str::to_owned).into_iter().chain(range);
    let texts = texts.chain([format!("s sort: {sort}"), "+ - interval".to_owned(), "j k scroll".to_owned()]);
    fitting(texts.map(|text| (text, scene.style(DIM))).collect(), width)
}

/// As many of the words as fit; the first in any case.
fn fitting(words: Vec<(String, Style)>, width: usize) -> Line<'static> {
    let mut line = Line::default();
    let mut left = width;
    for (text, style) in words {
        let text = if line.spans.is_empty() { cut(&text, width) } else { text };
        let needed = Line::raw(text.as_str()).width();
        if needed > left {
            continue;
        }
        left = left.saturating_sub(needed + GAP);
        line.push_span(Span::styled(text, style));
        line.push_span(Span::raw(" ".repeat(GAP)));
    }
    line
}

fn draw_help(frame: &mut Frame<'_>) {
    let screen = frame.area();
    let width = HELP.iter().map(|line| line.len()).max().unwrap_or(0) as u16 + 4;
    let height = HELP.len() as u16 + 2;
    let is_roomy = width <= screen.width;
    let area = Rect {
        x: screen.width.saturating_sub(width) / 2,
        y: screen.height.saturating_sub(height) / 2,
        width: width.min(screen.width),
        height: height.min(screen.height),
    };
    let block = Block::bordered().title(" keys; ? again closes ");
    // One column of air, where there is room for it.
    let lines = HELP.map(|line| Line::raw(if is_roomy { format!(" {line}") } else { line.to_owned() }));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines.to_vec()).block(block), area);
}

#[cfg(test)]
mod tests;
