//! Client frames of the protobuf subprotocol.

#![no_main]

use connect_node::shard::frames::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| pushcast_fuzz::client::play(input, Format::Protobuf));
