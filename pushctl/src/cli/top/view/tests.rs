use std::time::Duration;

use ratatui::{Terminal, backend::TestBackend};

use super::{
    super::state::tests::{look, seen},
    *,
};

fn drawn(state: &mut State, now: Instant, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, Scene { now, has_colours: true })).unwrap();
    let buffer = terminal.backend().buffer();
    (0..height)
        .map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned())
        .collect()
}

#[test]
fn a_large_screen_shows_everything() {
    let (mut state, now) = seen(&[10, 30, 90]);
    let screen = drawn(&mut state, now, 100, 30);
    assert_eq!(screen[0], "127.0.0.1:9001  00000000000000ff  version 0.1.0  every 1s");
    assert_eq!(screen[1], "pushes      per s 60.0  total 90  refused/s 0  PushToRoom 60.0");
    assert_eq!(screen[4], "request     p50 0.50 ms  p99 0.99 ms");
    assert_eq!(screen[7], "trouble     pending 4  gaps 0  link failures 1");
    let text = screen.join("\n");
    assert!(text.contains("pushes/s 60.0") && text.contains("ack p99 0.99 ms"), "{text}");
    assert!(text.contains('█'), "{text}");
    let head = screen.iter().position(|line| line.starts_with("NODE")).unwrap();
    assert_eq!(screen[head], "NODE  STATE  LINK    LAG  CONNECTIONS  ROOMS  USERS  ADDRESS");
    assert_eq!(screen[head + 2], "n2    ready  linked  0    12           2      12     n2.example:8001");
    assert_eq!(screen[head + 3], "n3    ready  linked  7    ?            ?      ?      n3.example:8001");
    assert_eq!(screen[29], "q quit  ? help  p pause  s sort: name  + - interval  j k scroll");
}

#[test]
fn forty_columns_and_twelve_rows_show_what_matters() {
    let (mut state, now) = seen(&[10, 30, 90]);
    let expected = "127.0.0.1:9001  00000000000000ff\n\
                    pushes     per s 60.0  total 90\n\
                    nodes/s    reached 180  delivered 60.0\n\
                    efficiency now 33 %  since start 33 %\n\
                    request    p50 0.50 ms  p99 0.99 ms\n\
                    ack        p50 0.50 ms  p99 0.99 ms\n\
                    trouble    pending 4  gaps 0\n\
                    NODE  STATE  LINK    LAG  CONNS  ROOMS\n\
                    n1    ready  linked  0    5      2\n\
                    n2    ready  linked  0    12     2\n\
                    n3    ready  linked  7    ?      ?\n\
                    q quit  ? help  p pause  s sort: name";
    assert_eq!(drawn(&mut state, now, 40, 12).join("\n"), expected);
}

#[test]
fn old_figures_are_marked_as_old() {
    let (mut state, now) = seen(&[10, 90]);
    state.failed("nothing listens at 127.0.0.1:9001".to_owned(), now);
    let screen = drawn(&mut state, now + Duration::from_secs(12), 40, 12);
    assert_eq!(screen[1], "no answer for 12 s, figures are old: no…");
    assert!(screen[2].contains("total 90"), "{screen:?}");
    let mut never = State::new("h:1".to_owned(), Duration::from_secs(1));
    never.failed("nothing listens at h:1".to_owned(), now);
    let screen = drawn(&mut never, now, 80, 24);
    assert_eq!(screen[1], "no answer for 0 s: nothing listens at h:1");
}

#[test]
fn a_new_manager_is_announced() {
    let (mut state, now) = seen(&[10, 90]);
    state.took(now, look("another", 1));
    let screen = drawn(&mut state, now + Duration::from_secs(3), 100, 30);
    assert_eq!(screen[0], "127.0.0.1:9001  another  version 0.1.0  up 3 s  every 1s");
    assert!(screen[1].starts_with("pushes      per s -  total 1"), "{screen:?}");
}

#[test]
fn scrolling_ends_with_the_last_node() {
    let (mut state, now) = seen(&[1, 2]);
    state.scroll_by(2);
    let screen = drawn(&mut state, now, 60, 5);
    assert_eq!((state.scroll, screen[3].split(' ').next()), (1, Some("n3")), "{screen:?}");
    assert!(screen[4].contains("nodes 2-3 of 3"), "{screen:?}");
}

#[test]
fn no_size_is_too_small() {
    for (width, height) in [(1, 1), (3, 2), (10, 3), (200, 1), (1, 60), (40, 4), (300, 100)] {
        let (mut state, now) = seen(&[1, 2, 3]);
        state.shows_help = true;
        drawn(&mut state, now, width, height);
        state.shows_help = false;
        state.failed("away".to_owned(), now);
        drawn(&mut state, now, width, height);
    }
}

#[test]
fn without_colours_there_are_none() {
    let (mut state, now) = seen(&[1, 2, 3]);
    for has_colours in [true, false] {
        let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
        terminal.draw(|frame| draw(frame, &mut state, Scene { now, has_colours })).unwrap();
        let cells = terminal.backend().buffer().content();
        assert_eq!(cells.iter().any(|cell| cell.fg != Color::Reset), has_colours);
    }
}
