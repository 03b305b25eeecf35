//! Tokens, and files of keys for them.

#![no_main]

use std::sync::LazyLock;

use connect_node::auth::{Expected, Jwt, KeySet};
use libfuzzer_sys::fuzz_target;
use pushcast_fuzz::words::SECRET;

const NOW: u64 = 1_800_000_000_000_000;

static JWT: LazyLock<Jwt> = LazyLock::new(|| {
    Jwt::new(KeySet::from_file(SECRET).expect("a good secret"), Expected::default(), false)
});

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    assert!(JWT.check(&text, NOW).is_err(), "nobody guesses a signature");
    let Ok(keys) = KeySet::from_file(input) else { return };
    assert!(!keys.is_empty());
    // The second line as a token for the keys of the first ones.
    let token = text.lines().last().unwrap_or_default();
    let _either = Jwt::new(keys, Expected::default(), false).check(token, NOW);
});
