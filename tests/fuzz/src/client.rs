//! Two clients of one shard that send anything, while pushes come and time passes.

use arbitrary::{Result, Unstructured};
use connect_node::{
    ingest::IngestSettings, shard::frames::Format, shard::slab::SlabKey, tickets::TicketKeys,
};
use prost::Message as _;
use pushcast_proto::client::v1::{
    ClientFrame, Connect, Join, Leave, Pong, Renew, Resume, client_frame::Frame,
};

use crate::{
    peer::{Got, Node, Peer, masked},
    words::{TICKET_KEY, bytes, id, ids, number},
};

/// Does what the input says; panics where a promise is broken.
pub fn play(input: &[u8], format: Format) {
    let mut from = Unstructured::new(input);
    let keys = TicketKeys::from_text(TICKET_KEY).expect("a good key");
    let mut node = Node::with(IngestSettings::default(), keys);
    let clients = [node.open(format), node.open(format)];
    let mut tickets = Vec::new();
    // An input that ends in the middle of something is a short one.
    let _end = until_the_end(&mut from, &mut node, &clients, format, &mut tickets);
    for (_, peer) in &clients {
        peer.0.borrow_mut().room = None;
    }
    // In the event loop's own steps this would be most of what a run does.
    node.pass_by(1000, 60_000);
    for (_, peer) in &clients {
        look(peer, &mut tickets);
    }
}

fn until_the_end(
    from: &mut Unstructured<'_>,
    node: &mut Node,
    clients: &[(SlabKey, Peer); 2],
    format: Format,
    tickets: &mut Vec<String>,
) -> Result<()> {
    while !from.is_empty() {
        let (key, peer) = &clients[usize::from(from.arbitrary::<bool>()?)];
        match from.int_in_range(0..=9)? {
            0 => feed(node, *key, bytes(from, 300)?),
            1 => {
                let opcode = *from.choose(&[0x0, 0x1, 0x2, 0x8, 0x9, 0xa, 0x3])?;
                feed(node, *key, &masked(opcode, bytes(from, 300)?));
            }
            2 => node.push_to_room(&id(from)?.chars().take(100).collect::<String>(), b"content"),
            3 => node.deliver(),
            4 => {
                let step = *from.choose(&[50, 1000, 5000])?;
                node.pass_by(step, from.int_in_range(0..=(400 * step).min(30_000))?);
            }
            5 => peer.0.borrow_mut().room = from.arbitrary::<bool>()?.then_some(40),
            6 => look(peer, tickets),
            _ => {
                let frame = frame(from, tickets)?;
                let frame = match format {
                    Format::Json => {
                        masked(0x1, serde_json::to_string(&frame).expect("frames are JSON").as_bytes())
                    }
                    Format::Protobuf => masked(0x2, &frame.encode_to_vec()),
                };
                feed(node, *key, &frame);
            }
        }
    }
    Ok(())
}

fn feed(node: &mut Node, key: SlabKey, bytes: &[u8]) {
    node.shard.feed(key, bytes, node.now());
    node.flush();
}

fn frame(from: &mut Unstructured<'_>, tickets: &[String]) -> Result<ClientFrame> {
    let frame = match from.int_in_range(0..=6)? {
        0..=2 => Frame::Connect(Connect {
            token: String::new(),
            user_id: id(from)?,
            app: id(from)?,
            rooms: ids(from)?,
            resume: if from.arbitrary()? { Some(resume(from, tickets)?) } else { None },
        }),
        3 => Frame::Join(Join { rooms: ids(from)? }),
        4 => Frame::Leave(Leave { rooms: ids(from)? }),
        5 => Frame::Pong(Pong::default()),
        _ => Frame::Renew(Renew { token: id(from)? }),
    };
    Ok(ClientFrame { id: from.arbitrary()?, frame: Some(frame) })
}

fn resume(from: &mut Unstructured<'_>, tickets: &[String]) -> Result<Resume> {
    let ticket =
        if tickets.is_empty() || from.ratio(1, 4)? { id(from)? } else { from.choose(tickets)?.clone() };
    let manager = if from.ratio(1, 3)? { id(from)? } else { format!("{:016x}", crate::peer::MANAGER) };
    Ok(Resume {
        ticket,
        position: [(manager, number(from)?)].into(),
        as_of: number(from)?,
        attempt: from.int_in_range(0..=4)?,
    })
}

/// Whole frames, and nothing behind a Close. Keeps the tickets that came.
fn look(peer: &Peer, tickets: &mut Vec<String>) {
    let frames = peer.frames();
    let closed = frames.iter().position(|frame| matches!(frame, Got::Close(..)));
    assert!(closed.is_none_or(|at| at + 1 == frames.len()), "something follows a Close: {frames:?}");
    for frame in &frames {
        if let Got::Json(frame) = frame
            && let Some(ticket) = frame["connected"]["ticket"].as_str().or(frame["ticket"]["ticket"].as_str())
        {
            tickets.push(ticket.to_owned());
        }
    }
}
