//! Proof by the fleet's key, which never travels.
//!
//! An Ed25519 key pair is derived from it for each role, and TLS 1.3 is spoken with the bare public keys (RFC 7250) of
//! these in both directions. Each side knows the other's public key, since it has the fleet's key as well; nobody without
//! it can make a signature, so nobody in between learns or changes anything. That the roles have different pairs keeps a
//! connection from being led back to where it came from.

use std::{fs, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key},
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
    },
    server::{
        AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};

use super::{ALPN, BadFile, Configs, Role};

/// Least bytes of a key.
const KEY_BYTES: usize = 32;

/// Keys that count at a time; a rotation has two.
const MAX_KEYS: usize = 16;

/// An Ed25519 private key in PKCS#8 (RFC 8410), up to the 32 bytes of the key itself.
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

pub(super) const FLAG: &str = "--fleet-key-file";

/// What a process of this role shows and accepts by the keys of a file: one in base64 per line, 32 bytes or more; the
/// first is shown, all are accepted.
pub(super) fn read(role: Role, file: &Path) -> Result<Configs, BadFile> {
    let bad = |message: String| BadFile { flag: FLAG, message };
    let text = fs::read_to_string(file).map_err(|error| bad(format!("cannot read {file:?}: {error}")))?;
    let keys = keys(&text).map_err(|error| bad(format!("{}: {error}", file.display())))?;
    configs(role, &keys).map_err(|error| bad(format!("{}: {error}", file.display())))
}

fn keys(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let key = STANDARD.decode(line.trim()).map_err(|_| format!("line {number} is not base64"))?;
        if key.len() < KEY_BYTES {
            let len = key.len();
            return Err(format!("line {number} is a key of {len} bytes, {KEY_BYTES} are the least"));
        }
        keys.push(key);
    }
    match keys.len() {
        0 => Err("it has no key".to_owned()),
        1..=MAX_KEYS => Ok(keys),
        n => Err(format!("it has {n} keys, {MAX_KEYS} are the most")),
    }
}

fn configs(role: Role, keys: &[Vec<u8>]) -> Result<Configs, Error> {
    let provider = Arc::new(ring::default_provider());
    let own = Arc::new(pair(role, &keys[0], &provider)?);
    let others = keys.iter().map(|key| public(role.other(), key, &provider)).collect::<Result<_, _>>()?;
    let known = Arc::new(Known { keys: others, provider: Arc::clone(&provider) });
    let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&known) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&own))));
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(known)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(own)));
    without_resumption(&mut client, &mut server);
    // It is not looked at: what is shown is no certificate and has no name.
    let peer =
        ServerName::try_from(role.other().name()).map_err(|error| Error::General(error.to_string()))?;
    Ok(Configs { client: Arc::new(client), server: Arc::new(server), peer, validity: None })
}

/// Every connection proves itself anew: what was accepted once may not be any more.
pub(super) fn without_resumption(client: &mut ClientConfig, server: &mut ServerConfig) {
    client.resumption = Resumption::disabled();
    client.alpn_protocols = vec![ALPN.to_vec()];
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    server.alpn_protocols = vec![ALPN.to_vec()];
}

fn pair(role: Role, key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let context = match role {
        Role::Manager => "pushcast 2026-11-29 fleet key of a push-manager",
        Role::Node => "pushcast 2026-11-29 fleet key of a connect-node",
    };
    let mut pkcs8 = PKCS8_HEAD.to_vec();
    pkcs8.extend_from_slice(&blake3::derive_key(context, key));
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
    let signing = provider.key_provider.load_private_key(private)?;
    let public = signing.public_key().ok_or(Error::General("no public key".to_owned()))?;
    Ok(CertifiedKey::new(vec![CertificateDer::from(public.to_vec())], signing))
}

fn public(role: Role, key: &[u8], provider: &CryptoProvider) -> Result<CertificateDer<'static>, Error> {
    Ok(pair(role, key, provider)?.cert.remove(0))
}

/// Accepts the public keys that the other role has by one of our keys, and no others.
#[derive(Debug)]
struct Known {
    keys: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Known {
    fn accept(&self, shown: &CertificateDer<'_>) -> Result<(), Error> {
        if self.keys.iter().any(|key| key == shown) {
            return Ok(());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(
            message,
            &key,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }
}

fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.accept(shown).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Known {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.accept(shown).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, key, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_makes_the_same_pair_everywhere_and_another_one_for_each_role() {
        let provider = ring::default_provider();
        let shown = |role, key: &[u8]| public(role, key, &provider).unwrap();
        let key = [7; KEY_BYTES];
        assert_eq!(shown(Role::Node, &key), shown(Role::Node, &key));
        assert_ne!(shown(Role::Node, &key), shown(Role::Manager, &key));
        assert_ne!(shown(Role::Node, &key), shown(Role::Node, &[8; KEY_BYTES]));
        // What nodes of an earlier version derive: a change of it would part a fleet in two.
        let hex: String = shown(Role::Node, &key)[12..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "8ca11b535c402f47ea8bb31eb9eeffc83ff0278cf55f46c4a2d601620fe98dee");
    }

    #[test]
    fn every_mistake_of_a_key_file_is_named_and_no_key_is_repeated() {
        let good = STANDARD.encode([1; 32]);
        assert_eq!(keys(&format!("\n{good}\n  \n{good}\n")).unwrap().len(), 2);
        assert_eq!(keys(" \n").unwrap_err(), "it has no key");
        assert_eq!(keys(&format!("{good}\n?")).unwrap_err(), "line 2 is not base64");
        let short = STANDARD.encode([1; 31]);
        assert_eq!(keys(&short).unwrap_err(), "line 1 is a key of 31 bytes, 32 are the least");
        let many = format!("{good}\n").repeat(17);
        assert_eq!(keys(&many).unwrap_err(), "it has 17 keys, 16 are the most");
    }
}
