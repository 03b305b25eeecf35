//! `pushctl top`: a push-manager at work.
//!
//! [`scrape`] asks the manager, [`state`] keeps what it said, [`summary`] puts the figures in words, [`view`] draws
//! them on a [`screen`]; [`lines`] prints them where there is none.

mod charts;
mod keys;
mod lines;
mod scrape;
mod screen;
mod state;
mod summary;
mod view;

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use pushcast_common::shutdown;

use self::{lines::Form, scrape::Manager};
use super::{arguments::TopArguments, pipe::reader_gone};

pub(super) async fn run(arguments: TopArguments) -> anyhow::Result<()> {
    let TopArguments { http, key, tls, interval, once, json } = arguments;
    let manager = Manager::new(&http)?.with_key(key.read()?).with_tls(tls.read(&[&http])?);
    let stop = shutdown::on_signals().context("cannot wait for Ctrl-C")?;
    let form = if json { Form::Json } else { Form::Plain };
    if !once && !json && has_screen() {
        return screen::run(manager, interval, &stop).await;
    }
    let printed = async {
        if once {
            lines::once(&manager, interval, form).await
        } else {
            lines::follow(&manager, interval, form).await
        }
    };
    tokio::select! {
        printed = printed => printed,
        () = stop.begun() => Ok(()),
        () = reader_gone() => Ok(()),
    }
}

/// Whether there is a terminal that can place a cursor, and somebody at its keys.
fn has_screen() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdout().is_terminal() && io::stdin().is_terminal() && !is_dumb
}
