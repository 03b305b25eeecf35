//! One line of the keys file: who calls, what proves it, and what the caller may.
//!
//! `name=checkout blake3=<64 hex digits> apps=shop methods=PushToUser pushes_per_second=100 bytes_per_second=1MiB`,
//! or with `cert=<a name in the caller's certificate>` in place of the hash.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive, str::FromStr};

use pushcast_common::settings::Problems;

use super::{
    apps::Apps,
    bucket::MAX_RATE,
    method::Methods,
    proof::{Proof, Way},
    secret::PREFIX,
};

const MAX_NAME: usize = 64;

/// A value that is longer is not shown in a complaint: it may be a key that somebody put there.
const SHOWN: usize = 32;

const FIELDS: [&str; 7] =
    ["name", "blake3", "cert", "apps", "methods", "pushes_per_second", "bytes_per_second"];

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLine {
    /// What logs and errors call the caller; letters, digits, `.`, `-` and `_`.
    pub name: String,
    /// What it is known by.
    pub(super) proof: Proof,
    /// Where to it may push.
    pub apps: Apps,
    /// Which rpcs it may call.
    pub methods: Methods,
    /// How many pushes and controls; none: any.
    pub pushes_per_second: Option<u64>,
    /// How much content; none: any.
    pub bytes_per_second: Option<u64>,
}

/// What is wrong with one field. Its text never holds what may be a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The field's name.
    pub field: &'static str,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field {
            "" => f.write_str(&self.what),
            field => write!(f, "{field}: {}", self.what),
        }
    }
}

impl KeyLine {
    /// Reads a line that is neither empty nor a comment alone, of callers who prove themselves this way. All mistakes
    /// are named.
    pub fn parse(line: &str, way: Way) -> Result<Self, Vec<Mistake>> {
        let mut reader = Reader::split(line);
        let name = reader.needed("name", name);
        let proof = reader.needed(way.field(), |text| Proof::parse(way, text));
        let other = way.other();
        if reader.fields.contains_key(other.field()) {
            reader.wrong(other.field(), format!("is of use only with --api-auth {}", other.name()));
        }
        let apps = reader.needed("apps", Apps::from_str);
        let methods = reader.needed("methods", Methods::from_str);
        let pushes_per_second = reader.rate("pushes_per_second", Problems::number);
        let bytes_per_second = reader.rate("bytes_per_second", Problems::size_within);
        match (name, proof, apps, methods) {
            (Some(name), Some(proof), Some(apps), Some(methods)) if reader.mistakes.is_empty() => {
                Ok(Self { name, proof, apps, methods, pushes_per_second, bytes_per_second })
            }
            _ => Err(reader.mistakes),
        }
    }
}

impl fmt::Display for KeyLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, proof, apps, methods, pushes_per_second, bytes_per_second } = self;
        let (field, proof) = (proof.way().field(), proof.text());
        write!(f, "name={name} {field}={proof} apps={apps} methods={methods}")?;
        if let Some(rate) = pushes_per_second {
            write!(f, " pushes_per_second={rate}")?;
        }
        if let Some(rate) = bytes_per_second {
            write!(f, " bytes_per_second={rate}")?;
        }
        Ok(())
    }
}

/// The fields of a line, and the mistakes found so far.
struct Reader<'a> {
    fields: BTreeMap<&'static str, &'a str>,
    mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    fn split(line: &'a str) -> Self {
        let mut reader = Self { fields: BTreeMap::new(), mistakes: Vec::new() };
        for word in line.split_whitespace().take_while(|word| !word.starts_with('#')) {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let known = FIELDS.into_iter().find(|&field| field == name);
            match known {
                None => {
                    // The word itself may be a key.
                    let known = FIELDS.join(", ");
                    reader.wrong(
                        "",
                        format!("a word is none of the fields, which are {known}, each with = behind"),
                    );
                }
                Some(field) if reader.fields.insert(field, value).is_some() => {
                    reader.wrong(field, "is given twice");
                }
                Some(_) => {}
            }
        }
        reader
    }

    fn wrong(&mut self, field: &'static str, what: impl Into<String>) {
        self.mistakes.push(Mistake { field, what: what.into() });
    }

    fn needed<T>(&mut self, field: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let result = match self.fields.get(field) {
            None => Err("is missing".to_owned()),
            Some(value) => read(value),
        };
        result.map_err(|what| self.wrong(field, what)).ok()
    }

    fn rate(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Problems, &str, &str, RangeInclusive<u64>) -> u64,
    ) -> Option<u64> {
        let value = *self.fields.get(field)?;
        if value.len() > SHOWN {
            self.wrong(field, "is not a rate");
            return None;
        }
        let mut problems = Problems::default();
        let rate = read(&mut problems, field, value, 1..=MAX_RATE);
        for problem in problems.found() {
            self.wrong(field, problem.message.clone());
        }
        Some(rate)
    }
}

