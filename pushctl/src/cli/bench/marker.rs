//! How a delivery is known: content begins with this run's id and the push's number, both of fixed width.

use bytes::Bytes;
use memchr::memmem::Finder;

/// Hex digits of the run's id: 64 random bits, which nobody else's content holds by chance.
const RUN: usize = 16;
/// Hex digits of a push's number: enough for 10 million pushes a second for a year.
const NUMBER: usize = 12;
/// Both.
pub(super) const BYTES: usize = RUN + NUMBER;

/// How far into a frame the content may begin: ids and uri of one of our pushes take less than half of it, whatever
/// the format. What is further in somebody else's frame is not looked through.
const WITHIN: usize = 1024;

/// Writes the marks of one run, and finds them again.
#[derive(Debug)]
pub(super) struct Marker {
    run: String,
    finder: Finder<'static>,
    /// Where the last one was: the next is there too, unless a number became longer by a digit.
    hint: usize,
}

impl Marker {
    pub(super) fn new(run: u64) -> Self {
        let run = format!("{run:016x}");
        let finder = Finder::new(run.as_bytes()).into_owned();
        Self { run, finder, hint: 0 }
    }

    /// The content of a push, `bytes` long (at least [`BYTES`]): text, and the same in JSON.
    pub(super) fn content(&self, number: u64, bytes: usize) -> Bytes {
        let mut content = Vec::with_capacity(bytes.max(BYTES));
        content.extend_from_slice(self.run.as_bytes());
        content.extend_from_slice(format!("{number:012x}").as_bytes());
        content.resize(bytes.max(BYTES), b'.');
        content.into()
    }

    /// The number of the push whose delivery begins so, if it is one of this run's and its mark is all there.
    pub(super) fn number(&mut self, payload: &[u8]) -> Option<u64> {
        if !payload.get(self.hint..).is_some_and(|rest| rest.starts_with(self.run.as_bytes())) {
            self.hint = self.finder.find(&payload[..payload.len().min(WITHIN)])?;
        }
        let digits = payload.get(self.hint + RUN..self.hint + BYTES)?;
        digits
            .iter()
            .try_fold(0, |number, digit| Some(number << 4 | u64::from(char::from(*digit).to_digit(16)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_again_wherever_it_is() {
        let mut marker = Marker::new(0xab);
        for (number, around) in [(0, 0), (1, 7), (0xfff_ffff_ffff, 7), (2, 300), (3, 6)] {
            let payload = [vec![b'0'; around].as_slice(), &marker.content(number, 40), b"\"}}"].concat();
            assert_eq!(marker.number(&payload), Some(number));
        }
    }

    #[test]
    fn content_is_as_long_as_asked() {
        let marker = Marker::new(1);
        assert_eq!(marker.content(0, BYTES).len(), BYTES);
        assert_eq!(marker.content(u64::MAX >> 16, 4096).len(), 4096);
        assert!(marker.content(5, 64).is_ascii());
    }

    #[test]
    fn what_is_not_of_this_run_or_cut_has_no_number() {
        let mut marker = Marker::new(1);
        let own = marker.content(5, 64);
        assert_eq!(marker.number(&Marker::new(2).content(5, 64)), None);
        assert_eq!(marker.number(b"{\"heartbeat\":{}}"), None);
        assert_eq!(marker.number(b""), None);
        for cut in 0..BYTES {
            assert_eq!(marker.number(&own[..cut]), None, "{cut}");
        }
        let far = [vec![b'x'; 2 * WITHIN].as_slice(), &own].concat();
        assert_eq!(marker.number(&far), None);
    }
}
