use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;

fn claims() -> Value {
    json!({"sub": "u1", "exp": NOW + 60})
}

fn sign(algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, key).expect("it is JSON")
}

fn secret(text: &str) -> EncodingKey {
    EncodingKey::from_secret(text.as_bytes()).expect("a secret")
}

fn hs256(claims: &Value) -> String {
    sign(Algorithm::HS256, &secret(SECRET), claims)
}

fn jwt(file: &str, expected: Expected) -> Jwt {
    Jwt::new(KeySet::from_file(file.as_bytes()).expect("keys"), expected, false)
}

fn check(jwt: &Jwt, token: &str) -> Result<Pass, Refused> {
    jwt.check(token, NOW * 1_000_000)
}

fn with_secret(claims: &Value) -> Result<Pass, Refused> {
    check(&jwt(SECRET, Expected::default()), &hs256(claims))
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

/// A private key and its public one, in PEM.
fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    let pair = KeyPair::generate_for(algorithm).expect("a key");
    (pair.serialize_pem(), pair.public_key_pem())
}

#[test]
fn keys_are_for_their_own_algorithms() {
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        assert!(
            check(&jwt(SECRET, Expected::default()), &sign(algorithm, &secret(SECRET), &claims())).is_ok()
        );
    }
    let (ec, ec_public) = pair(&PKCS_ECDSA_P256_SHA256);
    let (ed, ed_public) = pair(&PKCS_ED25519);
    let ec = sign(Algorithm::ES256, &EncodingKey::from_ec_pem(ec.as_bytes()).expect("EC"), &claims());
    let ed = sign(Algorithm::EdDSA, &EncodingKey::from_ed_pem(ed.as_bytes()).expect("Ed25519"), &claims());
    let both = jwt(&format!("{ec_public}\n{ed_public}"), Expected::default());
    assert!(check(&both, &ec).is_ok() && check(&both, &ed).is_ok());
    assert_eq!(check(&jwt(&ed_public, Expected::default()), &ec), Err(Refused::Algorithm));
    assert_eq!(check(&jwt(SECRET, Expected::default()), &ed), Err(Refused::Algorithm));
    let another = jwt(&pair(&PKCS_ED25519).1, Expected::default());
    assert_eq!(check(&another, &ed), Err(Refused::Signature));
    // The attack on libraries that let the token choose: a public key as the secret.
    let forged = sign(Algorithm::HS256, &secret(&ed_public), &claims());
    assert_eq!(check(&jwt(&ed_public, Expected::default()), &forged), Err(Refused::Algorithm));
}

#[test]
fn an_unsigned_token_is_none() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
    let jwt = jwt(SECRET, Expected::default());
    for algorithm in ["none", "None", "HS1", ""] {
        let header = BASE64.encode(json!({"alg": algorithm, "typ": "JWT"}).to_string());
        let token = format!("{header}.{}.", BASE64.encode(claims().to_string()));
        let refused = check(&jwt, &token).expect_err("unsigned");
        assert!(matches!(refused, Refused::Malformed | Refused::Algorithm), "{algorithm}: {refused:?}");
    }
}

#[test]
fn time_is_taken_with_the_leeway() {
    let leeway = Expected { leeway: Duration::from_secs(10), ..Expected::default() };
    let jwt = jwt(SECRET, leeway);
    let at = |exp: Value, nbf: Value| {
        check(&jwt, &hs256(&json!({"sub": "u1", "exp": exp, "nbf": nbf}))).map(|pass| pass.ends_at)
    };
    assert_eq!(at(json!(NOW + 5), Value::Null), Ok((NOW + 15) * 1_000_000));
    assert_eq!(at(json!(NOW - 9), Value::Null), Ok((NOW + 1) * 1_000_000));
    assert_eq!(at(json!(NOW - 10), Value::Null), Err(Refused::Expired));
    assert_eq!(at(json!(NOW + 60), json!(NOW + 10)), Ok((NOW + 70) * 1_000_000));
    assert_eq!(at(json!(NOW + 60), json!(NOW + 11)), Err(Refused::NotYetValid));
    assert_eq!(at(json!(1e300), Value::Null), Ok(u64::MAX));
    for exp in [json!("soon"), json!(-1), Value::Null, json!([]), json!(true)] {
        assert_eq!(at(exp.clone(), Value::Null), Err(Refused::Claims), "{exp}");
    }
    assert_eq!(at(json!(NOW + 60), json!("x")), Err(Refused::Claims));
}

