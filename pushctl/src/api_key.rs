//! The key by which a push-manager knows who calls (`push-manager --api-auth keys`).

use std::{fmt, str::FromStr};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// A key as its holder has it. It is never shown.
#[derive(Clone)]
pub struct ApiKey(MetadataValue<Ascii>);

/// A text that cannot be a key. It is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no key: a key is one word of letters, digits and signs, like pck_name_…")]
pub struct NoKey;

impl FromStr for ApiKey {
    type Err = NoKey;

    /// Blanks and line ends around it are left out, as files have them.
    fn from_str(text: &str) -> Result<Self, NoKey> {
        let text = text.trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NoKey);
        }
        let mut header = MetadataValue::try_from(format!("Bearer {text}")).map_err(|_invalid| NoKey)?;
        header.set_sensitive(true);
        Ok(Self(header))
    }
}

impl ApiKey {
    /// The value of the header `authorization`, for calls over HTTP.
    pub fn header(&self) -> &[u8] {
        self.0.as_encoded_bytes()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// Puts a key into every call, if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bearer(pub(crate) Option<ApiKey>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(ApiKey(header)) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_word_and_is_not_shown() {
        let key: ApiKey = " pck_a_secret\n".parse().unwrap();
        assert_eq!(key.header(), b"Bearer pck_a_secret");
        assert_eq!(format!("{key:?} {:?}", Bearer(Some(key.clone()))), "ApiKey(…) Bearer(Some(ApiKey(…)))");
        for bad in ["", " \n", "two words", "name=a\nblake3=1", "ü"] {
            assert_eq!(bad.parse::<ApiKey>().map(|_| ()), Err(NoKey), "{bad}");
        }
    }
}
