//! Clients that come back, in virtual time: what they get, what they are told, and what becomes of the connection
//! they had.

#![allow(clippy::unwrap_used, reason = "a test's helpers may panic as its tests do")]

mod peer;

use bytes::Bytes;
use connect_node::{
    ingest::IngestSettings, shard::frames::Format, shard::slab::SlabKey, tickets::TicketKeys,
    window::WindowLimits,
};
use pushcast_proto::connectnode::v1::{Claim, Control, Heartbeat, Kick, Message, control, message::Target};
use serde_json::{Value, json};

use crate::peer::{Got, MANAGER, Node, Peer};

/// Two nodes with one key that get the same messages.
struct Pair {
    nodes: [Node; 2],
}

impl Pair {
    fn new() -> Self {
        Self::with(&IngestSettings::default())
    }

    fn with(settings: &IngestSettings) -> Self {
        Self::at(20_000, settings)
    }

    /// This long after their start, milliseconds.
    fn at(millis: u64, settings: &IngestSettings) -> Self {
        let keys = TicketKeys::random();
        let node = || {
            let mut node = Node::with(settings.clone(), keys.clone());
            node.millis = millis;
            node.beat();
            node
        };
        Self { nodes: [node(), node()] }
    }

    fn push(&mut self, target: &Target, content: &str) {
        let content = Bytes::copy_from_slice(content.as_bytes());
        self.push_message(&Message { target: Some(target.clone()), content, ..Message::default() });
    }

    fn push_to_room(&mut self, room: &str, content: &str) {
        self.push(&Target::RoomId(room.to_owned()), content);
    }

    fn push_message(&mut self, message: &Message) {
        for node in &mut self.nodes {
            node.push_message(message.clone());
            node.deliver();
        }
    }

    fn control(&mut self, whose: control::Whose, action: control::Action) {
        let control = Control { whose: Some(whose), action: Some(action) };
        self.push_message(&Message { target: Some(Target::Control(control)), ..Message::default() });
    }

    fn of_user(&mut self, action: control::Action) {
        self.control(control::Whose::UserId("u".to_owned()), action);
    }

    /// Lets a second pass, with a heartbeat of the manager.
    fn second(&mut self) {
        for node in &mut self.nodes {
            node.millis += 1000;
            node.beat();
        }
    }
}

/// What a client keeps to resume with.
#[derive(Debug, Clone, Default)]
struct Kept {
    ticket: String,
    position: serde_json::Map<String, Value>,
    as_of: Option<String>,
    contents: Vec<String>,
    recovered: Option<bool>,
    rooms: Vec<String>,
    id: String,
    closed: Option<(u16, String)>,
}

impl Kept {
    fn read(&mut self, peer: &Peer) {
        for frame in peer.frames() {
            let frame = match frame {
                Got::Json(frame) => frame,
                Got::Close(code, reason) => {
                    self.closed = Some((code, reason));
                    continue;
                }
                other => panic!("{other:?}"),
            };
            if let Some(ticket) = frame.get("ticket") {
                // An empty one is left out, as all that is empty.
                self.ticket = ticket["ticket"].as_str().unwrap_or_default().to_owned();
            }
            for place in ["connected", "heartbeat"] {
                if let Some(position) = frame[place]["position"].as_object() {
                    self.position.extend(position.clone());
                }
                if let Some(as_of) = frame[place]["as_of"].as_str() {
                    self.as_of = Some(as_of.to_owned());
                }
            }
            if let Some(connected) = frame.get("connected") {
                self.recovered = connected["recovered"].as_bool();
                self.rooms = rooms(&connected["rooms"]);
                self.id = connected["connection_id"].as_str().unwrap().to_owned();
            }
            if let Some(text) = frame["push"]["text"].as_str() {
                self.contents.push(text.to_owned());
                let (manager, seq) = (&frame["push"]["manager"], &frame["push"]["seq"]);
                self.position.insert(manager.as_str().unwrap().to_owned(), seq.clone());
            }
            if let Some(changed) = frame.get("rooms") {
                let left = rooms(&changed["left"]);
                self.rooms.retain(|room| !left.contains(room));
                self.rooms.extend(rooms(&changed["joined"]));
            }
        }
    }

