//! Which upgrades are let through, and the token that one may bring: what HTTP headers say, before there is a frame.

use http::{HeaderMap, HeaderValue, header};
use pushcast_common::local_page::is_local;

/// Whose upgrades are taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct UpgradeDoors {
    /// Refuse clients of another machine, and of foreign pages in a browser on this one.
    pub(crate) local_pages_only: bool,
    /// Pages that may connect, as browsers name them in `Origin`; all if empty. Others than browsers send none.
    pub(crate) allowed_origins: Vec<String>,
    /// The cookie that a token may be in.
    pub(crate) auth_cookie: Option<String>,
}

/// Why an upgrade is answered with 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAllowed {
    #[error("this node is for its own machine alone, and for no page of another site")]
    NotLocal,
    #[error("pages of this origin may not connect here")]
    Origin,
    #[error("a token in a cookie counts only for pages whose origin is allowed here")]
    Cookie,
}

impl UpgradeDoors {
    /// The token that an upgrade brings, if it is let through; empty if it brings none.
    ///
    /// A browser sends its cookies whatever page asks for the connection: a foreign page would act as the person in
    /// front of it. So a cookie needs an `Origin` that is on the list.
    pub(super) fn pass(&self, headers: &HeaderMap) -> Result<String, NotAllowed> {
        if self.local_pages_only && !is_local(headers) {
            return Err(NotAllowed::NotLocal);
        }
        let origin = headers.get(header::ORIGIN);
        let listed = origin.is_some_and(|origin| self.is_allowed(origin));
        if origin.is_some() && !listed && !self.allowed_origins.is_empty() {
            return Err(NotAllowed::Origin);
        }
        if let Some(token) = bearer(headers) {
            return Ok(token.to_owned());
        }
        match self.cookie(headers) {
            Some(_) if !listed => Err(NotAllowed::Cookie),
            Some(token) => Ok(token.to_owned()),
            None => Ok(String::new()),
        }
    }

    fn is_allowed(&self, origin: &HeaderValue) -> bool {
        self.allowed_origins.iter().any(|allowed| origin.as_bytes().eq_ignore_ascii_case(allowed.as_bytes()))
    }

    fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let name = self.auth_cookie.as_deref()?;
        let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(of, _)| *of == name).map(|(_, value)| value.trim_matches('"'))
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750; the scheme in any case, RFC 9110).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(doors: &UpgradeDoors, headers: &[(&'static str, &str)]) -> Result<String, NotAllowed> {
        let pairs = headers.iter().map(|(name, value)| {
            (header::HeaderName::from_static(name), HeaderValue::from_str(value).expect("ASCII"))
        });
        doors.pass(&pairs.collect())
    }

    fn with_cookie() -> UpgradeDoors {
        UpgradeDoors {
            allowed_origins: vec!["https://app.example.com".to_owned()],
            auth_cookie: Some("session".to_owned()),
            ..UpgradeDoors::default()
        }
    }

    const PAGE: (&str, &str) = ("origin", "https://app.example.com");

    #[test]
    fn a_token_comes_as_bearer_in_any_case() {
        let doors = UpgradeDoors::default();
        assert_eq!(pass(&doors, &[]), Ok(String::new()));
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c"] {
            assert_eq!(pass(&doors, &[("authorization", value)]), Ok("a.b.c".to_owned()), "{value}");
        }
        for value in ["Basic a.b.c", "Bearer", ""] {
            assert_eq!(pass(&doors, &[("authorization", value)]), Ok(String::new()), "{value}");
        }
    }

    #[test]
    fn a_cookie_counts_only_for_a_page_that_is_allowed() {
        let cookie = ("cookie", r#"theme=dark; session="a.b.c"; x=y"#);
        let doors = with_cookie();
        assert_eq!(pass(&doors, &[cookie, PAGE]), Ok("a.b.c".to_owned()));
        assert_eq!(pass(&doors, &[cookie]), Err(NotAllowed::Cookie));
        for foreign in ["https://evil.example", "https://app.example.com.evil.example", "null", ""] {
            assert_eq!(pass(&doors, &[cookie, ("origin", foreign)]), Err(NotAllowed::Origin), "{foreign}");
        }
        let other = ("cookie", "sessions=a; xsession=b");
        assert_eq!(pass(&doors, &[other]), Ok(String::new()), "not the cookie that is meant");
        let unnamed = UpgradeDoors { auth_cookie: None, ..with_cookie() };
        assert_eq!(pass(&unnamed, &[cookie]), Ok(String::new()));
    }

    #[test]
    fn a_bearer_goes_before_a_cookie_and_needs_no_page() {
        let both = [("cookie", "session=c"), ("authorization", "Bearer b")];
        assert_eq!(pass(&with_cookie(), &both), Ok("b".to_owned()));
    }

    #[test]
    fn without_a_list_every_page_may_connect() {
        let doors = UpgradeDoors::default();
        assert_eq!(pass(&doors, &[("origin", "https://anything.example")]), Ok(String::new()));
    }
}
