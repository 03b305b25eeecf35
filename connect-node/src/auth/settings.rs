//! The `--jwt-*` flags.

use std::{sync::Arc, time::Duration};

use http::Uri;
use pushcast_common::{
    followed_file::FollowedFile,
    settings::{Addr, Problems},
};

use super::{Expected, Jwt, KeySet, Source};

/// What `--auth jwt` takes; flattened into the node's own flags.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct JwtArgs {
    /// For --auth jwt, the keys of tokens: a file with a secret (HS256, HS384, HS512; one line of 32 bytes or more),
    /// with public keys in PEM (RS256, ES256, EdDSA), or with a JWKS; or the http(s) address of a JWKS. A file is read again when
    /// it changes, an address every 5 minutes and when a token names a key that is not known
    #[arg(long, value_name = "FILE|URL")]
    jwt_keys: Option<String>,
    /// Who may have issued a token (`iss`), comma-separated [default: anybody]
    #[arg(long, value_name = "NAME,…")]
    jwt_issuer: Option<String>,
    /// For whom a token may be meant (`aud`), comma-separated [default: for nobody in particular]
    #[arg(long, value_name = "NAME,…")]
    jwt_audience: Option<String>,
    /// How far the clock of a token's issuer may be from this one
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    jwt_leeway: String,
}

/// Tokens, as the flags ask for them.
#[derive(Debug, Clone)]
pub(crate) struct JwtSettings {
    /// Checks tokens.
    pub(crate) jwt: Arc<Jwt>,
    /// Keeps its keys fresh.
    pub(crate) source: Source,
}

impl JwtArgs {
    /// The checked settings; `None` if tokens are not `asked` for, or with problems recorded. A file is read now.
    pub(crate) fn settings(
        &self,
        problems: &mut Problems,
        asked: bool,
        insecure: bool,
    ) -> Option<JwtSettings> {
        let hour = Duration::from_secs(3600);
        let leeway = problems.duration_within("--jwt-leeway", &self.jwt_leeway, Duration::ZERO..=hour);
        if !asked {
            let given = [
                ("--jwt-keys", &self.jwt_keys),
                ("--jwt-issuer", &self.jwt_issuer),
                ("--jwt-audience", &self.jwt_audience),
            ];
            for (flag, _) in given.into_iter().filter(|(_, value)| value.is_some()) {
                problems.push(flag, "is of use only with --auth jwt");
            }
            return None;
        }
        let Some(from) = &self.jwt_keys else {
            problems.push(
                "--jwt-keys",
                "--auth jwt needs the keys that tokens are signed with: a file or the address of a JWKS",
            );
            return None;
        };
        let source = source(problems, from, insecure)?;
        let (keys, fetches) = match &source {
            Source::File(file) => (read(problems, file.path())?, false),
            Source::Address(_) => (KeySet::default(), true),
        };
        let expected =
            Expected { issuers: names(&self.jwt_issuer), audiences: names(&self.jwt_audience), leeway };
        Some(JwtSettings { jwt: Arc::new(Jwt::new(keys, expected, fetches)), source })
    }
}

fn source(problems: &mut Problems, from: &str, insecure: bool) -> Option<Source> {
    if !from.contains("://") {
        return Some(Source::File(FollowedFile::new(from)));
    }
    let uri: Uri = match from.parse() {
        Ok(uri) => uri,
        Err(error) => {
            problems.push("--jwt-keys", format!("\"{from}\" is no address: {error}"));
            return None;
        }
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        problems.push("--jwt-keys", "an address with a name or password in it would be in every log");
        return None;
    }
    let local = |host: &str| {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Addr { host, port: 0 }.is_loopback()
    };
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => Some(Source::Address(uri)),
        (Some("http"), Some(host)) if insecure || local(host) => Some(Source::Address(uri)),
        (Some("http"), _) => {
            problems.push(
                "--jwt-keys",
                format!("\"{from}\": keys that come over plain http may be anybody's: give an https address, or --insecure if this is meant"),
            );
            None
        }
        _ => {
            problems.push("--jwt-keys", format!("\"{from}\" is neither a file nor an http(s) address"));
            None
        }
    }
}

fn read(problems: &mut Problems, path: &std::path::Path) -> Option<KeySet> {
    let read = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"));
    let keys = read.and_then(|bytes| KeySet::from_file(&bytes));
    keys.map_err(|error| problems.push("--jwt-keys", format!("\"{}\": {error}", path.display()))).ok()
}

fn names(given: &Option<String>) -> Vec<String> {
    let names = given.iter().flat_map(|names| names.split(','));
    names.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
