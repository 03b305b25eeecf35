//! `top` where it has no screen: a snapshot, or a line for each interval.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    super::{
        nodes::{COLUMNS, row},
        numbers::{count, latency, percent, rate},
        outage::Outage,
        output::{print, print_json, remark, terminal_width, with_tip},
        readable,
        style::{BAD, DIM, STRONG, paint},
        table::table,
    },
    scrape::Manager,
    state::State,
    summary::{Topic, topics},
};

/// Lines from one head to the next, as many as a terminal shows at once.
const LINES_PER_HEAD: usize = 20;

const HEAD: &str = " pushes/s  nodes/s deliv/s  eff  req p99  ack p99   lag linked  conns";

/// What is printed for each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Json,
}

/// Two looks, one interval apart, and what they say.
pub(super) async fn once(manager: &Manager, interval: Duration, form: Form) -> anyhow::Result<()> {
    let mut state = State::new(manager.address().to_owned(), interval);
    for is_first in [true, false] {
        let (at, look) = manager.look().await?;
        state.took(at, look);
        if is_first {
            sleep_until(at + interval).await;
        }
    }
    if state.figures().is_none() {
        let error = anyhow::anyhow!("{} restarted between the two looks", manager.address());
        return Err(with_tip(error, "try again"));
    }
    match form {
        Form::Plain => Ok(print(&snapshot(&state, terminal_width()))?),
        Form::Json => print_json(&object(&state)),
    }
}

/// A line for each interval until nobody reads them.
pub(super) async fn follow(manager: &Manager, interval: Duration, form: Form) -> anyhow::Result<()> {
    let mut state = State::new(manager.address().to_owned(), interval);
    let mut outage: Option<Outage> = None;
    let mut n_lines = 0_usize;
    loop {
        let next = Instant::now() + interval;
        match manager.look().await {
            Ok((at, look)) => {
                state.took(at, look);
                if let Some(outage) = outage.take() {
                    remark(&format!("{} answers again after {}", manager.address(), outage.took(at)));
                }
                if state.figures().is_some() {
                    if form == Form::Plain && n_lines.is_multiple_of(LINES_PER_HEAD) {
                        print(&paint(STRONG, HEAD))?;
                    }
                    n_lines += 1;
                    match form {
                        Form::Plain => print(&line(&state))?,
                        Form::Json => print_json(&object(&state))?,
                    }
                }
            }
            Err(error) => {
                let now = Instant::now();
                let outage = outage.get_or_insert_with(|| Outage::begins(now));
                if let Some(word) = outage.failed(&error.root_cause().to_string(), now) {
                    remark(&word);
                }
            }
        }
        sleep_until(next).await;
    }
}

fn snapshot(state: &State, width: Option<usize>) -> String {
    let manager_id = state.listed().map(|listed| readable::word(&listed.manager_id)).unwrap_or_default();
    let mut lines = vec![format!("{}  {}", paint(STRONG, &state.address), paint(DIM, manager_id))];
    lines.extend(topics(state).iter().map(|topic| topic_line(topic, width)));
    let rows: Vec<_> = state.nodes().into_iter().map(|node| row(node, state.is_silent(node))).collect();
    lines.push(table(&COLUMNS, &rows, width));
    lines.join("\n")
}

fn topic_line(topic: &Topic, width: Option<usize>) -> String {
    let mut line = format!("{:10}", topic.label);
    let mut used = line.len();
    for item in &topic.items {
        used += 2 + item.name.len() + 1 + item.value.len();
        if width.is_some_and(|width| used > width) {
            break;
        }
        let style = if item.is_bad { BAD } else { STRONG };
        line.push_str(&format!("  {} {}", readable::word(&item.name), paint(style, &item.value)));
    }
    line
}

