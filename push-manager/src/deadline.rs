//! Callers' deadlines.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// An answer leaves this much before the deadline, or a tenth of it if that is less, so that it arrives.
const HEAD_START: Duration = Duration::from_millis(50);

/// What gRPC's `grpc-timeout` header asks for; `None` if there is none that can be read.
pub(crate) fn of_grpc(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // The format allows 8 digits; `parse` alone would allow a sign.
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

/// How long a push may be waited for so that its answer is there in time.
pub(crate) fn wait_for(timeout: Duration) -> Duration {
    timeout - (timeout / 10).min(HEAD_START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read_in_every_unit() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            of_grpc(&metadata)
        };
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        assert_eq!(read("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("7n"), Some(Duration::from_nanos(7)));
        assert_eq!(read("1M"), Some(Duration::from_secs(60)));
        for bad in ["", "S", "+1S", "1", "1s", "123456789S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn answers_leave_a_little_earlier() {
        assert_eq!(wait_for(Duration::from_millis(100)), Duration::from_millis(90));
        assert_eq!(wait_for(Duration::from_secs(5)), Duration::from_millis(4950));
    }
}
