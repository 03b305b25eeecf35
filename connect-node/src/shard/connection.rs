//! One client's connection, as its shard holds it.

use std::task::Waker;

use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

use super::{
    crowd::Waits,
    frames::{Format, Range},
    outbox::Outbox,
    replay::Replay,
};
use crate::{
    auth::AllowedRooms,
    close::CloseReason,
    floor::Floor,
    key::Key,
    limits::{Bucket, Place},
    readiness::Permit,
};

/// A connection after its upgrade.
#[derive(Debug)]
pub struct Connection<T> {
    /// The socket.
    pub(super) transport: T,
    pub(super) format: Format,
    pub(super) outbox: Outbox,
    pub(super) phase: Phase,
    /// Stable across resumes; given by the shard that opens it.
    pub(super) id: u64,
    /// Counts its resumes.
    pub(super) generation: u64,
    /// When it first connected, microseconds since 1970 by its node's clock.
    pub(super) login_at: u64,
    /// What few connections need.
    pub(super) extras: Option<Box<Extras>>,
    /// How deliveries are different for it from what they are for most.
    pub(super) special: Special,
    /// Reads frames; writes only pongs and close replies, into the outbox.
    pub(super) websocket: WebSocketContext,
    /// What is being delivered: ranges of the shard's frames, the first inline.
    pub(super) pending: Range,
    pub(super) more_pending: Vec<Range>,
    /// Whether it is in the shard's list of touched connections.
    pub(super) touched: bool,
    /// Whether it is in the crowd's list.
    pub(super) waits: Waits,
    /// Bytes of its outbox that the shard has counted as waiting.
    pub(super) counted_waiting: usize,
    /// The next six are milliseconds of the shard's clock.
    pub(super) opened: u64,
    pub(super) last_seen: u64,
    pub(super) last_heartbeat: u64,
    /// When its ticket was issued.
    pub(super) ticket_at: u64,
    /// When the socket last took something of what waits; 0 while nothing waits.
    pub(super) blocked_since: u64,
    /// The one entry of the wheel that counts.
    pub(super) next_check: u64,
    /// Wakes the connection's task; `None` until it was polled first.
    pub(super) waker: Option<Waker>,
    /// What it may still send: frames, and bytes.
    pub(super) frames_left: Bucket,
    pub(super) bytes_left: Bucket,
    /// Its place among the connections of its user, from when it is let in until it is closed; none without a limit.
    pub(super) place: Option<Place<Key>>,
    /// `None` where nobody counts, as in the simulation.
    _permit: Option<Permit>,
}

/// What deliveries have to ask of a connection; nothing, for most.
/// In one byte: every delivery looks at it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Special(u8);

/// One of the ways in which a connection is special.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Way {
    /// It is older than a hole: nothing is delivered to it any more.
    Held = 1,
    /// It gets what it missed first; live messages follow in their turn.
    Replaying = 2,
    /// It has a floor.
    Floor = 4,
}

impl Special {
    pub(super) fn any(self) -> bool {
        self.0 != 0
    }

    pub(super) fn is(self, way: Way) -> bool {
        self.0 & way as u8 != 0
    }

    pub(super) fn set(&mut self, way: Way) {
        self.0 |= way as u8;
    }

    pub(super) fn clear(&mut self, way: Way) {
        self.0 &= !(way as u8);
    }
}

/// See [`Connection::extras`].
#[derive(Debug, Default)]
pub(super) struct Extras {
    /// What it had when it resumed, and until when (milliseconds of the shard's clock) that is asked for.
    pub(super) floor: Option<(Floor, u64)>,
    pub(super) replay: Option<Replay>,
    /// Rooms it left lately, and when: an older control does not put it back.
    pub(super) left: Vec<(String, u64)>,
    pub(super) claim: Option<Claimed>,
    /// What its token allows, if tokens are asked for.
    pub(super) grant: Option<Grant>,
    /// A token that came with the upgrade, until the connect frame comes.
    pub(super) token: String,
}

