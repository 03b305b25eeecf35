//! The page of `pushctl dev` in Chromium. What is done and checked there stands in the scripts of
//! `tests/browser/`; here is the server, and what happens to it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use pushcast_tests::{dev::Dev, eventually::eventually, processes::Process};
use pushctl::{
    client::{Client, Event, Options},
    push::{Push, PushClient},
};
use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

/// Ends a browser that hangs; no script takes a fraction of it.
const WITHIN: Duration = Duration::from_secs(300);

/// One browser at a time: several would only take the two cores from each other.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}

/// A running script.
struct Script(Process);

impl Script {
    fn start(name: &str, dev: &Dev, arguments: &[&str]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser").join(name);
        let mut command = Command::new("node");
        command.arg(path).arg(format!("http://{}/", dev.http)).args(arguments);
        Self(Process::start(name, command))
    }

    /// Waits until it has said this.
    async fn says(&mut self, step: &str) {
        eventually(&format!("the script says {step:?}"), WITHIN, async || {
            let printed = self.0.printed();
            if printed.iter().any(|line| line == step) {
                return Ok(());
            }
            assert!(self.0.is_running(), "it ended before: {printed:?}\n{}", self.0.log());
            Err(format!("{printed:?}"))
        })
        .await;
    }

    /// Waits for its end, which has to be a good one.
    async fn succeeds(mut self) {
        let status = self.0.exit(WITHIN).await;
        assert!(status.success(), "{status}: {:?}\n{}", self.0.printed(), self.0.log());
    }
}

/// Where screenshots are left; git ignores it.
fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../artifacts/page");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

async fn script_alone(name: &str, arguments: &[&str]) {
    let _turn = turn().await;
    let dev = Dev::start().await;
    Script::start(name, &dev, arguments).succeeds().await;
}

#[tokio::test]
async fn people_get_what_is_pushed_to_them_on_a_desktop() {
    script_alone("people_and_pushes.mjs", &["desktop", folder().to_str().unwrap()]).await;
}

#[tokio::test]
async fn people_get_what_is_pushed_to_them_on_a_phone() {
    script_alone("people_and_pushes.mjs", &["phone", folder().to_str().unwrap()]).await;
}

#[tokio::test]
async fn people_get_what_is_pushed_to_them_on_a_tablet() {
    script_alone("people_and_pushes.mjs", &["tablet", folder().to_str().unwrap()]).await;
}

#[tokio::test]
async fn the_longest_names_fit_on_every_screen() {
    for size in ["desktop", "tablet", "phone"] {
        script_alone("long_names.mjs", &[size, folder().to_str().unwrap()]).await;
    }
}

#[tokio::test]
async fn the_page_says_what_is_true_when_something_is_not_as_usual() {
    script_alone("honest_words.mjs", &[]).await;
}

#[tokio::test]
async fn modules_of_the_page_keep_their_word() {
    script_alone("modules.mjs", &[]).await;
}

#[tokio::test]
async fn everything_is_done_with_the_keyboard_alone() {
    script_alone("keyboard.mjs", &[]).await;
}

#[tokio::test]
async fn the_page_is_opened_twice() {
    script_alone("two_tabs.mjs", &[]).await;
}

#[tokio::test]
async fn seven_tabs_work_though_a_browser_has_six_connections() {
    script_alone("tabs.mjs", &[]).await;
}

#[tokio::test]
async fn markup_is_shown_as_text_and_nothing_moves_for_whoever_wants_that() {
    script_alone("strange_content.mjs", &[]).await;
}

#[tokio::test]
async fn people_move_to_other_nodes_when_theirs_is_drained_or_killed() {
    let _turn = turn().await;
    for size in ["desktop", "phone"] {
        // At ports that the nodes can have again.
        let dev = Dev::start_to_restart().await;
        Script::start("moving.mjs", &dev, &[size, folder().to_str().unwrap()]).succeeds().await;
    }
}

#[tokio::test]
async fn the_page_outlives_its_server() {
    let _turn = turn().await;
    let mut dev = Dev::start_to_restart().await;
    let mut script = Script::start("server_stopped.mjs", &dev, &["2", folder().to_str().unwrap()]);
    // Once it goes in good order, once it is gone from one moment to the next.
    for (round, end) in [(1, Process::terminate as fn(&Process)), (2, Process::kill)] {
        script.says(&format!("stop {round}")).await;
        end(&dev.process);
        dev.process.exit(WITHIN).await;
        script.says(&format!("start {round}")).await;
        dev = dev.start_again().await;
    }
    script.succeeds().await;
}

/// How many come from elsewhere.
const CROWD: usize = 1_000;
/// Rooms they are spread over.
const ROOMS: usize = 20;
/// Connects at once: a newcomer's machine has as many sockets waiting.
const AT_ONCE: usize = 32;
/// Far more than the page is told of one by one.
const PUSHES_PER_SECOND: u64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_others_and_hundreds_of_pushes_leave_the_page_usable() {
    let _turn = turn().await;
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let dev = Dev::start().await;
    let _crowd = crowd(&dev).await;
    let mut script = Script::start("crowd.mjs", &dev, &[&CROWD.to_string(), folder().to_str().unwrap()]);
    script.says("push").await;
    let mut load = JoinSet::new();
    load.spawn(push_on(PushClient::new(&dev.grpc).unwrap()));
    script.says("stop").await;
    assert!(load.try_join_next().is_none(), "the load went on to the end");
    load.shutdown().await;
    script.succeeds().await;
}

/// JSON clients as a browser's are, over all nodes and rooms; they listen until dropped.
async fn crowd(dev: &Dev) -> JoinSet<()> {
    let clients: Vec<Client> = stream::iter(0..CROWD)
        .map(|n| {
            let url = &dev.nodes[n % dev.nodes.len()];
            let rooms = vec![format!("crowd-{:02}", n % ROOMS)];
            let options = Options { user_id: format!("guest{n}"), rooms, ..Options::new(url) };
            async move { Client::connect(&options).await.unwrap_or_else(|error| panic!("guest{n}: {error}")) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut listening = JoinSet::new();
    for mut client in clients {
        listening.spawn(async move { while !matches!(client.next().await, Event::Closed(_)) {} });
    }
    listening
}

/// Pushes to one room after the other, until dropped.
async fn push_on(client: PushClient) {
    let mut tick = interval(Duration::from_secs(1) / PUSHES_PER_SECOND as u32);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0.. {
        tick.tick().await;
        let push = Push::to_room(format!("crowd-{:02}", n % ROOMS), format!("message {n}"));
        client.push(push, None).await.unwrap();
    }
}
