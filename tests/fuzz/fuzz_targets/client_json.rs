//! Client frames of the JSON subprotocol.

#![no_main]

use connect_node::shard::frames::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| pushcast_fuzz::client::play(input, Format::Json));
