//! A certificate with its chain, and its private key, from two PEM files.

use std::{fmt, fs, path::Path, sync::Arc};

use rustls::{
    Error, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    sign::CertifiedKey,
};

/// Most bytes of a PEM file. A chain of ten certificates with large RSA keys has 20 KB.
const MAX_PEM: u64 = 1 << 20;

/// What one side of a TLS connection proves itself with; its `Debug` is rustls's, which shows no key.
pub type Identity = Arc<CertifiedKey>;

/// Which of the two files is at fault, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadIdentity {
    /// Whether it is the file of the private key.
    pub in_key_file: bool,
    /// What is wrong, with the file's name.
    pub message: String,
}

impl fmt::Display for BadIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BadIdentity {}

/// Reads both files. The certificate comes first in its file, its chain behind it; the key has to be that of the
/// certificate.
pub fn read(cert_file: &Path, key_file: &Path) -> Result<Identity, BadIdentity> {
    let in_cert = |message| BadIdentity { in_key_file: false, message };
    let in_key = |message| BadIdentity { in_key_file: true, message };
    let chain = certificates(cert_file).map_err(in_cert)?;
    let key = private_key(key_file).map_err(in_key)?;
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(identity) => Ok(Arc::new(identity)),
        Err(Error::InconsistentKeys(_)) => {
            Err(in_key(format!("{key_file:?} is not the key of the certificate in {cert_file:?}")))
        }
        Err(error @ Error::InvalidCertificate(_)) => {
            Err(in_cert(format!("{cert_file:?} has a certificate that cannot be read: {error}")))
        }
        Err(error) => Err(in_key(format!("{key_file:?} has a key that cannot be used: {error}"))),
    }
}

/// The certificates of a PEM file, one at least.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read_pem(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| not_pem(path, &error))?;
    if found.is_empty() {
        return Err(format!("{path:?} has no certificate (-----BEGIN CERTIFICATE-----){}", instead(&text)));
    }
    Ok(found)
}

/// The authorities of a PEM file, one at least.
pub fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let cannot = |error| format!("{path:?} has a certificate that cannot be read: {error}");
        roots.add(certificate).map_err(cannot)?;
    }
    Ok(roots)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let text = read_pem(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            format!("{path:?} has no private key (-----BEGIN PRIVATE KEY-----){}", instead(&text))
        }
        other => not_pem(path, &other),
    })
}

fn read_pem(path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |error| format!("cannot read {path:?}: {error}");
    if fs::metadata(path).map_err(cannot)?.len() > MAX_PEM {
        return Err(format!("{path:?} is larger than {MAX_PEM} bytes, which no certificate or key is"));
    }
    fs::read(path).map_err(cannot)
}

fn not_pem(path: &Path, error: &pem::Error) -> String {
    // The error of a broken line has that line in it, which may be of a key.
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no -----END line",
        pem::Error::IllegalSectionStart { .. } => "a -----BEGIN line is broken",
        _ => "a section is not base64",
    };
    format!("{path:?} is not PEM: {what}")
}

/// What a file has in place of what was looked for.
fn instead(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let label = text.lines().find_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    match label {
        Some("ENCRYPTED PRIVATE KEY") => ", only a key with a password, which is not supported".to_owned(),
        // Not more than a label has: a line that only looks like one may be anything.
        Some(label) if label.len() <= 32 => format!(", only {label}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn put(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }
    }

    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    #[test]
    fn a_chain_and_its_key_are_read() {
        let files = Files::new();
        let ((cert, key), (issuer, _)) = (pair(), pair());
        let cert = files.put("cert", &format!("a comment\n{cert}{issuer}"));
        let key = files.put("key", &key);
        assert_eq!(read(&cert, &key).unwrap().cert.len(), 2);
    }

    #[test]
    fn whatever_is_wrong_is_said_of_the_right_file_and_without_its_content() {
        let files = Files::new();
        let ((cert, key), (_, other)) = (pair(), pair());
        let good_cert = files.put("cert", &cert);
        let good_key = files.put("key", &key);
        let line = key.lines().nth(1).unwrap();
        let broken = files.put("broken", &key.replace("-----END PRIVATE KEY-----", ""));
        let garbled = files.put("garbled", &key.replace(line, "!?!?"));
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let encrypted = files.put("encrypted", &encrypted);
        let empty = files.put("empty", "");
        let other = files.put("other", &other);
        let large = files.put("large", &"x".repeat(MAX_PEM as usize + 1));
        let missing = files.0.path().join("missing");
        let not_der =
            files.put("not-der", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
        for (cert, key, in_key_file, says) in [
            (&missing, &good_key, false, "cannot read"),
            (&good_cert, &missing, true, "cannot read"),
            (
                &good_key,
                &good_key,
                false,
                "has no certificate (-----BEGIN CERTIFICATE-----), only PRIVATE KEY",
            ),
            (
                &good_cert,
                &good_cert,
                true,
                "has no private key (-----BEGIN PRIVATE KEY-----), only CERTIFICATE",
            ),
            (&empty, &good_key, false, "has no certificate (-----BEGIN CERTIFICATE-----)"),
            (&not_der, &good_key, false, "cannot be read"),
            (&large, &good_key, false, "is larger than"),
            (&good_cert, &broken, true, "is not PEM: a section has no -----END line"),
            (&good_cert, &garbled, true, "is not PEM: a section is not base64"),
            (&good_cert, &encrypted, true, "with a password, which is not supported"),
            (&good_cert, &other, true, "is not the key of the certificate in"),
        ] {
            let bad = read(cert, key).unwrap_err();
            assert_eq!(bad.in_key_file, in_key_file, "{bad}");
            assert!(bad.message.contains(says), "{says} is missing in {bad}");
            assert!(!bad.message.contains(line), "{bad}");
        }
    }
}