fn line(state: &State) -> String {
    let (Some(figures), Some(listed)) = (state.figures(), state.listed()) else { return String::new() };
    let nodes = &listed.nodes;
    let lag = nodes.iter().map(|node| node.lag).max().unwrap_or(0);
    let linked = nodes.iter().filter(|node| node.link == "linked").count();
    let connections: u64 = nodes.iter().map(|node| node.connections).sum();
    format!(
        "{:>9} {:>8} {:>7} {:>4} {:>8} {:>8} {:>5} {:>6} {:>6}",
        rate(figures.pushes_per_s),
        rate(figures.nodes_per_s),
        rate(figures.delivered_per_s),
        // The head has no room for the blank.
        percent(figures.efficiency_now()).replace(' ', ""),
        latency(figures.request.p99),
        latency(figures.ack.p99),
        count(lag as f64),
        format!("{linked}/{}", nodes.len()),
        count(connections as f64),
    )
}

/// Everything there is, by names that stay.
fn object(state: &State) -> Value {
    let (Some(figures), Some(listed), Some(sample)) = (state.figures(), state.listed(), state.sample())
    else {
        return Value::Null;
    };
    let millis = |seconds: Option<f64>| seconds.map(|seconds| 1e3 * seconds);
    let sum = |name: &str| sample.sum(name, &[]);
    let by_api: serde_json::Map<String, Value> =
        figures.pushes_per_s_by_api.iter().map(|(api, per_s)| (api.clone(), json!(per_s))).collect();
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    json!({
        "at_ms": u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
        "manager_id": listed.manager_id,
        "version": sample.values_of("push_manager_build_info", "version").first(),
        "pushes": figures.pushes,
        "pushes_per_s": figures.pushes_per_s,
        "pushes_per_s_by_api": by_api,
        "refused_per_s": figures.refused_per_s,
        "nodes_per_s": figures.nodes_per_s,
        "delivered_per_s": figures.delivered_per_s,
        "deliveries_per_s": figures.deliveries_per_s,
        "efficiency": figures.efficiency(),
        "efficiency_now": figures.efficiency_now(),
        "request_p50_ms": millis(figures.request.p50),
        "request_p99_ms": millis(figures.request.p99),
        "ack_p50_ms": millis(figures.ack.p50),
        "ack_p99_ms": millis(figures.ack.p99),
        "log_head": sum("push_manager_log_head"),
        "log_bytes": sum("push_manager_log_bytes"),
        "log_age_s": sum("push_manager_log_age_seconds"),
        "pending_answers": sum("push_manager_pending_answers_total"),
        "gap_messages": sum("push_manager_gap_messages_total"),
        "link_failures": sum("push_manager_link_failures_total"),
        "nodes": listed.nodes,
        "silent_nodes": listed.silent_nodes,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::state::tests::seen, *};

    #[test]
    fn lines_stand_below_their_head() {
        let (state, _) = seen(&[30, 90]);
        let line = line(&state);
        assert_eq!(line, "     60.0      180    60.0  33%  0.99 ms  0.99 ms     7    3/3     17");
        assert_eq!(line.len(), HEAD.len());
    }

    #[test]
    fn a_snapshot_has_the_figures_and_the_nodes() {
        let (state, _) = seen(&[30, 90]);
        let text = anstream::adapter::strip_str(&snapshot(&state, None)).to_string();
        assert!(
            text.starts_with("127.0.0.1:9001  00000000000000ff\npushes      per s 60.0  total 90  "),
            "{text}"
        );
        assert!(text.contains("\nNODE  STATE  LINK    LAG  CONNECTIONS"), "{text}");
        let narrow = anstream::adapter::strip_str(&snapshot(&state, Some(40))).to_string();
        assert!(narrow.lines().all(|line| line.chars().count() <= 40), "{narrow}");
    }

    #[test]
    fn json_has_numbers_and_the_nodes() {
        let object = object(&seen(&[30, 90]).0);
        assert_eq!((&object["pushes"], &object["pushes_per_s"]), (&json!(90.0), &json!(60.0)));
        assert_eq!(object["pushes_per_s_by_api"]["PushToRoom"], 60.0);
        assert_eq!(object["deliveries_per_s"], Value::Null);
        assert_eq!(object["nodes"][1]["node_id"], "n2");
    }
}
