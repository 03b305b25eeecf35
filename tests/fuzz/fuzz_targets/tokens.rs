//! Tokens: what nobody signed, what is signed and says anything, and files of keys for them.

#![no_main]

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use connect_node::auth::{Expected, Jwt, KeySet};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign, decode_header};
use libfuzzer_sys::fuzz_target;
use pushcast_common::id::{check_app, check_id};
use pushcast_fuzz::words::SECRET;

const NOW: u64 = 1_800_000_000_000_000;

const USUAL_HEADER: &str = r#"{"alg":"HS256"}"#;

static JWT: LazyLock<Jwt> =
    LazyLock::new(|| Jwt::new(KeySet::from_file(SECRET).expect("a good secret"), Expected::default(), false));

static KEY: LazyLock<EncodingKey> =
    LazyLock::new(|| EncodingKey::from_secret(SECRET).expect("a good secret"));

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    assert!(JWT.check(&text, NOW).is_err(), "nobody guesses a signature");
    signed(&text);
    let Ok(keys) = KeySet::from_file(input) else { return };
    assert!(!keys.is_empty());
    // The last line as a token for the keys of the ones before.
    let token = text.lines().last().unwrap_or_default();
    let _either = Jwt::new(keys, Expected::default(), false).check(token, NOW);
});

/// The first line is the header, the usual one if it is empty, and what follows the claims.
fn signed(text: &str) {
    let Some((header, claims)) = text.split_once('\n') else { return };
    let header = if header.is_empty() { USUAL_HEADER } else { header };
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(message.as_bytes(), &KEY, Algorithm::HS256).expect("a key for HS256");
    let token = format!("{message}.{signature}");
    let Ok(pass) = JWT.check(&token, NOW) else { return };
    let header = decode_header(&token).expect("it was read");
    assert_eq!(header.alg, Algorithm::HS256, "that is how it is signed");
    assert!(pass.ends_at > NOW, "it has ended");
    check_id("sub", &pass.user).expect("a user is an id");
    check_app(&pass.app).expect("an app is one, or none");
    for room in pass.rooms.names() {
        assert!(pass.rooms.allows(room.strip_suffix('*').unwrap_or(room)), "{room:?} is named");
    }
}