    fn resume(&self, attempt: u32) -> Value {
        let as_of = self.as_of.clone().unwrap_or_default();
        json!({"ticket": self.ticket, "position": self.position, "as_of": as_of, "attempt": attempt})
    }

    fn take_contents(&mut self) -> Vec<String> {
        std::mem::take(&mut self.contents)
    }
}

fn rooms(of: &Value) -> Vec<String> {
    let rooms = of.as_array().into_iter().flatten();
    rooms.filter_map(|room| room.as_str().map(str::to_owned)).collect()
}

fn connect(node: &mut Node, rooms: &[&str], kept: &mut Kept, resume: Option<Value>) -> (SlabKey, Peer) {
    let (key, peer) = node.open(Format::Json);
    let mut connect = json!({"user_id": "u", "rooms": rooms});
    if let Some(resume) = resume {
        connect["resume"] = resume;
    }
    node.text(key, &json!({"id": 1, "connect": connect}).to_string());
    node.deliver();
    kept.closed = None;
    kept.recovered = None;
    kept.read(&peer);
    (key, peer)
}

/// A client that was on the first node and has gone without a word.
fn gone(pair: &mut Pair, rooms: &[&str]) -> Kept {
    let mut kept = Kept::default();
    let (key, peer) = connect(&mut pair.nodes[0], rooms, &mut kept, None);
    assert_eq!(kept.recovered, Some(false));
    assert!(!kept.ticket.is_empty());
    peer.0.borrow_mut().client_gone = true;
    pair.nodes[0].shard.feed(key, &peer::masked(0x8, &1000_u16.to_be_bytes()), pair.nodes[0].now());
    kept
}

fn come_back(pair: &mut Pair, kept: &mut Kept) -> (SlabKey, Peer) {
    let resume = kept.resume(0);
    connect(&mut pair.nodes[1], &[], kept, Some(resume))
}

#[test]
fn a_client_gets_exactly_what_it_missed_on_a_node_it_never_met() {
    let mut pair = Pair::new();
    pair.push_to_room("r", "before");
    let mut kept = gone(&mut pair, &["r"]);
    pair.push_to_room("r", "1");
    pair.push_to_room("elsewhere", "no");
    pair.push(&Target::UserId("u".to_owned()), "2");
    pair.push(&Target::UserId("v".to_owned()), "no");
    pair.second();
    pair.push_to_room("r", "3");
    let (_, peer) = come_back(&mut pair, &mut kept);
    assert_eq!(kept.recovered, Some(true));
    assert_eq!(kept.rooms, ["r"]);
    assert_eq!(kept.take_contents(), ["1", "2", "3"]);
    pair.push_to_room("r", "live");
    kept.read(&peer);
    assert_eq!(kept.take_contents(), ["live"]);
    assert_eq!(kept.position[&format!("{MANAGER:016x}")], "7");
}

#[test]
fn resuming_again_repeats_nothing() {
    let mut pair = Pair::new();
    let mut kept = gone(&mut pair, &["r"]);
    pair.push_to_room("r", "1");
    for _ in 0..3 {
        let (key, _) = come_back(&mut pair, &mut kept);
        assert_eq!(kept.recovered, Some(true));
        let now = pair.nodes[1].now();
        pair.nodes[1].shard.feed(key, &peer::masked(0x8, &1000_u16.to_be_bytes()), now);
    }
    assert_eq!(kept.take_contents(), ["1"]);
}

