//! What a WebSocket client says and hears, byte by byte: the load has no library between itself and the socket.

use anyhow::ensure;

/// An upgrade request. The key is always the same one: what the server makes of it is not looked at.
pub(crate) fn upgrade(host: &str, path: &str, subprotocol: Option<&str>) -> Vec<u8> {
    let subprotocol =
        subprotocol.map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{subprotocol}\r\n"
    )
    .into_bytes()
}

/// A masked binary frame, whose mask is 0: clients have to mask, nobody says with what.
pub(crate) fn client_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match payload.len() {
        // Up to 125 the length is in the second byte; 126 and 127 there announce 2 and 8 bytes of it.
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Where the answer to an upgrade ends, if all of it is there.
pub(crate) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Fails unless this answer to an upgrade grants it.
pub(crate) fn check_upgraded(head: &[u8]) -> anyhow::Result<()> {
    let status = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default());
    ensure!(status.starts_with("HTTP/1.1 101"), "the upgrade was answered with {status:?}");
    Ok(())
}

/// Sizes of the header and of the payload of the frame that these bytes of a server begin with; none while the header
/// is cut. Servers do not mask.
pub(crate) fn frame_sizes(bytes: &[u8]) -> Option<(usize, u64)> {
    match (bytes.get(1)? & 0x7f, bytes) {
        (126, &[_, _, a, b, ..]) => Some((4, u64::from(u16::from_be_bytes([a, b])))),
        (127, &[_, _, a, b, c, d, e, f, g, h, ..]) => {
            Some((10, u64::from_be_bytes([a, b, c, d, e, f, g, h])))
        }
        (126 | 127, _) => None,
        (size, _) => Some((2, u64::from(size))),
    }
}

/// The payload of the frame that these bytes of a server begin with, and how many of them it takes; none while it is
/// cut.
pub(crate) fn server_frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (header, payload) = frame_sizes(bytes)?;
    let end = header.checked_add(usize::try_from(payload).ok()?)?;
    Some((bytes.get(header..end)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_one_two_or_eight_bytes() {
        assert_eq!(client_frame(b"hi"), [0x82, 0x82, 0, 0, 0, 0, b'h', b'i']);
        assert_eq!(client_frame(&[7; 126])[..8], [0x82, 0xfe, 0, 126, 0, 0, 0, 0]);
        assert_eq!(client_frame(&[7; 1 << 16])[..10], [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        assert_eq!(end_of_head(b"HTTP/1.1 101 x\r\n\r\nrest"), Some(18));
        assert_eq!(end_of_head(b"HTTP/1.1 101 x\r\n"), None);
    }

    #[test]
    fn only_a_101_grants_an_upgrade() {
        check_upgraded(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
        let error = check_upgraded(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err().to_string();
        assert!(error.contains("503 Service Unavailable"), "{error}");
    }

    #[test]
    fn a_frame_is_taken_when_it_is_whole() {
        let frame = [0x82, 3, b'a', b'b', b'c', 0x82];
        assert_eq!(server_frame(&frame), Some((&b"abc"[..], 5)));
        let medium = [&[0x82, 126, 0, 200][..], &[7; 200]].concat();
        let large = [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &[7; 1 << 16]].concat();
        for (frame, header) in [(&frame[..5], 2), (&medium, 4), (&large, 10)] {
            assert_eq!(server_frame(frame).map(|(payload, end)| (payload.len(), end)), {
                Some((frame.len() - header, frame.len()))
            });
            for cut in [0, 1, header, frame.len() - 1] {
                assert_eq!(server_frame(&frame[..cut]), None, "{cut}");
            }
        }
    }

    #[test]
    fn a_subprotocol_is_asked_for_only_if_there_is_one() {
        let with = String::from_utf8(upgrade("h:1", "/ws?a=b", Some("mqtt"))).unwrap();
        assert!(with.starts_with("GET /ws?a=b HTTP/1.1\r\nHost: h:1\r\n"));
        assert!(with.ends_with("\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"));
        assert!(!String::from_utf8(upgrade("h:1", "/", None)).unwrap().contains("Protocol"));
    }
}
