//! Whether two outputs have the same shape: the words are equal, what differs from run to run is not compared.
//!
//! Not compared are ids of hex digits, numbers, sizes, durations, times of day and versions. Digits inside a word
//! (`n1`) and addresses (`127.0.0.1:9001`) are words.

use serde_json::Value;

/// One line of text, or of JSON.
pub(super) fn line(shown: &str, printed: &str) -> Result<(), String> {
    if shown.starts_with('{')
        && let (Ok(shown), Ok(printed)) = (serde_json::from_str(shown), serde_json::from_str(printed))
    {
        return json(&shown, &printed);
    }
    if text(shown) == text(printed) { Ok(()) } else { Err(format!("`{shown}` is not `{printed}`")) }
}

/// JSON: the same keys, the same types, and strings of the same shape. Every element of a printed array looks like
/// one of those shown, if any is shown.
pub(super) fn json(shown: &Value, printed: &Value) -> Result<(), String> {
    match (shown, printed) {
        (Value::Null, Value::Null)
        | (Value::Bool(_), Value::Bool(_))
        | (Value::Number(_), Value::Number(_)) => Ok(()),
        (Value::String(shown), Value::String(printed)) => line(shown, printed),
        (Value::Array(shown), Value::Array(printed)) => {
            let known =
                |printed: &Value| shown.is_empty() || shown.iter().any(|shown| json(shown, printed).is_ok());
            match printed.iter().find(|printed| !known(printed)) {
                Some(stranger) => Err(format!("no element looks like {stranger}")),
                None => Ok(()),
            }
        }
        (Value::Object(shown), Value::Object(printed)) => {
            let keys = |object: &serde_json::Map<String, Value>| {
                let mut keys: Vec<String> = object.keys().map(|key| text(key)).collect();
                keys.sort();
                keys
            };
            if keys(shown) != keys(printed) {
                return Err(format!("the keys {:?} are not {:?}", keys(shown), keys(printed)));
            }
            for (key, shown) in shown {
                let same_key = |&(other, _): &(&String, _)| other == key || text(other) == text(key);
                if let Some((_, printed)) = printed.iter().find(same_key) {
                    json(shown, printed).map_err(|error| format!("{key}: {error}"))?;
                }
            }
            Ok(())
        }
        _ => Err(format!("{shown} has another type than {printed}")),
    }
}

/// The text with a placeholder for everything that is not compared; gaps between words are one space.
fn text(line: &str) -> String {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shape = String::new();
    let mut rest = line.as_str();
    while let Some(next) = rest.chars().next() {
        let inside_word = shape.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let (length, token) = match variable(rest) {
            Some((length, placeholder)) if !inside_word => (length, placeholder),
            _ => (next.len_utf8(), &rest[..next.len_utf8()]),
        };
        shape.push_str(token);
        rest = &rest[length..];
    }
    shape
}

/// What the text begins with, if that is not compared or not to be looked into: its length and what stands for it.
fn variable(text: &str) -> Option<(usize, &str)> {
    let run = |of: fn(char) -> bool| text.find(|c| !of(c)).unwrap_or(text.len());
    let hex = run(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase());
    let word = run(|c| c.is_alphanumeric() || c == '_');
    let digits = run(|c| c.is_ascii_digit());
    // Manager ids have 16 digits, ids of retried messages 32, and chance may give them no letter or no digit.
    let mixed = digits < hex && text[..hex].contains(|c: char| c.is_ascii_digit());
    if hex == word && (hex == 16 || hex == 32 || (hex >= 8 && mixed)) {
        return Some((hex, "<id>"));
    }
    if digits == 0 {
        return None;
    }
    let dotted = run(|c| c.is_ascii_digit() || "-:.,TZ".contains(c));
    let dotted = text[..dotted].trim_end_matches(['-', ':', '.', ',', 'T']);
    match dotted.matches(':').count() {
        // A time, with a date or without.
        2 if dotted.contains('T') == dotted.contains('-') => Some((dotted.len(), "<time>")),
        0 | 1 if dotted.matches('.').count() == 3 => Some((dotted.len(), dotted)),
        _ => Some(number(text)),
    }
}