#[test]
fn sent_is_not_received_so_the_clients_own_position_counts() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    pair.push_to_room("r", "1");
    kept.read(&peer);
    let read = kept.clone();
    pair.push_to_room("r", "2");
    // A join makes a ticket that says where the node was; what the client got counts where it is further, and not
    // the other way round: only what is in both was received.
    drop(peer);
    kept = read;
    kept.contents.clear();
    come_back(&mut pair, &mut kept);
    assert_eq!(kept.take_contents(), ["2"]);
}

#[test]
fn a_position_ahead_of_the_node_is_a_floor() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    // The second node lags.
    for content in ["1", "2", "3"] {
        pair.nodes[0].push_to_room("r", content.as_bytes());
        pair.nodes[0].deliver();
    }
    kept.read(&peer);
    assert_eq!(kept.take_contents(), ["1", "2", "3"]);
    come_back(&mut pair, &mut kept);
    assert_eq!(kept.recovered, Some(true));
    let (_, peer) = {
        let resume = kept.resume(0);
        connect(&mut pair.nodes[1], &[], &mut kept, Some(resume))
    };
    for content in ["1", "2", "3", "4"] {
        pair.nodes[1].push_to_room("r", content.as_bytes());
        pair.nodes[1].deliver();
    }
    kept.read(&peer);
    assert_eq!(kept.take_contents(), ["4"]);
}

#[test]
fn a_node_that_is_not_complete_sends_clients_on_and_at_last_says_so() {
    let mut pair = Pair::new();
    let mut kept = gone(&mut pair, &["r"]);
    pair.push_to_room("r", "1");
    // The second node loses a message for good.
    let now = pair.nodes[1].now().micros;
    pair.nodes[1].ingest.gap(pair.nodes[1].owner, 5, now).unwrap();
    pair.nodes[1].seq = 5;
    for attempt in 0..3 {
        let (_, _) = {
            let resume = kept.resume(attempt);
            connect(&mut pair.nodes[1], &["r"], &mut kept, Some(resume))
        };
        assert_eq!(kept.closed.as_ref().map(|(code, _)| *code), Some(4003), "attempt {attempt}");
        assert_eq!(kept.recovered, None);
    }
    let resume = kept.resume(3);
    connect(&mut pair.nodes[1], &["r"], &mut kept, Some(resume));
    assert_eq!((kept.recovered, kept.closed.clone()), (Some(false), None));
    assert!(kept.take_contents().is_empty());
    assert_eq!(kept.rooms, ["r"]);
}

#[test]
fn at_a_hole_older_clients_get_nothing_more_and_are_sent_elsewhere_from_before_it() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    pair.push_to_room("r", "1");
    let now = pair.nodes[0].now().micros;
    pair.nodes[0].ingest.gap(pair.nodes[0].owner, 2, now).unwrap();
    pair.nodes[0].seq = 2;
    pair.nodes[1].push_to_room("r", b"2");
    pair.push_to_room("r", "3");
    pair.nodes[0].pass(2_100);
    kept.read(&peer);
    assert_eq!(kept.take_contents(), ["1"]);
    assert_eq!(kept.closed.as_ref().map(|(code, _)| *code), Some(4003));
    come_back(&mut pair, &mut kept);
    assert_eq!((kept.recovered, kept.take_contents()), (Some(true), vec!["2".to_owned(), "3".to_owned()]));
    // Whoever comes after the hole is not concerned.
    let mut fresh = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut fresh, None);
    pair.push_to_room("r", "4");
    pair.nodes[0].pass(2_100);
    fresh.read(&peer);
    assert_eq!((fresh.take_contents(), fresh.closed), (vec!["4".to_owned()], None));
}

