//! What anybody may have put into the registry.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pushcast_common::registry::Record;

fuzz_target!(|input: &[u8]| {
    let Ok(value) = std::str::from_utf8(input) else {
        assert!(Record::from_json("n1", input).is_err(), "JSON is UTF-8");
        return;
    };
    // Under the id it has, if it is a record at all.
    let id = serde_json::from_str::<serde_json::Value>(value)
        .ok()
        .and_then(|value| Some(value.get("id")?.as_str()?.to_owned()))
        .unwrap_or_default();
    let Ok(record) = Record::from_json(&id, input) else { return };
    assert!(record.id == id && !record.grpc_addr.is_empty());
    assert_eq!(Record::from_json(&id, record.to_json().as_bytes()).expect("it was one"), record);
});
