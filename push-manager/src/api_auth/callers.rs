//! Judges callers: anybody, or those with a key or a certificate. What it refuses is counted and told in the log.

use std::{pin::Pin, sync::Arc};

use http::{Extensions, HeaderValue};
use metrics::Counter;
use pushcast_common::tls::accept::Peer;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;

use super::{
    audit::Audit,
    denied::{Denied, REASONS},
    file::ApiKeys,
    follow,
    key::Key,
    keyring::Keyring,
    method::Method,
    proof::Way,
};
use crate::{api::Rpc, refusal, validate::Checked};

/// Who may call. The default is anybody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Callers(Option<Arc<Keeper>>);

#[derive(Debug)]
struct Keeper {
    way: Way,
    keyring: Keyring,
    audit: Audit,
    /// In the order of `Reason::ALL`.
    refused: [Counter; REASONS],
}

/// Who calls: anybody, or somebody with a line in the file.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Option<Holder>);

#[derive(Clone, Debug)]
struct Holder {
    keeper: Arc<Keeper>,
    key: Arc<Key>,
    peer: Option<Peer>,
}

/// Comes when a caller's line is taken out of the file.
pub(crate) type Revoked = Pin<Box<WaitForCancellationFutureOwned>>;

impl Callers {
    /// These callers, and what keeps them like their file, for ever.
    pub(crate) fn with_keys(keys: ApiKeys, refused: [Counter; REASONS]) -> (Self, impl Future<Output = ()>) {
        let ApiKeys { way, file, lines } = keys;
        let keeper = Arc::new(Keeper { way, keyring: Keyring::new(lines), audit: Audit::default(), refused });
        let kept = Arc::clone(&keeper);
        let following = async move { follow::follow(file, way, &kept.keyring, || kept.audit.settle()).await };
        (Self(Some(keeper)), following)
    }

    /// Whether callers have to prove who they are.
    pub(crate) fn need_proof(&self) -> bool {
        self.0.is_some()
    }

    /// Lets in who may call this. `authorization` is the header of that name.
    pub(crate) fn admit(
        &self,
        method: Method,
        authorization: Option<&HeaderValue>,
        peer: Option<Peer>,
    ) -> Result<Caller, Status> {
        let Some(keeper) = &self.0 else { return Ok(Caller(None)) };
        let found = keeper.find(authorization, peer.as_ref());
        match found.and_then(|key| key.may(method).map(|()| key)) {
            Ok(key) => Ok(Caller(Some(Holder { keeper: Arc::clone(keeper), key, peer }))),
            Err(denied) => Err(keeper.refuse(&denied, method, peer.as_ref())),
        }
    }

    /// Who the door let in. Whoever came past it has shown nothing.
    pub(crate) fn admitted(&self, extensions: &Extensions, method: Method) -> Result<Caller, Status> {
        let Some(keeper) = &self.0 else { return Ok(Caller(None)) };
        let caller = extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| keeper.refuse(&Denied::nothing(keeper.way), method, None))
    }
}

impl Keeper {
    /// Whose proof it is. A key counts for nothing where certificates are asked for, and the other way round.
    fn find(&self, authorization: Option<&HeaderValue>, peer: Option<&Peer>) -> Result<Arc<Key>, Denied> {
        let found = match self.way {
            Way::Keys => authorization.and_then(bearer).map(|sent| self.keyring.find(sent)),
            Way::Mtls => {
                let names = peer.and_then(|peer| peer.names.as_deref());
                names.map(|names| self.keyring.find_certificate(names))
            }
        };
        found.ok_or(Denied::nothing(self.way))?.ok_or(Denied::unknown(self.way))
    }

    fn refuse(&self, denied: &Denied, method: Method, peer: Option<&Peer>) -> Status {
        self.refused[denied.reason().index()].increment(1);
        self.audit.refused(denied, method, peer);
        refusal::denied(denied)
    }
}

impl Caller {
    /// The push, if its caller may have it pushed now; the same as it was if anybody may. A push that is wrong by
    /// itself costs nothing of a rate, but is not told to whom it does not concern. `now` is the hub's time.
    pub(crate) fn judge(&self, rpc: Rpc, push: Checked, now: impl FnOnce() -> u64) -> Checked {
        let Some(Holder { keeper, key, peer }) = &self.0 else { return push };
        let judged = match &push {
            Ok(push) => key.takes(rpc, &push.message, now),
            Err(_) => key.may(rpc.into()),
        };
        match judged {
            Ok(()) => push,
            Err(denied) => Err(Box::new(keeper.refuse(&denied, rpc.into(), peer.as_ref()))),
        }
    }

    /// What to wait for beside a long call; none if nobody can be locked out.
    pub(crate) fn revoked(&self) -> Option<Revoked> {
        let Holder { key, .. } = self.0.as_ref()?;
        Some(Box::pin(key.revoked().clone().cancelled_owned()))
    }