#[test]
fn a_window_too_small_is_told_and_a_quiet_room_is_not_concerned() {
    let window = WindowLimits { bytes: 1_300_000, age: 120_000_000 };
    let mut pair = Pair::with(&IngestSettings { window, ..IngestSettings::default() });
    let mut busy = gone(&mut pair, &["busy"]);
    let mut quiet = gone(&mut pair, &["quiet"]);
    pair.push_to_room("quiet", "q");
    for _ in 0..10 {
        pair.second();
    }
    busy.as_of = quiet.as_of.clone();
    for _ in 0..600 {
        pair.push_to_room("busy", &"x".repeat(1000));
    }
    come_back(&mut pair, &mut busy);
    assert_eq!(busy.recovered, Some(false));
    assert!(busy.rooms.is_empty(), "only rooms asked for anew");
    // Its message went as well, and it is later than what it knows of.
    come_back(&mut pair, &mut quiet);
    assert_eq!(quiet.recovered, Some(false));
}

#[test]
fn a_slow_client_is_brought_back_as_its_socket_drains() {
    let mut pair = Pair::new();
    let mut kept = gone(&mut pair, &["r"]);
    let contents: Vec<String> = (0..3_000).map(|n| format!("{n:0100}")).collect();
    for content in &contents {
        pair.push_to_room("r", content);
    }
    let node = &mut pair.nodes[1];
    let (key, peer) = node.open(Format::Json);
    peer.0.borrow_mut().room = Some(1000);
    let connect = json!({"id": 1, "connect": {"resume": kept.resume(0)}});
    node.text(key, &connect.to_string());
    node.deliver();
    // Live messages come while it is behind.
    node.push_to_room("r", b"live");
    node.deliver();
    for _ in 0..2_000 {
        peer.0.borrow_mut().room = Some(1000);
        node.shard.feed(key, &[], node.now());
        node.deliver();
        kept.read(&peer);
    }
    let got = kept.take_contents();
    assert_eq!(got.len(), contents.len() + 1);
    assert_eq!(got[..contents.len()], contents);
    assert_eq!(got[contents.len()], "live");
    assert_eq!(kept.closed, None);
}

#[test]
fn what_a_ticket_does_not_vouch_for_is_not_believed() {
    let mut pair = Pair::new();
    let kept = gone(&mut pair, &["r"]);
    pair.push_to_room("r", "1");
    let mut cut = kept.clone();
    cut.ticket.truncate(cut.ticket.len() / 2);
    let mut changed = kept.clone();
    changed.ticket.replace_range(60..61, if kept.ticket.as_bytes()[60] == b'A' { "B" } else { "A" });
    let mut empty = kept.clone();
    empty.ticket.clear();
    let mut absurd = kept.clone();
    absurd.position.insert(format!("{MANAGER:016x}"), json!(u64::MAX.to_string()));
    let mut many = kept.clone();
    many.position.extend((1..300_u64).map(|n| (format!("{n:016x}"), json!("1"))));
    let mut of_the_future = kept.clone();
    of_the_future.as_of = Some("9007199254740991".to_owned());
    let mut misnamed = kept.clone();
    misnamed.position.insert("not a manager".to_owned(), json!("1"));
    let bad = [
        ("cut", cut),
        ("changed", changed),
        ("empty", empty),
        ("absurd", absurd),
        ("many", many),
        ("of the future", of_the_future),
        ("misnamed", misnamed),
    ];
    for (what, mut bad) in bad {
        come_back(&mut pair, &mut bad);
        assert_eq!((bad.recovered, bad.closed.clone()), (Some(false), None), "{what}");
        assert!(bad.take_contents().is_empty() && bad.rooms.is_empty(), "{what}");
    }
    // Another user, another tenant.
    for connect in [json!({"user_id": "v"}), json!({"user_id": "u", "app": "b"})] {
        let (key, peer) = pair.nodes[1].open(Format::Json);
        let mut connect = connect;
        connect["resume"] = kept.resume(0);
        pair.nodes[1].text(key, &json!({"id": 1, "connect": connect}).to_string());
        let mut stranger = Kept::default();
        stranger.read(&peer);
        assert_eq!(stranger.recovered, Some(false), "{connect}");
        assert_ne!(stranger.id, kept.id);
    }
    // Unknown managers are a floor; the client is taken back.
    let mut unknown = kept;
    unknown.position.insert("00000000000000ab".to_owned(), json!("900"));
    come_back(&mut pair, &mut unknown);
    assert_eq!((unknown.recovered, unknown.take_contents()), (Some(true), vec!["1".to_owned()]));
}

