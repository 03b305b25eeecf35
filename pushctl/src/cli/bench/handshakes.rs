//! `connect`: connections that come and go.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use pushcast_common::shutdown::Shutdown;
use pushctl::format::Format;

use super::{
    super::{numbers, output::leave_line},
    crowd::Crowd,
    delays::Delays,
    ends::{End, Ends},
    marker::Marker,
    own_use::Moment,
    plan::Pace,
    pushing::Schedule,
    stage::{Measured, Outcome, Stage},
    swarm::Swarm,
    tally::Tally,
    timer::Timer,
    wire::Wire,
};

/// What is under way at the end is waited for that long.
const LAST_ONES: Duration = Duration::from_secs(5);
/// So many failures in a row beyond what was under way, and nobody is there any more.
const FAILURES_IN_A_ROW: u64 = 200;
/// The loop looks whether it is to stop at least so often.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Handshakes that came to their end, and since when those count that are yet to begin.
struct Loop<'a> {
    crowd: Crowd,
    at_once: usize,
    pace: Pace,
    schedule: Option<Schedule>,
    begun: u64,
    tally: Tally,
    took: Delays,
    ends: Ends,
    failed_in_a_row: u64,
    shown: &'a Cell<u64>,
}

pub(super) async fn run(
    at_once: u32,
    pace: Pace,
    format: Format,
    stage: &Stage<'_>,
) -> anyhow::Result<Measured> {
    let crowd = Crowd::new(None, format, stage.token);
    stage.servers.first_look().await?;
    let mut swarm = Swarm::new(stage.nodes().await?, format, Marker::new(rand::random()))?;
    // One on each node first, so that what is wrong with all of them is an error with a tip.
    let nodes = swarm.targets().len();
    stage.unless_stopped(crowd.connect_all(&mut swarm, nodes, &stage.bar)).await?;
    for slot in 0..nodes {
        swarm.leave(slot);
    }
    let timer = Timer::new()?;
    let shown = Cell::new(0);
    let counts = swarm.counts();

    let before = stage.servers.look().await;
    let (started, own, wire_before) = (Instant::now(), Moment::now(), Wire::of(&counts));
    let end = started + stage.duration;
    let schedule = pace.rate().map(|rate| Schedule { start: started, rate });
    let mut all = Loop {
        crowd,
        at_once: at_once as usize,
        pace,
        schedule,
        begun: nodes as u64,
        tally: Tally::default(),
        took: Delays::default(),
        ends: Ends::default(),
        failed_in_a_row: 0,
        shown: &shown,
    };
    let beside = || {
        let per_second = shown.get() as f64 / started.elapsed().as_secs_f64();
        format!("{} handshakes/s", numbers::count(per_second))
    };
    let outcome = tokio::select! {
        broken = all.go_on(&mut swarm, &timer, end, &stage.stop) => broken.map_or(Outcome::Whole, Outcome::Broken),
        () = stage.stop.forced() => Outcome::Broken("stopped at once, by hand".to_owned()),
        () = stage.show("shaking hands", started, stage.duration, beside) => Outcome::Interrupted,
    };
    let outcome = stage.unless_interrupted(outcome);
    stage.bar.clear();
    if outcome == Outcome::Interrupted {
        leave_line();
    }
    let Loop { tally, took, ends, .. } = all;
    Ok(Measured {
        nodes: swarm.targets().iter().map(|target| target.url.clone()).collect(),
        seconds: stage.seconds(started, tally.last_at, &outcome),
        due: schedule.map(|schedule| schedule.due_before(end)),
        tally,
        wire: Wire::of(&counts).since(wire_before),
        handshakes: took,
        ends,
        own: Moment::now().since(&own),
        looks: [before.clone(), before, stage.servers.look().await],
        outcome,
    })
}

impl Loop<'_> {
    /// Until the time is over and what was under way has ended. Comes back with what went wrong, if anything.
    async fn go_on(
        &mut self,
        swarm: &mut Swarm,
        timer: &Timer,
        end: Instant,
        stop: &Shutdown,
    ) -> Option<String> {
        while Instant::now() < end && !stop.is_begun() {
            if let Err(error) = self.begin(swarm, end) {
                return Some(error.to_string());
            }
            let is_full = swarm.sockets() >= self.at_once;
            let wake = if is_full { end } else { self.next_due(end) };
            let waiting = timer.until(wake.min(Instant::now() + LONGEST_WAIT));
            let turned = tokio::select! {
                turned = swarm.turn(|_number, _at| {}) => turned.map(|_found| ()),
                woken = waiting => woken,
            };
            if let Err(error) = turned {
                return Some(format!("cannot go on: {error}"));
            }
            self.look_at(swarm);
            if self.failed_in_a_row > FAILURES_IN_A_ROW + self.at_once as u64 {
                return Some(format!("nobody takes connections any more: {}", self.ends.in_words()));
            }
        }
        let last_ones = async {
            while swarm.sockets() > 0 && swarm.turn(|_number, _at| {}).await.is_ok() {
                self.look_at(swarm);
            }
        };
        // Those that take longer are among the offered and not among the done.
        let _elapsed = tokio::time::timeout(LAST_ONES, last_ones).await;
        None
    }

    /// Begins as many as may be.
    fn begin(&mut self, swarm: &mut Swarm, end: Instant) -> anyhow::Result<()> {
        while swarm.sockets() < self.at_once {
            let now = Instant::now();
            let due = match self.pace {
                Pace::FlatOut => now,
                Pace::PerSecond(_) => self.next_due(end),
            };
            if due > now || due >= end {
                break;
            }
            self.crowd.connect(swarm, self.begun as usize, due)?;
            self.begun += 1;
            self.tally.offered += 1;
            self.tally.sent_late.record(now.saturating_duration_since(due));
        }
        Ok(())
    }

    fn next_due(&self, end: Instant) -> Instant {
        self.schedule.map_or(end, |schedule| schedule.due(self.tally.offered))
    }

    fn look_at(&mut self, swarm: &mut Swarm) {
        let happened = swarm.happened();
        let now = Instant::now();
        for (slot, due) in happened.connected {
            self.took.record(now.saturating_duration_since(due));
            self.tally.answered += 1;
            self.tally.last_at = Some(now);
            self.failed_in_a_row = 0;
            swarm.leave(slot);
        }
        for ended in happened.ended {
            if !matches!(ended.how, End::Left) {
                self.failed_in_a_row += 1;
                self.ends.count(ended, swarm.targets());
            }
        }
        self.shown.set(self.tally.answered);
    }
}
