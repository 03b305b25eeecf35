//! The README, done as it says: every block of commands, in order, in a fresh clone, with the output it shows.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]

mod fresh_clone;
mod links;
mod output;
mod reader;
mod script;
mod shape;
mod terminal;

use std::path::{Path, PathBuf};

use fresh_clone::FreshClone;
use reader::Reader;

/// One test, because each block stands on those before it. It uses the default ports, as the README does.
#[tokio::test]
async fn every_command_works_in_a_fresh_clone_and_prints_what_is_shown() {
    let (repository, readme) = readme();
    let steps = script::parse(&readme).unwrap_or_else(|error| panic!("{error}"));
    let clone = FreshClone::make(&repository);
    let mut reader = Reader::default();
    let first = steps.first().expect("the README has commands");
    for step in &steps {
        // What stands under the first heading is promised to whoever has just Rust.
        let place =
            if step.heading == first.heading { clone.with_only_rust() } else { clone.with_everything() };
        reader.follow(step, &place).await;
    }
    reader.end_section().await;
    assert_eq!(reader.lines_tried, 3, "`make run` prints three lines to try");
}

#[test]
fn every_link_leads_somewhere() {
    let (repository, readme) = readme();
    assert_eq!(links::broken(&readme, &repository), Vec::<String>::new());
}

/// The repository, and its README.
fn readme() -> (PathBuf, String) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = std::fs::read_to_string(repository.join("README.md")).unwrap();
    (repository, readme)
}
