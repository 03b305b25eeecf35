use super::*;

/// What a manager of three nodes says after so many pushes.
pub(in super::super) fn look(manager_id: &str, pushes: u64) -> Look {
    let node = |id: &str, connections: u64, lag: u64| Node {
        node_id: id.to_owned(),
        grpc_addr: format!("{id}.example:8001"),
        state: "ready".to_owned(),
        link: "linked".to_owned(),
        connections,
        lag,
        rooms: 2,
        users: connections,
        ..Node::default()
    };
    let nodes = ListNodesResponse {
        nodes: vec![node("n1", 5, 0), node("n2", 12, 0), node("n3", 0, 7)],
        manager_id: manager_id.to_owned(),
        newest_seq: pushes,
        silent_nodes: vec!["n3".to_owned()],
    };
    let sample = Sample::parse(&format!(
        "push_manager_build_info{{version=\"0.1.0\"}} 1\n\
         push_manager_requests_total{{api=\"PushToRoom\",code=\"OK\"}} {pushes}\n\
         push_manager_broadcast_nodes_total{{api=\"PushToRoom\"}} {}\n\
         push_manager_broadcast_delivered_total{{api=\"PushToRoom\"}} {}\n\
         push_manager_ack_seconds_bucket{{le=\"0.001\"}} {pushes}\n\
         push_manager_ack_seconds_bucket{{le=\"+Inf\"}} {pushes}\n\
         push_manager_request_seconds_bucket{{le=\"0.001\"}} {pushes}\n\
         push_manager_request_seconds_bucket{{le=\"+Inf\"}} {pushes}\n\
         push_manager_log_head {pushes}\n\
         push_manager_log_bytes 2048\n\
         push_manager_log_age_seconds 12\n\
         push_manager_pending_answers_total{{api=\"PushToRoom\"}} 4\n\
         push_manager_gap_messages_total 0\n\
         push_manager_link_failures_total 1\n",
        3 * pushes,
        pushes,
    ));
    Look { nodes, sample }
}

/// A state that has seen these totals, a second apart.
pub(in super::super) fn seen(pushes: &[u64]) -> (State, Instant) {
    let mut state = State::new("127.0.0.1:9001".to_owned(), Duration::from_secs(1));
    let mut now = Instant::now();
    for &total in pushes {
        now += Duration::from_secs(1);
        state.took(now, look("00000000000000ff", total));
    }
    (state, now)
}

#[test]
fn rates_are_of_the_last_interval() {
    let (state, _) = seen(&[10, 30, 90]);
    let figures = state.figures().unwrap();
    assert_eq!((figures.pushes, figures.pushes_per_s, figures.delivered_per_s), (90.0, 60.0, 60.0));
    let pushes: Vec<f64> = state.history(10).map(|point| point.pushes_per_s).collect();
    assert_eq!(pushes, [20.0, 60.0]);
    assert_eq!(state.history(1).count(), 1);
}

#[test]
fn what_is_known_stays_while_the_manager_is_away() {
    let (mut state, now) = seen(&[10, 30]);
    state.failed("away".to_owned(), now);
    state.failed("still away".to_owned(), now + Duration::from_secs(5));
    assert_eq!(state.trouble(), Some(&Trouble { what: "still away".to_owned(), since: now }));
    assert_eq!(state.figures().unwrap().pushes, 30.0);
    // The same manager is back: what it did meanwhile is spread over the time.
    state.took(now + Duration::from_secs(10), look("00000000000000ff", 80));
    assert_eq!((state.trouble(), state.figures().unwrap().pushes_per_s), (None, 5.0));
    assert_eq!(state.up_for(now), None);
}

#[test]
fn another_manager_begins_anew() {
    let (mut state, now) = seen(&[1000, 2000]);
    state.took(now + Duration::from_secs(1), look("another", 3));
    assert_eq!(state.figures(), None);
    assert_eq!(state.up_for(now + Duration::from_secs(5)), Some(Duration::from_secs(4)));
    state.took(now + Duration::from_secs(2), look("another", 5));
    assert_eq!(state.figures().unwrap().pushes_per_s, 2.0);
    assert_eq!(state.history(10).count(), 2);
}

#[test]
fn history_is_bounded() {
    let totals: Vec<u64> = (0..1000).collect();
    assert_eq!(seen(&totals).0.history(usize::MAX).count(), HISTORY);
}

#[test]
fn nodes_are_sorted_and_scrolled_within_bounds() {
    let (mut state, _) = seen(&[1]);
    let ids = |state: &State| state.nodes().iter().map(|node| node.node_id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&state), ["n1", "n2", "n3"]);
    state.sort_next();
    assert_eq!(ids(&state), ["n2", "n1", "n3"]);
    state.sort_next();
    assert_eq!(ids(&state), ["n3", "n1", "n2"]);
    state.sort_next();
    assert_eq!(state.sort, Sort::Name);
    state.scroll_by(100);
    assert_eq!(state.scroll, 2);
    state.scroll_by(-100);
    assert_eq!(state.scroll, 0);
}

#[test]
fn the_interval_stays_within_its_bounds() {
    let (mut state, _) = seen(&[]);
    state.look_less_often();
    assert_eq!(state.interval, Duration::from_secs(2));
    (0..20).for_each(|_| state.look_less_often());
    assert_eq!(state.interval, Duration::from_secs(60));
    (0..20).for_each(|_| state.look_more_often());
    assert_eq!(state.interval, Duration::from_millis(100));
}
