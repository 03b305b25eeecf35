//! Why a client is not let in, or not let into a room.

use jsonwebtoken::errors::{Error, ErrorKind};

/// Why a token is not taken. The text is for developers of clients; it gives away nothing about the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none.
    #[error("a token is needed: in connect, in the URL, or as Authorization: Bearer")]
    Missing,
    /// It is no token.
    #[error("the token is not a signed JWT, or longer than 16 KiB")]
    Malformed,
    /// It is signed in a way that no key here is for, or not at all.
    #[error("the token is signed with an algorithm that is not accepted here")]
    Algorithm,
    /// No key has its `kid`.
    #[error("the token is signed with a key that is not known here")]
    UnknownKey,
    /// No key has its `kid` yet, and there may be news.
    #[error("the token is signed with a key that is not known here yet; try again")]
    KeyNotYetKnown,
    /// The signature is not that of the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iss` is not expected.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` is not expected.
    #[error("the token is for another audience")]
    Audience,
    /// A claim that is needed is missing or not what it should be.
    #[error(
        "the token's claims are not usable: sub (an id) and exp are needed; app is an id, rooms are texts"
    )]
    Claims,
    /// The client says that it is somebody else.
    #[error("the token is for another user or app")]
    Identity,
    /// It wants to enter a room that the token does not name.
    #[error("the token does not allow one of these rooms")]
    Room,
}

impl Refused {
    /// All of them, for metrics that start at 0.
    pub(crate) const ALL: [Self; 13] = [
        Self::Missing,
        Self::Malformed,
        Self::Algorithm,
        Self::UnknownKey,
        Self::KeyNotYetKnown,
        Self::Signature,
        Self::Expired,
        Self::NotYetValid,
        Self::Issuer,
        Self::Audience,
        Self::Claims,
        Self::Identity,
        Self::Room,
    ];

    /// The value of the metric label `reason`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::KeyNotYetKnown => "key_not_yet_known",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claims => "claims",
            Self::Identity => "identity",
            Self::Room => "room",
        }
    }

    /// The code in the error frame.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::KeyNotYetKnown => "unavailable",
            Self::Identity | Self::Room => "permission_denied",
            _ => "unauthenticated",
        }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidAlgorithm
            | ErrorKind::InvalidAlgorithmName
            | ErrorKind::UnsupportedAlgorithm
            | ErrorKind::MissingAlgorithm => Self::Algorithm,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => Self::Issuer,
            ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => Self::Audience,
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => Self::Claims,
            _ => Self::Malformed,
        }
    }
}
