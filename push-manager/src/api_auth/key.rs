//! One caller at work: what it may now, what it has used, and whether it still is one.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pushcast_proto::connectnode::v1::{Message, message::Target};
use tokio_util::sync::CancellationToken;

use super::{
    bucket::Bucket,
    denied::{Denied, Rate},
    line::KeyLine,
    method::Method,
    proof::Way,
};
use crate::api::Rpc;

/// Stays the same for as long as its hash is in the file, whatever else of the line changes, so that a stream that is
/// open has the rights of now.
pub(super) struct Key {
    revoked: CancellationToken,
    /// Held for a few lines, never across an await.
    state: Mutex<State>,
}

struct State {
    line: KeyLine,
    pushes: Option<Bucket>,
    bytes: Option<Bucket>,
    /// Also who was let in before, and is still sending, pushes no more.
    is_revoked: bool,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.state().line.name).finish()
    }
}

impl Key {
    pub(super) fn new(line: KeyLine) -> Self {
        let (pushes, bytes) =
            (line.pushes_per_second.map(Bucket::new), line.bytes_per_second.map(Bucket::new));
        Self {
            revoked: CancellationToken::new(),
            state: Mutex::new(State { line, pushes, bytes, is_revoked: false }),
        }
    }

    /// Its line was written anew. What it has used of a rate that stays counts on.
    pub(super) fn change(&self, line: KeyLine) {
        let mut state = self.state();
        let State { pushes, bytes, .. } = &mut *state;
        renew(pushes, line.pushes_per_second);
        renew(bytes, line.bytes_per_second);
        state.line = line;
    }

    /// Its line is gone.
    pub(super) fn revoke(&self) {
        self.state().is_revoked = true;
        self.revoked.cancel();
    }

    /// What proves it.
    pub(super) fn way(&self) -> Way {
        self.state().line.proof.way()
    }

    /// Cancelled when its line is gone.
    pub(super) fn revoked(&self) -> &CancellationToken {
        &self.revoked
    }

    /// Whether it may call this at all.
    pub(super) fn may(&self, method: Method) -> Result<(), Denied> {
        self.state().may(method)
    }

