//! The scenarios that push: to one room, to many, to nobody.

use std::{
    cell::Cell,
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use pushcast_proto::pushmanager::v1::PushAnswer;
use pushctl::push::Push;
use tokio::time::sleep;
use tonic::Status;

use super::{
    super::{
        failures::call_failed,
        numbers,
        output::{counted, leave_line, with_tip},
    },
    crowd::Crowd,
    ends::Ends,
    ledger::Ledger,
    marker::Marker,
    own_use::{Moment, OwnUse},
    plan::Pushes,
    pushing::{self, Pusher},
    servers::Look,
    stage::{Measured, Outcome, Stage, nothing_measured},
    swarm::Swarm,
    timer::Timer,
    wire::{Counts, Wire},
};

/// An answered push of which nothing has come for so long has lost its receivers.
const SILENCE: Duration = Duration::from_secs(2);
/// A fleet of which nothing has come for so long gives no more answers: twice a manager's longest deadline.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// Pushes to try a manager with, at most.
const PROBES: usize = 3;
/// A push answers within a manager's own bound, or never.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// A node counts what it placed at the end of its turn, which is after the sockets have it.
const COUNTERS_SETTLE: Duration = Duration::from_millis(100);
/// While sockets wait for more deliveries than this, the kernel alone takes more than two milliseconds to send them:
/// a node that sends them one by one wakes nobody for each, and neither the time to the last of them nor the rate feels
/// a pause of `LINGER`.
const MANY_AWAITED: u64 = 512;
const LINGER: Duration = Duration::from_micros(50);
/// A turn that found as many had enough to do.
const WORTH_A_TURN: usize = 32;

/// What stands fixed while the rest goes on.
#[derive(Debug, Default)]
struct Marks {
    started: Option<(Instant, Look, Wire, Moment)>,
    ended: Option<(Look, Wire, OwnUse)>,
    due: Option<u64>,
}

pub(super) async fn run(plan: &Pushes, stage: &Stage<'_>) -> anyhow::Result<Measured> {
    let run: u64 = rand::random();
    let first = stage.servers.first_look().await?;
    let crowd = Crowd::new(Some(plan.members as usize), plan.format, stage.token);
    let (mut swarm, handshakes) = match plan.members {
        0 => (None, Default::default()),
        _ => {
            let mut swarm = Swarm::new(stage.nodes().await?, plan.format, Marker::new(run))?;
            let sockets = usize::try_from(plan.sockets())?;
            let connecting = crowd.connect_all(&mut swarm, sockets, &stage.bar);
            let handshakes = stage.unless_stopped(connecting).await?;
            (Some(swarm), handshakes)
        }
    };
    let nodes = swarm.iter().flat_map(Swarm::targets).map(|target| target.url.clone()).collect();
    let counts = swarm.as_ref().map(Swarm::counts).unwrap_or_default();

    let ledger = Ledger::default();
    let failed = |status: Status| call_failed(stage.manager, &status);
    let (way, answers) = pushing::open(&stage.client, plan).await.map_err(failed)?;
    let rooms = (0..plan.rooms as usize).map(|number| crowd.room(number)).collect();
    let pusher = Pusher {
        plan,
        way,
        ledger: &ledger,
        marker: Marker::new(run),
        rooms,
        timer: Timer::new()?,
        stop: &stage.stop,
    };
    let (mut marks, mut ends, clock) = (Marks::default(), Ends::default(), Cell::new(None));
    let mut failed_early = None;
    let outcome = {
        let story = tell(&pusher, stage, &counts, &mut marks, &clock);
        tokio::select! {
            told = story => match told {
                Ok(()) => Outcome::Whole,
                Err(error) => {
                    let words = error.root_cause().to_string();
                    failed_early = Some(error);
                    Outcome::Broken(words)
                }
            },
            ended = answers.keep_books(&ledger) => Outcome::Broken(manager_gone(stage.manager, ended)),
            broken = listen(&mut swarm, &ledger, plan.may_linger, &mut ends) => Outcome::Broken(broken),
            cut_short = stopped(stage, &clock) => cut_short,
            () = watch(&ledger, stage, plan.warm_up, &clock) => Outcome::Interrupted,
        }
    };
    let outcome = stage.unless_interrupted(outcome);
    stage.bar.clear();
    if outcome == Outcome::Interrupted {
        leave_line();
    }
    let Some((started, before, wire_before, own_before)) = marks.started else {
        return Err(match (failed_early, outcome) {
            (Some(error), _) => error,
            (None, Outcome::Broken(why)) => anyhow::anyhow!("{why}, before anything was measured"),
            (None, Outcome::Whole | Outcome::Interrupted) => nothing_measured(),
        });
    };
    let (after, wire, own) = match marks.ended {
        Some(ended) => ended,
        None => {
            let own = Moment::now().since(&own_before);
            (stage.servers.look().await, Wire::of(&counts), own)
        }
    };
    let tally = ledger.tally();
    Ok(Measured {
        nodes,
        seconds: stage.seconds(started, tally.last_at, &outcome),
        due: marks.due,
        tally,
        wire: wire.since(wire_before),
        handshakes,
        ends,
        looks: [first, before, after],
        own,
        outcome,
    })
}

/// From the first push to the last look at the counters, while others read and keep the books.
async fn tell(
    pusher: &Pusher<'_>,
    stage: &Stage<'_>,
    counts: &Rc<Counts>,
    marks: &mut Marks,
    clock: &Cell<Option<(Instant, Duration)>>,
) -> anyhow::Result<()> {
    let ledger = pusher.ledger;
    probe(pusher, stage).await?;
    pusher.push_for(pusher.plan.warm_up).await?;
    drain(ledger).await;
    sleep(COUNTERS_SETTLE).await;

    let before = stage.servers.look().await;
    ledger.start_counting();
    let started = Instant::now();
    clock.set(Some((started, stage.duration)));
    let own = Moment::now();
    marks.started = Some((started, before, Wire::of(counts), own));
    marks.due = pusher.push_for(stage.duration).await?;
    drain(ledger).await;
    let (own, wire) = (Moment::now().since(&own), Wire::of(counts));
    sleep(COUNTERS_SETTLE).await;
    marks.ended = Some((stage.servers.look().await, wire, own));
    Ok(())
}

/// One push before all others: does the manager reach exactly the sockets that are there? A node that is pending may
/// only have stood still for a moment.
async fn probe(pusher: &Pusher<'_>, stage: &Stage<'_>) -> anyhow::Result<()> {
    let members = pusher.plan.members;
    let mut answer = probe_once(pusher, stage).await?;
    for _ in 1..PROBES {
        if answer.recipients == members || answer.pending_nodes.is_empty() {
            break;
        }
        answer = probe_once(pusher, stage).await?;
    }
    if answer.recipients == members {
        return Ok(());
    }
    let pending = match answer.pending_nodes.as_slice() {
        [] => String::new(),
        pending => format!(", and these nodes have not answered: {}", pending.join(", ")),
    };
    let sockets = counted(members, "socket");
    let error =
        anyhow::anyhow!("a push to a room of {sockets} reached {} of them{pending}", answer.recipients);
    let tip =
        "`pushctl nodes` shows which nodes this manager is linked to; those of --url have to be among them";
    Err(with_tip(error, tip))
}

async fn probe_once(pusher: &Pusher<'_>, stage: &Stage<'_>) -> anyhow::Result<PushAnswer> {
    let ledger = pusher.ledger;
    let number = ledger.send(Instant::now(), pusher.plan.members);
    let content = pusher.marker.content(number, pusher.plan.content);
    let push = Push::to_room(pusher.rooms[0].clone(), content);
    let answer = stage.client.push(push, Some(PROBE_TIMEOUT)).await;
    let answer = answer.map_err(|status| call_failed(stage.manager, &status))?;
    ledger.answered(number, Ok(answer.clone()));
    drain(ledger).await;
    Ok(answer)
}

/// Waits until all that was pushed has arrived, or nothing comes any more.
async fn drain(ledger: &Ledger) {
    let (mut seen, mut since) = (ledger.so_far(), Instant::now());
    while ledger.in_flight() > 0 && since.elapsed() < LONGEST_SILENCE {
        tokio::select! {
            () = ledger.room_for_one(1) => return,
            () = sleep(Duration::from_millis(100)) => {}
        }
        let now = ledger.so_far();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
}

/// Reads what the sockets receive, until there is none of them any more. Comes back with what went wrong.
async fn listen(swarm: &mut Option<Swarm>, ledger: &Ledger, may_linger: bool, ends: &mut Ends) -> String {
    let Some(swarm) = swarm else { return std::future::pending().await };
    loop {
        let turned: io::Result<usize> = swarm.turn(|number, at| ledger.delivered(number, at)).await;
        let found = match turned {
            Ok(found) => found,
            Err(error) => return format!("cannot read any more: {error}"),
        };
        for ended in swarm.happened().ended {
            ends.count(ended, swarm.targets());
        }
        if swarm.open_sockets() == 0 {
            return format!("no socket is left: {}", ends.in_words());
        }
        if may_linger && found < WORTH_A_TURN && ledger.awaited() > MANY_AWAITED {
            std::thread::sleep(LINGER);
        }
    }
}

/// Waits for a Ctrl-C that is not for the story to tell: before anything counts, or the second one.
async fn stopped(stage: &Stage<'_>, clock: &Cell<Option<(Instant, Duration)>>) -> Outcome {
    stage.stop.begun().await;
    if clock.get().is_none() {
        return Outcome::Interrupted;
    }
    stage.stop.forced().await;
    Outcome::Broken("stopped at once, by hand".to_owned())
}

/// Shows what goes on, and gives up on what went with its sockets.
async fn watch(
    ledger: &Ledger,
    stage: &Stage<'_>,
    warm_up: Duration,
    clock: &Cell<Option<(Instant, Duration)>>,
) {
    let giving_up = async {
        loop {
            sleep(SILENCE / 8).await;
            ledger.give_up_after(SILENCE);
        }
    };
    let showing = async {
        let warming_up = Instant::now();
        while clock.get().is_none() {
            let seconds = warming_up.elapsed().as_secs_f64();
            stage.bar.show("warming up", seconds / warm_up.as_secs_f64(), || format!("{seconds:.1} s"));
            sleep(Duration::from_millis(20)).await;
        }
        let Some((start, span)) = clock.get() else { return };
        let rates = || {
            let (received, answered) = ledger.so_far();
            let seconds = start.elapsed().as_secs_f64();
            let per_second = |count: u64| numbers::count(count as f64 / seconds);
            format!("{} pushes/s, {} deliveries/s", per_second(answered), per_second(received))
        };
        stage.show("measuring ", start, span, rates).await;
    };
    tokio::join!(giving_up, showing);
}

fn manager_gone(manager: &str, ended: Result<(), Status>) -> String {
    match ended {
        Ok(()) => format!("the manager {manager} ended the stream"),
        Err(status) if std::error::Error::source(&status).is_some() => {
            format!("the manager {manager} went away ({})", status.message())
        }
        Err(status) => {
            let code = pushctl::push::code_name(status.code());
            format!("the manager {manager} says {code}: {}", status.message())
        }
    }
}
