//! A socket is a file descriptor, and a process may have only so many.

use std::{io, os::fd::OwnedFd};

use tokio::io::{Interest, unix::AsyncFd};

use super::super::output::with_tip;

/// A descriptor that can be waited for until it is readable. Needs a tokio runtime.
#[expect(
    deprecated,
    reason = "what makes it unsound, a descriptor that changes or closes by itself, is no OwnedFd"
)]
pub(super) fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}

/// What is open besides the sockets: standard streams, the runtime, the manager, scrapes.
const OTHERS: u64 = 64;

/// Raises the limit as far as it takes for so many sockets. An error says which limit is in the way, and how many
/// sockets are possible.
pub(super) fn raise_for(sockets: u64) -> anyhow::Result<()> {
    if sockets == 0 {
        return Ok(());
    }
    let needed = sockets + OTHERS;
    let limit = rlimit::increase_nofile_limit(needed)
        .or_else(|_refused| rlimit::getrlimit(rlimit::Resource::NOFILE).map(|(soft, _)| soft))?;
    match shortage(sockets, needed, limit) {
        None => Ok(()),
        Some((what, tip)) => Err(with_tip(anyhow::anyhow!(what), tip)),
    }
}

fn shortage(sockets: u64, needed: u64, limit: u64) -> Option<(String, String)> {
    if needed <= limit {
        return None;
    }
    let possible = limit.saturating_sub(OTHERS);
    let what = format!(
        "{sockets} sockets need {needed} file descriptors, and the hard limit of this process (RLIMIT_NOFILE) is {limit}: \
         {possible} sockets are possible"
    );
    let tip = format!(
        "ask for {possible} sockets or fewer, start several pushctl, or raise the limit (`ulimit -Hn`, as root)"
    );
    Some((what, tip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_possible_is_said_where_the_limit_is_too_low() {
        assert_eq!(shortage(1000, 1064, 1064), None);
        let (what, tip) = shortage(1000, 1064, 256).unwrap();
        assert!(
            what.contains("1064 file descriptors") && what.contains("is 256: 192 sockets are possible"),
            "{what}"
        );
        assert!(tip.contains("192 sockets or fewer"), "{tip}");
        let (what, _) = shortage(10, 74, 20).unwrap();
        assert!(what.contains("0 sockets are possible"), "{what}");
    }
}
