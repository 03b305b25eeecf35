//! What the metrics of a process say between two looks at them: rates, efficiency, latencies.

use std::collections::BTreeMap;

/// Every series of one scrape in the Prometheus text format.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    series: BTreeMap<String, Vec<Series>>,
}

#[derive(Debug, Clone)]
struct Series {
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    /// Reads a scrape. Lines that are no samples (comments, what a later version may add) are left out.
    pub fn parse(text: &str) -> Self {
        let mut sample = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, series)) = parse_line(line) {
                sample.series.entry(name.to_owned()).or_default().push(series);
            }
        }
        sample
    }

    /// The sum of all series of this name that have these labels; `None` if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut values = self.matching(name, labels).map(|series| series.value).peekable();
        values.peek()?;
        Some(values.sum())
    }

    /// The values that a label has in the series of this name, sorted, each once.
    pub fn values_of(&self, name: &str, label: &str) -> Vec<&str> {
        let mut values: Vec<&str> =
            self.matching(name, &[]).filter_map(|series| series.label(label)).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Series> {
        let series = self.series.get(name).map_or(&[][..], Vec::as_slice);
        series.iter().filter(move |series| {
            labels.iter().all(|&(label, value)| series.label(label).is_some_and(|has| has == value))
        })
    }

    /// A histogram's cumulative counts by upper bound, over all its other labels.
    fn buckets(&self, name: &str) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for series in self.matching(&format!("{name}_bucket"), &[]) {
            let Some(bound) = series.label("le").and_then(|le| le.parse().ok()) else { continue };
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += series.value,
                None => buckets.push((bound, series.value)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }
}

impl Series {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// `name{label="value",…} number`; label values of ours hold neither quotes nor commas.
fn parse_line(line: &str) -> Option<(&str, Series)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels
        .trim_end_matches('}')
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(label, value)| (label.to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    Some((name, Series { labels, value: value.parse().ok()? }))
}

/// What a push-manager did between two scrapes. Where it restarted in between, its counters began anew
/// and count from there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Pushes answered since the start.
    pub pushes: f64,
    /// Pushes answered each second.
    pub pushes_per_s: f64,
    /// The same by `api`, sorted by name.
    pub pushes_per_s_by_api: Vec<(String, f64)>,
    /// Pushes refused each second, for whatever reason.
    pub refused_per_s: f64,
    /// Acknowledgements since the start: nodes that pushes went to.
    pub nodes: f64,
    /// Those of them that had somebody for the push.
    pub delivered: f64,
    /// Acknowledgements each second.
    pub nodes_per_s: f64,
    /// Those of them that had somebody.
    pub delivered_per_s: f64,
    /// Messages placed in connections each second; only where nodes run in the same process.
    pub deliveries_per_s: Option<f64>,
    /// From acceptance to the answer.
    pub request: Latency,
    /// From acceptance to one node's acknowledgement.
    pub ack: Latency,
}

/// Quantiles in seconds, interpolated within the histogram's buckets; `None` while nothing happened.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Latency {
    /// The median.
    pub p50: Option<f64>,
    /// 99 of 100 were faster.
    pub p99: Option<f64>,
}

const REQUESTS: &str = "push_manager_requests_total";
const NODES: &str = "push_manager_broadcast_nodes_total";
const DELIVERED: &str = "push_manager_broadcast_delivered_total";

impl Figures {
    /// What happened between two scrapes `seconds` apart.
    pub fn between(earlier: &Sample, later: &Sample, seconds: f64) -> Self {
        let rate = |name: &str, labels: &[(&str, &str)]| {
            grown(earlier.sum(name, labels), later.sum(name, labels)).map(|grown| grown / seconds)
        };
        let answered = rate(REQUESTS, &[("code", "OK")]).unwrap_or(0.0);
        let by_api = later
            .values_of(REQUESTS, "api")
            .into_iter()
            .map(|api| (api.to_owned(), rate(REQUESTS, &[("api", api), ("code", "OK")]).unwrap_or(0.0)));
        Self {
            pushes: later.sum(REQUESTS, &[("code", "OK")]).unwrap_or(0.0),
            pushes_per_s: answered,
            pushes_per_s_by_api: by_api.collect(),
            refused_per_s: rate(REQUESTS, &[]).unwrap_or(0.0) - answered,
            nodes: later.sum(NODES, &[]).unwrap_or(0.0),
            delivered: later.sum(DELIVERED, &[]).unwrap_or(0.0),
            nodes_per_s: rate(NODES, &[]).unwrap_or(0.0),
            delivered_per_s: rate(DELIVERED, &[]).unwrap_or(0.0),
            deliveries_per_s: rate("connect_node_delivered_messages_total", &[]),
            request: Latency::between(earlier, later, "push_manager_request_seconds"),
            ack: Latency::between(earlier, later, "push_manager_ack_seconds"),
        }
    }

    /// Of the nodes that pushes went to since the start, the part that had somebody for them.
    pub fn efficiency(&self) -> Option<f64> {
        (self.nodes > 0.0).then(|| self.delivered / self.nodes)
    }

    /// The same, between the two scrapes.
    pub fn efficiency_now(&self) -> Option<f64> {
        (self.nodes_per_s > 0.0).then(|| self.delivered_per_s / self.nodes_per_s)
    }
}

