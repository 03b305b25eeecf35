//! The keys file: one caller in each line; blank lines and what follows a `#` are left out.

use std::{collections::HashMap, fs, path::PathBuf};

use pushcast_common::followed_file::FollowedFile;

use super::{line::KeyLine, proof::Way};

/// Mistakes told one by one; of a file that is none of ours every line is one.
const MAX_MISTAKES: usize = 10;

/// The callers a manager starts with, how they prove themselves, and where they come from.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    pub(super) way: Way,
    pub(super) file: FollowedFile,
    pub(super) lines: Vec<KeyLine>,
}

impl ApiKeys {
    /// Reads a file. All its mistakes are told, each with the number of its line.
    pub fn read(path: impl Into<PathBuf>, way: Way) -> Result<Self, Vec<String>> {
        let file = FollowedFile::new(path);
        let text = fs::read_to_string(file.path())
            .map_err(|error| vec![format!("cannot read \"{}\": {error}", file.path().display())])?;
        Ok(Self { way, lines: parse(&text, way)?, file })
    }
}

/// The callers in a text, at least one; or all mistakes, each with the number of its line.
pub fn parse(text: &str, way: Way) -> Result<Vec<KeyLine>, Vec<String>> {
    let mut lines: Vec<KeyLine> = Vec::new();
    let mut mistakes = Vec::new();
    let mut names = HashMap::new();
    let mut proofs = HashMap::new();
    for (number, text) in (1_u64..).zip(text.lines()) {
        if text.trim_start().is_empty() || text.trim_start().starts_with('#') {
            continue;
        }
        match KeyLine::parse(text, way) {
            Err(found) => mistakes.extend(found.iter().map(|mistake| format!("line {number}: {mistake}"))),
            Ok(line) => {
                if let Some(first) = names.insert(line.name.clone(), number) {
                    let name = &line.name;
                    mistakes.push(format!("line {number}: name: \"{name}\" is on line {first} already"));
                }
                if let Some(first) = proofs.insert(line.proof.clone(), number) {
                    let field = way.field();
                    mistakes.push(format!("line {number}: {field}: the same is on line {first} already"));
                }
                lines.push(line);
            }
        }
    }
    if lines.is_empty() && mistakes.is_empty() {
        mistakes.push(
            match way {
                Way::Keys => "it holds no key; `pushctl key new` makes one",
                Way::Mtls => "it names no caller; a line has a name, a cert, apps and methods",
            }
            .to_owned(),
        );
    }
    if mistakes.len() > MAX_MISTAKES {
        let more = mistakes.len() - MAX_MISTAKES;
        mistakes.truncate(MAX_MISTAKES);
        mistakes.push(format!("and {more} more mistakes"));
    }
    if mistakes.is_empty() { Ok(lines) } else { Err(mistakes) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::secret::NewKey, *};

    fn line(name: &str) -> String {
        format!("name={name} blake3={} apps=* methods=*", NewKey::random(name).hash)
    }

    #[test]
    fn comments_and_blank_lines_are_left_out() {
        let text = format!("# keys\n\n{}\n   # more\r\n{} # b's\r\n", line("a"), line("b"));
        let names: Vec<String> = parse(&text, Way::Keys).unwrap().into_iter().map(|line| line.name).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn mistakes_are_told_with_their_lines() {
        let same = line("a");
        let text = format!("#\n{same}\n{}\n{}\nname=c\n", line("a"), same.replace("name=a", "name=b"));
        let mistakes = parse(&text, Way::Keys).unwrap_err();
        assert_eq!(mistakes[0], "line 3: name: \"a\" is on line 2 already");
        assert_eq!(mistakes[1], "line 4: blake3: the same is on line 2 already");
        assert_eq!(mistakes[2], "line 5: blake3: is missing");
        assert_eq!(mistakes.len(), 5, "{mistakes:?}");
        assert!(parse("", Way::Keys).unwrap_err()[0].contains("no key"));
        assert!(parse("# none\n", Way::Mtls).unwrap_err()[0].contains("no caller"));
        let mistakes = parse(&"x\n".repeat(1000), Way::Keys).unwrap_err();
        assert_eq!((mistakes.len(), mistakes[10].as_str()), (11, "and 4990 more mistakes"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let mistakes = ApiKeys::read("/no/such/file", Way::Keys).unwrap_err();
        assert!(mistakes[0].starts_with("cannot read \"/no/such/file\""), "{mistakes:?}");
    }

    proptest! {
        #[test]
        fn whatever_the_file_holds_it_is_read_or_refused(text in "(?s).{0,400}") {
            let _either = (parse(&text, Way::Keys), parse(&text, Way::Mtls));
        }
    }
}
