//! Ids, keys and texts that are often right and sometimes anything.

use arbitrary::{Result, Unstructured};

/// The first of the ticket keys that nodes here have.
pub const TICKET_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The secret that tokens here are signed with.
pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// An id, mostly one of few, so that two of them meet.
pub fn id(from: &mut Unstructured<'_>) -> Result<String> {
    Ok(match from.int_in_range(0..=15)? {
        0 => String::arbitrary_within(from, 200)?,
        1 => String::new(),
        n => format!("i{}", n % 5),
    })
}

/// Several ids.
pub fn ids(from: &mut Unstructured<'_>) -> Result<Vec<String>> {
    (0..from.int_in_range(0..=5)?).map(|_| id(from)).collect()
}

/// A number, mostly a small one or near one that something is compared with.
pub fn number(from: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match from.int_in_range(0..=7)? {
        0 => from.arbitrary()?,
        1 => u64::MAX - from.int_in_range(0..=2)?,
        2 => (1 << 63) + from.int_in_range(0..=2)?,
        3 => 1_000_000_000 + from.int_in_range(0..=10_000_000_u64)?,
        _ => from.int_in_range(0..=9)?,
    })
}

trait Within: Sized {
    fn arbitrary_within(from: &mut Unstructured<'_>, most: usize) -> Result<Self>;
}

impl Within for String {
    fn arbitrary_within(from: &mut Unstructured<'_>, most: usize) -> Result<Self> {
        let len = from.int_in_range(0..=most)?.min(from.len());
        Ok(Self::from_utf8_lossy(from.bytes(len)?).into_owned())
    }
}

/// Up to `most` bytes as they are.
pub fn bytes<'a>(from: &mut Unstructured<'a>, most: usize) -> Result<&'a [u8]> {
    let len = from.int_in_range(0..=most)?.min(from.len());
    from.bytes(len)
}
