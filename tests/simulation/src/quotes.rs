//! Positions and `as_of`, wherever a client is told them: checks `Positions`, `AsOf` and `NeverBack`.

use crate::{
    client::Client,
    findings::Check,
    numbers::Numbers,
    stage::Stage,
    truth::{Id, Position},
};

/// What a client is told.
#[derive(Debug)]
pub(crate) struct Quote {
    pub(crate) position: Position,
    /// Microseconds, in whole milliseconds as on the wire.
    pub(crate) as_of: u64,
}

/// A client was told where it is, behind everything it was sent before. `who` names it.
pub(crate) fn quoted(
    stage: &mut Stage,
    numbers: &mut Numbers,
    client: &mut Client,
    quote: &Quote,
    who: &str,
) {
    never_back(stage, client, quote, who);
    // A resume is answered with what the client had, which may be ahead of this node for a while.
    if client.told.is_none() && client.unnamed_before.is_some() {
        client.position.raise(&quote.position);
        client.told = Some(Position::default());
        return;
    }
    client.as_of = client.as_of.max(quote.as_of);
    client.told.get_or_insert_default().raise(&quote.position);
    could_be_quoted(stage, numbers, client, quote, who);
}

/// A client could be told this now. What the product has not really quoted it need not remember, so `as_of`
/// may go back behind it.
pub(crate) fn could_be_quoted(
    stage: &mut Stage,
    numbers: &mut Numbers,
    client: &mut Client,
    quote: &Quote,
    who: &str,
) {
    stage.findings.counts.quoted += 1;
    as_of_is_covered(stage, numbers, quote, who);
    client.position.raise(&quote.position);
    numbers.claimed = numbers.claimed.max(quote.as_of);
}

fn never_back(stage: &mut Stage, client: &Client, quote: &Quote, who: &str) {
    for (manager, seq) in client.told.iter().flat_map(|told| &told.0) {
        // One that is left out is gone.
        if let Some(now) = quote.position.get(*manager).filter(|now| now < seq) {
            let what = format!("{who} was told {manager:016x}-{now} after {seq}");
            stage.broken(Check::NeverBack, what);
        }
    }
    // Left out while it is unknown, or while what was missed is on its way.
    if quote.as_of < client.as_of && quote.as_of != 0 {
        let (now, before) = (quote.as_of, client.as_of);
        stage.broken(Check::NeverBack, format!("{who} was told as_of {now} after {before}"));
    }
}

/// Everything accepted up to `as_of` has to be within the position quoted with it; that the position itself
/// is true is checked by what comes after it.
fn as_of_is_covered(stage: &mut Stage, numbers: &Numbers, quote: &Quote, who: &str) {
    let mut uncovered = None;
    for (index, manager) in stage.truth.managers.iter().enumerate() {
        let newest = manager.newest_at(quote.as_of.saturating_sub(stage.skew));
        let placed = quote.position.at(manager.id);
        if newest > placed && !numbers.is_exempt(manager.id) {
            uncovered = Some((Id { manager: index, seq: newest }, placed));
        }
    }
    if let Some((id, placed)) = uncovered {
        let as_of = quote.as_of;
        stage.broken(Check::AsOf, format!("{who} was told as_of {as_of}, which covers {id}, at {placed}"));
    }
}

/// A delivery reached a client.
pub(crate) fn delivered(stage: &mut Stage, client: &mut Client, id: Id, who: &str) {
    stage.findings.counts.delivered += 1;
    let placed = client.position.at(stage.truth.managers[id.manager].id);
    if id.seq <= placed {
        stage.broken(Check::Positions, format!("{who} got {id} after it was told {placed}"));
    }
    client.got.push(id);
}
