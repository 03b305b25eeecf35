//! Sparklines of the last intervals, side by side.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::Line,
    widgets::{Paragraph, Sparkline},
};

use super::{
    super::{
        numbers::{latency, rate},
        style::{GOOD, STRONG, TARGET, WARNING},
    },
    state::{Point, State},
    view::Scene,
};

/// A title and bars; less shows nothing.
const HEIGHT: usize = 5;
/// Where there is room to spare.
const TALL: usize = 8;
/// A chart narrower than this is too short a time.
const WIDTH_AT_LEAST: u16 = 20;
/// Bars are whole numbers: of the highest one they are this fine.
const STEPS: f64 = 1000.0;

struct Chart {
    title: &'static str,
    style: anstyle::Style,
    of: fn(&Point) -> f64,
    shown: fn(f64) -> String,
}

const CHARTS: [Chart; 3] = [
    Chart { title: "pushes/s", style: TARGET, of: |point| point.pushes_per_s, shown: rate },
    Chart {
        title: "ack p99",
        style: WARNING,
        of: |point| point.ack_p99,
        shown: |seconds| latency((seconds > 0.0).then_some(seconds)),
    },
    Chart { title: "delivered/s", style: GOOD, of: |point| point.delivered_per_s, shown: rate },
];

/// How many of these spare rows the charts take.
pub(super) fn height(spare: usize) -> usize {
    match spare {
        0..HEIGHT => 0,
        HEIGHT..TALL => HEIGHT,
        _ => TALL,
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, state: &State, scene: Scene) {
    if area.height < 3 {
        return;
    }
    // A blank line before and behind.
    let area = Rect { y: area.y + 1, height: area.height - 2, ..area };
    let n = usize::from(area.width / WIDTH_AT_LEAST).clamp(1, CHARTS.len());
    let places = Layout::horizontal(vec![Constraint::Fill(1); n]).spacing(2).split(area);
    for (chart, place) in CHARTS.iter().zip(places.iter()) {
        draw_one(frame, *place, chart, state, scene);
    }
}

fn draw_one(frame: &mut Frame<'_>, area: Rect, chart: &Chart, state: &State, scene: Scene) {
    let values: Vec<f64> = state.history(usize::from(area.width)).map(chart.of).collect();
    let highest = values.iter().copied().fold(0.0, f64::max);
    let bars: Vec<u64> =
        values.iter().map(|value| if highest > 0.0 { (STEPS * value / highest) as u64 } else { 0 }).collect();
    let latest = values.last().map_or_else(|| "-".to_owned(), |&latest| (chart.shown)(latest));
    let now = format!("{} {latest}", chart.title);
    let both = format!("{now}  max {}", (chart.shown)(highest));
    let title = if both.len() <= usize::from(area.width) { both } else { now };
    let title_area = Rect { height: 1, ..area };
    frame.render_widget(Paragraph::new(Line::styled(title, scene.style(STRONG))), title_area);
    let bars_area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    let sparkline = Sparkline::default().data(&bars).max(STEPS as u64).style(scene.style(chart.style));
    frame.render_widget(sparkline, bars_area);
}
