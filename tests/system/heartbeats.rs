//! What a heartbeat quotes can be relied on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pushcast_proto::client::v1::Heartbeat;
use pushcast_tests::{
    fleet::{Fleet, Plan},
    listener::Listener,
};
use pushctl::{client::Event, push::Push};

use crate::load::SteadyLoad;

const WITHIN: Duration = Duration::from_secs(20);
const EVERY_SECOND: [(&str, &str); 1] = [("--heartbeat", "1s")];

fn now_millis() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Receives until a heartbeat satisfies the test; gives the seqs received before each to it.
async fn heartbeat_with(listener: &mut Listener, mut good: impl FnMut(&Heartbeat, u64) -> bool) {
    let mut last_seq = 0;
    let receive = async {
        loop {
            match listener.client.next().await {
                Event::Push(push) => last_seq = push.seq,
                Event::Heartbeat(heartbeat) if good(&heartbeat, last_seq) => return,
                Event::Heartbeat(_) | Event::Ticket(_) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(WITHIN, receive).await.expect("such a heartbeat comes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_names_the_newest_seq_and_a_time_that_moves_on() {
    let fleet = Fleet::of(Plan { managers: 2, nodes: 2, node_flags: &EVERY_SECOND, ..Plan::default() }).await;
    let mut in_room = fleet.nodes[0].listen("u1", &["r"]).await;
    let mut elsewhere = fleet.nodes[1].listen("u2", &[]).await;
    let mut ids = Vec::new();
    for (manager, pushes) in fleet.managers.iter().zip([5, 3]) {
        let client = manager.client();
        for number in 0..pushes {
            client.push(Push::to_room("r", number.to_string()), None).await.unwrap();
        }
        ids.push((client.nodes().await.unwrap().manager_id, pushes));
    }
    let pushed_at = now_millis();
    let is_so_far = |heartbeat: &Heartbeat, _: u64| {
        assert!(heartbeat.as_of <= now_millis(), "{heartbeat:?} is ahead of the clock");
        ids.iter().all(|(id, seq)| heartbeat.position.get(id) == Some(seq)) && heartbeat.as_of > pushed_at
    };
    // Who wanted none of them is as far as who got them all. Both at once: who does not read answers no heartbeat.
    tokio::join!(heartbeat_with(&mut in_room, is_so_far), heartbeat_with(&mut elsewhere, is_so_far));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_is_never_ahead_of_what_was_received_and_never_goes_back() {
    let fleet = Fleet::of(Plan { nodes: 1, node_flags: &EVERY_SECOND, ..Plan::default() }).await;
    let mut listener = fleet.nodes[0].listen("u1", &["load"]).await;
    let client = fleet.pusher();
    let manager = client.nodes().await.unwrap().manager_id;
    let load = SteadyLoad::start(&client, "load", 1_000).await;
    let (mut heartbeats, mut before) = (0, (0, 0));
    heartbeat_with(&mut listener, |heartbeat, received| {
        let quoted = heartbeat.position.get(&manager).copied().unwrap_or_default();
        // Every message is for this client, so what it has not received was not placed either.
        assert!(quoted <= received, "{quoted} is quoted and {received} received");
        assert!(quoted >= before.0 && heartbeat.as_of >= before.1, "{heartbeat:?} after {before:?}");
        before = (quoted, heartbeat.as_of);
        heartbeats += 1;
        heartbeats == 5 && quoted > 0
    })
    .await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answered_heartbeats_keep_a_quiet_connection() {
    let fleet = Fleet::of(Plan { nodes: 1, node_flags: &EVERY_SECOND, ..Plan::default() }).await;
    let mut listener = fleet.nodes[0].listen("u1", &["r"]).await;
    let mut heartbeats = 0;
    heartbeat_with(&mut listener, |_, _| {
        heartbeats += 1;
        heartbeats == 5
    })
    .await;
    assert_eq!(fleet.pusher().push(Push::to_room("r", "x"), None).await.unwrap().recipients, 1);
}
