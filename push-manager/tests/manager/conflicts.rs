//! A request id that was used before for something else.

use futures::StreamExt as _;
use pushcast_proto::pushmanager::v1::{
    PushItem, PushStreamRequest, PushToRoomRequest, push_item, push_result,
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    harness::{Manager, to_room},
    http::post,
    sink::Sink,
};

fn with_id(content: &str) -> PushToRoomRequest {
    PushToRoomRequest { request_id: "order-17".into(), content: content.to_owned().into(), ..to_room("r") }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_under_a_known_request_id_already_exists() {
    let (a, b) = (Sink::start("a"), Sink::start("b"));
    // Only one of the nodes knows the request id from before.
    let (one, two) = (Manager::of(&[&a]).await, Manager::of(&[&a, &b]).await);
    one.client().await.push_to_room(with_id("first")).await.unwrap();

    let mut client = two.client().await;
    let status = client.push_to_room(with_id("second")).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("REQUEST_ID_CONFLICT", "pushcast"));
    assert_eq!(info.metadata["message_id"].len(), 32);

    let other = Sink::start("other");
    let two = Manager::of(&[&a, &other]).await;
    // The same again is no conflict at a node that has it.
    two.client().await.push_to_room(with_id("first")).await.unwrap();

    let answer = post(one.http_addr, "/v1/rooms/r/push?request_id=order-17", b"third").await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    let error = answer.json()["error"].take();
    assert_eq!(
        (&error["code"], &error["details"][0]["reason"]),
        (&"ALREADY_EXISTS".into(), &"REQUEST_ID_CONFLICT".into())
    );
    let answer = post(one.http_addr, "/v1/users/u/kick?request_id=order-17", b"").await;
    assert_eq!(answer.status, 409, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_the_result_of_its_item_alone() {
    let a = Sink::start("a");
    let manager = Manager::of(&[&a]).await;
    let contents = ["first", "second", "first"];
    let items = (0..)
        .zip(contents)
        .map(|(tag, content)| PushItem { tag, push: Some(push_item::Push::ToRoom(with_id(content))) });
    let request = PushStreamRequest { items: items.collect() };
    let mut client = manager.client().await;
    let responses = client.push_stream(futures::stream::iter([request])).await.unwrap().into_inner();
    let responses: Vec<_> = responses.collect().await;
    let results: Vec<_> = responses.into_iter().flat_map(|response| response.unwrap().results).collect();
    let codes: Vec<Code> = results
        .iter()
        .map(|result| match result.outcome.as_ref().unwrap() {
            push_result::Outcome::Answer(_) => Code::Ok,
            push_result::Outcome::Error(error) => {
                assert_eq!(error.details[0].type_url, "type.googleapis.com/google.rpc.ErrorInfo");
                Code::from(error.code)
            }
        })
        .collect();
    assert_eq!(codes, [Code::Ok, Code::AlreadyExists, Code::Ok]);
}
