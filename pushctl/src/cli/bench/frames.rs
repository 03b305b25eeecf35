//! The frames a node sends, taken from a stream that is cut anywhere.
//!
//! Not the library's client: that one decodes every message and owns a buffer for each connection, and a load of ten
//! thousand sockets has to be lighter than what it measures.

use super::{
    head::{Broken, Head, Kind},
    marker::Marker,
};

/// A frame larger than this that is none of our pushes is skipped: the largest that says something to us, a
/// heartbeat with the position of 256 managers, has 12 KiB.
pub(super) const LONGEST_READ: u64 = 64 << 10;

/// A mark that does not begin within so much of a payload is not in it.
const ENOUGH: usize = 2048;

/// A whole frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<'a> {
    /// A delivery of this run.
    Push {
        /// The push's number.
        number: u64,
        /// Header included.
        bytes: u64,
    },
    /// Anything else.
    Other {
        kind: Kind,
        /// Empty if it was too long to be of interest.
        payload: &'a [u8],
        /// Header included.
        bytes: u64,
    },
}

/// Where one socket's stream stands between two reads. It owns memory only while a frame is cut before its mark.
#[derive(Debug, Default)]
pub(super) struct Intake {
    carry: Vec<u8>,
    rest: Option<Rest>,
}

/// The frame whose beginning is known and whose end has not come.
#[derive(Debug)]
struct Rest {
    number: Option<u64>,
    bytes: u64,
    missing: u64,
}

impl Intake {
    /// What the last read left behind. It belongs in front of the bytes of the next.
    pub(super) fn carried(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.carry)
    }

    /// Keeps bytes that are not to be taken yet: the head of an answer to the upgrade that is cut.
    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.carry = bytes.to_vec();
    }

    /// Whether the stream stands between two frames.
    #[cfg(test)]
    fn is_between_frames(&self) -> bool {
        self.carry.is_empty() && self.rest.is_none()
    }

    /// Takes what was read, behind what was [`carried`](Self::carried), and hands on every frame that ends in it.
    pub(super) fn take<'a>(
        &mut self,
        bytes: &'a [u8],
        marker: &mut Marker,
        mut on: impl FnMut(Taken<'a>),
    ) -> Result<(), Broken> {
        let mut left = bytes;
        if let Some(rest) = &mut self.rest {
            let here = rest.missing.min(left.len() as u64);
            rest.missing -= here;
            left = &left[here as usize..];
            if rest.missing > 0 {
                return Ok(());
            }
            on(rest.taken());
            self.rest = None;
        }
        while let Some(head) = Head::read(left)? {
            let total = head.len as u64 + head.payload;
            let so_far = &left[head.len..left.len().min(usize::try_from(total).unwrap_or(usize::MAX))];
            let number = if head.kind == Kind::Data { marker.number(so_far) } else { None };
            if total <= left.len() as u64 {
                on(match number {
                    Some(number) => Taken::Push { number, bytes: total },
                    None => Taken::Other { kind: head.kind, payload: so_far, bytes: total },
                });
                left = &left[total as usize..];
                continue;
            }
            let is_known_not_to_be_ours = head.payload > LONGEST_READ && so_far.len() >= ENOUGH;
            if number.is_none() && !is_known_not_to_be_ours {
                break;
            }
            self.rest = Some(Rest { number, bytes: total, missing: total - left.len() as u64 });
            return Ok(());
        }
        self.carry = left.to_vec();
        Ok(())
    }
}

impl Rest {
    fn taken(&self) -> Taken<'static> {
        match self.number {
            Some(number) => Taken::Push { number, bytes: self.bytes },
            None => Taken::Other { kind: Kind::Data, payload: &[], bytes: self.bytes },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::head::masked, *};

