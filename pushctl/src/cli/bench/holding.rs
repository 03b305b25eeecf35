//! `idle`: connections that only hold.

use std::time::{Duration, Instant};

use pushctl::format::Format;
use tokio::time::sleep;

use super::{
    super::output::{counted, leave_line},
    crowd::Crowd,
    ends::Ends,
    marker::Marker,
    own_use::Moment,
    stage::{Measured, Outcome, Stage},
    swarm::Swarm,
    tally::Tally,
    wire::Wire,
};

/// What a handshake took for itself is given back within this.
const SETTLE: Duration = Duration::from_secs(1);

pub(super) async fn run(sockets: u32, format: Format, stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let crowd = Crowd::new(None, format, stage.token);
    let first = stage.servers.first_look().await?;
    let mut swarm = Swarm::new(stage.nodes().await?, format, Marker::new(rand::random()))?;
    let connecting = crowd.connect_all(&mut swarm, sockets as usize, &stage.bar);
    let handshakes = stage.unless_stopped(connecting).await?;

    let counts = swarm.counts();
    let mut ends = Ends::default();
    let (mut started, mut own, mut before) = (Instant::now(), Moment::now(), stage.servers.look().await);
    let mut wire_before = Wire::of(&counts);
    let story = async {
        sleep(SETTLE).await;
        (started, own, before) = (Instant::now(), Moment::now(), stage.servers.look().await);
        wire_before = Wire::of(&counts);
        let beside = || counted(sockets, "connection");
        tokio::select! {
            () = sleep(stage.duration) => {}
            () = stage.show("holding", started, stage.duration, beside) => {}
        }
    };
    let outcome = tokio::select! {
        () = story => Outcome::Whole,
        broken = hold(&mut swarm, &mut ends) => Outcome::Broken(broken),
        () = stage.stop.begun() => Outcome::Interrupted,
    };
    stage.bar.clear();
    if outcome == Outcome::Interrupted {
        leave_line();
    }
    Ok(Measured {
        nodes: swarm.targets().iter().map(|target| target.url.clone()).collect(),
        seconds: started.elapsed().as_secs_f64(),
        due: None,
        tally: Tally::default(),
        wire: Wire::of(&counts).since(wire_before),
        handshakes,
        ends,
        own: Moment::now().since(&own),
        looks: [first, before, stage.servers.look().await],
        outcome,
    })
}

/// Answers heartbeats, until there is no connection any more.
async fn hold(swarm: &mut Swarm, ends: &mut Ends) -> String {
    loop {
        if let Err(error) = swarm.turn(|_number, _at| {}).await {
            return format!("cannot read any more: {error}");
        }
        for ended in swarm.happened().ended {
            ends.count(ended, swarm.targets());
        }
        if swarm.open_sockets() == 0 {
            return format!("no connection is left: {}", ends.in_words());
        }
    }
}
