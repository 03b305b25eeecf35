//! Controls that nodes decide: they come down to every node.

use pushcast_proto::connectnode::v1::{
    Claim, Control, Message,
    control::{Action, Whose},
    message::Target,
};

use crate::{
    harness::{Manager, until},
    sink::{Mood, Sink},
};

fn claim(generation: u64) -> Message {
    let claim = Action::Claim(Claim { generation, nonce: 9, resumed_at: 0 });
    let control = Control { whose: Some(Whose::ConnectionId(5)), action: Some(claim) };
    Message { app: "t".into(), target: Some(Target::Control(control)), ..Message::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_hands_up_comes_down_to_all() {
    let (a, b) = (Sink::start("a"), Sink::start("b"));
    let manager = Manager::of(&[&a, &b]).await;
    manager.push("r").await.unwrap();
    // Numbers and times are the manager's to give.
    a.hand_up(Message { seq: 77, accepted_at: 5, request_id: "x".into(), ..claim(1) });
    until("both have it", async || a.seqs() == [1, 2] && b.seqs() == [1, 2]).await;
    for sink in [&a, &b] {
        let (before, message) = sink.see(|seen| (seen.messages[0].clone(), seen.messages[1].clone()));
        assert!(message.accepted_at > before.accepted_at);
        assert_eq!(message, Message { seq: 2, accepted_at: message.accepted_at, ..claim(1) });
    }
    assert_eq!(manager.push("r").await.unwrap().acked, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_up_while_a_manager_stops_is_still_sent() {
    let (a, b) = (Sink::start("a"), Sink::start("b"));
    let manager = Manager::of(&[&a, &b]).await;
    b.mood(Mood::Holds);
    manager.push("r").await.unwrap();
    manager.shutdown.begin();
    until("it takes no more pushes", async || manager.push("r").await.is_err()).await;
    a.hand_up(claim(2));
    until("both have it", async || a.seqs() == [1, 2] && b.seqs() == [1, 2]).await;
    b.mood(Mood::Acks);
    manager.ended().await.unwrap();
    assert_eq!((a.see(|seen| seen.closed_at), b.see(|seen| seen.closed_at)), (Some(2), Some(2)));
}