/// A number or a version, with the unit behind it.
fn number(text: &str) -> (usize, &'static str) {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(text.len());
    let number = text[..digits].trim_end_matches(['.', ',']).len();
    let behind = &text[number..];
    let units: [(&[&str], &str); 3] = [
        (&["ns", "µs", "us", "ms", "s", "min", "m", "h", "d"], "<duration>"),
        (&["B", "KiB", "MiB", "GiB", "kB", "MB", "GB"], "<size>"),
        (&["k", "M", "G"], "<number>"),
    ];
    let gap = usize::from(behind.starts_with(' '));
    let word = behind[gap..].find(|c: char| !c.is_alphanumeric()).unwrap_or(behind.len() - gap);
    let unit = &behind[gap..gap + word];
    match units.iter().find(|(names, _)| names.contains(&unit)) {
        Some((_, kind)) => (number + gap + word, kind),
        None => (number, "<number>"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_not_compared() {
        for (shown, printed) in [
            ("8f14e45fceea167a-18: 2 nodes", "0123456789012345-7: 3 nodes"),
            ("12:03:04.512  room r1  hello", "23:59:00.001 room r1   hello"),
            ("2026-11-21T09:49:36.123Z up", "2027-01-02T00:00:00Z up"),
            ("p99 0.4 ms, log 1.5 MiB", "p99 310 µs, log 12 B"),
            ("took 1.2s at 1,200/s", "took 340ms at 1.5k/s"),
            ("Pushcast 0.1.0: up", "Pushcast 0.12.3: up"),
            ("100%, 0.5.", "33.3%, 1."),
        ] {
            assert_eq!(line(shown, printed), Ok(()));
        }
    }

    #[test]
    fn words_are_compared() {
        for (shown, printed) in [
            ("room r1: hello", "room r2: hello"),
            ("page http://127.0.0.1:9001/", "page http://127.0.0.1:9002/"),
            ("ws://127.0.0.1:8000/ws", "ws://127.0.0.2:8000/ws"),
            ("1 connection", "2 connections"),
            ("lag 3", "lag none"),
            ("3 ms", "3 MiB"),
            ("a b", "a"),
            ("deadbeef", "cafecafe"),
            ("p50 0.4 ms", "p99 0.4 ms"),
        ] {
            assert!(line(shown, printed).is_err(), "{shown} / {printed}");
        }
    }

    #[test]
    fn json_has_the_same_keys_and_types() {
        let shown =
            json!({"id": "8f14e45fceea167a-18", "nodes": 3, "pending": [], "of": [{"state": "ready"}]});
        let same = json!({"nodes": 1, "id": "0123456789abcdef-1", "pending": ["n1"], "of": []});
        assert_eq!(json(&shown, &same), Ok(()));
        for other in [
            json!({"id": "8f14e45fceea167a-18", "nodes": 3, "pending": []}),
            json!({"id": "8f14e45fceea167a-18", "nodes": 3, "pending": [], "of": [], "more": 0}),
            json!({"id": "8f14e45fceea167a-18", "nodes": "3", "pending": [], "of": []}),
            json!({"id": "x", "nodes": 3, "pending": [], "of": []}),
            json!({"id": "8f14e45fceea167a-18", "nodes": 3, "pending": null, "of": []}),
            json!({"id": "8f14e45fceea167a-18", "nodes": 3, "pending": [], "of": [{"state": "down"}]}),
        ] {
            assert!(json(&shown, &other).is_err(), "{other}");
        }
    }

    #[test]
    fn keys_that_are_ids_may_differ() {
        let shown = json!({"position": {"8f14e45fceea167a": "17"}});
        assert_eq!(json(&shown, &json!({"position": {"0123456789abcdef": "3"}})), Ok(()));
        assert!(json(&shown, &json!({"position": {"n1": "3"}})).is_err());
    }

    #[test]
    fn a_line_of_json_is_compared_as_json() {
        assert_eq!(line(r#"{"a":1,"b":"x"}"#, r#"{"b":"x","a":22}"#), Ok(()));
        assert!(line(r#"{"a":1}"#, r#"{"b":1}"#).is_err());
        assert!(line(r#"{"a":1}"#, "a").is_err());
    }
}
