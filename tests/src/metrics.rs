//! Reading what a process counts.

use std::collections::BTreeMap;

use crate::http;

/// All samples of one scrape.
#[derive(Debug)]
pub struct Metrics {
    samples: Vec<Sample>,
    /// As scraped.
    pub text: String,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Scrapes the process whose HTTP address this is.
///
/// # Panics
/// If it does not answer with metrics.
pub async fn scrape(http_addr: &str) -> Metrics {
    let response = http::get(http_addr, "/metrics").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(response.status, 200, "{}", response.text());
    let text = response.text();
    Metrics { samples: text.lines().filter_map(parse).collect(), text }
}

impl Metrics {
    /// The sum of all samples of this name that have these labels; 0 if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// Whether there is a sample of this name with these labels.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|&(key, value)| sample.labels.get(key).is_some_and(|has| has == value))
        })
    }
}

/// `name{key="value",…} number`; label values of ours hold neither quotes nor commas.
fn parse(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels
        .trim_end_matches('}')
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read() {
        let text = "# HELP a_total Sums.\na_total{api=\"x\",b=\"1\"} 2\na_total{api=\"y\"} 3\nplain 0.5\n";
        let metrics = Metrics { samples: text.lines().filter_map(parse).collect(), text: text.to_owned() };
        assert_eq!(metrics.sum("a_total", &[]), 5.0);
        assert_eq!(metrics.sum("a_total", &[("api", "x")]), 2.0);
        assert_eq!(metrics.sum("plain", &[]), 0.5);
        assert!(!metrics.has("b_total", &[]));
    }
}
