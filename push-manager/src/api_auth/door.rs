//! Stands before the gRPC service: callers who prove nothing, or may not call this, go no further, and nothing
//! of their request is read.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::Either;
use http::{Request, Response, header::AUTHORIZATION};
use pushcast_common::tls::accept::Peer;
use tonic::{body::Body, server::NamedService};
use tower_service::Service;

use super::method::Method;
use crate::push_service::PushService;

/// The service behind the door.
#[derive(Clone, Debug)]
pub(crate) struct Door<S> {
    inner: S,
    judge: Arc<PushService>,
}

impl<S> Door<S> {
    pub(crate) fn new(inner: S, judge: Arc<PushService>) -> Self {
        Self { inner, judge }
    }
}

impl<S: NamedService> NamedService for Door<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Door<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if self.judge.needs_proof() {
            let method = Method::of_path(request.uri().path());
            let peer = request.extensions().get::<Peer>().cloned();
            match self.judge.admit(method, request.headers().get(AUTHORIZATION), peer) {
                Ok(caller) => _ = request.extensions_mut().insert(caller),
                Err(status) => return Either::Left(ready(Ok(status.into_http()))),
            }
        }
        Either::Right(self.inner.call(request))
    }
}
