//! `pushctl token`: tokens of clients, to try a fleet that wants them (`connect-node --auth jwt`), and what a node says
//! to a token. Standard output has the token alone.

use std::{
    env, fs,
    io::{self, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use connect_node::auth::{Expected, Jwt, KeySet, Pass, secret_in};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use pushcast_common::clock::now_micros;
use serde_json::{Map, Value, json};

use super::{
    arguments::{CheckTokenArguments, NewTokenArguments, TokenArguments, TokenCommand},
    output::{Misuse, print, print_json, with_tip},
    readable,
};

/// The variable that may hold a token.
const VARIABLE: &str = "PUSHCTL_TOKEN";

/// What nodes allow for clocks that are apart, if they are not told otherwise (--jwt-leeway).
const LEEWAY: Duration = Duration::from_secs(30);

/// Where a client's token is: it may be another one later.
pub(super) struct TokenSource(Option<PathBuf>);

impl TokenSource {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self(file)
    }

    /// The token there is now; empty if none is given.
    pub(super) fn read(&self) -> anyhow::Result<String> {
        match &self.0 {
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    Misuse(format!("--token-file: cannot read {}: {error}", path.display()))
                })?;
                Ok(text.trim().to_owned())
            }
            None => Ok(env::var(VARIABLE).unwrap_or_default().trim().to_owned()),
        }
    }
}

pub(super) fn run(TokenArguments { command }: TokenArguments) -> anyhow::Result<()> {
    match command {
        TokenCommand::New(new) => Ok(print(&signed(&new, SystemTime::now())?)?),
        TokenCommand::Check(check) => report(&check),
    }
}

fn signed(new: &NewTokenArguments, now: SystemTime) -> anyhow::Result<String> {
    let path = &new.key_file;
    let bytes = fs::read(path)
        .map_err(|error| Misuse(format!("--key-file: cannot read {}: {error}", path.display())))?;
    let (algorithm, key) =
        signing_key(&bytes).map_err(|reason| Misuse(format!("--key-file: {}: {reason}", path.display())))?;
    let life = humantime::parse_duration(&new.life).map_err(|_invalid| {
        Misuse(format!("--life: \"{}\" is not a duration (examples: 90s, 1h)", new.life))
    })?;
    let header = Header { kid: new.kid.clone(), ..Header::new(algorithm) };
    encode(&header, &claims(new, now, life), &key).context("the key cannot sign")
}

fn claims(new: &NewTokenArguments, now: SystemTime, life: Duration) -> Value {
    let seconds =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), json!(new.user));
    claims.insert("iat".to_owned(), json!(seconds(now)));
    claims.insert("exp".to_owned(), json!(seconds(now + life)));
    let texts = [("app", &new.app), ("iss", &new.issuer), ("aud", &new.audience)];
    for (name, value) in texts {
        if let Some(value) = value {
            claims.insert(name.to_owned(), json!(value));
        }
    }
    if let Some(rooms) = &new.rooms {
        let rooms: Vec<&str> = rooms.split(',').filter(|room| !room.is_empty()).collect();
        claims.insert("rooms".to_owned(), json!(rooms));
    }
    Value::Object(claims)
}

/// A private key in PEM, or else a secret, and what it signs with.
fn signing_key(bytes: &[u8]) -> Result<(Algorithm, EncodingKey), String> {
    if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        let ed = EncodingKey::from_ed_pem(bytes).map(|key| (Algorithm::EdDSA, key));
        let ec = || EncodingKey::from_ec_pem(bytes).map(|key| (Algorithm::ES256, key));
        let rsa = || EncodingKey::from_rsa_pem(bytes).map(|key| (Algorithm::RS256, key));
        return ed.or_else(|_| ec()).or_else(|_| rsa()).map_err(|_invalid| {
            "no private key that signs EdDSA, ES256 or RS256 (PKCS#8 in PEM)".to_owned()
        });
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    // As the node reads it, and as strict.
    let key = EncodingKey::from_secret(secret_in(text)?.as_bytes()).map_err(|error| error.to_string())?;
    Ok((Algorithm::HS256, key))
}

