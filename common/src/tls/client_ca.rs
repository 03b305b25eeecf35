//! The authority whose certificates prove to a listener who calls.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use metrics::counter;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tracing::{info, warn};

use super::identity::authorities;
use crate::followed_file::follow_together;

/// Kept like its file; clones share it.
#[derive(Clone)]
pub struct ClientCa(Arc<Shared>);

struct Shared {
    file: PathBuf,
    verifier: RwLock<Arc<dyn ClientCertVerifier>>,
}

impl fmt::Debug for ClientCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientCa").field(&self.0.file).finish()
    }
}

impl ClientCa {
    /// Reads the file (PEM) for the first time. The error names it.
    pub fn read(file: PathBuf) -> Result<Self, String> {
        let verifier = RwLock::new(verifier(&file)?);
        Ok(Self(Arc::new(Shared { file, verifier })))
    }

    /// Keeps it like its file, for ever. What cannot be used leaves it as it is, and is warned of. Connections that are
    /// there stay.
    pub async fn follow(self) {
        let path = &self.0.file;
        let mut is_first = true;
        let read = || {
            let verifier = verifier(path)?;
            *self.0.verifier.write().unwrap_or_else(PoisonError::into_inner) = verifier;
            if !std::mem::take(&mut is_first) {
                count("ok");
                info!(?path, "The authority of callers' certificates was read anew.");
            }
            Ok(())
        };
        follow_together(std::slice::from_ref(path), read, |error: String| {
            count("failed");
            let text =
                "The authority of callers' certificates stays as it is: what is there now cannot be used.";
            warn!(error, "{text}");
        })
        .await;
    }

    fn now(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.0.verifier.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn count(outcome: &'static str) {
    counter!("push_manager_client_ca_reads_total", "outcome" => outcome).increment(1);
}

fn verifier(file: &Path) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let (roots, provider) = (Arc::new(authorities(file)?), Arc::new(ring::default_provider()));
    WebPkiClientVerifier::builder_with_provider(roots, provider)
        // Probes and scrapers have none; who may do what is decided for each call.
        .allow_unauthenticated()
        .build()
        .map_err(|error| format!("{file:?} cannot be used: {error}"))
}

impl ClientCertVerifier for ClientCa {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: they may change, and a client with one certificate shows it without being told whose are wanted.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.now().verify_client_cert(shown, chain, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.now().verify_tls12_signature(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.now().verify_tls13_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.now().supported_verify_schemes()
    }
}
