//! Judges callers: anybody, or those with a key. What it refuses is counted and told in the log.

use std::{net::SocketAddr, pin::Pin, sync::Arc};

use http::{Extensions, HeaderValue};
use metrics::Counter;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;

use super::{
    audit::Audit, denied::Denied, file::ApiKeys, follow, key::Key, keyring::Keyring, method::Method,
};
use crate::{api::Rpc, refusal, validate::Checked};

/// Who may call. The default is anybody.
#[derive(Clone, Debug, Default)]
pub(crate) struct Callers(Option<Arc<Keeper>>);

#[derive(Debug)]
struct Keeper {
    keyring: Keyring,
    audit: Audit,
    /// In the order of `Reason::ALL`.
    refused: [Counter; 5],
}

/// Who calls: anybody, or the holder of a key.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Option<Holder>);

#[derive(Clone, Debug)]
struct Holder {
    keeper: Arc<Keeper>,
    key: Arc<Key>,
    peer: Option<SocketAddr>,
}

/// Comes when a caller's key is taken out of the file.
pub(crate) type Revoked = Pin<Box<WaitForCancellationFutureOwned>>;

impl Callers {
    /// The holders of these keys, and what keeps them like their file, for ever.
    pub(crate) fn with_keys(keys: ApiKeys, refused: [Counter; 5]) -> (Self, impl Future<Output = ()>) {
        let ApiKeys { file, lines } = keys;
        let keeper = Arc::new(Keeper { keyring: Keyring::new(lines), audit: Audit::default(), refused });
        let kept = Arc::clone(&keeper);
        let following = async move { follow::follow(file, &kept.keyring, || kept.audit.settle()).await };
        (Self(Some(keeper)), following)
    }

    /// Whether a key is asked for.
    pub(crate) fn need_keys(&self) -> bool {
        self.0.is_some()
    }

    /// Lets in who has a key that may call this. `authorization` is the header of that name.
    pub(crate) fn admit(
        &self,
        method: Method,
        authorization: Option<&HeaderValue>,
        peer: Option<SocketAddr>,
    ) -> Result<Caller, Status> {
        let Some(keeper) = &self.0 else { return Ok(Caller(None)) };
        let found = match authorization.and_then(bearer) {
            None => Err(Denied::NoKey),
            Some(sent) => keeper.keyring.find(sent).ok_or(Denied::UnknownKey),
        };
        match found.and_then(|key| key.may(method).map(|()| key)) {
            Ok(key) => Ok(Caller(Some(Holder { keeper: Arc::clone(keeper), key, peer }))),
            Err(denied) => Err(keeper.refuse(&denied, method, peer)),
        }
    }

    /// Who the door let in. Whoever came past it has shown no key.
    pub(crate) fn admitted(&self, extensions: &Extensions, method: Method) -> Result<Caller, Status> {
        let Some(keeper) = &self.0 else { return Ok(Caller(None)) };
        let caller = extensions.get::<Caller>().cloned();
        caller.ok_or_else(|| keeper.refuse(&Denied::NoKey, method, None))
    }
}

impl Keeper {
    fn refuse(&self, denied: &Denied, method: Method, peer: Option<SocketAddr>) -> Status {
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
            Err(denied) => Err(Box::new(keeper.refuse(&denied, rpc.into(), *peer))),
        }
    }

    /// What to wait for beside a long call; none if nobody can be locked out.
    pub(crate) fn revoked(&self) -> Option<Revoked> {
        let Holder { key, .. } = self.0.as_ref()?;
        Some(Box::pin(key.revoked().clone().cancelled_owned()))
    }

    /// The key is gone while it was used.
    pub(crate) fn lock_out(&self, method: Method) -> Status {
        match &self.0 {
            Some(Holder { keeper, peer, .. }) => keeper.refuse(&Denied::UnknownKey, method, *peer),
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
        let lines = file::parse(&format!("name=k blake3={} {rest}", key.hash)).unwrap();
        let keys = ApiKeys { file: FollowedFile::new("keys"), lines };
        Callers::with_keys(keys, [(); 5].map(|()| Counter::noop())).0
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
        assert!(!callers.need_keys() && callers.admitted(&Extensions::new(), Method::Other).is_ok());
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