#[test]
fn numbers_that_are_none_end_the_connection_with_a_clear_error() {
    let mut pair = Pair::new();
    for position in [json!({"00000000000000ab": "-1"}), json!({"00000000000000ab": "x"}), json!("all")] {
        let (key, peer) = pair.nodes[1].open(Format::Json);
        let connect = json!({"id": 1, "connect": {"resume": {"ticket": "t", "position": position}}});
        pair.nodes[1].text(key, &connect.to_string());
        let frames = peer.frames();
        assert!(
            matches!(&frames[0], Got::Json(frame) if frame["error"]["code"] == "invalid_argument"),
            "{frames:?}"
        );
        assert!(matches!(&frames[1], Got::Close(4504, _)), "{frames:?}");
    }
}

#[test]
fn a_room_joined_by_a_control_gets_what_is_pushed_right_behind_it() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &[], &mut kept, None);
    let before = kept.ticket.clone();
    // All queued before the shard looks.
    let join = Control {
        whose: Some(control::Whose::UserId("u".to_owned())),
        action: Some(control::Action::Join("r".to_owned())),
    };
    let node = &mut pair.nodes[0];
    node.push_to_room("r", b"before");
    node.push_message(Message { target: Some(Target::Control(join)), ..Message::default() });
    node.push_to_room("r", b"behind");
    node.deliver();
    kept.read(&peer);
    assert_eq!(kept.take_contents(), ["behind"]);
    assert_eq!(kept.rooms, ["r"]);
    assert_ne!(kept.ticket, before, "its ticket says so");
    assert_eq!(pair.nodes[0].recipients(), [0, 1, 1]);
}

#[test]
fn membership_is_brought_up_to_date_before_messages() {
    let mut pair = Pair::new();
    let mut kept = gone(&mut pair, &["left", "stays"]);
    pair.push_to_room("left", "not any more");
    pair.push_to_room("joined", "not yet");
    pair.of_user(control::Action::Leave("left".to_owned()));
    pair.of_user(control::Action::Join("joined".to_owned()));
    pair.push_to_room("joined", "1");
    pair.push_to_room("stays", "2");
    come_back(&mut pair, &mut kept);
    assert_eq!(kept.recovered, Some(true));
    assert_eq!(kept.rooms, ["joined", "stays"]);
    assert_eq!(kept.take_contents(), ["1", "2"]);
}

#[test]
fn a_late_copy_undoes_nothing() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (key, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    pair.second();
    pair.nodes[0].text(key, r#"{"id":2,"leave":{"rooms":["r"]}}"#);
    pair.nodes[0].text(key, r#"{"id":3,"join":{"rooms":["s"]}}"#);
    peer.frames();
    kept.rooms = vec!["s".to_owned()];
    let old = |action| {
        let control = Control { whose: Some(control::Whose::UserId("u".to_owned())), action: Some(action) };
        Message { target: Some(Target::Control(control)), ..Message::default() }
    };
    // Accepted before, arrived after.
    pair.nodes[0].millis -= 500;
    pair.nodes[0].push_message(old(control::Action::Join("r".to_owned())));
    pair.nodes[0].push_message(old(control::Action::Leave("s".to_owned())));
    pair.nodes[0].millis += 500;
    pair.nodes[0].deliver();
    kept.read(&peer);
    assert_eq!(kept.rooms, ["s"]);
    pair.nodes[0].push_to_room("s", b"1");
    pair.nodes[0].push_to_room("r", b"no");
    pair.nodes[0].deliver();
    kept.read(&peer);
    assert_eq!(kept.take_contents(), ["1"]);
}

#[test]
fn a_kick_ends_those_who_logged_in_before_it_wherever_they_are() {
    let kick = |reconnect| control::Action::Kick(Kick { reason: "spam".to_owned(), reconnect });
    let mut pair = Pair::new();
    let mut away = gone(&mut pair, &["r"]);
    let mut here = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut here, None);
    pair.second();
    pair.of_user(kick(false));
    here.read(&peer);
    assert_eq!(here.closed, Some((4500, "spam".to_owned())));
    come_back(&mut pair, &mut away);
    assert_eq!((away.closed.clone(), away.recovered), (Some((4500, "spam".to_owned())), None));
    pair.second();
    let mut later = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut later, None);
    pair.second();
    pair.of_user(kick(true));
    later.read(&peer);
    assert_eq!(later.closed, Some((4003, "spam".to_owned())));
    come_back(&mut pair, &mut later);
    assert_eq!((later.recovered, later.closed.clone()), (Some(true), None));
}

