//! How callers prove who they are, as the lines of the keys file have it.

use rustls::pki_types::DnsName;

use super::secret::{self, PREFIX};

/// Longest name of a certificate: a SPIFFE id has 2048 bytes at most.
const MAX_NAME: usize = 2048;

/// Which of the ways a manager asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `--api-auth keys`.
    Keys,
    /// `--api-auth mtls`.
    Mtls,
}

impl Way {
    /// The field of a line that has the proof.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Keys => "blake3",
            Self::Mtls => "cert",
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Keys => Self::Mtls,
            Self::Mtls => Self::Keys,
        }
    }

    /// The value of `--api-auth`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Mtls => "mtls",
        }
    }
}

/// What a caller is known by. A key never equals a certificate, whatever it is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Proof {
    /// BLAKE3 of the whole key. It compares in constant time.
    Key(blake3::Hash),
    /// A DNS name in small letters, or a URI, that a certificate has.
    Certificate(String),
}

impl Proof {
    /// Of what a caller sent; `None` if that cannot be a key.
    pub(super) fn of_key(sent: &[u8]) -> Option<Self> {
        secret::hash(sent).map(Self::Key)
    }

    /// Reads the value of the way's field.
    pub(super) fn parse(way: Way, text: &str) -> Result<Self, String> {
        match way {
            Way::Keys => hash(text).map(Self::Key),
            Way::Mtls => certificate(text).map(Self::Certificate),
        }
    }

    pub(super) fn way(&self) -> Way {
        match self {
            Self::Key(_) => Way::Keys,
            Self::Certificate(_) => Way::Mtls,
        }
    }

    /// As a line has it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Key(hash) => hash.to_hex().to_string(),
            Self::Certificate(name) => name.clone(),
        }
    }
}

fn hash(text: &str) -> Result<blake3::Hash, String> {
    if text.starts_with(PREFIX) {
        let what = "looks like the key itself, which is for its holder alone; here goes its hash";
        return Err(what.to_owned());
    }
    blake3::Hash::from_hex(text)
        .map_err(|_invalid| "must be 64 hex digits, the BLAKE3 hash of the key".to_owned())
}

fn certificate(text: &str) -> Result<String, String> {
    let is_uri = text.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    if is_uri && text.len() <= MAX_NAME && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    // Not with an asterisk: who has a certificate for many names is not one caller.
    match DnsName::try_from(text) {
        Ok(name) => Ok(name.as_ref().trim_end_matches('.').to_ascii_lowercase()),
        Err(_) => Err("must be one DNS name, or URI with ://, that the caller's certificate has".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_known_by_one_dns_name_or_uri() {
        let read = |text: &str| Proof::parse(Way::Mtls, text).map(|proof| proof.text());
        assert_eq!(read("Checkout.Shop.internal").unwrap(), "checkout.shop.internal");
        assert_eq!(read("shop.internal.").unwrap(), "shop.internal");
        assert_eq!(read("spiffe://shop/ns/Web/sa/checkout").unwrap(), "spiffe://shop/ns/Web/sa/checkout");
        let long = format!("spiffe://{}", "a".repeat(MAX_NAME));
        for bad in ["", "*.shop", "a b", "a,b", "://x", "spiffe://", "spiffe://ü", "a..b", "CN=a", &long] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
