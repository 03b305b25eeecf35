//! What a listener shows of itself, kept like its files.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use metrics::counter;
use rustls::{
    ConfigBuilder, ServerConfig, WantsVerifier,
    crypto::ring,
    server::{NoServerSessionStorage, ResolvesServerCert},
    sign::SingleCertAndKey,
};
use tracing::{info, warn};

use super::{
    client_ca::ClientCa,
    identity::{self, Identity},
    validity::Validity,
};
use crate::{followed_file::follow_together, settings::Problems};

/// `--tls-cert-file` and `--tls-key-file`; flatten it into the binary's own struct.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsArgs {
    /// Certificate (PEM) with its chain behind it, which turns TLS on; needs --tls-key-file. Read again when it changes
    #[arg(long, value_name = "FILE")]
    pub tls_cert_file: Option<String>,
    /// Private key (PEM) of --tls-cert-file
    #[arg(long, value_name = "FILE")]
    pub tls_key_file: Option<String>,
}

impl TlsArgs {
    /// The checked settings; `None` without the flags, or with problems recorded. `component` (`push_manager`,
    /// `connect_node`) begins metric names.
    pub fn settings(&self, problems: &mut Problems, component: &'static str) -> Option<ServerTls> {
        match (&self.tls_cert_file, &self.tls_key_file) {
            (None, None) => None,
            (Some(_), None) => {
                problems.push("--tls-cert-file", "needs --tls-key-file");
                None
            }
            (None, Some(_)) => {
                problems.push("--tls-key-file", "needs --tls-cert-file");
                None
            }
            (Some(cert), Some(key)) => {
                let tls = ServerTls::read(cert.into(), key.into(), component);
                tls.map_err(|bad| {
                    let flag = if bad.in_key_file { "--tls-key-file" } else { "--tls-cert-file" };
                    problems.push(flag, bad.message);
                })
                .ok()
            }
        }
    }
}

/// What listeners need to speak TLS; clones share it. Connections that are there keep what they began with.
#[derive(Clone)]
pub struct ServerTls(Arc<Shared>);

struct Shared {
    cert_file: PathBuf,
    key_file: PathBuf,
    identity: RwLock<Identity>,
    component: &'static str,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("cert_file", &self.0.cert_file).finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Reads both files for the first time.
    pub fn read(
        cert_file: PathBuf,
        key_file: PathBuf,
        component: &'static str,
    ) -> Result<Self, identity::BadIdentity> {
        let identity = RwLock::new(identity::read(&cert_file, &key_file)?);
        Ok(Self(Arc::new(Shared { cert_file, key_file, identity, component })))
    }

    /// What proves this process to others now.
    pub fn identity(&self) -> Identity {
        Arc::clone(&self.0.identity.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shows at every handshake what the files have by then, so that one configuration serves for ever.
    pub fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(Resolver(self.clone()))
    }

    /// For a listener of these protocols (ALPN), the first one that a client also knows; TLS 1.2 and 1.3, and nothing
    /// asked of the client.
    pub fn config(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = Self::begun()?.with_no_client_auth().with_cert_resolver(self.resolver());
        // Who comes back shows a ticket of ours, which spares both a signature; nothing is kept of it here.
        config.ticketer = ring::Ticketer::new()?;
        Ok(finished(config, protocols))
    }

    /// The same, and clients may show a certificate of this authority. Who shows none is let in as nobody; who shows
    /// another one is not.
    pub fn config_asking(
        &self,
        protocols: &[&[u8]],
        clients: ClientCa,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let verifier = Arc::new(clients);
        let mut config =
            Self::begun()?.with_client_cert_verifier(verifier).with_cert_resolver(self.resolver());
        // Every connection proves itself anew: what was accepted once may not be any more.
        config.send_tls13_tickets = 0;
        Ok(finished(config, protocols))
    }

    fn begun() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
    }

    /// Keeps it like its files, for ever. What cannot be used leaves the pair as it is, and is warned of.
    pub async fn follow(self) {
        let Shared { cert_file, key_file, .. } = &*self.0;
        self.show_validity();
        let read = || identity::read(cert_file, key_file).map(|new| self.show(new));
        follow_together(&[cert_file.clone(), key_file.clone()], read, |error| {
            self.count("failed");
            warn!(%error, "The certificate stays as it is: what is there now cannot be used.");
        })
        .await;
    }

    fn show(&self, new: Identity) {
        let mut identity = self.0.identity.write().unwrap_or_else(PoisonError::into_inner);
        if identity.cert != new.cert {
            *identity = new;
            drop(identity);
            self.show_validity();
            self.count("ok");
            info!(path = ?self.0.cert_file, "Another certificate is shown from now on.");
        }
    }

    fn show_validity(&self) {
        Validity::of(&self.identity().cert).show(self.0.component, "listener");
    }

    fn count(&self, outcome: &'static str) {
        let name = format!("{}_tls_certificate_reads_total", self.0.component);
        counter!(name, "outcome" => outcome).increment(1);
    }
}

fn finished(mut config: ServerConfig, protocols: &[&[u8]]) -> Arc<ServerConfig> {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

#[derive(Debug)]
struct Resolver(ServerTls);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Identity> {
        SingleCertAndKey::from(self.0.identity()).resolve(hello)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Duration};

    use rcgen::{CertificateParams, KeyPair};
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::followed_file::{LOOK_EVERY, LOOKS_BEFORE_COMPLAINT};

    fn put(directory: &Path) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let (cert_file, key_file) = (directory.join("cert"), directory.join("key"));
        fs::write(&cert_file, cert.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }

    #[tokio::test]
    async fn a_new_pair_is_shown_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let (cert_file, key_file) = put(directory.path());
        let tls = ServerTls::read(cert_file, key_file.clone(), "test").unwrap();
        let first = tls.identity().cert.clone();
        let following = tokio::spawn(tls.clone().follow());
        let becomes_other = async |than| {
            while tls.identity().cert == than {
                sleep(Duration::from_millis(20)).await;
            }
        };
        put(directory.path());
        timeout(Duration::from_secs(20), becomes_other(first)).await.expect("the new one is shown");
        let second = tls.identity().cert.clone();
        fs::write(&key_file, "no key at all").unwrap();
        // Past the last look, at which the broken pair was given up.
        sleep(LOOK_EVERY * (LOOKS_BEFORE_COMPLAINT + 2)).await;
        assert_eq!(tls.identity().cert, second);
        put(directory.path());
        timeout(Duration::from_secs(20), becomes_other(second)).await.expect("the one after it is shown");
        following.abort();
    }

    #[test]
    fn one_flag_needs_the_other_and_mistakes_are_of_the_right_one() {
        let text = |cert: Option<&str>, key: Option<&str>| {
            let args =
                TlsArgs { tls_cert_file: cert.map(str::to_owned), tls_key_file: key.map(str::to_owned) };
            let mut problems = Problems::default();
            assert!(args.settings(&mut problems, "test").is_none());
            problems.to_string()
        };
        assert_eq!(text(None, None), "");
        assert_eq!(text(Some("a"), None), "--tls-cert-file: needs --tls-key-file");
        assert_eq!(text(None, Some("a")), "--tls-key-file: needs --tls-cert-file");
        let missing = text(Some("/no/such/cert"), Some("/no/such/key"));
        assert!(missing.starts_with("--tls-cert-file: cannot read \"/no/such/cert\""), "{missing}");
    }
}
