//! Sizes in bytes: `65536`, `64KiB`, `128MiB`, `1GiB`.

const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

/// Reads a size; `None` if it is none (negative, fractional, unknown unit, more than `u64`).
///
/// Only the binary units exist, so that nobody has to guess what `MB` means.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), *unit)))
        .unwrap_or((text, 1));
    // `u64::from_str` would take a leading '+'.
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_exact() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65536),
            ("10B", 10),
            ("64KiB", 64 << 10),
            ("64 MiB", 64 << 20),
            (" 1GiB ", 1 << 30),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in [
            "",
            "-1",
            "+1",
            "1.5MiB",
            "1MB",
            "1mib",
            "MiB",
            "1TiB",
            "18446744073709551616",
            "17179869184GiB",
            "0x10",
            "1 2",
        ] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