    /// A frame as a node sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..=125 => frame.push(short as u8),
            mid @ 126..=0xffff => {
                frame.push(126);
                frame.extend_from_slice(&(mid as u16).to_be_bytes());
            }
            long => {
                frame.push(127);
                frame.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    /// Numbers of pushes, what the others were, and the bytes of all.
    type Found = (Vec<u64>, Vec<(Kind, Vec<u8>)>, u64);

    /// What a stream that comes in these pieces holds.
    fn taken(pieces: &[&[u8]]) -> Result<Found, Broken> {
        let (mut intake, mut marker) = (Intake::default(), Marker::new(7));
        let (mut pushes, mut others, mut counted) = (Vec::new(), Vec::new(), 0);
        for piece in pieces {
            let read = [intake.carried().as_slice(), piece].concat();
            intake.take(&read, &mut marker, |taken| match taken {
                Taken::Push { number, bytes } => {
                    pushes.push(number);
                    counted += bytes;
                }
                Taken::Other { kind, payload, bytes } => {
                    others.push((kind, payload.to_vec()));
                    counted += bytes;
                }
            })?;
        }
        Ok((pushes, others, counted))
    }

    fn push(number: u64, content: usize) -> Vec<u8> {
        let content = Marker::new(7).content(number, content);
        frame(0x81, &[b"{\"push\":{\"text\":\"", content.as_ref(), b"\"}}"].concat())
    }

    #[test]
    fn all_three_forms_of_a_length_are_read() {
        for content in [28, 60, 200, 70_000, 300_000] {
            let stream = push(content as u64, content);
            let (pushes, others, counted) = taken(&[&stream]).unwrap();
            assert_eq!((pushes, others, counted), (vec![content as u64], vec![], stream.len() as u64));
        }
    }

    #[test]
    fn control_frames_stand_between_the_others() {
        let stream =
            [push(1, 50), frame(0x89, b"?"), frame(0x8a, b""), push(2, 50), frame(0x88, &[0x0f, 0xa1])]
                .concat();
        let (pushes, others, _) = taken(&[&stream]).unwrap();
        assert_eq!(pushes, [1, 2]);
        let expected = [(Kind::Ping, b"?".to_vec()), (Kind::Pong, vec![]), (Kind::Close, vec![0x0f, 0xa1])];
        assert_eq!(others, expected);
    }

    #[test]
    fn a_long_frame_of_somebody_else_is_counted_and_not_kept() {
        let stream = [frame(0x82, &vec![0; 3 << 20]), push(1, 40)].concat();
        let mut intake = Intake::default();
        let (mut marker, mut counted, mut kept) = (Marker::new(7), 0, 0);
        for piece in stream.chunks(10_000) {
            let read = [intake.carried().as_slice(), piece].concat();
            intake
                .take(&read, &mut marker, |taken| match taken {
                    Taken::Push { bytes, .. } | Taken::Other { bytes, .. } => counted += bytes,
                })
                .unwrap();
            kept = kept.max(intake.carry.len());
        }
        assert_eq!(counted, stream.len() as u64);
        assert!(kept <= 10_000 && intake.is_between_frames(), "{kept}");
    }

    #[test]
    fn what_no_node_sends_is_said() {
        for (stream, part) in [
            (frame(0x01, b"a"), "in pieces"),
            (frame(0x80, b"a"), "in pieces"),
            (frame(0xc1, b"a"), "no known kind"),
            (masked(0x1, b"a"), "masked"),
            (frame(0x88, &[0; 126]), "too long"),
        ] {
            let Err(broken) = taken(&[&stream]) else { panic!("{part} passed") };
            assert!(broken.to_string().contains(part), "{broken}");
        }
        let (_, others, counted) = taken(&[b"\x81\xfe"[..1].as_ref()]).unwrap();
        assert_eq!((others, counted), (vec![], 0));
    }

    proptest! {
        #[test]
        fn a_cut_anywhere_changes_nothing(
            sizes in prop::collection::vec(prop_oneof![28usize..200, 60_000usize..140_000], 1..5),
            cuts in prop::collection::vec(0usize..400_000, 0..12),
        ) {
            let mut stream = Vec::new();
            for (number, size) in sizes.iter().enumerate() {
                stream.extend(push(number as u64, *size));
                stream.extend(frame(0x81, b"{\"heartbeat\":{}}"));
            }
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % stream.len()).collect();
            ends.extend([0, stream.len()]);
            ends.sort_unstable();
            let pieces: Vec<&[u8]> = ends.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(taken(&pieces), taken(&[&stream]));
            let (pushes, others, counted) = taken(&pieces).unwrap();
            prop_assert_eq!((pushes.len(), others.len()), (sizes.len(), sizes.len()));
            prop_assert_eq!(counted, stream.len() as u64);
        }

        #[test]
        fn byte_by_byte_is_the_same(size in 28usize..400) {
            let stream = [push(3, size), frame(0x89, b"x"), push(4, size)].concat();
            let pieces: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(taken(&pieces), taken(&[&stream]));
        }
    }
}
