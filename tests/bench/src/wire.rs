//! What a WebSocket client says, byte by byte: the load has no library between itself and the socket.

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
    fn a_subprotocol_is_asked_for_only_if_there_is_one() {
        let with = String::from_utf8(upgrade("h:1", "/ws?a=b", Some("mqtt"))).unwrap();
        assert!(with.starts_with("GET /ws?a=b HTTP/1.1\r\nHost: h:1\r\n"));
        assert!(with.ends_with("\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"));
        assert!(!String::from_utf8(upgrade("h:1", "/", None)).unwrap().contains("Protocol"));
    }
}