#[test]
fn issuer_and_audience_are_as_expected() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let expected =
        Expected { issuers: names(&["a", "b"]), audiences: names(&["push"]), ..Expected::default() };
    let jwt = jwt(SECRET, expected);
    let says = |iss: Value, aud: Value| {
        check(&jwt, &hs256(&with(with(claims(), "iss", iss), "aud", aud))).map(|pass| pass.user)
    };
    assert_eq!(says(json!("b"), json!("push")), Ok("u1".to_owned()));
    assert_eq!(says(json!("a"), json!(["x", "push"])), Ok("u1".to_owned()));
    assert_eq!(says(json!("c"), json!("push")), Err(Refused::Issuer));
    assert_eq!(says(Value::Null, json!("push")), Err(Refused::Issuer));
    assert_eq!(says(json!("a"), json!("other")), Err(Refused::Audience));
    assert_eq!(says(json!("a"), Value::Null), Err(Refused::Audience));
    // Meant for somebody, where nobody is expected.
    assert_eq!(with_secret(&with(claims(), "aud", json!("x"))), Err(Refused::Audience));
    assert!(with_secret(&with(claims(), "iss", json!("anybody"))).is_ok());
}

#[test]
fn claims_are_what_they_should_be() {
    let pass = with_secret(&json!({"sub": "u1", "app": "shop", "exp": NOW + 1, "rooms": ["r", "p-*"]}));
    let pass = pass.expect("good");
    assert_eq!((pass.user.as_str(), pass.app.as_str()), ("u1", "shop"));
    for (room, allowed) in
        [("r", true), ("p-", true), ("p-1", true), ("p", false), ("rr", false), ("", false)]
    {
        assert_eq!(pass.rooms.allows(room), allowed, "{room}");
    }
    let all = with_secret(&with(claims(), "rooms", json!(["*"]))).expect("good");
    assert!(all.rooms.allows("anything"));
    for (name, value) in [
        ("sub", json!(7)),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("sub", json!("x".repeat(129))),
        ("sub", Value::Null),
        ("app", json!(["x"])),
        ("app", json!("a\u{0}")),
        ("rooms", json!("r")),
        ("rooms", json!([1])),
        ("rooms", json!(vec!["r"; 1001])),
    ] {
        assert_eq!(with_secret(&with(claims(), name, value.clone())), Err(Refused::Claims), "{name} {value}");
    }
}

#[test]
fn a_key_is_found_by_its_id() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
    let pair = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
    let encoding = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("Ed25519");
    let jwk = |kid: Option<&str>, pair: &KeyPair| json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(pair.public_key_raw()), "kid": kid});
    let (private, other) = (&pair, &KeyPair::generate_for(&PKCS_ED25519).expect("a key"));
    let set = |keys: Vec<Value>| jwt(&json!({"keys": keys}).to_string(), Expected::default());
    let signed = |kid: Option<&str>| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims(), &encoding).expect("it is JSON")
    };
    let two = set(vec![jwk(Some("a"), other), jwk(Some("b"), private)]);
    assert!(check(&two, &signed(Some("b"))).is_ok());
    assert!(check(&two, &signed(None)).is_ok(), "each is tried");
    assert_eq!(check(&two, &signed(Some("a"))), Err(Refused::Signature));
    assert_eq!(check(&two, &signed(Some("c"))), Err(Refused::UnknownKey));
    // Also where the new key is of another kind than the old ones: it may be there soon.
    let of_another_kind = Header { kid: Some("c".to_owned()), ..Header::default() };
    let token = encode(&of_another_kind, &claims(), &secret(SECRET)).expect("it is JSON");
    assert_eq!(check(&two, &token), Err(Refused::UnknownKey));
    assert!(check(&set(vec![jwk(None, private)]), &signed(Some("c"))).is_ok());
    // What is of no use here does no harm to the rest.
    let strange = json!({"kty": "new", "kid": "x"});
    let encryption = with(jwk(Some("b"), private), "use", json!("enc"));
    assert!(check(&set(vec![strange.clone(), jwk(Some("b"), private)]), &signed(Some("b"))).is_ok());
    let none = json!({"keys": [strange, encryption]}).to_string();
    assert!(KeySet::from_file(none.as_bytes()).expect_err("none").contains("none of its 2 keys"));
}

