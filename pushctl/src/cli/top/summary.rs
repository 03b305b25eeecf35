//! The figures in words: lines of items, the same on the screen and in a snapshot.

use pushctl::figures::{Figures, Latency, Sample};

use super::{
    super::numbers::{bytes, count, latency, percent, rate},
    state::State,
};

/// One line: what it is about, and its items, the most important first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) label: &'static str,
    /// Which topics go first where room is scarce: those with the largest.
    pub(super) rank: u8,
    pub(super) items: Vec<Item>,
}

/// A figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) value: String,
    /// Somebody should look into it.
    pub(super) is_bad: bool,
}

/// Everything there is to say, from top to bottom. Empty before the first look.
pub(super) fn topics(state: &State) -> Vec<Topic> {
    let Some(sample) = state.sample() else { return Vec::new() };
    // Before the second look the totals are known and the rates are not.
    let figures = state.figures();
    vec![
        Topic { label: "pushes", rank: 0, items: pushes(figures, sample) },
        Topic { label: "nodes/s", rank: 3, items: nodes(figures) },
        Topic { label: "efficiency", rank: 1, items: efficiency(figures, sample) },
        Topic { label: "request", rank: 2, items: quantiles(figures.map(|figures| figures.request)) },
        Topic { label: "ack", rank: 5, items: quantiles(figures.map(|figures| figures.ack)) },
        Topic { label: "log", rank: 6, items: log(sample) },
        Topic { label: "trouble", rank: 4, items: trouble(sample) },
    ]
}

fn item(name: impl Into<String>, value: String) -> Item {
    Item { name: name.into(), value, is_bad: false }
}

fn known(figure: Option<f64>) -> String {
    figure.map_or_else(|| "-".to_owned(), rate)
}

fn pushes(figures: Option<&Figures>, sample: &Sample) -> Vec<Item> {
    let totals = Figures::between(sample, sample, 1.0);
    let mut items = vec![
        item("per s", known(figures.map(|figures| figures.pushes_per_s))),
        item("total", count(totals.pushes)),
    ];
    let by_api = figures.map(|figures| figures.pushes_per_s_by_api.as_slice()).unwrap_or_default();
    let refused = figures.map_or(0.0, |figures| figures.refused_per_s);
    items.push(Item { is_bad: refused > 0.0, ..item("refused/s", rate(refused)) });
    items.extend(by_api.iter().map(|(api, per_s)| item(api.as_str(), rate(*per_s))));
    items
}

fn nodes(figures: Option<&Figures>) -> Vec<Item> {
    let mut items = vec![
        item("reached", known(figures.map(|figures| figures.nodes_per_s))),
        item("delivered", known(figures.map(|figures| figures.delivered_per_s))),
    ];
    let connections = figures.and_then(|figures| figures.deliveries_per_s);
    items.extend(connections.map(|per_s| item("connections", rate(per_s))));
    items
}

fn efficiency(figures: Option<&Figures>, sample: &Sample) -> Vec<Item> {
    let totals = Figures::between(sample, sample, 1.0);
    vec![
        item("now", percent(figures.and_then(Figures::efficiency_now))),
        item("since start", percent(totals.efficiency())),
    ]
}

fn quantiles(of: Option<Latency>) -> Vec<Item> {
    let of = of.unwrap_or_default();
    vec![item("p50", latency(of.p50)), item("p99", latency(of.p99))]
}

fn log(sample: &Sample) -> Vec<Item> {
    let gauge = |name: &str| sample.sum(name, &[]).unwrap_or(0.0);
    vec![
        item("head", count(gauge("push_manager_log_head"))),
        item("holds", bytes(gauge("push_manager_log_bytes"))),
        item("age", format!("{} s", count(gauge("push_manager_log_age_seconds")))),
    ]
}

fn trouble(sample: &Sample) -> Vec<Item> {
    let counters = [
        ("pending", "push_manager_pending_answers_total"),
        ("gaps", "push_manager_gap_messages_total"),
        ("link failures", "push_manager_link_failures_total"),
    ];
    let counted = counters.map(|(name, metric)| {
        let value = sample.sum(metric, &[]).unwrap_or(0.0);
        // Counted since the start: a lost message stays bad news, the others are history.
        Item { is_bad: name == "gaps" && value > 0.0, ..item(name, count(value)) }
    });
    counted.into()
}

#[cfg(test)]
mod tests {
    use super::{super::state::tests::seen, *};

    fn text(state: &State) -> String {
        let line = |topic: &Topic| {
            let items: Vec<String> =
                topic.items.iter().map(|item| format!("{} {}", item.name, item.value)).collect();
            format!("{}: {}\n", topic.label, items.join(", "))
        };
        topics(state).iter().map(line).collect()
    }

    #[test]
    fn everything_is_said() {
        let expected = "pushes: per s 60.0, total 1,090, refused/s 0, PushToRoom 60.0\n\
                        nodes/s: reached 180, delivered 60.0\n\
                        efficiency: now 33 %, since start 33 %\n\
                        request: p50 0.50 ms, p99 0.99 ms\n\
                        ack: p50 0.50 ms, p99 0.99 ms\n\
                        log: head 1,090, holds 2.0 KiB, age 12 s\n\
                        trouble: pending 4, gaps 0, link failures 1\n";
        assert_eq!(text(&seen(&[1030, 1090]).0), expected);
    }

    #[test]
    fn before_the_second_look_totals_are_known_and_rates_are_not() {
        assert_eq!(text(&seen(&[]).0), "");
        let text = text(&seen(&[30]).0);
        assert!(text.starts_with("pushes: per s -, total 30, refused/s 0\n"), "{text}");
        assert!(text.contains("efficiency: now -, since start 33 %\n"), "{text}");
    }
}
