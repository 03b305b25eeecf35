//! Query parameters of a push or a control: all mistakes are named at once.

use std::{borrow::Cow, time::Duration};

use percent_encoding::percent_decode;
use pushcast_proto::pushmanager::v1::Ack;
use tonic_types::FieldViolation;

use super::error::HttpError;
use crate::refusal;

const OF_PUSH: [&str; 5] = ["app", "uri", "request_id", "ack", "timeout"];
const OF_CONTROL: [&str; 4] = ["app", "request_id", "ack", "timeout"];

/// What the query says; what it does not say is at its default.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) app: String,
    pub(super) all_apps: bool,
    pub(super) uri: String,
    pub(super) request_id: String,
    pub(super) ack: i32,
    pub(super) timeout: Option<Duration>,
    /// One of these two at most.
    pub(super) user_id: Option<String>,
    pub(super) connection_id: Option<String>,
    pub(super) reason: String,
    pub(super) reconnect: bool,
}

impl Query {
    /// The parameters of every push, and `more`.
    pub(super) fn of_push(query: Option<&str>, more: &[&str]) -> Result<Self, HttpError> {
        let known: Vec<&str> = OF_PUSH.iter().chain(more).copied().collect();
        Self::read(query, &known)
    }

    /// The parameters of every control, and `more`.
    pub(super) fn of_control(query: Option<&str>, more: &[&str]) -> Result<Self, HttpError> {
        let known: Vec<&str> = OF_CONTROL.iter().chain(more).copied().collect();
        Self::read(query, &known)
    }

    /// The parameters of a push whose message is in a JSON body.
    pub(super) fn of_json(query: Option<&str>) -> Result<Self, HttpError> {
        Self::read(query, &["ack", "timeout"])
    }

    /// No parameters.
    pub(super) fn none(query: Option<&str>) -> Result<(), HttpError> {
        Self::read(query, &[]).map(|_| ())
    }

    fn read(query: Option<&str>, known: &[&str]) -> Result<Self, HttpError> {
        let mut read = Self::default();
        let mut violations = Vec::new();
        let mut seen: Vec<Cow<'_, str>> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                violations.push(FieldViolation::new(name, "it is not percent-encoded UTF-8"));
                continue;
            };
            let problem = if !known.contains(&&*name) {
                Some(format!("unknown parameter, known are: {}", known.join(", ")))
            } else if seen.contains(&name) {
                Some("it is given twice".to_owned())
            } else {
                read.set(&name, value.into_owned()).err()
            };
            if let Some(problem) = problem {
                violations.push(FieldViolation::new(name.as_ref(), problem));
            }
            seen.push(name);
        }
        if read.user_id.is_some() && read.connection_id.is_some() {
            violations.push(FieldViolation::new("connection_id", "it must not be given beside user_id"));
        }
        if violations.is_empty() { Ok(read) } else { Err(refusal::invalid(violations).into()) }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "app" => self.app = value,
            "uri" => self.uri = value,
            "request_id" => self.request_id = value,
            "user_id" => self.user_id = Some(value),
            "connection_id" => self.connection_id = Some(value),
            "reason" => self.reason = value,
            "all_apps" => self.all_apps = flag(&value)?,
            "reconnect" => self.reconnect = flag(&value)?,
            "ack" => {
                self.ack = match value.as_str() {
                    "nodes" => Ack::Nodes as i32,
                    "accepted" => Ack::Accepted as i32,
                    _ => return Err("it must be nodes or accepted".to_owned()),
                };
            }
            _ => {
                let timeout = humantime::parse_duration(&value).ok().filter(|timeout| !timeout.is_zero());
                self.timeout = Some(timeout.ok_or("it must be a time such as 2s or 500ms")?);
            }
        }
        Ok(())
    }
}

fn flag(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "it must be true or false".to_owned())
}

/// As forms encode: `+` is a space.
fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('+') {
        return percent_decode(text.as_bytes()).decode_utf8().ok();
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode(spaced.as_bytes()).decode_utf8().ok()?;
    Some(Cow::Owned(decoded.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read_and_decoded() {
        let text = "app=a%26b&uri=chat/Message&request_id=1+2&ack=accepted&timeout=1500ms&all_apps=true";
        let query = Query::of_push(Some(text), &["all_apps"]).unwrap();
        let expected = Query {
            app: "a&b".into(),
            all_apps: true,
            uri: "chat/Message".into(),
            request_id: "1 2".into(),
            ack: 2,
            timeout: Some(Duration::from_millis(1500)),
            ..Query::default()
        };
        assert_eq!(query, expected);
        assert_eq!(Query::of_push(None, &[]).unwrap(), Query::default());
    }

    #[test]
    fn mistakes_are_refused() {
        for bad in ["x=1", "app=1&app=2", "ack=yes", "timeout=0s", "timeout=-1s", "uri=%ff", "all_apps=true"]
        {
            assert!(Query::of_push(Some(bad), &[]).is_err(), "{bad}");
        }
        assert!(Query::of_push(Some("all_apps=1"), &["all_apps"]).is_err());
        assert!(Query::of_control(Some("uri=a/B"), &[]).is_err());
        assert!(Query::of_control(Some("user_id=u&connection_id=1"), &["user_id", "connection_id"]).is_err());
        assert!(Query::of_json(Some("app=a")).is_err());
        assert!(Query::none(Some("a")).is_err());
    }
}