#[test]
fn of_two_connections_from_one_ticket_the_later_claim_stays() {
    let mut pair = Pair::new();
    let kept = gone(&mut pair, &["r"]);
    let mut twins = [kept.clone(), kept.clone()];
    let mut peers = Vec::new();
    for (twin, node) in twins.iter_mut().zip(&mut pair.nodes) {
        let resume = twin.resume(0);
        let (_, peer) = connect(node, &[], twin, Some(resume));
        assert_eq!(twin.recovered, Some(true));
        assert_eq!(twin.id, kept.id, "stable across resumes");
        peers.push(peer);
    }
    // A manager logs the claim of a third one of the same generation, later than both.
    let id = u64::from_str_radix(&kept.id, 16).unwrap();
    let claim = |generation, nonce| control::Action::Claim(Claim { generation, nonce, resumed_at: 0 });
    pair.control(control::Whose::ConnectionId(id), claim(1, 7));
    for (twin, peer) in twins.iter_mut().zip(&peers) {
        twin.read(peer);
        assert_eq!(twin.closed, None, "an older generation's");
    }
    // Their own come down: the one that resumed later stays, the other one may resume as the next generation.
    for at in 0..2 {
        let (owner, now) = (pair.nodes[at].owner, pair.nodes[at].now().micros);
        let handed = pair.nodes[at].ingest.next_hand_up(owner, now).unwrap();
        pair.push_message(&handed.message.unwrap());
    }
    for (twin, peer) in twins.iter_mut().zip(&peers) {
        twin.read(peer);
    }
    let codes = twins.each_ref().map(|twin| twin.closed.as_ref().map(|(code, _)| *code));
    assert_eq!(codes, [Some(4003), None]);
    pair.control(control::Whose::ConnectionId(id), claim(3, 8));
    twins[1].read(&peers[1]);
    assert_eq!(twins[1].closed.as_ref().map(|(code, _)| *code), Some(4503));
}

#[test]
fn whoever_is_in_more_rooms_than_a_ticket_holds_has_none() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (key, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    assert!(!kept.ticket.is_empty());
    let rooms = |half| -> Vec<String> { (0..450).map(|n| format!("{half}-{n:0>120}")).collect() };
    for half in 0..2 {
        let join = json!({"id": 2, "join": {"rooms": rooms(half)}});
        pair.nodes[0].text(key, &join.to_string());
    }
    kept.read(&peer);
    assert!(kept.ticket.is_empty());
    let leave = json!({"id": 3, "leave": {"rooms": rooms(0)}});
    pair.nodes[0].text(key, &leave.to_string());
    kept.read(&peer);
    assert!(!kept.ticket.is_empty());
    come_back(&mut pair, &mut kept);
    assert_eq!(kept.recovered, Some(true));
}

