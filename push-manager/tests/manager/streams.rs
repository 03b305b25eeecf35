//! PushStream: many pushes at once, in order.

use futures::StreamExt as _;
use pushcast_proto::pushmanager::v1::{
    Ack, PushItem, PushResult, PushStreamRequest, PushToRoomRequest, push_item, push_result,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{
    harness::{Manager, to_room, until},
    sink::{Mood, Sink},
};

fn item(tag: u64, request: PushToRoomRequest) -> PushItem {
    PushItem { tag, push: Some(push_item::Push::ToRoom(request)) }
}

async fn results(manager: &Manager, requests: Vec<PushStreamRequest>) -> Vec<PushResult> {
    let mut client = manager.client().await.max_decoding_message_size(64 << 20);
    let responses = client.push_stream(futures::stream::iter(requests)).await.unwrap().into_inner();
    let responses: Vec<_> = responses.collect().await;
    responses.into_iter().flat_map(|response| response.unwrap().results).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_pushes_of_one_stream_keep_their_order() {
    let sinks = [Sink::start("a"), Sink::start("b"), Sink::start("c")];
    let manager = Manager::of(&[&sinks[0], &sinks[1], &sinks[2]]).await;
    let requests: Vec<PushStreamRequest> = (0..20_000)
        .map(|tag| item(tag, PushToRoomRequest { uri: tag.to_string(), ..to_room("r") }))
        .collect::<Vec<_>>()
        .chunks(64)
        .map(|items| PushStreamRequest { items: items.to_vec() })
        .collect();
    let results = results(&manager, requests).await;
    assert_eq!(results.len(), 20_000);
    for (tag, result) in (0..).zip(&results) {
        assert_eq!(result.tag, tag);
        let Some(push_result::Outcome::Answer(answer)) = &result.outcome else { panic!("{result:?}") };
        assert_eq!((answer.nodes, answer.acked, answer.recipients), (3, 3, 3));
        assert!(answer.message_id.ends_with(&format!("-{}", tag + 1)));
    }
    for sink in &sinks {
        let uris = sink.see(|seen| seen.messages.iter().map(|m| m.uri.clone()).collect::<Vec<_>>());
        assert_eq!(uris.len(), 20_000);
        assert!((0..).zip(&uris).all(|(tag, uri)| tag.to_string() == *uri));
    }
}

/// 500,000 empty items are 1 MB on the wire and one second of work.
#[tokio::test(flavor = "multi_thread")]
async fn one_huge_request_of_a_stream_keeps_no_other_caller_waiting() {
    let a = Sink::start("a");
    let manager = Manager::of(&[&a]).await;
    let huge = PushStreamRequest { items: vec![PushItem::default(); 500_000] };
    let mut streaming = manager.client().await.max_decoding_message_size(64 << 20);
    let mut responses = streaming.push_stream(futures::stream::iter([huge])).await.unwrap().into_inner();
    let first = responses.next().await.unwrap().unwrap().results.len();
    let mut unary = manager.client().await;
    let reader = tokio::spawn(async move {
        let mut results = first;
        while let Some(response) = responses.next().await {
            results += response.unwrap().results.len();
        }
        results
    });
    let mut answered = 0;
    while !reader.is_finished() {
        assert_eq!(unary.push_to_room(to_room("r")).await.unwrap().into_inner().acked, 1);
        answered += 1;
    }
    assert_eq!(reader.await.unwrap(), 500_000);
    assert!(answered >= 10, "only {answered} other pushes were answered meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_item_is_refused_in_its_place_and_the_stream_goes_on() {
    let a = Sink::start("a");
    let manager = Manager::of(&[&a]).await;
    let items = vec![
        item(1, to_room("r")),
        item(2, to_room("")),
        item(3, PushToRoomRequest { ack: Ack::Accepted as i32, ..to_room("r") }),
        PushItem { tag: 4, push: None },
        item(5, to_room("r")),
    ];
    let results = results(&manager, vec![PushStreamRequest { items }]).await;
    let shown: Vec<String> = results
        .iter()
        .map(|result| match result.outcome.as_ref().unwrap() {
            push_result::Outcome::Answer(answer) => format!("{} acked {}", result.tag, answer.acked),
            push_result::Outcome::Error(error) => {
                assert_eq!(error.details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
                format!("{} {:?}", result.tag, Code::from(error.code))
            }
        })
        .collect();
    let expected = ["1 acked 1", "2 InvalidArgument", "3 acked 0", "4 InvalidArgument", "5 acked 1"];
    assert_eq!(shown, expected);
    assert_eq!(a.seqs(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_takes_no_more_than_its_bound_until_answers_come() {
    let a = Sink::start("a");
    let manager = Manager::of(&[&a]).await;
    a.mood(Mood::Holds);
    let (sender, receiver) = mpsc::channel(1);
    let mut client = manager.client().await;
    let mut responses = client.push_stream(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let feeding = tokio::spawn(async move {
        for tag in 0..400 {
            let request = PushToRoomRequest { content: vec![0; 60_000].into(), ..to_room("r") };
            sender.send(PushStreamRequest { items: vec![item(tag, request)] }).await.unwrap();
        }
    });
    until("the node has as much as fits", async || a.seqs().len() > 50).await;
    // 8 MiB of 60,000 bytes each, and what one more request holds.
    assert!(a.seqs().len() <= 141, "{}", a.seqs().len());
    a.mood(Mood::Acks);
    let mut tags = Vec::new();
    while let Some(response) = responses.next().await {
        tags.extend(response.unwrap().results.iter().map(|result| result.tag));
    }
    feeding.await.unwrap();
    assert_eq!(tags, (0..400).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_was_accepted_and_ends_the_stream() {
    let a = Sink::start("a");
    let manager = Manager::of(&[&a]).await;
    let (sender, receiver) = mpsc::channel(8);
    let mut client = manager.client().await;
    let mut responses = client.push_stream(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    sender.send(PushStreamRequest { items: vec![item(1, to_room("r"))] }).await.unwrap();
    assert_eq!(responses.message().await.unwrap().unwrap().results[0].tag, 1);
    a.mood(Mood::Holds);
    sender.send(PushStreamRequest { items: vec![item(2, to_room("r"))] }).await.unwrap();
    until("it is accepted", async || a.seqs().len() == 2).await;
    manager.shutdown.begin();
    a.mood(Mood::Acks);
    assert_eq!(responses.message().await.unwrap().unwrap().results[0].tag, 2);
    assert_eq!(responses.message().await.unwrap_err().code(), Code::Unavailable);
    manager.ended().await.unwrap();
    assert_eq!(a.see(|seen| seen.closed_at), Some(2));
}
