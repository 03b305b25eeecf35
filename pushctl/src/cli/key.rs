//! `pushctl key`: keys for those who call a push-manager. Standard output has the key alone, so that it can be kept in
//! a file; everything else goes elsewhere.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use anyhow::Context as _;
use push_manager::api_auth::{
    file,
    line::{KeyLine, Mistake},
    proof::Way,
    secret::NewKey,
};

use super::{
    arguments::{KeyArguments, KeyCommand, NewKeyArguments},
    output::{Misuse, print_raw, remark, say, with_tip},
};

pub(super) fn run(KeyArguments { command: KeyCommand::New(new) }: KeyArguments) -> anyhow::Result<()> {
    let NewKey { key, hash } = NewKey::random(&new.name);
    let line = line(&new, &hash)?;
    // First where it is to be known: a key that nobody has does no harm, one that nobody knows is of no use.
    if let Some(file) = &new.keys_file {
        append(file, &line)?;
        let file = file.display();
        remark(&format!(
            "the line of {} is in {file}; managers that have this file know it within two seconds",
            line.name
        ));
    } else {
        remark("the line for the file of the manager's --api-keys-file, nothing in it is secret:");
        say(&line.to_string());
    }
    remark(&format!("the key of {}, for its holder alone; it is shown this once:", line.name));
    Ok(print_raw(key.as_bytes())?)
}

/// The line, as a manager reads it: so no manager refuses what is made here.
fn line(new: &NewKeyArguments, hash: &str) -> anyhow::Result<KeyLine> {
    let NewKeyArguments { name, apps, methods, pushes_per_second, bytes_per_second, .. } = new;
    let mut words = vec![
        ("name", name.clone()),
        ("blake3", hash.to_owned()),
        ("apps", apps.split(',').map(app).collect::<Vec<_>>().join(",")),
        ("methods", methods.clone()),
    ];
    let rates = [("pushes_per_second", pushes_per_second), ("bytes_per_second", bytes_per_second)];
    words.extend(rates.into_iter().filter_map(|(field, rate)| Some((field, rate.clone()?))));
    if let Some((field, _)) = words.iter().find(|(_, value)| value.contains(char::is_whitespace)) {
        return Err(misuse(field, "holds a blank; in names of apps it is written %20").into());
    }
    let text: Vec<String> = words.iter().map(|(field, value)| format!("{field}={value}")).collect();
    KeyLine::parse(&text.join(" "), Way::Keys).map_err(|mistakes| {
        let mistakes: Vec<String> =
            mistakes.iter().map(|Mistake { field, what }| misuse(field, what).0).collect();
        Misuse(mistakes.join("; ")).into()
    })
}

/// On a command line the default tenant may be nothing at all.
fn app(name: &str) -> &str {
    if name.is_empty() { "\"\"" } else { name }
}

fn misuse(field: &str, what: &str) -> Misuse {
    Misuse(format!("--{}: {what}", field.replace('_', "-")))
}

/// Adds the line to a file that is good with it; makes the file if there is none.
fn append(path: &Path, line: &KeyLine) -> anyhow::Result<()> {
    let name = path.display();
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {name}")),
    };
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let added = format!("{gap}{line}\n");
    if let Err(mistakes) = file::parse(&format!("{before}{added}"), Way::Keys) {
        let error = anyhow::anyhow!("{name} would be no good: {}", mistakes.join("; "));
        return Err(with_tip(error, "a name is given once; nothing was added, and no key was made"));
    }
    // In one write, so that a manager that looks just then finds the line or does not.
    let written = OpenOptions::new().create(true).append(true).open(path);
    written
        .and_then(|mut file| file.write_all(added.as_bytes()))
        .with_context(|| format!("cannot write to {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(apps: &str, methods: &str) -> NewKeyArguments {
        NewKeyArguments {
            name: "shop".to_owned(),
            apps: apps.to_owned(),
            methods: methods.to_owned(),
            pushes_per_second: Some("100".to_owned()),
            bytes_per_second: None,
            keys_file: None,
        }
    }

    fn hash() -> String {
        "ab".repeat(32)
    }

    #[test]
    fn a_line_is_what_was_asked_for() {
        let line = line(&new(",shop", "PushToUser"), &hash()).unwrap().to_string();
        let expected =
            format!("name=shop blake3={} apps=\"\",shop methods=PushToUser pushes_per_second=100", hash());
        assert_eq!(line, expected);
    }

    #[test]
    fn mistakes_are_told_by_their_flags() {
        let wrong = NewKeyArguments { pushes_per_second: Some("0".to_owned()), ..new("*", "Push") };
        let error = line(&wrong, &hash()).unwrap_err();
        assert!(error.is::<Misuse>());
        let text = error.to_string();
        for says in ["--methods: \"Push\" is not known", "--pushes-per-second: \"0\""] {
            assert!(text.contains(says), "{says} is missing in {text}");
        }
        assert!(line(&new("a b", "*"), &hash()).unwrap_err().to_string().contains("--apps: holds a blank"));
    }
}
