//! What the keys do. Pure.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::State;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pressed {
    GoOn,
    Quit,
}

/// What a key changes.
pub(super) fn press(state: &mut State, key: KeyEvent) -> Pressed {
    if key.kind == KeyEventKind::Release {
        return Pressed::GoOn;
    }
    let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if has_control => return Pressed::Quit,
        KeyCode::Char('q') => return Pressed::Quit,
        KeyCode::Esc if state.shows_help => state.shows_help = false,
        KeyCode::Esc => return Pressed::Quit,
        KeyCode::Char('?' | 'h') => state.shows_help = !state.shows_help,
        KeyCode::Char('p' | ' ') => state.is_paused = !state.is_paused,
        KeyCode::Char('+') => state.look_less_often(),
        KeyCode::Char('-') => state.look_more_often(),
        KeyCode::Char('j') | KeyCode::Down => state.scroll_by(1),
        KeyCode::Char('k') | KeyCode::Up => state.scroll_by(-1),
        KeyCode::PageDown => state.scroll_by(10),
        KeyCode::PageUp => state.scroll_by(-10),
        KeyCode::Home => state.scroll = 0,
        KeyCode::End => state.scroll_by(isize::MAX),
        KeyCode::Char('s') => state.sort_next(),
        _ => {}
    }
    Pressed::GoOn
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::state::tests::seen, *};

    fn type_in(state: &mut State, keys: &str) -> Pressed {
        keys.chars().map(|key| press(state, KeyEvent::from(KeyCode::Char(key)))).last().unwrap()
    }

    #[test]
    fn keys_do_what_the_help_says() {
        let (mut state, _) = seen(&[1]);
        assert_eq!(type_in(&mut state, "p?+ss"), Pressed::GoOn);
        assert!(state.is_paused && state.shows_help);
        assert_eq!(state.interval, Duration::from_secs(2));
        assert_eq!(type_in(&mut state, "jjjk"), Pressed::GoOn);
        assert_eq!(state.scroll, 1);
        assert_eq!(type_in(&mut state, "x-"), Pressed::GoOn);
        assert_eq!(state.interval, Duration::from_secs(1));
    }

    #[test]
    fn three_keys_quit() {
        let (mut state, _) = seen(&[1]);
        assert_eq!(type_in(&mut state, "q"), Pressed::Quit);
        assert_eq!(press(&mut state, KeyEvent::from(KeyCode::Esc)), Pressed::Quit);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(press(&mut state, control_c), Pressed::Quit);
        assert_eq!(type_in(&mut state, "c?"), Pressed::GoOn);
        assert_eq!(press(&mut state, KeyEvent::from(KeyCode::Esc)), Pressed::GoOn);
        assert!(!state.shows_help);
    }
}
