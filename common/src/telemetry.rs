//! Logs, metrics and the HTTP answers every binary gives: `/healthz`, `/readyz`, `/metrics`.

mod process;

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
    time::Duration,
};

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics::{Unit, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde_json::Value;
use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt};

/// Latencies in seconds: a push on one machine takes some 0.2 ms, in one data centre a millisecond or less, a
/// deadline is 5 s.
const SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Everything else that is counted (bytes, messages per batch): powers of four, 1 to 16 Mi.
const AMOUNTS: [f64; 13] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// How often samples waiting in histograms are moved into their buckets when nobody scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// Starts logging to stderr: readable on a terminal, JSON otherwise. `RUST_LOG` selects what is
/// logged, by default `info`. Does nothing if a subscriber is already set.
pub fn init_logs() {
    init_logs_from("info");
}

/// As [`init_logs`], with another default.
pub fn init_logs_from(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let logs = fmt().with_env_filter(filter).with_writer(io::stderr);
    let _already_set = if io::stderr().is_terminal() {
        logs.finish().try_init()
    } else {
        logs.json().flatten_event(true).with_current_span(true).with_span_list(false).finish().try_init()
    };
}

/// The process-wide Prometheus recorder, installed by the first call.
///
/// Histograms named `*_seconds` get latency buckets from 0.1 ms, all others powers of four.
/// Several nodes or managers in one process share it: their series are summed.
pub fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new()
                .set_buckets(&AMOUNTS)
                .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS))
                .expect("the bucket lists are not empty")
                .build_recorder();
            let handle = recorder.handle();
            // Somebody else's recorder stays; ours then renders nothing, which harms nobody.
            let _already_set = metrics::set_global_recorder(recorder);
            handle
        })
        .clone()
}

/// Keeps histograms from growing while nobody scrapes. Never returns; run it beside the server and
/// drop it at the end. Several at once do no harm.
pub async fn upkeep() {
    let handle = recorder();
    let mut tick = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tick.tick().await;
        handle.run_upkeep();
    }
}

/// Exports `<component>_build_info{version} 1`; `component` is `push_manager` or `connect_node`.
pub fn build_info(component: &str, version: &'static str) {
    recorder();
    let name = format!("{component}_build_info");
    describe_gauge!(name.clone(), Unit::Count, "Always 1; the label tells the running version.");
    gauge!(name, "version" => version).set(1.0);
}

/// The routes every binary serves on its HTTP port.
///
/// `/healthz` is 200 while the process answers at all (it asks nobody else), `/readyz` is 200 or 503
/// with the JSON that `ready` returns, `/metrics` is the Prometheus text: everything recorded and, as they are at
/// that moment, the figures of the process (`process_cpu_seconds_total`, `process_resident_memory_bytes` and so on).
/// Merge it with your own.
pub fn router<F>(ready: F) -> Router
where
    F: Fn() -> (bool, Value) + Clone + Send + Sync + 'static,
{
    let handle = recorder();
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { readiness(&ready()) }))
        .route("/metrics", get(move || async move { metrics_response(&handle) }))
}

fn readiness((ready, body): &(bool, Value)) -> Response {
    let status = if *ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}

fn metrics_response(handle: &PrometheusHandle) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let mut text = handle.render();
    process::render(&mut text);
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        process::{Command, Stdio},
    };

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use metrics::{counter, describe_counter, describe_histogram, histogram};
    use tower_service::Service;

    use super::*;

    async fn fetch(path: &str, ready: bool) -> (StatusCode, String, String) {
        let mut router = router(move || (ready, serde_json::json!({ "ready": ready })));
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.call(request).await.unwrap();
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_is_a_status_and_json_and_health_asks_nobody() {
        let (status, kind, body) = fetch("/readyz", false).await;
        assert_eq!((status.as_u16(), kind.as_str()), (503, "application/json"));
        assert_eq!(body, "{\"ready\":false}\n");
        assert_eq!(fetch("/readyz", true).await.0, StatusCode::OK);
        assert_eq!(fetch("/healthz", false).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn every_scrape_has_the_process_as_it_is_then() {
        let cpu_seconds = async || {
            let (_, _, text) = fetch("/metrics", true).await;
            for name in ["resident_memory_bytes", "virtual_memory_bytes", "open_fds", "max_fds", "threads"] {
                assert!(text.contains(&format!("\nprocess_{name} ")), "{name} is missing in\n{text}");
            }
            assert!(text.contains("\nprocess_start_time_seconds "), "{text}");
            assert!(text.contains("# TYPE process_cpu_seconds_total counter\n"), "{text}");
            let sample = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
            sample.expect("processor time is told").parse::<f64>().expect("a number")
        };
        let mut before = 0.0;
        for _ in 0..5 {
            // A scrape itself takes some.
            let now = cpu_seconds().await;
            assert!(now > before, "{now} s after {before} s");
            before = now;
        }
    }

    #[tokio::test]
    async fn metrics_are_clean_for_promtool() {
        recorder();
        build_info("push_manager", "0.1.0");
        build_info("push_manager", "0.1.0");
        describe_counter!("push_manager_tests_total", "Tests run.");
        counter!("push_manager_tests_total").increment(1);
        describe_histogram!("push_manager_test_seconds", Unit::Seconds, "How long a test takes.");
        histogram!("push_manager_test_seconds").record(0.0004);
        let (status, kind, text) = fetch("/metrics", true).await;
        assert_eq!(status, StatusCode::OK);
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        assert!(text.contains("push_manager_build_info{version=\"0.1.0\"} 1"), "{text}");
        assert!(text.contains("push_manager_test_seconds_bucket{le=\"0.0005\"} 1"), "{text}");

        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let complaints = [output.stdout, output.stderr].concat();
        let complaints = String::from_utf8_lossy(&complaints);
        assert!(output.status.success() && complaints.trim().is_empty(), "{complaints}\n{text}");
    }
}
