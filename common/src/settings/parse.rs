//! The command line and its variables, read so that one mistake does not hide the next.

use std::{collections::BTreeMap, env, ffi::OsString};

use clap::{
    ArgAction, Command, CommandFactory, Error, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{EXIT_USAGE, ExitOutcome, Problems};

/// Reads `argv` (with the program's name first) and the process's environment into `A`.
///
/// Every long flag `--some-flag` also has the variable `{prefix}SOME_FLAG`; the flag beats it, and an
/// empty variable counts as unset. What clap refuses (unknown flags, missing values) is collected, so
/// the returned struct is what the rest of the line says. `--help` and `--version` are an outcome
/// with code 0.
pub fn parse<A: CommandFactory + FromArgMatches>(
    prefix: &str,
    argv: impl IntoIterator<Item = OsString>,
) -> Result<(A, Problems), ExitOutcome> {
    parse_with(prefix, argv, |name| env::var_os(name))
}

/// As [`parse`], with the environment given as a look-up.
pub fn parse_with<A: CommandFactory + FromArgMatches>(
    prefix: &str,
    argv: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<(A, Problems), ExitOutcome> {
    let mut argv = join_negative_values(argv);
    let described = describe_variables(A::command(), prefix);
    let mut variables = BTreeMap::new();
    let mut refused = Vec::new();
    let command = apply_variables(described.clone(), prefix, &env, &mut variables, &mut refused);
    let given = given_flags(&argv);
    variables.retain(|flag, _| !given.contains(flag));
    let mut problems = Problems::new(variables);
    for (flag, message) in refused {
        problems.push(&flag, message);
    }
    loop {
        let error = match command.clone().try_get_matches_from(&argv) {
            Ok(matches) => match A::from_arg_matches(&matches) {
                Ok(args) => return Ok((args, problems)),
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !error.use_stderr() {
            return Err(shown(described, &argv));
        }
        let (flag, message) = explain(&error);
        problems.push(&flag, message);
        if !remove(&mut argv, &error, &flag) {
            let text = format!("{problems}\n");
            return Err(ExitOutcome { code: EXIT_USAGE, text });
        }
    }
}

/// Makes `--heartbeat -1s` into `--heartbeat=-1s`: clap would take the value for flags named 1 and s, and the
/// mistake for another one.
fn join_negative_values(argv: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    for arg in argv {
        let text = arg.to_string_lossy();
        let negative = text.starts_with('-') && text[1..].starts_with(|c: char| c.is_ascii_digit());
        let after_flag = |flag: &&mut OsString| {
            let flag = flag.to_string_lossy();
            flag.starts_with("--") && !flag.contains('=')
        };
        match joined.last_mut().filter(after_flag) {
            Some(flag) if negative => {
                flag.push("=");
                flag.push(&arg);
            }
            _ => joined.push(arg),
        }
    }
    joined
}

fn variable(prefix: &str, long: &str) -> String {
    format!("{prefix}{}", long.replace('-', "_").to_uppercase())
}

fn describe_variables(command: Command, prefix: &str) -> Command {
    command.mut_args(|arg| {
        let Some(long) = arg.get_long() else { return arg };
        if matches!(arg.get_action(), ArgAction::Help | ArgAction::Version) {
            return arg;
        }
        let name = variable(prefix, long);
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        arg.help(format!("{help} [env: {name}]"))
    })
}

/// Variables become defaults: so flags beat them without any merging of ours.
fn apply_variables(
    command: Command,
    prefix: &str,
    env: &impl Fn(&str) -> Option<OsString>,
    variables: &mut BTreeMap<String, String>,
    refused: &mut Vec<(String, String)>,
) -> Command {
    command.mut_args(|arg| {
        let Some(long) = arg.get_long() else { return arg };
        let name = variable(prefix, long);
        let Some(value) = env(&name).filter(|value| !value.is_empty()) else { return arg };
        let flag = format!("--{long}");
        let Some(text) = value.to_str() else {
            refused.push((flag, format!("the value of {name} is not UTF-8")));
            return arg;
        };
        let value = match arg.get_action() {
            ArgAction::Set | ArgAction::Append => text,
            ArgAction::SetTrue => match text {
                "true" | "1" | "yes" | "on" => "true",
                "false" | "0" | "no" | "off" => "false",
                _ => {
                    refused.push((flag, format!("\"{text}\" in {name} is neither true nor false")));
                    return arg;
                }
            },
            _ => return arg,
        };
        variables.insert(flag, name);
        arg.required(false).default_value(value.to_owned())
    })
}

fn given_flags(argv: &[OsString]) -> Vec<String> {
    let flag = |arg: &OsString| {
        let text = arg.to_str()?;
        text.starts_with("--").then(|| text.split('=').next().unwrap_or(text).to_owned())
    };
    argv.iter().skip(1).filter_map(flag).collect()
}

/// Help and version come from the command without variables, so that help shows the real defaults
/// and never a variable's content.
fn shown(described: Command, argv: &[OsString]) -> ExitOutcome {
    let text = match described.try_get_matches_from(argv) {
        Err(error) => error.render().to_string(),
        // Only a variable made the difference between help and a full command line.
        Ok(_) => String::new(),
    };
    ExitOutcome { code: 0, text }
}

fn context(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        ContextValue::StyledStrs(texts) => texts.first().map(ToString::to_string),
        _ => None,
    }
}

/// The flag a clap error is about, and our words for it.
fn explain(error: &Error) -> (String, String) {
    let arg = context(error, ContextKind::InvalidArg).unwrap_or_default();
    // Clap names known arguments with their placeholder: `--grpc-addr <ADDR>`.
    let flag = arg.split([' ', '=']).next().unwrap_or_default().to_owned();
    let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::UnknownArgument if !flag.starts_with('-') => {
            return (format!("\"{arg}\""), "does not belong to any flag".to_owned());
        }
        ErrorKind::UnknownArgument => match context(error, ContextKind::SuggestedArg) {
            Some(near) => format!("no such flag; did you mean {}?", near.split(' ').next().unwrap_or(&near)),
            None => "no such flag (--help shows all)".to_owned(),
        },
        ErrorKind::InvalidValue if value.is_empty() => "needs a value".to_owned(),
        ErrorKind::TooManyValues if !value.is_empty() => format!("takes no value, but got \"{value}\""),
        ErrorKind::TooManyValues => "takes no value".to_owned(),
        ErrorKind::ArgumentConflict => "is given more than once".to_owned(),
        ErrorKind::InvalidUtf8 => {
            return ("command line".to_owned(), "holds a text that is not UTF-8".to_owned());
        }
        ErrorKind::MissingRequiredArgument => "must be given".to_owned(),
        _ => return (named(flag), first_line(error)),
    };
    (named(flag), message)
}

fn named(flag: String) -> String {
    if flag.is_empty() { "command line".to_owned() } else { flag }
}

fn first_line(error: &Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Takes the refused argument out of the line, so that the next parse finds the next mistake.
/// False if it is not there: then nothing more can be learned.
fn remove(argv: &mut Vec<OsString>, error: &Error, flag: &str) -> bool {
    if error.kind() == ErrorKind::InvalidUtf8 {
        let before = argv.len();
        argv.retain(|arg| arg.to_str().is_some());
        return argv.len() < before;
    }
    let wanted = flag.trim_matches('"');
    let is_it = |arg: &OsString| {
        arg.to_str()
            .is_some_and(|arg| arg == wanted || arg.split_once('=').is_some_and(|(name, _)| name == wanted))
    };
    // Short flags stand together: `-abc` is refused as `-a`.
    let short = wanted.len() == 2 && wanted.starts_with('-');
    let is_it = |arg: &OsString| {
        is_it(arg)
            || short && arg.to_str().is_some_and(|arg| !arg.starts_with("--") && arg.starts_with(wanted))
    };
    // The last one: of a flag given twice the first stays.
    let Some(at) = argv.iter().skip(1).rposition(is_it).map(|at| at + 1) else { return false };
    let removed = argv.remove(at);
    // `--unknown value`: the value goes with its flag, or it would be reported as well.
    let takes_next = wanted.starts_with("--") && !removed.to_string_lossy().contains('=');
    if takes_next && argv.get(at).is_some_and(|next| !next.to_string_lossy().starts_with('-')) {
        argv.remove(at);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    #[command(name = "demo", version = "1.2.3")]
    struct Args {
        /// Where callers connect
        #[arg(long, default_value = "0.0.0.0:9000")]
        grpc_addr: String,
        /// Who may call
        #[arg(long)]
        auth: Option<String>,
        /// Several
        #[arg(long)]
        item: Vec<String>,
        /// Say more
        #[arg(long)]
        verbose: bool,
    }

    fn run(line: &str, env: &[(&str, &str)]) -> Result<(Args, Problems), ExitOutcome> {
        let argv = std::iter::once("demo").chain(line.split_whitespace()).map(OsString::from);
        let look_up = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        parse_with("DEMO_", argv, look_up)
    }

    fn good(line: &str, env: &[(&str, &str)]) -> Args {
        let (args, problems) = run(line, env).unwrap();
        assert!(problems.is_empty(), "{problems}");
        args
    }

    fn problems(line: &str, env: &[(&str, &str)]) -> Vec<String> {
        run(line, env).unwrap().1.to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_flag_beats_its_variable_and_an_empty_variable_is_unset() {
        assert_eq!(good("", &[]).grpc_addr, "0.0.0.0:9000");
        assert_eq!(good("", &[("DEMO_GRPC_ADDR", "a:1")]).grpc_addr, "a:1");
        assert_eq!(good("--grpc-addr b:1", &[("DEMO_GRPC_ADDR", "a:1")]).grpc_addr, "b:1");
        assert_eq!(good("", &[("DEMO_GRPC_ADDR", "")]).grpc_addr, "0.0.0.0:9000");
        assert_eq!(good("", &[("DEMO_AUTH", "none")]).auth.as_deref(), Some("none"));
        assert_eq!(good("", &[("DEMO_AUTH", "")]).auth, None);
        assert_eq!(good("--item a --item b", &[("DEMO_ITEM", "c")]).item, ["a", "b"]);
        assert_eq!(good("", &[("DEMO_ITEM", "c")]).item, ["c"]);
        for (value, on) in [("true", true), ("1", true), ("off", false), ("", false)] {
            assert_eq!(good("", &[("DEMO_VERBOSE", value)]).verbose, on, "{value}");
        }
        assert!(good("--verbose", &[("DEMO_VERBOSE", "false")]).verbose);
    }

    #[test]
    fn every_mistake_of_a_line_is_found_at_once() {
        let line = "--grpc-adr x:1 --colour=red --auth a --auth b --verbose=loud stray --item";
        let found = problems(line, &[]);
        for want in [
            "--grpc-adr: no such flag; did you mean --grpc-addr?",
            "--colour: no such flag (--help shows all)",
            "--auth: is given more than once",
            "--verbose: takes no value, but got \"loud\"",
            "\"stray\": does not belong to any flag",
            "--item: needs a value",
        ] {
            assert!(found.iter().any(|line| line == want), "{want} is missing in {found:#?}");
        }
        assert_eq!(found.len(), 6, "{found:#?}");
    }

    #[test]
    fn a_negative_value_belongs_to_its_flag_and_short_flags_hide_nothing() {
        let args = good("--grpc-addr -1s --auth none", &[]);
        assert_eq!((args.grpc_addr.as_str(), args.auth.as_deref()), ("-1s", Some("none")));
        let found = problems("-xyz --colour=red", &[]);
        assert!(found.iter().any(|line| line.starts_with("-x: ")), "{found:#?}");
        assert!(found.iter().any(|line| line.starts_with("--colour: ")), "{found:#?}");
    }

    #[test]
    fn what_was_right_on_a_wrong_line_is_still_checked() {
        let (args, mut problems) = run("--unknown --grpc-addr foo --auth", &[]).unwrap();
        problems.addr("--grpc-addr", &args.grpc_addr);
        problems.how("--auth", args.auth.as_deref(), &["none"]);
        let text = problems.check().unwrap_err().text;
        assert!(text.contains("--unknown: no such flag"), "{text}");
        assert!(text.contains("--grpc-addr: \"foo\" is not host:port (example: 127.0.0.1:9000)"), "{text}");
        assert!(text.contains("--auth: "), "{text}");
    }

    #[test]
    fn a_mistake_from_a_variable_names_it() {
        assert_eq!(
            problems("", &[("DEMO_VERBOSE", "loud")]),
            ["--verbose: \"loud\" in DEMO_VERBOSE is neither true nor false"]
        );
        let (args, mut problems) = run("", &[("DEMO_GRPC_ADDR", "foo")]).unwrap();
        problems.addr("--grpc-addr", &args.grpc_addr);
        assert!(problems.to_string().ends_with("(from DEMO_GRPC_ADDR)"), "{problems}");
        let (args, mut problems) = run("--grpc-addr=foo", &[("DEMO_GRPC_ADDR", "a:1")]).unwrap();
        problems.addr("--grpc-addr", &args.grpc_addr);
        assert!(!problems.to_string().contains("from"), "{problems}");
    }

    #[test]
    fn help_shows_defaults_and_variables_but_never_their_content() {
        let outcome = run("--help", &[("DEMO_AUTH", "secret"), ("DEMO_GRPC_ADDR", "hidden:1")]).unwrap_err();
        assert_eq!(outcome.code, 0);
        assert!(outcome.text.contains("[env: DEMO_GRPC_ADDR]"), "{}", outcome.text);
        assert!(outcome.text.contains("[default: 0.0.0.0:9000]"), "{}", outcome.text);
        assert!(!outcome.text.contains("secret") && !outcome.text.contains("hidden"), "{}", outcome.text);
        let version = run("--version", &[]).unwrap_err();
        assert_eq!((version.code, version.text.as_str()), (0, "demo 1.2.3\n"));
    }
}
