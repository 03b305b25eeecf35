//! What a message costs a manager once, and what a batch of it costs per node.

use anyhow::{Context as _, bail, ensure};
use prost::Message as _;
use push_manager::{
    api::Api,
    clock::{Now, SECOND},
    link_state::{Identity, LinkState, Next},
    log::{Log, LogLimits},
};
use pushcast_proto::connectnode::v1::{
    Ack, LinkRequest, LinkResponse, Message, Start, link_request, link_response::Frame, start::From,
};

use crate::{
    Case,
    messages::{MANAGER, MICROS, message},
};

/// Small, so that it is full soon; its segments are as large as in any log.
const LIMITS: LogLimits = LogLimits { bytes: 4 << 20, age: 120 * SECOND };

/// Messages appended in one round.
const APPENDED: usize = 64;

const NOW: Now = Now { wall: MICROS, mono: 1 };

/// A log that is full, and the message that is appended to it.
struct Source {
    log: Log,
    message: Message,
}

impl Source {
    fn new() -> Self {
        let mut source = Self { log: Log::new(LIMITS), message: message(0, "room-1".to_owned()) };
        while source.log.oldest() == 1 {
            source.append(1);
        }
        source
    }

    fn append(&mut self, messages: usize) {
        for _ in 0..messages {
            self.log.append(&mut self.message, Some(Api::PushToRoom), NOW);
        }
    }
}

/// Numbering and encoding messages, and dropping the oldest.
pub(crate) struct Append {
    source: Source,
    before: u64,
}

impl Append {
    pub(crate) fn new() -> Self {
        let source = Source::new();
        Self { before: source.log.newest(), source }
    }
}

impl Case for Append {
    #[inline(never)]
    fn measured_round(&mut self) -> anyhow::Result<()> {
        self.source.append(APPENDED);
        Ok(())
    }

    fn check(&self, rounds: usize) -> anyhow::Result<()> {
        let appended = self.source.log.newest() - self.before;
        ensure!(appended == (rounds * APPENDED) as u64, "{appended} messages appended");
        Ok(())
    }
}

/// A batch of new messages from the log to the frame that HTTP/2 takes. Smaller than 4 KiB: for longer copies glibc has
/// an instruction that callgrind counts once per byte.
pub(crate) struct Send {
    messages: usize,
    source: Source,
    link: LinkState,
    identity: Identity,
    wire: Vec<u8>,
    sent: usize,
}

impl Send {
    pub(crate) fn new(messages: usize) -> anyhow::Result<Self> {
        let mut send = Self {
            messages,
            source: Source::new(),
            link: LinkState::new(),
            identity: Identity { manager_id: MANAGER, ..Identity::default() },
            wire: Vec::new(),
            sent: 0,
        };
        send.link.opened();
        send.send()?;
        let start = Start {
            node_id: "node-1".to_owned(),
            instance: "1".to_owned(),
            from: Some(From::AfterSeq(send.source.log.newest())),
            ..Start::default()
        };
        send.hear(Frame::Start(start))?;
        // The first heartbeat; no other is due while the clock stands.
        send.send()?;
        send.sent = 0;
        Ok(send)
    }

    fn send(&mut self) -> anyhow::Result<()> {
        let Next::Frame(frame) = self.link.next_frame(&mut self.source.log, &self.identity, NOW) else {
            bail!("the link has nothing to send");
        };
        self.sent += usize::from(matches!(frame, link_request::Frame::Batch(_)));
        self.wire.clear();
        LinkRequest { frame: Some(frame) }.encode(&mut self.wire).context("a vector takes every frame")
    }

    fn hear(&mut self, frame: Frame) -> anyhow::Result<()> {
        self.link.received(LinkResponse { frame: Some(frame) }, &self.source.log, NOW)?;
        Ok(())
    }
}

impl Case for Send {
    /// The node acknowledges what it has, and more is appended.
    fn prepare(&mut self) -> anyhow::Result<()> {
        let first_seq = self.link.acked() + 1;
        let sent = self.link.sent() + 1 - first_seq;
        if sent > 0 {
            let recipients = vec![1; usize::try_from(sent)?];
            self.hear(Frame::Ack(Ack { first_seq, recipients, ..Ack::default() }))?;
        }
        self.source.append(self.messages);
        Ok(())
    }

    #[inline(never)]
    fn measured_round(&mut self) -> anyhow::Result<()> {
        self.send()
    }

    fn check(&self, rounds: usize) -> anyhow::Result<()> {
        ensure!(self.sent == rounds, "{} batches sent", self.sent);
        // Where a segment of the log ends, a batch does, too; the next one brings the rest.
        let left = self.source.log.newest() - self.link.sent();
        ensure!(left < self.messages as u64, "{left} messages not sent");
        Ok(())
    }
}
