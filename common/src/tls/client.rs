//! What our own clients check servers' certificates against.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::identity::certificates;

/// Trusts the certificates of a PEM file, or those of this machine; shows none of its own. The error is a sentence part.
pub fn trusting(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for certificate in certificates(path)? {
                let cannot = |error| format!("{path:?} has a certificate that cannot be read: {error}");
                roots.add(certificate).map_err(cannot)?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let (_, _ignored) = roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                let why = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
                return Err(format!("this machine has no certificates to check others against{why}"));
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
