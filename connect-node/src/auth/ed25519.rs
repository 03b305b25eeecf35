//! Ed25519 by another library than the rest.
//!
//! aws-lc-rs, which is fast at RSA and P-256, takes 68 µs for a signature of this kind, ed25519-dalek with AVX2 half of it;
//! it counts when everybody comes back at once.

use std::sync::LazyLock;

use ed25519_dalek::{Signature, VerifyingKey};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    crypto::{CryptoProvider, JwtVerifier, aws_lc},
    errors::{ErrorKind, Result},
};
use signature::{Error, Verifier};

static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(|| CryptoProvider {
    verifier_factory: verifier,
    ..aws_lc::DEFAULT_PROVIDER.clone()
});

/// For this process and all that is checked from now on. Where something was checked before, that goes on as it was.
pub(super) fn install() {
    let _was_there = PROVIDER.install_default();
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if *algorithm != Algorithm::EdDSA {
        return (aws_lc::DEFAULT_PROVIDER.verifier_factory)(algorithm, key);
    }
    let key: &[u8; 32] = key.try_get_as_bytes()?.try_into().map_err(|_| ErrorKind::InvalidEddsaKey)?;
    Ok(Box::new(Ed25519(VerifyingKey::from_bytes(key).map_err(|_| ErrorKind::InvalidEddsaKey)?)))
}

struct Ed25519(VerifyingKey);

impl Verifier<Vec<u8>> for Ed25519 {
    /// Strictly: keys and signatures of which one is good for many messages are refused.
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        self.0.verify_strict(message, &Signature::from_slice(signature)?)
    }
}

impl JwtVerifier for Ed25519 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
