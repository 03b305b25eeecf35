//! Two kinds of plot as SVG. By hand: a plotting library brings fonts, backends and thirty crates for two pictures, and
//! its text would not be text.

/// Width of a picture, in the SVG's own units.
const WIDTH: f64 = 760.0;

/// Room for names left of the bars, and for values right of them.
const LEFT: f64 = 180.0;
const RIGHT: f64 = 70.0;

const TOP: f64 = 64.0;

const BAR: f64 = 14.0;
const GAP: f64 = 12.0;

/// Told apart by those who see colours differently, too (Okabe and Ito).
const COLOURS: [&str; 4] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7"];

/// Some bars with one name.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// One per series.
    pub(crate) values: Vec<f64>,
}

/// Horizontal bars.
pub(crate) struct Bars<'a> {
    pub(crate) title: &'a str,
    pub(crate) series: &'a [&'a str],
    pub(crate) groups: Vec<Group>,
}

impl Bars<'_> {
    pub(crate) fn svg(&self, label: impl Fn(f64) -> String) -> String {
        let most = self.groups.iter().flat_map(|group| &group.values).copied().fold(0.0, f64::max);
        let scale = if most > 0.0 { (WIDTH - LEFT - RIGHT) / most } else { 0.0 };
        let mut body = String::new();
        let mut y = TOP;
        for group in &self.groups {
            let middle = y + BAR * group.values.len() as f64 / 2.0;
            body.push_str(&text(LEFT - 10.0, middle + 4.0, "end", &group.name));
            for (n, value) in group.values.iter().enumerate() {
                let (width, colour) = (value * scale, COLOURS[n % COLOURS.len()]);
                body.push_str(&format!(
                    "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>\n",
                    BAR - 2.0
                ));
                body.push_str(&text(LEFT + width + 5.0, y + BAR - 4.0, "start", &label(*value)));
                y += BAR;
            }
            y += GAP;
        }
        page(y, self.title, self.series, &body)
    }
}

/// Points that belong together, from left to right.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines over a logarithmic axis; the other one begins at 0.
pub(crate) struct Lines<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) lines: Vec<Line>,
}

/// Height of the area with the lines.
const AREA: f64 = 260.0;

/// Lines across it.
const STEPS: u32 = 4;

impl Lines<'_> {
    pub(crate) fn svg(&self, label: impl Fn(f64) -> String) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let most = points().map(|(_, y)| *y).fold(0.0, f64::max);
        let most = if most > 0.0 { most * 1.1 } else { 1.0 };
        let first = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min).max(1.0);
        let last = points().map(|(x, _)| *x).fold(first * 1.001, f64::max);
        let (left, right, bottom) = (70.0, WIDTH - 30.0, TOP + AREA);
        let at = |x: f64, y: f64| {
            let along = (x.max(first) / first).ln() / (last / first).ln();
            (left + along * (right - left), bottom - y.max(0.0) / most * AREA)
        };
        let mut body = String::new();
        for step in 0..=STEPS {
            let value = most * f64::from(step) / f64::from(STEPS);
            let (_, y) = at(first, value);
            body.push_str(&format!(
                "<line x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\n"
            ));
            body.push_str(&text(left - 8.0, y + 4.0, "end", &label(value)));
        }
        let mut ticks: Vec<f64> = points().map(|(x, _)| *x).collect();
        ticks.sort_unstable_by(f64::total_cmp);
        ticks.dedup();
        for tick in ticks {
            body.push_str(&text(at(tick, 0.0).0, bottom + 18.0, "middle", &format!("{tick}")));
        }
        body.push_str(&text(f64::midpoint(left, right), bottom + 38.0, "middle", self.x));
        for (n, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            let mut path = String::new();
            for &(x, y) in &line.points {
                let (x, y) = at(x, y);
                path.push_str(&format!("{x:.1},{y:.1} "));
                body.push_str(&format!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>\n"
                ));
            }
            let path = path.trim_end();
            body.push_str(&format!(
                "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n"
            ));
        }
        let names: Vec<&str> = self.lines.iter().map(|line| line.name.as_str()).collect();
        page(bottom + 50.0, self.title, &names, &body)
    }
}

/// On white, so that it can be read on a dark page as well.
fn page(height: f64, title: &str, series: &[&str], body: &str) -> String {
    let mut legend = String::new();
    let mut x = 20.0;
    for (n, name) in series.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        legend.push_str(&format!(
            "<rect x=\"{x:.1}\" y=\"38\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\n"
        ));
        legend.push_str(&text(x + 18.0, 48.0, "start", name));
        // A letter is about 7 wide.
        x += 42.0 + 7.0 * name.chars().count() as f64;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
         height=\"{height:.0}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222222\" role=\"img\">\n\
         <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"20\" y=\"24\" font-size=\"15\" font-weight=\"bold\">{title}</text>\n{legend}{body}</svg>\n",
        title = escaped(title)
    )
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n", escaped(text))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let group = |name: &str, values: &[f64]| Group { name: name.to_owned(), values: values.to_vec() };
        let bars = Bars {
            title: "a < b",
            series: &["x", "y"],
            groups: vec![group("one & two", &[1.0, 4.0]), group("none", &[0.0, 2.0])],
        };
        let svg = bars.svg(|value| format!("{value}"));
        let whole = WIDTH - LEFT - RIGHT;
        for width in [whole, whole / 4.0, whole / 2.0, 0.0] {
            assert!(svg.contains(&format!("width=\"{width:.1}\" height=\"12.0\"")), "{width} in {svg}");
        }
        assert!(svg.contains("a &lt; b") && svg.contains("one &amp; two"));
    }

    #[test]
    fn a_decade_is_as_wide_as_the_next() {
        let points = vec![(1.0, 0.0), (10.0, 1.0), (100.0, 2.0)];
        let lines = Lines { title: "t", x: "nodes", lines: vec![Line { name: "l".to_owned(), points }] };
        let svg = lines.svg(|value| format!("{value:.1}"));
        assert!(svg.contains("cx=\"70.0\" cy=\"324.0\""), "{svg}");
        assert!(svg.contains("cx=\"400.0\"") && svg.contains("cx=\"730.0\""), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_still_a_picture() {
        let empty = Bars { title: "t", series: &[], groups: Vec::new() }.svg(|_| String::new());
        let lines = Lines { title: "t", x: "x", lines: Vec::new() }.svg(|_| String::new());
        for svg in [empty, lines] {
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
