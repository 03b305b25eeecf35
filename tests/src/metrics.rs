//! Reading what a process counts.

use pushctl::figures::Sample;

use crate::http;

/// All samples of one scrape.
#[derive(Debug)]
pub struct Metrics {
    sample: Sample,
    /// As scraped.
    pub text: String,
}

/// Scrapes the process whose HTTP address this is.
///
/// # Panics
/// If it does not answer with metrics.
pub async fn scrape(http_addr: &str) -> Metrics {
    let response = http::get(http_addr, "/metrics").await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(response.status, 200, "{}", response.text());
    let text = response.text();
    Metrics { sample: Sample::parse(&text), text }
}

impl Metrics {
    /// The sum of all samples of this name that have these labels; 0 if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sample.sum(name, labels).unwrap_or(0.0)
    }

    /// Whether there is a sample of this name with these labels.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.sample.sum(name, labels).is_some()
    }
}