#[test]
fn without_a_registry_a_manager_that_is_named_to_a_fresh_node_may_have_been_there_before_it() {
    for (millis, closed) in [(1_000, Some(4003)), (20_000, None)] {
        let mut pair = Pair::at(millis, &IngestSettings::default());
        let mut kept = gone(&mut pair, &["r"]);
        let node = &pair.nodes[1];
        let now = node.now().micros;
        let beat = Heartbeat { sent_at: now, managers: vec![77], through: now, ..Heartbeat::default() };
        node.ingest.heartbeat(node.owner, &beat, now).unwrap();
        come_back(&mut pair, &mut kept);
        assert_eq!(kept.closed.as_ref().map(|(code, _)| *code), closed, "after {millis} ms");
    }
}

#[test]
fn a_client_that_comes_back_to_its_node_replaces_itself() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (_, old) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    let resume = kept.resume(0);
    let mut again = kept.clone();
    let (_, new) = connect(&mut pair.nodes[0], &[], &mut again, Some(resume));
    assert_eq!((again.recovered, again.id.as_str()), (Some(true), kept.id.as_str()));
    kept.read(&old);
    assert_eq!(kept.closed.as_ref().map(|(code, _)| *code), Some(4503));
    pair.push_to_room("r", "1");
    again.read(&new);
    assert_eq!(again.take_contents(), ["1"]);
    assert_eq!(pair.nodes[0].recipients(), [1]);
}

#[test]
fn a_retry_is_delivered_once_and_answered_with_the_counts_of_the_first() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    let push = |content: &'static [u8], hash: u8| Message {
        target: Some(Target::RoomId("r".to_owned())),
        content: Bytes::from_static(content),
        request_id: "id".to_owned(),
        request_hash: Bytes::copy_from_slice(&[hash; 16]),
        request_key: Bytes::from_static(&[9; 16]),
        ..Message::default()
    };
    pair.push_message(&push(b"1", 1));
    pair.push_message(&push(b"1", 1));
    pair.push_message(&push(b"other", 2));
    kept.read(&peer);
    assert_eq!(kept.take_contents(), ["1"]);
    let node = &mut pair.nodes[0];
    let ack = node.ingest.next_ack(node.owner).unwrap().unwrap();
    assert_eq!((ack.recipients, ack.conflicts), (vec![1, 1, 0], vec![3]));
    // Whoever has it under one of its numbers has it.
    let mut away = kept.clone();
    away.position.insert(format!("{MANAGER:016x}"), json!("1"));
    come_back(&mut pair, &mut away);
    assert_eq!((away.recovered, away.take_contents().len()), (Some(true), 0));
}

#[test]
fn a_drained_client_has_a_ticket_and_its_position_before_the_close() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (_, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    let before = kept.ticket.clone();
    pair.push_to_room("r", "1");
    let now = pair.nodes[0].now();
    pair.nodes[0].shard.start_drain(100, now);
    pair.nodes[0].pass(200);
    kept.read(&peer);
    assert_eq!(kept.closed.as_ref().map(|(code, _)| *code), Some(1012));
    assert_ne!(kept.ticket, before);
    assert_eq!(kept.take_contents(), ["1"]);
    pair.push_to_room("r", "2");
    come_back(&mut pair, &mut kept);
    assert_eq!((kept.recovered, kept.take_contents()), (Some(true), vec!["2".to_owned()]));
}

#[test]
fn a_ticket_is_renewed_at_half_of_its_life() {
    let mut pair = Pair::new();
    let mut kept = Kept::default();
    let (key, peer) = connect(&mut pair.nodes[0], &["r"], &mut kept, None);
    let first = kept.ticket.clone();
    let node = &mut pair.nodes[0];
    for _ in 0..14 {
        node.pass(20_000);
        node.text(key, r#"{"pong":{}}"#);
    }
    kept.read(&peer);
    assert_eq!(kept.ticket, first);
    for _ in 0..2 {
        node.pass(20_000);
        node.text(key, r#"{"pong":{}}"#);
    }
    kept.read(&peer);
    assert_ne!(kept.ticket, first);
}
