//! What makes retries one: hashes of a push's parts, the same through every manager.

use bytes::Bytes;
use pushcast_proto::connectnode::v1::{
    Control, Message,
    control::{Action, Whose},
    message::Target,
};

/// Every part is preceded by its length, so no two lists of parts spell the same bytes.
struct Hasher(blake3::Hasher);

impl Hasher {
    fn part(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn finish(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0.finalize().as_bytes()[..16])
    }
}

/// 128 bits that retries of a push share and that nothing else has.
pub(super) fn request_hash(message: &Message) -> Bytes {
    let mut hasher = Hasher(blake3::Hasher::new());
    hasher.part(message.app.as_bytes());
    hasher.part(message.request_id.as_bytes());
    match &message.target {
        Some(Target::RoomId(id)) => {
            hasher.part(b"room");
            hasher.part(id.as_bytes());
        }
        Some(Target::UserId(id)) => {
            hasher.part(b"user");
            hasher.part(id.as_bytes());
        }
        Some(Target::UserIds(users)) => {
            hasher.part(b"users");
            hasher.part(&(users.ids.len() as u64).to_le_bytes());
            users.ids.iter().for_each(|id| hasher.part(id.as_bytes()));
        }
        Some(Target::Everyone(everyone)) => {
            hasher.part(if everyone.all_apps { b"all apps" } else { b"everyone" });
        }
        Some(Target::Control(control)) => hash_control(&mut hasher, control),
        None => {}
    }
    hasher.part(&message.content);
    hasher.finish()
}

fn hash_control(hasher: &mut Hasher, control: &Control) {
    hasher.part(b"control");
    match &control.whose {
        Some(Whose::UserId(id)) => {
            hasher.part(b"user");
            hasher.part(id.as_bytes());
        }
        Some(Whose::ConnectionId(id)) => {
            hasher.part(b"connection");
            hasher.number(*id);
        }
        None => {}
    }
    match &control.action {
        Some(Action::Join(room)) => {
            hasher.part(b"join");
            hasher.part(room.as_bytes());
        }
        Some(Action::Leave(room)) => {
            hasher.part(b"leave");
            hasher.part(room.as_bytes());
        }
        Some(Action::Kick(kick)) => {
            hasher.part(b"kick");
            hasher.part(kick.reason.as_bytes());
            hasher.number(u64::from(kick.reconnect));
        }
        Some(Action::Claim(claim)) => {
            hasher.part(b"claim");
            hasher.number(claim.generation);
            hasher.number(claim.nonce);
        }
        None => {}
    }
}

/// 128 bits that everything sent under one request id shares, whatever it is. A domain of its own: no message is
/// hashed from as few parts as these.
pub(super) fn request_key(message: &Message) -> Bytes {
    let mut hasher = Hasher(blake3::Hasher::new());
    hasher.part(b"request key");
    hasher.part(message.app.as_bytes());
    hasher.part(message.request_id.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use pushcast_proto::connectnode::v1::Kick;

    use super::*;

    fn of(target: Target) -> Message {
        Message { request_id: "1".into(), target: Some(target), ..Message::default() }
    }

    fn to_room() -> Message {
        of(Target::RoomId("r".into()))
    }

    #[test]
    fn retries_share_a_hash_and_nothing_else_does() {
        let plain = request_hash(&to_room());
        assert_eq!(plain.len(), 16);
        assert_eq!(request_hash(&Message { uri: "a/b".into(), seq: 7, ..to_room() }), plain);
        assert_ne!(request_hash(&Message { request_id: "2".into(), ..to_room() }), plain);
        assert_ne!(request_hash(&Message { app: "a".into(), ..to_room() }), plain);
        assert_ne!(request_hash(&Message { content: Bytes::from_static(b"c"), ..to_room() }), plain);
        assert_ne!(request_hash(&of(Target::RoomId("s".into()))), plain);
        assert_ne!(request_hash(&of(Target::UserId("r".into()))), plain);
    }

    #[test]
    fn a_key_is_of_the_request_id_alone() {
        let plain = request_key(&to_room());
        assert_eq!(plain.len(), 16);
        assert_ne!(plain, request_hash(&to_room()));
        assert_eq!(request_key(&of(Target::UserId("u".into()))), plain);
        assert_eq!(request_key(&Message { content: Bytes::from_static(b"c"), ..to_room() }), plain);
        assert_ne!(request_key(&Message { request_id: "2".into(), ..to_room() }), plain);
        assert_ne!(request_key(&Message { app: "a".into(), ..to_room() }), plain);
        // Lengths keep apart what runs together.
        let (one, two) = (("a", "bc"), ("ab", "c"));
        let key = |(app, id): (&str, &str)| {
            request_key(&Message { app: app.into(), request_id: id.into(), ..to_room() })
        };
        assert_ne!(key(one), key(two));
    }

    #[test]
    fn every_field_of_a_control_counts() {
        let user = || Some(Whose::UserId("u".into()));
        let kick = |reason: &str, reconnect| Some(Action::Kick(Kick { reason: reason.into(), reconnect }));
        let controls = [
            Control { whose: user(), action: Some(Action::Join("r".into())) },
            Control { whose: user(), action: Some(Action::Join("s".into())) },
            Control { whose: user(), action: Some(Action::Leave("r".into())) },
            Control { whose: Some(Whose::UserId("v".into())), action: Some(Action::Join("r".into())) },
            Control { whose: Some(Whose::ConnectionId(1)), action: Some(Action::Join("r".into())) },
            Control { whose: Some(Whose::ConnectionId(2)), action: Some(Action::Join("r".into())) },
            Control { whose: user(), action: kick("", false) },
            Control { whose: user(), action: kick("", true) },
            Control { whose: user(), action: kick("r", false) },
        ];
        let hashes: std::collections::HashSet<Bytes> =
            controls.iter().map(|control| request_hash(&of(Target::Control(control.clone())))).collect();
        assert_eq!(hashes.len(), controls.len());
    }
}
