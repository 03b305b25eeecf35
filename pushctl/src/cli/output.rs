//! What is printed, and how failing is worded.

use std::io::{self, Write as _};

use tonic::{Code, Status};

/// The caller has to say something else; nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Misuse(pub(super) String);

/// Writes lines to standard output at once, so that a reader of the pipe sees each as it comes.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Tells the person, beside the output.
pub(super) fn remark(text: &str) {
    // Where standard error is closed there is nobody to tell.
    let _unread = writeln!(io::stderr(), "pushctl: {text}");
}

pub(super) fn complain(error: &anyhow::Error) {
    remark(&format!("{error:#}"));
}

/// A failed call to a manager: what, where and what to do.
pub(super) fn call_failed(manager: &str, status: &Status) -> anyhow::Error {
    let transport = std::error::Error::source(status).is_some();
    if status.code() == Code::Unavailable && transport {
        let reason = innermost(status);
        return anyhow::anyhow!(
            "{manager}: cannot reach the push-manager ({reason}); is it running? Give its gRPC address with --manager or PUSHCTL_MANAGER"
        );
    }
    anyhow::anyhow!("{manager}: {}", pushctl::push::explain(status))
}

fn innermost(status: &Status) -> String {
    let mut error: &dyn std::error::Error = status;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Text as it is; anything else, and what would upset a terminal, escaped.
pub(super) fn readable(content: &[u8]) -> String {
    match std::str::from_utf8(content) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\t') => text.to_owned(),
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => content.escape_ascii().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_never_controls_the_terminal() {
        assert_eq!(readable("grüße\t1".as_bytes()), "grüße\t1");
        assert_eq!(readable(b"a\x1b[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(readable(&[0xff, b'x']), "\\xffx");
    }
}