#[test]
fn an_unknown_key_is_fetched_but_not_again_and_again() {
    let keys = || {
        KeySet::from_file(
            br#"{"keys":[{"kty":"oct","kid":"a","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}]}"#,
        )
    };
    let jwt = Jwt::new(keys().expect("a JWKS"), Expected::default(), true);
    let header = Header { kid: Some("b".to_owned()), ..Header::default() };
    let token = encode(&header, &claims(), &secret(SECRET)).expect("JSON");
    let now = NOW * 1_000_000;
    assert_eq!(jwt.check(&token, now), Err(Refused::KeyNotYetKnown));
    jwt.fetched(now);
    assert_eq!(jwt.check(&token, now), Err(Refused::UnknownKey), "it was just looked for");
    assert_eq!(jwt.check(&token, now + 10_000_000), Err(Refused::KeyNotYetKnown));
    jwt.replace(KeySet::from_file(SECRET.as_bytes()).expect("a secret"));
    assert!(jwt.check(&token, now).is_ok());
    // Before the first fetch there is no key at all.
    let empty = Jwt::new(KeySet::default(), Expected::default(), true);
    assert_eq!(empty.check(&token, now), Err(Refused::KeyNotYetKnown));
}

#[test]
fn a_bad_key_file_says_what_is_wrong_with_it() {
    let (private, _) = pair(&PKCS_ED25519);
    let certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let p384 = pair(&PKCS_ECDSA_P384_SHA384).1;
    for (file, says) in [
        // Everybody has a public key: in no form must it become a secret.
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1mZ2V0IGFib3V0IGl0IQ== a@b", "nor a secret"),
        (&format!("\u{feff}{}", pair(&PKCS_ED25519).1), "nor a secret"),
        (&format!("# our key\n{}", pair(&PKCS_ED25519).1), "nor a secret"),
        ("[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]", "nor a secret"),
        ("<html><body>Not found</body></html>", "nor a secret"),
        ("", "too short: 0 bytes"),
        ("short\n", "too short: 5 bytes"),
        (&private, "holds a private key"),
        (certificate, "holds a certificate"),
        (&p384, "no usable public key"),
        ("-----BEGIN PUBLIC KEY-----\n%\n-----END PUBLIC KEY-----", "no usable public key"),
        ("{", "not a JWKS: EOF"),
        ("{\"keys\": 1}", "no list \"keys\""),
        ("{\"keys\": []}", "none of its 0 keys"),
    ] {
        let error = KeySet::from_file(file.as_bytes()).map(|keys| keys.len()).expect_err("bad");
        assert!(error.contains(says), "{error}");
    }
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let pem = pair(&PKCS_ED25519).1;
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(der).expect("PEM is base64");
    assert!(KeySet::from_file(&der).map(|keys| keys.len()).expect_err("DER").contains("nor a secret"));
    let html = KeySet::from_jwks(b"<html>", false).map(|keys| keys.len()).expect_err("HTML");
    assert!(html.contains("not a JWKS"), "{html}");
}

proptest! {
    #[test]
    fn whatever_a_token_is_it_is_only_refused(token in "[ -~]{0,300}", parts in "[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,80}") {
        let jwt = jwt(SECRET, Expected::default());
        prop_assert!(check(&jwt, &token).is_err());
        prop_assert!(check(&jwt, &parts).is_err());
    }

    #[test]
    fn whatever_a_key_file_is_it_is_read_or_told(file in proptest::collection::vec(any::<u8>(), 0..200)) {
        match KeySet::from_file(&file) {
            Ok(keys) => prop_assert!(!keys.is_empty() && file.is_ascii()),
            Err(error) => prop_assert!(!error.is_empty()),
        }
    }
}

#[test]
fn a_file_that_only_begins_like_pem_is_no_set_of_keys() {
    // Found by the fuzz target `tokens`: it was a set without a key, which lets nobody in.
    assert_eq!(KeySet::from_file(b"\n-----BEGIN \n\n").unwrap_err(), "it begins like PEM and holds no key");
}