impl Latency {
    fn between(earlier: &Sample, later: &Sample, name: &str) -> Self {
        let before: Vec<f64> = earlier.buckets(name).into_iter().map(|(_, count)| count).collect();
        let mut buckets = later.buckets(name);
        let last = |counts: &[f64]| counts.last().copied().unwrap_or(0.0);
        let now: Vec<f64> = buckets.iter().map(|(_, count)| *count).collect();
        // A process that restarted counts from nothing.
        if before.len() == now.len() && last(&before) <= last(&now) {
            for ((_, count), before) in buckets.iter_mut().zip(before) {
                *count -= before;
            }
        }
        Self { p50: quantile(&buckets, 0.5), p99: quantile(&buckets, 0.99) }
    }
}

/// How much a counter grew; a counter that fell began anew.
fn grown(earlier: Option<f64>, later: Option<f64>) -> Option<f64> {
    let later = later?;
    let earlier = earlier.unwrap_or(0.0);
    Some(if later < earlier { later } else { later - earlier })
}

/// As Prometheus' `histogram_quantile`: linear within a bucket; the last finite bound for what is beyond.
fn quantile(buckets: &[(f64, f64)], q: f64) -> Option<f64> {
    let total = buckets.last()?.1;
    if total <= 0.0 {
        return None;
    }
    let rank = q * total;
    let (mut bound_below, mut count_below) = (0.0, 0.0);
    for &(bound, count) in buckets {
        if count >= rank && bound.is_finite() {
            let share = if count > count_below { (rank - count_below) / (count - count_below) } else { 1.0 };
            return Some(bound_below + (bound - bound_below) * share);
        }
        if bound.is_finite() {
            (bound_below, count_below) = (bound, count);
        }
    }
    Some(bound_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# HELP push_manager_requests_total Pushes.\n\
        push_manager_requests_total{api=\"PushToRoom\",code=\"OK\"} 10\n\
        push_manager_requests_total{api=\"Broadcast\",code=\"OK\"} 1\n\
        push_manager_broadcast_nodes_total{api=\"PushToRoom\"} 30\n\
        push_manager_broadcast_delivered_total{api=\"PushToRoom\"} 20\n\
        push_manager_ack_seconds_bucket{le=\"0.001\"} 5\n\
        push_manager_ack_seconds_bucket{le=\"0.01\"} 30\n\
        push_manager_ack_seconds_bucket{le=\"+Inf\"} 30\n";

    const AFTER: &str = "push_manager_requests_total{api=\"PushToRoom\",code=\"OK\"} 20\n\
        push_manager_requests_total{api=\"PushToRoom\",code=\"UNAVAILABLE\"} 4\n\
        push_manager_requests_total{api=\"Broadcast\",code=\"OK\"} 1\n\
        push_manager_broadcast_nodes_total{api=\"PushToRoom\"} 60\n\
        push_manager_broadcast_delivered_total{api=\"PushToRoom\"} 30\n\
        push_manager_ack_seconds_bucket{le=\"0.001\"} 15\n\
        push_manager_ack_seconds_bucket{le=\"0.01\"} 50\n\
        push_manager_ack_seconds_bucket{le=\"+Inf\"} 50\n";

    #[test]
    fn rates_and_efficiency_are_of_the_interval() {
        let figures = Figures::between(&Sample::parse(BEFORE), &Sample::parse(AFTER), 2.0);
        assert_eq!((figures.pushes, figures.pushes_per_s, figures.refused_per_s), (21.0, 5.0, 2.0));
        let by_api = [("Broadcast".to_owned(), 0.0), ("PushToRoom".to_owned(), 5.0)];
        assert_eq!(figures.pushes_per_s_by_api, by_api);
        assert_eq!(figures.efficiency(), Some(0.5));
        assert_eq!(figures.efficiency_now(), Some(10.0 / 30.0));
        assert_eq!(figures.deliveries_per_s, None);
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let figures = Figures::between(&Sample::parse(BEFORE), &Sample::parse(AFTER), 2.0);
        // Ten of twenty are within a millisecond.
        assert_eq!(figures.ack.p50, Some(0.001));
        let p99 = figures.ack.p99.unwrap();
        assert!((p99 - (0.001 + 0.009 * 0.98)).abs() < 1e-9, "{p99}");
        assert_eq!(figures.request, Latency::default());
        assert_eq!(quantile(&[(0.1, 1.0), (f64::INFINITY, 10.0)], 0.99), Some(0.1));
    }

    #[test]
    fn a_restart_counts_from_nothing() {
        let figures = Figures::between(&Sample::parse(AFTER), &Sample::parse(BEFORE), 1.0);
        assert_eq!((figures.pushes, figures.pushes_per_s), (11.0, 11.0));
        assert_eq!(figures.ack.p50.map(|p50| p50 > 0.001), Some(true));
        assert_eq!(Figures::between(&Sample::default(), &Sample::default(), 1.0), Figures::default());
    }

    #[test]
    fn what_is_no_sample_is_left_out() {
        let sample = Sample::parse("# TYPE a counter\nnonsense\na{b=\"c\"} x\na{b=\"c\"} 2\n");
        assert_eq!(sample.sum("a", &[("b", "c")]), Some(2.0));
        assert_eq!((sample.sum("a", &[("b", "d")]), sample.sum("z", &[])), (None, None));
        assert_eq!(sample.values_of("a", "b"), ["c"]);
    }
}
