//! The short form of every scenario, one after the other; fleets are set up side by side.

#![allow(clippy::print_stdout, reason = "it is a report")]

use pushcast_chaos::scenarios::{How, NAMES, play};

/// A schedule with most kinds of faults; `chaos mix --short --seed N` plays others.
const SEED: u64 = 3;

async fn kept(name: &str) {
    let report = play(name, How { full: false, seed: SEED }).await;
    println!("{report}");
    report.assert_kept();
}

macro_rules! scenarios {
    ($($test:ident $name:literal)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                kept($name).await;
            }
        )*

        #[test]
        fn every_scenario_is_played() {
            assert_eq!(NAMES, [$($name),*]);
        }
    };
}

scenarios! {
    killed_nodes "kill-node"
    killed_managers "kill-manager"
    frozen_nodes "freeze-node"
    bad_links "link"
    a_narrow_link "link-throttled"
    etcd_away "etcd-down"
    etcd_without_data "etcd-wiped"
    a_slow_etcd "etcd-slow"
    nodes_restarted "rolling-nodes"
    managers_restarted "rolling-managers"
    everything_restarted "rolling-all"
    a_window_too_young "small-window"
    a_window_too_small "small-window-bytes"
    all_at_once "mix"
}