fn name(text: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.starts_with(PREFIX) {
        return Err("looks like a key; a name is what logs may show".to_owned());
    }
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(is_good) {
        return Err(format!("must be 1 to {MAX_NAME} letters, digits, dots, dashes and underscores"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::secret::NewKey, *};

    fn mistakes(line: &str) -> Vec<String> {
        KeyLine::parse(line, Way::Keys).unwrap_err().iter().map(ToString::to_string).collect()
    }

    fn good() -> String {
        format!("name=a blake3={} apps=* methods=*", NewKey::random("a").hash)
    }

    #[test]
    fn a_line_says_who_may_what() {
        let hash = NewKey::random("shop.1").hash;
        let text = format!(
            "name=shop.1 blake3={hash} apps=\"\",shop methods=PushToUser,Kick pushes_per_second=100 \
             bytes_per_second=1048576"
        );
        let line = KeyLine::parse(&text, Way::Keys).unwrap();
        assert_eq!(line.name, "shop.1");
        assert_eq!(line.proof.text(), hash);
        assert!(line.apps.allow("") && line.apps.allow("shop") && !line.apps.allow("other"));
        assert_eq!((line.pushes_per_second, line.bytes_per_second), (Some(100), Some(1 << 20)));
        assert_eq!(line.to_string(), text);
        let free = KeyLine::parse(&format!("  {}\t# its team: payments", good()), Way::Keys).unwrap();
        assert_eq!((free.pushes_per_second, free.bytes_per_second), (None, None));
        let sizes = KeyLine::parse(&format!("{} bytes_per_second=1MiB", good()), Way::Keys).unwrap();
        assert_eq!(sizes.bytes_per_second, Some(1 << 20));
    }

    #[test]
    fn a_line_is_of_one_way() {
        let text = "name=shop cert=Shop.internal apps=* methods=*";
        let line = KeyLine::parse(text, Way::Mtls).unwrap();
        assert_eq!(line.to_string(), text.to_ascii_lowercase());
        let wrong = |text: &str, way| {
            KeyLine::parse(text, way).unwrap_err().iter().map(|m| m.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            wrong(text, Way::Keys),
            ["blake3: is missing", "cert: is of use only with --api-auth mtls"]
        );
        assert_eq!(
            wrong(&good(), Way::Mtls),
            ["cert: is missing", "blake3: is of use only with --api-auth keys"]
        );
    }

    #[test]
    fn all_mistakes_of_a_line_are_named() {
        let found =
            mistakes("name=a/b blake3=12 methods=Push,Kick pushes_per_second=0 bytes_per_second=1MB x");
        let fields = ["a word", "name: must", "blake3: must", "apps: is missing", "methods: \"Push\""];
        for says in fields.into_iter().chain(["pushes_per_second: \"0\"", "bytes_per_second: \"1MB\""]) {
            assert!(found.iter().any(|mistake| mistake.starts_with(says)), "{says} in {found:?}");
        }
        assert_eq!(mistakes(&format!("{} name=b", good())), ["name: is given twice"]);
        assert!(mistakes(&format!("{} sha256=1", good()))[0].contains("none of the fields"));
    }

    #[test]
    fn a_key_that_stands_in_the_file_is_not_repeated() {
        let key = NewKey::random("a").key;
        // Not the part behind the last `_`: a secret may hold one itself.
        let secret = key.strip_prefix("pck_a_").unwrap().to_owned();
        for line in [
            key.clone(),
            format!("name={key}"),
            format!("blake3={key}"),
            format!("apps=*,{key}"),
            format!("methods={key}"),
            format!("pushes_per_second={key}"),
            format!("bytes_per_second={key}"),
            format!("{key}=1"),
        ] {
            let found = mistakes(&line).join("; ");
            assert!(!found.contains(&secret[..8]), "{found}");
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_there_it_is_read_or_refused(line in "\\PC{0,200}") {
            let _either = (KeyLine::parse(&line, Way::Keys), KeyLine::parse(&line, Way::Mtls));
        }

        #[test]
        fn nearly_right_lines_are_read_or_refused(
            words in proptest::collection::vec("(name|blake3|cert|apps|methods|pushes_per_second|bytes_per_second)=\\PC{0,70}", 0..8)
        ) {
            for way in [Way::Keys, Way::Mtls] {
                if let Ok(line) = KeyLine::parse(&words.join(" "), way) {
                    prop_assert_eq!(KeyLine::parse(&line.to_string(), way), Ok(line));
                }
            }
        }
    }
}
