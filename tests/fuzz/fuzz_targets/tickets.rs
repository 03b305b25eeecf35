//! Tickets: what is no ticket, what was changed on its way, and what is signed and says anything.

#![no_main]

use connect_node::tickets::TicketKeys;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use pushcast_fuzz::words::TICKET_KEY;
use pushcast_proto::connectnode::v1::Ticket;

const NOW: u64 = 1_800_000_000_000_000;

fuzz_target!(|input: &[u8]| {
    let keys = TicketKeys::from_text(TICKET_KEY).expect("a good key");
    assert!(keys.verify(&String::from_utf8_lossy(input), NOW).is_err(), "nobody guesses a signature");
    let _either = TicketKeys::from_text(&String::from_utf8_lossy(input));
    let Some((&at, rest)) = input.split_first() else { return };
    let Ok(ticket) = Ticket::decode(rest) else { return };
    let ticket = Ticket { issued_at: NOW, ..ticket };
    let signed = keys.sign(&ticket).expect("there is a key");
    match keys.verify(&signed, NOW) {
        Ok(read) => assert_eq!(read, ticket),
        Err(error) => assert!(signed.len() > 90 << 10, "{error:?}"),
    }
    // One character of it is another one.
    let at = usize::from(at) * 7 % signed.len();
    let mut changed = signed.into_bytes();
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    assert!(keys.verify(&String::from_utf8_lossy(&changed), NOW).is_err(), "character {at} does not count");
});
