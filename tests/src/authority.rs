//! Certificates for tests, as files.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

/// An authority with a directory of its own, which is gone when it is dropped.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one, which nobody trusts yet.
    ///
    /// # Panics
    /// If no files can be made.
    #[allow(clippy::new_without_default, reason = "every one is another one")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "Pushcast test authority");
        let key = KeyPair::generate().expect("keys can be made");
        let pem = params.self_signed(&key).expect("it is complete").pem();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let authority = Self { directory, issuer: Issuer::new(params, key), pem };
        authority.write("ca.pem", &authority.pem);
        authority
    }

    /// The file that those have who trust it.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A file of its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes `cert.pem`, with the authority's own behind it, and `key.pem`: a server at these names and addresses, which
    /// whoever looks tells from others by its serial number, and by when it ends (see [`ends`]). What was there is replaced.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn certify(&self, names: &[&str], serial: u64) -> Files {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are good");
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_after = date_time_ymd(last_year(serial), 1, 1);
        let key = KeyPair::generate().expect("keys can be made");
        let cert = params.signed_by(&key, &self.issuer).expect("it is complete");
        let files = Files { cert: self.path("cert.pem"), key: self.path("key.pem") };
        self.write("cert.pem", &format!("{}{}", cert.pem(), self.pem));
        self.write("key.pem", &key.serialize_pem());
        files
    }

    /// Writes `<name>.pem` and `<name>.key`: a process of a fleet with this role as its name, for both ends of
    /// connections; or one whose time is over.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn member(&self, name: &str, role: &str, is_expired: bool) -> Files {
        let mut params = CertificateParams::new(vec![role.to_owned()]).expect("the name is good");
        if is_expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().expect("keys can be made");
        let cert = params.signed_by(&key, &self.issuer).expect("it is complete");
        let (cert_name, key_name) = (format!("{name}.pem"), format!("{name}.key"));
        self.write(&cert_name, &cert.pem());
        self.write(&key_name, &key.serialize_pem());
        Files { cert: self.path(&cert_name), key: self.path(&key_name) }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("it is ours");
    }
}

/// When a certificate of this serial number ends, in seconds since 1970.
///
/// # Panics
/// If it is larger than a year.
pub fn ends(serial: u64) -> i64 {
    date_time_ymd(last_year(serial), 1, 1).unix_timestamp()
}

fn last_year(serial: u64) -> i32 {
    2100 + i32::try_from(serial).expect("serial numbers are counted from 1")
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Files {
    /// The flags of a server that shows it.
    ///
    /// # Panics
    /// Never: temporary files have names that are UTF-8.
    pub fn flags(&self) -> [(&str, &str); 2] {
        [("--tls-cert-file", text(&self.cert)), ("--tls-key-file", text(&self.key))]
    }
}

/// A path as an argument.
///
/// # Panics
/// Never: temporary files have names that are UTF-8.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("its name is ours")
}
