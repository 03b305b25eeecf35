//! What looking at a client's token costs, by algorithm: `cargo bench -p connect-node --bench token`. Once for each
//! connection and renewal, never for a delivery.

use std::time::Duration;

use connect_node::auth::{Expected, Jwt, KeySet};
use criterion::Criterion;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use serde_json::json;

/// Seconds since 1970; any time will do.
const NOW: u64 = 1_800_000_000;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let secret = b"0123456789abcdef0123456789abcdef";
    let hmac = EncodingKey::from_secret(secret).expect("long enough");
    check(&mut criterion, Algorithm::HS256, &hmac, secret);
    let (private, public) = pair(&PKCS_ED25519);
    let ed = EncodingKey::from_ed_pem(private.as_bytes()).expect("Ed25519");
    check(&mut criterion, Algorithm::EdDSA, &ed, public.as_bytes());
    let (private, public) = pair(&PKCS_ECDSA_P256_SHA256);
    let ec = EncodingKey::from_ec_pem(private.as_bytes()).expect("P-256");
    check(&mut criterion, Algorithm::ES256, &ec, public.as_bytes());
    criterion.final_summary();
}

fn pair(algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let pair = KeyPair::generate_for(algorithm).expect("a key");
    (pair.serialize_pem(), pair.public_key_pem())
}

fn check(criterion: &mut Criterion, algorithm: Algorithm, private: &EncodingKey, public: &[u8]) {
    let claims =
        json!({"sub": "user-1234567", "app": "shop", "exp": NOW + 3600, "rooms": ["lobby", "team-7-*"]});
    let token = encode(&Header::new(algorithm), &claims, private).expect("it is JSON");
    let jwt = Jwt::new(KeySet::from_file(public).expect("a key"), Expected::default(), false);
    criterion.bench_function(&format!("token_{algorithm:?}"), |bencher| {
        bencher.iter(|| jwt.check(&token, NOW * 1_000_000).expect("a good one"));
    });
}
