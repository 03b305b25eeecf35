//! Proof by certificates of an authority that is the fleet's own, with the role as a name in them.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{WebPkiServerVerifier, danger::HandshakeSignatureValid, verify_server_name},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::SingleCertAndKey,
    version::TLS13,
};

use super::{BadFile, Configs, key::without_resumption};
use crate::tls::{
    identity::{self, authorities},
    validity::Validity,
};

pub(super) const CA: &str = "--fleet-ca-file";
pub(super) const CERT: &str = "--fleet-cert-file";
pub(super) const PRIVATE_KEY: &str = "--fleet-private-key-file";
pub(super) const PEER: &str = "--fleet-peer-name";

/// Where everything is, and whom to expect.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) ca: PathBuf,
    pub(super) cert: PathBuf,
    pub(super) private_key: PathBuf,
    /// A DNS name that the other side's certificate has to have.
    pub(super) peer: ServerName<'static>,
}

impl Files {
    pub(super) fn all(&self) -> Vec<PathBuf> {
        vec![self.ca.clone(), self.cert.clone(), self.private_key.clone()]
    }

    pub(super) fn read(&self) -> Result<Configs, BadFile> {
        let in_ca = |message: String| BadFile { flag: CA, message };
        let roots = authorities(&self.ca).map_err(in_ca)?;
        let own = identity::read(&self.cert, &self.private_key).map_err(|bad| BadFile {
            flag: if bad.in_key_file { PRIVATE_KEY } else { CERT },
            message: bad.message,
        })?;
        self.configs(Arc::new(roots), own).map_err(|error| in_ca(error.to_string()))
    }

    fn configs(&self, roots: Arc<RootCertStore>, own: identity::Identity) -> Result<Configs, Error> {
        let provider = Arc::new(ring::default_provider());
        let unusable = |error: rustls::server::VerifierBuilderError| Error::General(error.to_string());
        let servers = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(unusable)?;
        let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(unusable)?;
        let validity = Some(Validity::of(&own.cert));
        let clients = Arc::new(Named { of_the_fleet: clients, name: self.peer.clone() });
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])?
            .with_webpki_verifier(servers)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&own))));
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        without_resumption(&mut client, &mut server);
        let peer = self.peer.clone();
        Ok(Configs { client: Arc::new(client), server: Arc::new(server), peer, validity })
    }
}

/// Certificates of the fleet that have this name.
#[derive(Debug)]
struct Named {
    of_the_fleet: Arc<dyn ClientCertVerifier>,
    name: ServerName<'static>,
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.of_the_fleet.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.of_the_fleet.verify_client_cert(shown, chain, now)?;
        verify_server_name(&ParsedCertificate::try_from(shown)?, &self.name)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.of_the_fleet.verify_tls12_signature(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.of_the_fleet.verify_tls13_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.of_the_fleet.supported_verify_schemes()
    }
}
