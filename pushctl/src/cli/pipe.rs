//! Whether anybody still reads what we print.

use std::{io, os::fd::AsFd as _};

use tokio::{io::Interest, net::unix::pipe::Sender};

/// Comes back when the reader of standard output has gone, so that `pushctl listen | head -1` ends with its `head` and
/// not with the next push. Never for a file or a terminal. Needs a tokio runtime.
pub(super) async fn reader_gone() {
    // A copy of the descriptor, for printing goes on beside it. Unchecked, because the checked way makes the pipe
    // non-blocking for everybody who holds it; what cannot be waited for, a file for one, is refused all the same.
    let stdout = io::stdout().as_fd().try_clone_to_owned().and_then(Sender::from_owned_fd_unchecked);
    if let Ok(stdout) = stdout
        && stdout.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
