//! The live view: the whole terminal, until somebody quits.

use std::{
    io::{self, Stdout},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Context as _;
use crossterm::{
    cursor::{Hide, Show},
    event::{Event, EventStream},
    execute,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use futures::StreamExt as _;
use pushcast_common::shutdown::Shutdown;
use ratatui::{Terminal, backend::CrosstermBackend};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};

use super::{
    keys::{Pressed, press},
    scrape::{Look, Manager},
    state::State,
    view::{Scene, draw},
};

/// While nothing comes, so that the ages on the screen go on.
const REDRAW_EVERY: Duration = Duration::from_secs(1);

type Looked = anyhow::Result<(Instant, Look)>;

/// Shows the manager until a key, a signal or the terminal's end; the terminal is then as it was.
pub(super) async fn run(manager: Manager, interval: Duration, stop: &Shutdown) -> anyhow::Result<()> {
    let has_colours = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    let mut state = State::new(manager.address().to_owned(), interval);
    let (interval, intervals) = watch::channel(interval);
    let (looks, mut looked) = mpsc::channel(1);
    let looking = tokio::spawn(look_on(manager, intervals, looks));
    let mut screen = Screen::enter().context("cannot take the terminal over")?;
    let mut events = EventStream::new();
    let shown = async {
        loop {
            let scene = Scene { now: Instant::now(), has_colours };
            screen.terminal.draw(|frame| draw(frame, &mut state, scene))?;
            tokio::select! {
                Some(looked) = looked.recv() => take_in(&mut state, looked),
                event = events.next() => match event {
                    Some(Ok(Event::Key(key))) => {
                        if press(&mut state, key) == Pressed::Quit {
                            return anyhow::Ok(());
                        }
                        interval.send_if_modified(|known| {
                            std::mem::replace(known, state.interval) != state.interval
                        });
                    }
                    // A new size is drawn at once.
                    Some(Ok(_)) => {}
                    // The terminal is gone.
                    Some(Err(_)) | None => return Ok(()),
                },
                () = sleep(REDRAW_EVERY) => {}
                () = stop.begun() => return Ok(()),
            }
        }
    }
    .await;
    looking.abort();
    shown
}

/// Paused, the screen stays as it is; what happened meanwhile counts into the next interval.
fn take_in(state: &mut State, looked: Looked) {
    if state.is_paused {
        return;
    }
    match looked {
        Ok((at, look)) => state.took(at, look),
        Err(error) => state.failed(what_is_wrong(&error), Instant::now()),
    }
}

/// The error without its advice, which a line has no room for.
fn what_is_wrong(error: &anyhow::Error) -> String {
    error.root_cause().to_string()
}

/// Looks again and again, apart from the keys: those never wait for a manager, nor cut a look short.
async fn look_on(manager: Manager, mut intervals: watch::Receiver<Duration>, looks: mpsc::Sender<Looked>) {
    loop {
        let started = Instant::now();
        if looks.send(manager.look().await).await.is_err() {
            return;
        }
        // A shorter interval takes effect in the middle of a longer one.
        loop {
            let interval = *intervals.borrow_and_update();
            let Some(left) = interval.checked_sub(started.elapsed()) else { break };
            tokio::select! {
                () = sleep(left) => break,
                changed = intervals.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// Whether the terminal is ours at this time.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal taken over. Dropped it is given back, and a panic gives it back before it says why.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            hook(panic);
        }));
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::Relaxed);
        let entered = execute!(io::stdout(), EnterAlternateScreen, Hide)
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match entered {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Once: leaving the alternate screen again would put the cursor over what was printed since.
fn give_back() {
    if !TAKEN.swap(false, Ordering::Relaxed) {
        return;
    }
    // Where the terminal is gone there is nothing to give back.
    let _gone = execute!(io::stdout(), Show, LeaveAlternateScreen);
    let _gone = disable_raw_mode();
}
