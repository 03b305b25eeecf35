//! The keys that tokens may be signed with: a secret, public keys in PEM, or a JWKS (RFC 7517).
//!
//! A key is for one algorithm or family, which is decided when the key is read and never by the token: a token cannot
//! have a public RSA key used as a secret.

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde_json::Value;

use super::{Expected, Refused, claims::Claims};

/// Fewest bytes of a secret: what HS256 puts out (RFC 7518, 3.2).
const SECRET_BYTES: usize = 32;

/// Fewest bytes of an RSA key's modulus: 2048 bits (RFC 7518, 3.3).
const RSA_BYTES: usize = 256;

/// Keys that are tried for a token without a `kid`: each costs a verification.
const MAX_TRIES: usize = 8;

/// An uncompressed point of P-256, the curve of ES256: a tag and two numbers of 32 bytes.
const P256_BYTES: usize = 65;

const NO_SECRET: &str = "neither PEM (-----BEGIN at its start), nor a JWKS ({\"keys\":…}), nor a secret, which is one line of printable \
     text";

/// The secret in a text: its one line.
pub fn secret_in(text: &str) -> Result<&str, String> {
    let secret = text.strip_suffix('\n').unwrap_or(text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    let is_printable = secret.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let starts = ["[", "<", "ssh-", "ecdsa-", "sk-", "----"];
    if !is_printable || starts.iter().any(|start| secret.starts_with(start)) {
        return Err(NO_SECRET.to_owned());
    }
    if secret.len() < SECRET_BYTES {
        return Err(format!(
            "neither PEM nor a JWKS, and for a secret too short: {} bytes, at least {SECRET_BYTES} are needed",
            secret.len()
        ));
    }
    Ok(secret)
}

/// Keys.
#[derive(Debug, Default)]
pub struct KeySet(Vec<NamedKey>);

#[derive(Debug)]
struct NamedKey {
    kid: Option<String>,
    /// The algorithm, if the key is for one alone.
    only: Option<Algorithm>,
    key: DecodingKey,
}

impl KeySet {
    /// The keys in a file: a JWKS, public keys in PEM, or else one line of printable text, which is a secret.
    ///
    /// What might be a public key in another form is no secret: everybody could sign with it.
    pub fn from_file(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| NO_SECRET.to_owned())?;
        let trimmed = text.trim_start();
        if trimmed.starts_with('{') {
            Self::from_jwks(bytes, true)
        } else if trimmed.starts_with("-----BEGIN ") {
            Self::from_pem(trimmed)
        } else {
            Self::from_secret(text)
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn from_secret(text: &str) -> Result<Self, String> {
        let secret = secret_in(text)?;
        let key = DecodingKey::from_secret(secret.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self(vec![NamedKey { kid: None, only: None, key }]))
    }

    fn from_pem(text: &str) -> Result<Self, String> {
        let blocks = text.split("-----BEGIN ").filter(|block| !block.trim().is_empty());
        let keys = blocks.map(|block| {
            let label = block.split("-----").next().unwrap_or_default();
            if label.contains("PRIVATE KEY") {
                let how = "openssl pkey -in private.pem -pubout";
                return Err(format!("it holds a private key; nodes get the public one alone ({how})"));
            }
            if label == "CERTIFICATE" {
                let how = "openssl x509 -in certificate.pem -noout -pubkey";
                return Err(format!("it holds a certificate; give the public key in it ({how})"));
            }
            public_key(&format!("-----BEGIN {block}"))
                .map(|key| NamedKey { kid: None, only: None, key })
                .ok_or_else(|| format!("\"{label}\" is no usable public key: RSA of 2048 bits or more, EC P-256 or Ed25519 in PEM is needed"))
        });
        let keys: Vec<NamedKey> = keys.collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err("it begins like PEM and holds no key".to_owned());
        }
        Ok(Self(keys))
    }

    /// The keys of a JWKS that can be used here; others are left out, as RFC 7517 asks for. Secrets count only with
    /// `secrets`: they are none if everybody can fetch them.
    pub(super) fn from_jwks(bytes: &[u8], secrets: bool) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(bytes).map_err(|error| format!("not a JWKS: {error}"))?;
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err("not a JWKS: it has no list \"keys\"".to_owned());
        };
        let named = keys.iter().filter_map(|key| NamedKey::from_jwk(key, secrets));
        let named: Vec<NamedKey> = named.collect();
        if named.is_empty() {
            return Err(format!(
                "none of its {} keys is of use here: HS256 to HS512, RS256, ES256 and EdDSA are known",
                keys.len()
            ));
        }
        Ok(Self(named))
    }

    /// The claims of a token, if one of these keys signed it and `iss` and `aud` are as expected. Time is not looked
    /// at here.
    pub(super) fn verify(&self, token: &str, expected: &Expected) -> Result<Claims, Refused> {
        let header = decode_header(token)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(Refused::Algorithm);
        }
        let has_kid = |key: &&NamedKey| match (&key.kid, &header.kid) {
            (Some(known), Some(shown)) => known == shown,
            _ => true,
        };
        let named: Vec<&NamedKey> = self.0.iter().filter(has_kid).collect();
        if named.is_empty() {
            return Err(Refused::UnknownKey);
        }
        let mut fitting = named.into_iter().filter(|key| key.is_for(header.alg)).peekable();
        if fitting.peek().is_none() {
            return Err(Refused::Algorithm);
        }
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        if !expected.issuers.is_empty() {
            validation.set_issuer(&expected.issuers);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        if !expected.audiences.is_empty() {
            validation.set_audience(&expected.audiences);
            validation.required_spec_claims.insert("aud".to_owned());
        }
        let mut refused = Refused::UnknownKey;
        for key in fitting.take(MAX_TRIES) {
            match decode::<Claims>(token, &key.key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => refused = error.into(),
            }
            if refused != Refused::Signature {
                break;
            }
        }
        Err(refused)
    }
}

