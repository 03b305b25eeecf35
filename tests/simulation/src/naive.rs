//! The mechanisms that can be replaced, each by the form somebody would write who does not know the rule.

use crate::findings::Check;

/// A mechanism in its naive form. The replacement is in the simulation's wiring; the product is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naive {
    /// A join updates the tables and adds its interest to the inbox some time later (rule 4).
    LateInterest,
    /// A position is what the node received, not what the shard placed (rule 4).
    QuoteReceived,
    /// A link that another one took over from still delivers what it brings (rule 3).
    NoOwner,
    /// What arrived before is delivered again when it is sent again (rule 3).
    NoDuplicateCheck,
    /// Every message is a task of its own (rule 3).
    TaskPerMessage,
    /// Every shard takes the links' frames by itself (rule 3).
    ArrivalPerShard,
    /// `as_of` is the smallest `through` of the managers that are linked (rule 5).
    AsOfOfLinked,
    /// `as_of` is the largest `through` (rule 5).
    AsOfOfNewest,
    /// `as_of` is quoted without merging by maximum (rule 5).
    AsOfWithoutMaximum,
    /// A manager that was registered once is expected for ever (rule 5).
    NobodyIsGone,
    /// A new link goes on with its acknowledgements where the broken one was (rule 6).
    AcksNotRepeated,
    /// A link that was taken over keeps the wake-up that was meant for the other (rule 6).
    WakeIsKept,
    /// Messages are acknowledged when they arrive, before the shards placed them (rule 9).
    AckOnReceipt,
    /// A new link sends on from where the broken one was (rule 6).
    CursorStays,
    /// An answer waits for a node whose link is down (DESIGN 4).
    WaitForUnlinked,
    /// An answer does not learn of a Gap (DESIGN 4, rule 8).
    GapIsNotPending,
    /// A client's position covers what it was sent and has not read (rule 12).
    PositionOnReceipt,
    /// A client that resumes does not say what it has (rule 12).
    PositionIsNotSent,
    /// A fresh node takes nothing of what was before, and says nothing of it (rule 10).
    NothingIsFilled,
    /// A fill does not say what it leaves out (rule 10).
    LeftOutIsUnsaid,
    /// Seqs that are lost count as received (rule 8).
    HolesAreIgnored,
    /// Managers do not say that others went (rule 10).
    GoneIsUnsaid,
    /// A request_id is not remembered (rule 2).
    RetriesAreNew,
    /// Claims are not handed up (rule 17).
    ClaimsDropped,
    /// Of two decisions the one that arrives later counts (rule 15).
    ArrivalDecides,
    /// Connections older than a hole are not closed (rule 8).
    NobodyIsMoved,
}

impl Naive {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::LateInterest,
        Self::QuoteReceived,
        Self::NoOwner,
        Self::NoDuplicateCheck,
        Self::TaskPerMessage,
        Self::ArrivalPerShard,
        Self::AsOfOfLinked,
        Self::AsOfOfNewest,
        Self::AsOfWithoutMaximum,
        Self::NobodyIsGone,
        Self::AcksNotRepeated,
        Self::WakeIsKept,
        Self::AckOnReceipt,
        Self::CursorStays,
        Self::WaitForUnlinked,
        Self::GapIsNotPending,
        Self::PositionOnReceipt,
        Self::PositionIsNotSent,
        Self::NothingIsFilled,
        Self::LeftOutIsUnsaid,
        Self::HolesAreIgnored,
        Self::GoneIsUnsaid,
        Self::RetriesAreNew,
        Self::ClaimsDropped,
        Self::ArrivalDecides,
        Self::NobodyIsMoved,
    ];

    /// The checks that have to fail with it; others may.
    pub fn breaks(self) -> &'static [Check] {
        match self {
            Self::LateInterest => &[Check::Deliveries],
            Self::QuoteReceived => &[Check::Positions],
            Self::NoOwner | Self::NoDuplicateCheck | Self::TaskPerMessage => {
                &[Check::Numbers, Check::Deliveries]
            }
            Self::ArrivalPerShard => &[Check::Arrivals],
            Self::AsOfOfLinked | Self::AsOfOfNewest => &[Check::AsOf],
            Self::AsOfWithoutMaximum => &[Check::NeverBack],
            Self::NobodyIsGone | Self::WakeIsKept => &[Check::Progress],
            Self::AcksNotRepeated | Self::AckOnReceipt => &[Check::Acknowledgements],
            Self::CursorStays => &[Check::Numbers, Check::Conversation],
            Self::PositionOnReceipt => &[Check::Recovered],
            Self::PositionIsNotSent => &[Check::Repeats],
            Self::NothingIsFilled => &[Check::Recovered],
            Self::LeftOutIsUnsaid => &[Check::Recovered],
            Self::HolesAreIgnored => &[Check::Recovered],
            Self::GoneIsUnsaid => &[Check::Recovered],
            Self::RetriesAreNew => &[Check::Requests],
            Self::ClaimsDropped => &[Check::Claims],
            Self::ArrivalDecides => &[Check::Membership],
            Self::NobodyIsMoved => &[Check::Holes],
            Self::WaitForUnlinked | Self::GapIsNotPending => &[Check::Answers],
        }
    }
}
