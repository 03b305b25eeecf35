//! Rooms and connections as they were decided while a client was away, and connections that are rivals.

use pushcast_proto::connectnode::v1::{Claim, Control, Kick, Message, control, message::Target};

use crate::returning::{Kept, Pair, come_back, connect, gone};

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
fn a_rival_that_shows_before_our_claim_comes_down_hears_of_it() {
    let mut pair = Pair::new();
    let kept = gone(&mut pair, &["r"]);
    let mut ours = kept.clone();
    let resume = ours.resume(0);
    let (_, peer) = connect(&mut pair.nodes[1], &[], &mut ours, Some(resume));
    let hand_up = |pair: &Pair| {
        let node = &pair.nodes[1];
        node.ingest.next_hand_up(node.owner, node.now().micros).and_then(|handed| handed.message)
    };
    let claim = hand_up(&pair).expect("it resumed");
    // Of the same ticket, earlier by its node's clock; that node had our claim before it had this client.
    let id = u64::from_str_radix(&kept.id, 16).unwrap();
    let rival = Claim { generation: 2, nonce: 7, resumed_at: 0 };
    pair.control(control::Whose::ConnectionId(id), control::Action::Claim(rival));
    assert_eq!(hand_up(&pair), None, "whose claim is the later one is not known yet");
    pair.push_message(&claim);
    assert_eq!(hand_up(&pair), Some(claim.clone()), "the rival may know nothing of it");
    pair.push_message(&claim);
    assert_eq!(hand_up(&pair), None, "once is enough");
    ours.read(&peer);
    assert_eq!(ours.closed, None);
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