/// What a connection's token allows it.
#[derive(Debug)]
pub(super) struct Grant {
    /// Rooms it may enter by itself.
    pub(super) rooms: AllowedRooms,
    /// When the connection ends without a newer token, microseconds since 1970.
    pub(super) ends_at: u64,
    /// When it is told that this is near, microseconds since 1970; `u64::MAX` once it was.
    pub(super) warn_at: u64,
}

/// What is known of the claims of a connection's generation.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) nonce: u64,
    /// When it resumed, microseconds.
    pub(super) resumed_at: u64,
    /// When it resumed, accept time, manager and seq of our claim, once it came down.
    pub(super) own: Option<(u64, u64, u64, u64)>,
    /// The same of the latest one of somebody else.
    pub(super) rival: Option<(u64, u64, u64, u64)>,
}

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Upgraded, no connect frame yet.
    New,
    /// In the tables.
    Open,
    /// A Close is sent or queued. Input is thrown away until the peer is done or `until`.
    Closing {
        reason: CloseReason,
        until: u64,
        /// The stream was told that nothing follows.
        finished: bool,
    },
}

impl<T> Connection<T> {
    /// A connection upgraded at `now`.
    pub fn new(transport: T, format: Format, now: u64) -> Self {
        let config = WebSocketConfig::default()
            // The shard reads into its own buffer; tungstenite's would cost 128 KiB each.
            .read_buffer_size(0)
            .write_buffer_size(0)
            .max_write_buffer_size(1 << 20);
        Self {
            transport,
            format,
            outbox: Outbox::default(),
            phase: Phase::New,
            id: 0,
            generation: 1,
            login_at: 0,
            extras: None,
            special: Special::default(),
            websocket: WebSocketContext::new(Role::Server, Some(config)),
            pending: Range::default(),
            more_pending: Vec::new(),
            touched: false,
            waits: Waits::No,
            counted_waiting: 0,
            opened: now,
            last_seen: now,
            last_heartbeat: now,
            ticket_at: now,
            blocked_since: 0,
            next_check: u64::MAX,
            waker: None,
            frames_left: Bucket::default(),
            bytes_left: Bucket::default(),
            place: None,
            _permit: None,
        }
    }

    /// Sets the size of the largest frame and message that it may send.
    pub(super) fn bound_frames(&mut self, most: usize) {
        self.websocket.set_config(|config| {
            config.max_message_size = Some(most);
            config.max_frame_size = Some(most);
        });
    }

    /// Counts the connection for as long as it is held.
    pub(super) fn with_permit(self, permit: Permit) -> Self {
        Self { _permit: Some(permit.into_client()), ..self }
    }

    /// Its id as clients see it.
    pub(super) fn wire_id(&self) -> String {
        format!("{:016x}", self.id)
    }

    /// Adds a range to what is being delivered; one that continues the last one makes it longer.
    pub(super) fn add(&mut self, range: Range) {
        let last = self.more_pending.last_mut().unwrap_or(&mut self.pending);
        if last.end == range.start && last.start != last.end {
            last.end = range.end;
        } else if self.pending == Range::default() {
            self.pending = range;
        } else {
            self.more_pending.push(range);
        }
    }

    /// Drops what is being delivered.
    pub(super) fn forget_pending(&mut self) {
        self.touched = false;
        self.pending = Range::default();
        self.more_pending = Vec::new();
    }

    pub(super) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// The floor, as long as it is asked for.
    pub(super) fn floor(&self) -> Option<&Floor> {
        let (floor, _) = self.extras.as_ref()?.floor.as_ref()?;
        Some(floor)
    }

    /// When it left a room lately, microseconds since 1970.
    pub(super) fn left_at(&self, room: &str) -> Option<u64> {
        self.extras.as_ref()?.left.iter().find(|(of, _)| of == room).map(|(_, at)| *at)
    }

    /// Whether it may enter a room by itself.
    pub(super) fn may_enter(&self, room: &str) -> bool {
        let grant = self.extras.as_ref().and_then(|extras| extras.grant.as_ref());
        grant.is_none_or(|grant| grant.rooms.allows(room))
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }

    /// Its turn in a crowd has come.
    pub(super) fn call(&mut self) {
        self.waits = Waits::Called;
        self.wake();
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}
