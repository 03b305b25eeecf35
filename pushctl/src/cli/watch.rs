//! What `pushctl listen` says about its connection.

use pushcast_proto::client::v1::{Connected, RoomsChanged};
use tokio::time::Instant;

use super::{
    outage::Outage,
    output::{remark, tip},
};

/// Tells of the connection's comings and goings.
#[derive(Debug, Default)]
pub(super) struct Watch {
    was_connected: bool,
    outage: Option<Outage>,
    /// The session has what it takes to go on where it was: whether that worked out is worth a word.
    can_resume: bool,
}

impl Watch {
    pub(super) fn connected(&mut self, connected: &Connected) {
        self.was_connected = true;
        let after = self.outage.take().map(|outage| outage.took(Instant::now()));
        remark(&describe_connection(connected, after.as_deref(), self.can_resume));
    }

    pub(super) fn rooms_changed(rooms: &RoomsChanged) {
        let (joined, left) = (listed(&rooms.joined), listed(&rooms.left));
        remark(&format!("rooms changed by the server, joined: {joined}, left: {left}"));
    }

    pub(super) fn interrupted(&mut self, cause: &str, can_resume: bool) {
        self.can_resume = can_resume;
        let now = Instant::now();
        let is_first = self.outage.is_none();
        let outage = self.outage.get_or_insert_with(|| Outage::begins(now));
        if let Some(word) = outage.failed(cause, now) {
            remark(&word);
        }
        if is_first && !self.was_connected {
            tip(
                "Ctrl-C ends it; --url or PUSHCTL_URL names another node, `pushctl dev` starts a fleet to try",
            );
        }
    }
}

/// Where it is connected and, after an outage that took so long, what became of the pushes of that time.
fn describe_connection(connected: &Connected, after: Option<&str>, resumed: bool) -> String {
    let again = match (after, resumed, connected.recovered == Some(true)) {
        (None, ..) => String::new(),
        (Some(after), false, _) => format!(" again after {after}"),
        (Some(after), true, true) => format!(" again after {after}, nothing missed"),
        (Some(after), true, false) => {
            format!(" again after {after}, and some messages may be missing: reload what matters")
        }
    };
    // What stands before the rooms may have commas of its own.
    let separator = if resumed && after.is_some() { ';' } else { ',' };
    format!(
        "connected to {} as {}{again}{separator} rooms: {}",
        connected.node_id,
        connected.user_id,
        listed(&connected.rooms)
    )
}

fn listed(rooms: &[String]) -> String {
    if rooms.is_empty() { "none".to_owned() } else { rooms.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_says_what_became_of_the_pushes_in_between() {
        let describe = |recovered, after, resumed| {
            let connected = Connected {
                node_id: "n2".to_owned(),
                user_id: "u1".to_owned(),
                rooms: vec!["r1".to_owned(), "r2".to_owned()],
                recovered: Some(recovered),
                ..Connected::default()
            };
            describe_connection(&connected, after, resumed)
        };
        assert_eq!(describe(false, None, false), "connected to n2 as u1, rooms: r1, r2");
        let after = Some("1.2 s");
        assert_eq!(describe(false, after, false), "connected to n2 as u1 again after 1.2 s, rooms: r1, r2");
        assert_eq!(
            describe(true, after, true),
            "connected to n2 as u1 again after 1.2 s, nothing missed; rooms: r1, r2"
        );
        assert_eq!(
            describe(false, after, true),
            "connected to n2 as u1 again after 1.2 s, and some messages may be missing: reload what matters; \
             rooms: r1, r2"
        );
    }
}
