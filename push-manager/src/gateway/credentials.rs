//! What an HTTP request says of who sends it. Asked for by every route under `/v1`, before its body is read.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::{
    HeaderValue,
    header::{AUTHORIZATION, ORIGIN},
    request::Parts,
};
use pushcast_common::tls::accept::Peer;

use super::error::HttpError;
use crate::{
    api_auth::{callers::Caller, method::Method},
    push_service::PushService,
};

/// What browsers send with every request, and nobody else does.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Not yet looked at.
#[derive(Debug)]
pub(super) struct Credentials {
    authorization: Option<HeaderValue>,
    peer: Option<Peer>,
}

impl Credentials {
    /// Lets in who may call this.
    pub(super) fn admit(
        &self,
        service: &PushService,
        method: impl Into<Method>,
    ) -> Result<Caller, HttpError> {
        Ok(service.admit(method.into(), self.authorization.as_ref(), self.peer.clone())?)
    }
}

impl<S: Sync> FromRequestParts<S> for Credentials {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut peer = parts.extensions.get::<Peer>().cloned();
        // A browser shows its owner's certificate for whatever page asks it to; a key it has only from that page.
        if [ORIGIN.as_str(), SEC_FETCH_SITE].into_iter().any(|name| parts.headers.contains_key(name))
            && let Some(peer) = &mut peer
        {
            peer.names = None;
        }
        Ok(Self { authorization: parts.headers.get(AUTHORIZATION).cloned(), peer })
    }
}