impl NamedKey {
    fn from_jwk(key: &Value, secrets: bool) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
        if jwk.common.public_key_use == Some(PublicKeyUse::Encryption) {
            return None;
        }
        let usable = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => true,
            AlgorithmParameters::EllipticCurve(ec) => ec.curve == EllipticCurve::P256,
            AlgorithmParameters::OctetKeyPair(okp) => okp.curve == EllipticCurve::Ed25519,
            AlgorithmParameters::OctetKey(_) => secrets,
            _ => false,
        };
        let key = usable.then(|| DecodingKey::from_jwk(&jwk).ok())?.filter(is_strong)?;
        let only = match jwk.common.key_algorithm {
            Some(named) => Some(Algorithm::try_from(named).ok()?),
            None => None,
        };
        let named = Self { kid: jwk.common.key_id, only, key };
        ALGORITHMS.into_iter().any(|algorithm| named.is_for(algorithm)).then_some(named)
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        ALGORITHMS.contains(&algorithm)
            && algorithm.family() == self.key.family()
            && self.only.is_none_or(|only| only == algorithm)
    }
}

/// The algorithms that are accepted.
const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];

fn public_key(pem: &str) -> Option<DecodingKey> {
    let pem = pem.as_bytes();
    let key = DecodingKey::from_ed_pem(pem)
        .or_else(|_| DecodingKey::from_ec_pem(pem))
        .or_else(|_| DecodingKey::from_rsa_pem(pem));
    key.ok().filter(is_strong)
}

/// Whether a key is long enough, and of the curve that its algorithm asks for.
fn is_strong(key: &DecodingKey) -> bool {
    let raw = key.try_get_as_bytes();
    match key.family() {
        AlgorithmFamily::Hmac => raw.is_ok_and(|secret| secret.len() >= SECRET_BYTES),
        AlgorithmFamily::Rsa => match key.kind() {
            jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } => n.len() >= RSA_BYTES,
            // The modulus, and a few bytes around it.
            jsonwebtoken::DecodingKeyKind::SecretOrDer(der) => der.len() >= RSA_BYTES,
        },
        AlgorithmFamily::Ec => raw.is_ok_and(|point| point.len() == P256_BYTES),
        AlgorithmFamily::Ed => true,
    }
}
