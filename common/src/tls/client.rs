//! What our own clients check servers' certificates against, and what they show of themselves.

use std::{io, path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, client::ResolvesClientCert, crypto::ring, sign::SingleCertAndKey};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite};
use tokio_rustls::client::TlsStream;

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

/// Waits until the server has said something, which then is still to be read. A TLS 1.3 client is done before the server
/// has looked at what it showed; an HTTP/2 server speaks first, so what it says is that it accepted. Otherwise its reason
/// comes, which a request would only run into by chance.
pub async fn spoken_to<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut TlsStream<S>) -> io::Result<()> {
    match stream.fill_buf().await? {
        [] => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
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
