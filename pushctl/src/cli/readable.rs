//! What others wrote, made safe to show: a pusher must not be able to drive somebody's terminal, nor make one thing
//! look like another.

use std::fmt::Write as _;

/// Content in one line. Text is shown as it is; text that holds what would upset a terminal, or that begins like one
/// of the forms below, in quotes with escapes; what is no text as `b"…"`. So two contents never look the same.
pub(super) fn content(content: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(content) else {
        return format!("b\"{}\"", content.escape_ascii());
    };
    let is_plain = !text.is_empty()
        && !text.starts_with('"')
        && !text.starts_with("b\"")
        && text.chars().all(|c| c == '\t' || !is_unsafe(c));
    if is_plain { text.to_owned() } else { quoted(text) }
}

/// An id, a uri or a word of a node, in one line.
pub(super) fn word(text: &str) -> String {
    escaped(text, is_unsafe)
}

/// A remark that quotes others, in as many lines as it has.
pub(super) fn remark(text: &str) -> String {
    escaped(text, |c| c != '\n' && is_unsafe(c))
}

/// The same JSON without the characters that JSON allows in strings and a terminal should not see.
pub(super) fn json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unsafe(c) {
            // All of them have four digits at most, so none needs a pair of surrogates.
            let _never_fails = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Control characters, and those that turn the direction of a line around.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text, |c| is_unsafe(c) || c == '"' || c == '\\'))
}

fn escaped(text: &str, is_to_escape: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if !is_to_escape(c) => safe.push(c),
            '"' | '\\' | '\n' | '\r' | '\t' => safe.extend(c.escape_default()),
            c => safe.extend(c.escape_unicode()),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_shown_as_it_is() {
        for text in ["hello", "grüße\t1", "{\"a\":\"b\\n\"}", "你好 👩‍👩‍👧", "back\\slash"] {
            assert_eq!(content(text.as_bytes()), text);
        }
    }

    #[test]
    fn content_never_controls_the_terminal() {
        assert_eq!(content(b"a\x1b[2J\nb"), r#""a\u{1b}[2J\nb""#);
        assert_eq!(content("a\u{9b}2J".as_bytes()), r#""a\u{9b}2J""#);
        assert_eq!(content("abc\u{202e}gpj.exe".as_bytes()), r#""abc\u{202e}gpj.exe""#);
        assert_eq!(content(&[0xff, b'x', 0x1b]), r#"b"\xffx\x1b""#);
        assert_eq!(word("r\u{1b}1"), "r\\u{1b}1");
        assert_eq!(remark("a\nb\u{1b}"), "a\nb\\u{1b}");
    }

    #[test]
    fn what_looks_like_an_escape_is_quoted_itself() {
        assert_eq!(content(b""), r#""""#);
        assert_eq!(content(br#""a""#), r#""\"a\"""#);
        assert_eq!(content(br#"b"a""#), r#""b\"a\"""#);
        assert_eq!(content(b"\\n\n"), r#""\\n\n""#);
    }

    #[test]
    fn json_keeps_its_meaning() {
        let text = "a\u{9b}\u{7f}\u{202e}\"\u{1b}ü";
        let json = json(&serde_json::to_string(text).unwrap());
        assert!(json.chars().all(|c| !is_unsafe(c)), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    proptest! {
        #[test]
        fn no_two_contents_look_alike(a: Vec<u8>, b: Vec<u8>) {
            prop_assert_eq!(content(&a) == content(&b), a == b);
        }

        #[test]
        fn no_two_short_texts_look_alike(a in "[b\"\\\\n\n\u{1b}]{0,4}", b in "[b\"\\\\n\n\u{1b}]{0,4}") {
            prop_assert_eq!(content(a.as_bytes()) == content(b.as_bytes()), a == b);
        }
    }
}