    /// Whether it may have this pushed now, which is then counted.
    pub(super) fn takes(&self, rpc: Rpc, message: &Message, now: impl FnOnce() -> u64) -> Result<(), Denied> {
        let mut state = self.state();
        state.may(rpc.into())?;
        state.reaches(message)?;
        state.spend(message.content.len() as u64, now)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn may(&self, method: Method) -> Result<(), Denied> {
        if self.is_revoked {
            return Err(Denied::unknown(self.line.proof.way()));
        }
        if self.line.methods.allow(method) {
            return Ok(());
        }
        Err(Denied::Method { key: self.line.name.clone(), method })
    }

    fn reaches(&self, message: &Message) -> Result<(), Denied> {
        let all_apps = matches!(&message.target, Some(Target::Everyone(everyone)) if everyone.all_apps);
        let asked = if all_apps { "*" } else { &message.app };
        let allowed = match all_apps {
            true => self.line.apps == super::apps::Apps::All,
            false => self.line.apps.allow(asked),
        };
        if allowed {
            return Ok(());
        }
        let app = (!all_apps).then(|| asked.to_owned());
        Err(Denied::App { key: self.line.name.clone(), app })
    }

    /// From both buckets or from none.
    fn spend(&mut self, content: u64, now: impl FnOnce() -> u64) -> Result<(), Denied> {
        // What has no content costs none, also while some is owed.
        let bytes = self.bytes.as_mut().filter(|_| content > 0);
        if self.pushes.is_none() && bytes.is_none() {
            return Ok(());
        }
        let now = now();
        let key = &self.line.name;
        let over = |rate, retry_after: Duration| Err(Denied::Rate { key: key.clone(), rate, retry_after });
        if let Some(pushes) = &mut self.pushes {
            let wait = pushes.wait_for(1, now);
            if !wait.is_zero() {
                return over(Rate::Pushes(pushes.rate()), wait);
            }
        }
        if let Some(bytes) = bytes {
            let wait = bytes.wait_for(content, now);
            if !wait.is_zero() {
                return over(Rate::Bytes(bytes.rate()), wait);
            }
            bytes.take(content);
        }
        if let Some(pushes) = &mut self.pushes {
            pushes.take(1);
        }
        Ok(())
    }
}

fn renew(bucket: &mut Option<Bucket>, rate: Option<u64>) {
    if bucket.as_ref().map(Bucket::rate) != rate {
        *bucket = rate.map(Bucket::new);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pushcast_proto::connectnode::v1::Everyone;

    use super::{super::secret::NewKey, *};
    use crate::{api::Api, clock::SECOND};

    fn line(rest: &str) -> KeyLine {
        KeyLine::parse(&format!("name=k blake3={} {rest}", NewKey::random("k").hash), Way::Keys).unwrap()
    }

    fn to(app: &str, content: usize) -> Message {
        Message { app: app.into(), content: Bytes::from(vec![0; content]), ..Message::default() }
    }

    fn takes(key: &Key, message: &Message, now: u64) -> Result<(), Denied> {
        key.takes(Rpc::Push(Api::PushToRoom), message, || now)
    }

    #[test]
    fn a_key_may_what_its_line_says() {
        let key = Key::new(line("apps=a,\"\" methods=PushToRoom,ListNodes"));
        assert!(key.may(Method::ListNodes).is_ok() && key.may(Method::PushStream).is_ok());
        let refused = Denied::Method { key: "k".into(), method: Rpc::Kick.into() };
        assert_eq!(key.may(Rpc::Kick.into()), Err(refused.clone()));
        assert_eq!(key.takes(Rpc::Kick, &to("a", 0), || 0), Err(refused));
        assert!(takes(&key, &to("a", 1), 0).is_ok() && takes(&key, &to("", 1), 0).is_ok());
        let app = |app: &str| Err(Denied::App { key: "k".into(), app: Some(app.into()) });
        assert_eq!(takes(&key, &to("b", 1), 0), app("b"));
        assert_eq!(takes(&key, &to("*", 1), 0), app("*"));
    }

    #[test]
    fn all_apps_at_once_are_for_keys_of_all_apps() {
        let everyone =
            Message { target: Some(Target::Everyone(Everyone { all_apps: true })), ..Message::default() };
        let some = Key::new(line("apps=\"\",a methods=*"));
        assert_eq!(takes(&some, &everyone, 0), Err(Denied::App { key: "k".into(), app: None }));
        assert_eq!(takes(&Key::new(line("apps=* methods=*")), &everyone, 0), Ok(()));
        let of_one = Message { target: Some(Target::Everyone(Everyone { all_apps: false })), ..everyone };
        assert_eq!(takes(&some, &of_one, 0), Ok(()));
    }

    #[test]
    fn what_is_over_one_rate_costs_nothing_of_the_other() {
        let key = Key::new(line("apps=* methods=* pushes_per_second=2 bytes_per_second=10"));
        assert_eq!(takes(&key, &to("", 8), SECOND), Ok(()));
        let rate = |rate, millis| {
            let retry_after = Duration::from_millis(millis);
            Err(Denied::Rate { key: "k".into(), rate, retry_after })
        };
        assert_eq!(takes(&key, &to("", 4), SECOND), rate(Rate::Bytes(10), 200));
        assert_eq!(takes(&key, &to("", 2), SECOND), Ok(()));
        assert_eq!(takes(&key, &to("", 0), SECOND), rate(Rate::Pushes(2), 500));
        // A push that is bigger than the bucket, when that is full; then what has no content is free of its debt.
        assert_eq!(takes(&key, &to("", 30), 3 * SECOND), Ok(()));
        assert_eq!(takes(&key, &to("", 0), 3 * SECOND), Ok(()));
        assert_eq!(takes(&key, &to("", 1), 4 * SECOND), rate(Rate::Bytes(10), 1100));
    }

    #[test]
    fn a_key_that_is_revoked_may_nothing_also_in_the_middle_of_a_call() {
        let key = Key::new(line("apps=* methods=*"));
        assert!(takes(&key, &to("", 0), 0).is_ok());
        key.revoke();
        assert_eq!(takes(&key, &to("", 0), 0), Err(Denied::UnknownKey));
        assert!(key.may(Method::PushStream).is_err() && key.revoked().is_cancelled());
    }

    #[test]
    fn a_changed_line_holds_at_once_and_what_was_used_is_not_forgotten() {
        let key = Key::new(line("apps=* methods=* pushes_per_second=1"));
        assert!(takes(&key, &to("", 0), SECOND).is_ok());
        key.change(line("apps=a methods=* pushes_per_second=1"));
        assert!(matches!(takes(&key, &to("", 0), SECOND), Err(Denied::App { .. })));
        assert!(matches!(takes(&key, &to("a", 0), SECOND), Err(Denied::Rate { .. })));
        key.change(line("apps=a methods=* pushes_per_second=2"));
        assert!(takes(&key, &to("a", 0), SECOND).is_ok());
    }
}
