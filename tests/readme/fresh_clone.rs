//! A clone of this repository as a newcomer has it, and machines to use it on.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::terminal::Place;

/// What is on every machine that builds programs. No node, python, etcd, protoc: who has just Rust has none of them.
const USUAL: &str = "sh bash env make git curl cc gcc ld as ar ranlib nm strip objcopy \
    awk basename cat chmod cmp cp cut date dirname echo expr false find grep head id kill ln ls mkdir mktemp mv nproc \
    printf ps pwd readlink realpath rm rmdir sed sleep sort stty tail tar tee test touch tr true uname uniq wc which xargs";

/// The clone, and its own little `bin`; both are removed when this is dropped.
#[derive(Debug)]
pub(super) struct FreshClone {
    dir: TempDir,
}

impl FreshClone {
    /// Clones what is committed, and then takes over what has been changed since: the test is of what is in front of
    /// whoever runs it, and on a clean checkout, as CI's, that is the commit.
    pub(super) fn make(repository: &Path) -> Self {
        let dir = tempfile::Builder::new().prefix("pushcast-clone-").tempdir().unwrap();
        let clone = Self { dir };
        git(repository, &["clone", "--quiet", ".", clone.path().to_str().unwrap()]);
        for path in files(repository, &["--deleted"]) {
            fs::remove_file(clone.path().join(path)).unwrap();
        }
        for path in files(repository, &["--modified", "--others", "--exclude-standard"]) {
            let (from, to) = (repository.join(&path), clone.path().join(&path));
            // Others may be at work in the checkout: what has just gone is not there for a newcomer either.
            if from.is_file() {
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(from, to).unwrap();
            }
        }
        clone.link_the_usual();
        clone
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("pushcast")
    }

    fn bin(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    /// A machine with Rust and what every machine has, and nothing else.
    pub(super) fn with_only_rust(&self) -> Place {
        let kept = ["HOME", "CARGO_HOME", "RUSTUP_HOME"];
        let mut environment: Vec<(OsString, OsString)> =
            kept.iter().filter_map(|name| Some((name.into(), env::var_os(name)?))).collect();
        environment.push(("PATH".into(), self.bin().into()));
        Place { dir: self.path(), environment }
    }

    /// This machine, without what cargo tells a test and what changes how our programs behave.
    pub(super) fn with_everything(&self) -> Place {
        let ours = ["CARGO", "RUST", "LD_LIBRARY_PATH", "PUSHCTL_", "PUSH_MANAGER_", "CONNECT_NODE_"];
        let kept = env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            name == "CARGO_HOME"
                || name == "RUSTUP_HOME"
                || !ours.iter().any(|prefix| name.starts_with(prefix))
        });
        Place { dir: self.path(), environment: kept.collect() }
    }

    fn link_the_usual(&self) {
        fs::create_dir(self.bin()).unwrap();
        let toolchain =
            PathBuf::from(output(Command::new("rustc").args(["--print", "sysroot"])).trim()).join("bin");
        for rust in ["cargo", "rustc"] {
            symlink(toolchain.join(rust), self.bin().join(rust)).unwrap();
        }
        let path = env::var_os("PATH").unwrap();
        for name in USUAL.split_whitespace() {
            let found = env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
            // What is missing here (ps, for one) is missing there; what needs it will say so.
            if let Some(file) = found {
                symlink(file, self.bin().join(name)).unwrap();
            }
        }
    }
}

fn files(repository: &Path, which: &[&str]) -> Vec<String> {
    let listed = git(repository, &[&["ls-files", "-z"], which].concat());
    listed.split_terminator('\0').map(str::to_owned).collect()
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    output(Command::new("git").current_dir(dir).args(arguments))
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[cfg(test)]
mod tests {
    use super::{super::terminal::Terminal, *};
    use pushcast_tests::eventually::eventually;
    use std::time::Duration;

    #[tokio::test]
    async fn a_machine_with_only_rust_has_cargo_and_the_repository_and_no_other_language() {
        let clone = FreshClone::make(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let commands = "cargo --version\nls README.md\ntest ! -e target\n\
                        for name in python3 node go etcd protoc; do ! command -v $name; done";
        let mut terminal = Terminal::run(commands, &clone.with_only_rust());
        let within = Duration::from_secs(60);
        let ended =
            eventually("it ends", within, async || terminal.ended().ok_or_else(|| terminal.text())).await;
        assert!(ended.success(), "{}", terminal.text());
        let lines: Vec<String> = terminal.text().lines().map(str::to_owned).collect();
        assert!(
            matches!(&lines[..], [cargo, readme] if cargo.starts_with("cargo 1.") && readme == "README.md"),
            "{lines:?}"
        );
    }
}