    /// Its line is gone while it was calling.
    pub(crate) fn lock_out(&self, method: Method) -> Status {
        match &self.0 {
            Some(Holder { keeper, key, peer }) => {
                keeper.refuse(&Denied::unknown(key.way()), method, peer.as_ref())
            }
            None => refusal::denied(&Denied::UnknownKey),
        }
    }
}

/// What stands behind `Bearer`, whose case does not matter.
fn bearer(authorization: &HeaderValue) -> Option<&[u8]> {
    let (scheme, sent) = authorization.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| sent.trim_ascii()).filter(|sent| !sent.is_empty())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pushcast_common::followed_file::FollowedFile;
    use pushcast_proto::connectnode::v1::Message;
    use tonic::Code;

    use super::{
        super::{file, secret::NewKey},
        *,
    };
    use crate::{api::Api, push::Push};

    fn callers(key: &NewKey, rest: &str) -> Callers {
        let lines = file::parse(&format!("name=k blake3={} {rest}", key.hash), Way::Keys).unwrap();
        let keys = ApiKeys { way: Way::Keys, file: FollowedFile::new("keys"), lines };
        Callers::with_keys(keys, [(); REASONS].map(|()| Counter::noop())).0
    }

    fn header(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    fn push(app: &str) -> Checked {
        let message = Message { app: app.into(), content: Bytes::from_static(b"x"), ..Message::default() };
        Ok(Push { rpc: Api::PushToRoom.into(), message, accepted_only: false })
    }

    #[test]
    fn a_bearer_is_read_whatever_its_case() {
        for good in ["Bearer k", "bearer  k ", "BEARER k"] {
            assert_eq!(bearer(&header(good)), Some(&b"k"[..]), "{good}");
        }
        for bad in ["", "Bearer", "Bearer ", "Basic k", "k", "Bearerk k"] {
            assert_eq!(bearer(&header(bad)), None, "{bad}");
        }
    }

    #[test]
    fn who_has_no_key_or_a_wrong_one_stays_outside() {
        let key = NewKey::random("k");
        let callers = callers(&key, "apps=* methods=Kick");
        let admit = |method, sent: Option<&str>| {
            let sent = sent.map(header);
            callers.admit(method, sent.as_ref(), None).map_err(|status| status.code()).map(|_| ())
        };
        let bearer = format!("Bearer {}", key.key);
        assert_eq!(admit(Rpc::Kick.into(), Some(&bearer)), Ok(()));
        assert_eq!(admit(Method::PushStream, Some(&bearer)), Ok(()));
        assert_eq!(admit(Method::ListNodes, Some(&bearer)), Err(Code::PermissionDenied));
        assert_eq!(admit(Method::Other, Some(&bearer)), Err(Code::PermissionDenied));
        assert_eq!(admit(Rpc::Kick.into(), None), Err(Code::Unauthenticated));
        assert_eq!(admit(Rpc::Kick.into(), Some("Bearer nonsense")), Err(Code::Unauthenticated));
        let past_the_door = callers.admitted(&Extensions::new(), Method::ListNodes);
        assert_eq!(past_the_door.map_err(|status| status.code()).map(|_| ()), Err(Code::Unauthenticated));
    }

    #[test]
    fn without_keys_everybody_is_let_in_and_nothing_is_asked() {
        let callers = Callers::default();
        assert!(!callers.need_proof() && callers.admitted(&Extensions::new(), Method::Other).is_ok());
        let caller = callers.admit(Method::Other, None, None).unwrap();
        assert!(caller.judge(Rpc::Kick, push("a"), || unreachable!()).is_ok());
        assert!(caller.revoked().is_none());
    }

    #[test]
    fn a_push_is_judged_by_its_rpc_its_app_and_the_rate() {
        let key = NewKey::random("k");
        let callers = callers(&key, "apps=a methods=PushToRoom pushes_per_second=1");
        let sent = header(&format!("Bearer {}", key.key));
        let caller = callers.admit(Method::PushStream, Some(&sent), None).unwrap();
        let room = Rpc::Push(Api::PushToRoom);
        let code = |judged: Checked| judged.map_err(|status| status.code()).map(|_| ());
        assert_eq!(code(caller.judge(Rpc::Kick, push("a"), || 1)), Err(Code::PermissionDenied));
        assert_eq!(code(caller.judge(room, push("b"), || 1)), Err(Code::PermissionDenied));
        let wrong = || Err(Box::new(Status::invalid_argument("x")));
        assert_eq!(code(caller.judge(room, wrong(), || 1)), Err(Code::InvalidArgument));
        assert_eq!(code(caller.judge(Rpc::Kick, wrong(), || 1)), Err(Code::PermissionDenied));
        assert_eq!(code(caller.judge(room, push("a"), || 1)), Ok(()));
        assert_eq!(code(caller.judge(room, push("a"), || 1)), Err(Code::ResourceExhausted));
    }
}
