//! What our own clients check servers' certificates against, and what they show of themselves.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, client::ResolvesClientCert, crypto::ring, sign::SingleCertAndKey};

use super::identity::{Identity, authorities};

/// Trusts the certificates of a PEM file, or those of this machine; shows `own` to servers that ask. The error is a
/// sentence part.
pub fn trusting(ca_file: Option<&Path>, own: Option<Identity>) -> Result<ClientConfig, String> {
    let roots = ca_file.map_or_else(of_this_machine, authorities)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    Ok(match own {
        Some(own) => {
            let shown: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(own));
            config.with_client_cert_resolver(shown)
        }
        None => config.with_no_client_auth(),
    })
}

fn of_this_machine() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (_, _ignored) = roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(format!("this machine has no certificates to check others against{why}"));
    }
    Ok(roots)
}
