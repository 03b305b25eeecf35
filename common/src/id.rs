//! Identities: the manager id, and the rules for names that come from outside.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Longest room, user, node or app id in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// The random number of one push-manager process start.
///
/// Written everywhere, in JSON, logs and keys, as 16 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManagerId(pub u64);

/// Why a text is not a [`ManagerId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a manager id (16 lower-case hex digits)")]
pub struct InvalidManagerId(String);

impl ManagerId {
    /// A new random id, never 0, so that 0 can mean "no manager" on the wire.
    pub fn random() -> Self {
        loop {
            let number: u64 = rand::random();
            if number != 0 {
                return Self(number);
            }
        }
    }
}

impl fmt::Display for ManagerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for ManagerId {
    type Err = InvalidManagerId;

    /// Strict: exactly 16 digits, lower case, not all 0, so that one id has one spelling.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match u64::from_str_radix(text, 16) {
            // 0 is nobody, on the wire too.
            Ok(number) if number != 0 && digits && text.len() == 16 => Ok(Self(number)),
            _ => Err(InvalidManagerId(text.chars().take(32).collect())),
        }
    }
}

impl Serialize for ManagerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ManagerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Why an id from outside is refused; the text is fit for the caller to read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// An id that must be there is empty.
    #[error("{field} must not be empty")]
    Empty {
        /// The request's field name.
        field: &'static str,
    },
    /// Longer than [`MAX_ID_BYTES`].
    #[error("{field} is {bytes} bytes long, at most 128 are allowed")]
    TooLong {
        /// The request's field name.
        field: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// Holds a control character.
    #[error("{field} must not contain control characters")]
    Control {
        /// The request's field name.
        field: &'static str,
    },
}

impl InvalidId {
    /// The field the caller has to correct, for gRPC field violations.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Empty { field } | Self::TooLong { field, .. } | Self::Control { field } => field,
        }
    }
}

/// Accepts 1 to 128 bytes without control characters.
pub fn check_id(field: &'static str, value: &str) -> Result<(), InvalidId> {
    if value.is_empty() {
        return Err(InvalidId::Empty { field });
    }
    check_optional(field, value)
}

/// As [`check_id`] for the field `app`, but empty is the default tenant.
pub fn check_app(value: &str) -> Result<(), InvalidId> {
    check_optional("app", value)
}

fn check_optional(field: &'static str, value: &str) -> Result<(), InvalidId> {
    if value.len() > MAX_ID_BYTES {
        return Err(InvalidId::TooLong { field, bytes: value.len() });
    }
    if value.chars().any(char::is_control) {
        return Err(InvalidId::Control { field });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manager_id_has_one_spelling() {
        let id = ManagerId(0x00ab_cdef);
        assert_eq!(id.to_string(), "0000000000abcdef");
        assert_eq!("0000000000abcdef".parse(), Ok(id));
        for bad in
            ["", "abcdef", "0000000000ABCDEF", "+000000000abcdef", "0000000000abcdefg", "é0000000abcdef"]
        {
            assert!(bad.parse::<ManagerId>().is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"0000000000abcdef\"");
        assert_eq!(serde_json::from_str::<ManagerId>("\"0000000000abcdef\"").unwrap(), id);
        assert_ne!(ManagerId::random(), ManagerId::random());
    }

    #[test]
    fn ids_are_bounded_and_printable() {
        assert_eq!(check_id("room_id", "räume/1"), Ok(()));
        assert_eq!(check_id("room_id", &"x".repeat(128)), Ok(()));
        assert_eq!(check_id("room_id", ""), Err(InvalidId::Empty { field: "room_id" }));
        assert_eq!(check_id("u", &"é".repeat(65)), Err(InvalidId::TooLong { field: "u", bytes: 130 }));
        for control in ["a\nb", "a\0", "\u{85}"] {
            assert_eq!(check_id("u", control), Err(InvalidId::Control { field: "u" }));
        }
        assert_eq!(check_app(""), Ok(()));
        assert!(check_app("\t").is_err());
    }
}