/// Says what a node would say.
fn report(check: &CheckTokenArguments) -> anyhow::Result<()> {
    let token = token(check.token_file.as_deref())?;
    let path = &check.keys;
    let bytes =
        fs::read(path).map_err(|error| Misuse(format!("--keys: cannot read {}: {error}", path.display())))?;
    let keys = KeySet::from_file(&bytes)
        .map_err(|reason| Misuse(format!("--keys: {}: {reason}", path.display())))?;
    let names = |names: &Option<String>| {
        let names = names.iter().flat_map(|names| names.split(','));
        names.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let expected =
        Expected { issuers: names(&check.issuer), audiences: names(&check.audience), leeway: LEEWAY };
    let now = now_micros();
    match Jwt::new(keys, expected, false).check(&token, now) {
        Ok(pass) if check.json => print_json(&as_json(&pass)),
        Ok(pass) => Ok(print(&as_text(&pass, now))?),
        Err(refused) => {
            let error = anyhow::anyhow!("a node would refuse it: {refused}");
            Err(with_tip(
                error,
                "--issuer and --audience have to be what the node has as --jwt-issuer and --jwt-audience",
            ))
        }
    }
}

fn token(file: Option<&Path>) -> anyhow::Result<String> {
    if file.is_some() || env::var_os(VARIABLE).is_some() {
        return TokenSource(file.map(Path::to_owned)).read();
    }
    if io::stdin().is_terminal() {
        return Err(
            Misuse(format!("which token? --token-file, {VARIABLE} or standard input gives it")).into()
        );
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).context("cannot read the token from standard input")?;
    Ok(text.trim().to_owned())
}

fn as_json(pass: &Pass) -> Value {
    json!({"user": pass.user, "app": pass.app, "rooms": pass.rooms.names(), "expires_ms": pass.ends_at / 1000})
}

fn as_text(pass: &Pass, now: u64) -> String {
    let seconds = pass.ends_at.saturating_sub(now) / 1_000_000;
    let rooms = match pass.rooms.names() {
        [] => "none by itself".to_owned(),
        names => names.iter().map(|name| readable::word(name)).collect::<Vec<_>>().join(", "),
    };
    let app = if pass.app.is_empty() { "the default one".to_owned() } else { readable::word(&pass.app) };
    format!(
        "user     {}\napp      {app}\nrooms    {rooms}\nexpires  in {}",
        readable::word(&pass.user),
        humantime::format_duration(Duration::from_secs(seconds))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn new(key_file: PathBuf) -> NewTokenArguments {
        NewTokenArguments {
            key_file,
            user: "u1".to_owned(),
            app: Some("shop".to_owned()),
            rooms: Some("lobby,team-*".to_owned()),
            life: "1h".to_owned(),
            kid: None,
            issuer: None,
            audience: None,
        }
    }

    #[test]
    fn what_is_made_is_what_a_node_takes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("{SECRET}\n")).unwrap();
        let token = signed(&new(file.path().to_owned()), SystemTime::now()).unwrap();
        let keys = KeySet::from_file(SECRET.as_bytes()).unwrap();
        let now = now_micros();
        let pass = Jwt::new(keys, Expected::default(), false).check(&token, now).unwrap();
        assert_eq!((pass.user.as_str(), pass.app.as_str()), ("u1", "shop"));
        assert!(pass.rooms.allows("team-7") && !pass.rooms.allows("lobby2"));
        let text = as_text(&pass, now);
        assert!(text.contains("rooms    lobby, team-*\nexpires  in 59m"), "{text}");
        assert_eq!(as_json(&pass)["rooms"], json!(["lobby", "team-*"]));
    }

    #[test]
    fn a_bad_key_or_life_is_a_misuse() {
        let missing = signed(&new(PathBuf::from("no-such-file")), SystemTime::now()).unwrap_err();
        assert!(missing.is::<Misuse>() && missing.to_string().contains("no-such-file"));
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, says) in [("short", "too short"), ("-----BEGIN PUBLIC KEY-----\nx\n", "no private key")] {
            fs::write(file.path(), text).unwrap();
            let error = signed(&new(file.path().to_owned()), SystemTime::now()).unwrap_err();
            assert!(error.is::<Misuse>() && error.to_string().contains(says), "{error}");
        }
        fs::write(file.path(), SECRET).unwrap();
        let forever = NewTokenArguments { life: "for ever".to_owned(), ..new(file.path().to_owned()) };
        assert!(signed(&forever, SystemTime::now()).unwrap_err().to_string().contains("--life"));
    }
}
