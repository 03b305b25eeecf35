//! The `--etcd-*` flags of both binaries.

use std::time::Duration;

use crate::registry::{EtcdSettings, EtcdTls, EtcdUser};

use super::Problems;

/// How to reach etcd; flatten it into the binary's own struct.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct EtcdArgs {
    /// etcd's addresses, comma-separated, with or without http:// or https://
    #[arg(long, value_name = "HOST:PORT,...")]
    pub etcd_endpoints: Option<String>,
    /// Where in etcd the fleet's records are
    #[arg(long, value_name = "PATH", default_value = "/pushcast")]
    pub etcd_prefix: String,
    /// How long our record outlives us if we crash; whole seconds
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    pub etcd_lease: String,
    /// User name, if etcd asks for one; needs --etcd-password-file
    #[arg(long, value_name = "NAME")]
    pub etcd_user: Option<String>,
    /// File with the password of --etcd-user
    #[arg(long, value_name = "FILE")]
    pub etcd_password_file: Option<String>,
    /// File with the certificates (PEM) that etcd's is checked against; turns TLS on
    #[arg(long, value_name = "FILE")]
    pub etcd_ca: Option<String>,
    /// File with our client certificate (PEM); needs --etcd-key
    #[arg(long, value_name = "FILE")]
    pub etcd_cert: Option<String>,
    /// File with our client certificate's key (PEM)
    #[arg(long, value_name = "FILE")]
    pub etcd_key: Option<String>,
}

impl EtcdArgs {
    /// Whether a registry in etcd is asked for.
    pub fn is_given(&self) -> bool {
        self.etcd_endpoints.is_some()
    }

    /// The checked settings; `None` without `--etcd-endpoints`, or with problems recorded.
    /// Files are read here, once. `component` (`push_manager`, `connect_node`) begins metric names.
    pub fn settings(&self, problems: &mut Problems, component: &'static str) -> Option<EtcdSettings> {
        let before = problems.found().len();
        let lease = self.lease(problems);
        let prefix = self.prefix(problems);
        let user = self.user(problems);
        let tls = self.tls(problems);
        let Some(endpoints) = &self.etcd_endpoints else {
            self.refuse_without_endpoints(problems);
            return None;
        };
        let endpoints = check_endpoints(problems, endpoints, tls.is_some());
        let https = endpoints.iter().any(|endpoint| endpoint.starts_with("https://"));
        let tls = tls.or_else(|| https.then(EtcdTls::default));
        (problems.found().len() == before).then_some(EtcdSettings {
            endpoints,
            prefix,
            lease,
            user,
            tls,
            component,
        })
    }

    fn lease(&self, problems: &mut Problems) -> Duration {
        let bounds = Duration::from_secs(1)..=Duration::from_secs(3600);
        let lease = problems.duration_within("--etcd-lease", &self.etcd_lease, bounds);
        if lease.subsec_nanos() != 0 {
            let value = &self.etcd_lease;
            problems.push("--etcd-lease", format!("\"{value}\" is not a number of whole seconds"));
        }
        lease
    }

    fn prefix(&self, problems: &mut Problems) -> String {
        let prefix = self.etcd_prefix.trim_end_matches('/');
        if !prefix.starts_with('/') {
            let value = &self.etcd_prefix;
            problems.push("--etcd-prefix", format!("\"{value}\" is not a path like /pushcast"));
        }
        prefix.to_owned()
    }

    fn user(&self, problems: &mut Problems) -> Option<EtcdUser> {
        match (&self.etcd_user, &self.etcd_password_file) {
            (None, None) => None,
            (Some(_), None) => {
                problems.push("--etcd-user", "needs --etcd-password-file");
                None
            }
            (None, Some(_)) => {
                problems.push("--etcd-password-file", "needs --etcd-user");
                None
            }
            (Some(name), Some(path)) => {
                let password = problems.file("--etcd-password-file", path)?;
                let password = password.strip_suffix('\n').unwrap_or(&password);
                let password = password.strip_suffix('\r').unwrap_or(password);
                if password.is_empty() {
                    problems.push("--etcd-password-file", format!("\"{path}\" is empty"));
                }
                Some(EtcdUser { name: name.clone(), password: password.to_owned() })
            }
        }
    }

    fn tls(&self, problems: &mut Problems) -> Option<EtcdTls> {
        let mut pem = |flag, path: &Option<String>| {
            let path = path.as_ref()?;
            let text = problems.file(flag, path)?;
            if !text.contains("-----BEGIN ") {
                problems.push(flag, format!("\"{path}\" holds nothing in PEM form"));
            }
            Some(text)
        };
        let ca = pem("--etcd-ca", &self.etcd_ca);
        let cert = pem("--etcd-cert", &self.etcd_cert);
        let key = pem("--etcd-key", &self.etcd_key);
        match (&self.etcd_cert, &self.etcd_key) {
            (Some(_), None) => problems.push("--etcd-cert", "needs --etcd-key"),
            (None, Some(_)) => problems.push("--etcd-key", "needs --etcd-cert"),
            _ => {}
        }
        (ca.is_some() || cert.is_some()).then(|| EtcdTls { ca, identity: cert.zip(key) })
    }

    fn refuse_without_endpoints(&self, problems: &mut Problems) {
        let given = [
            ("--etcd-user", &self.etcd_user),
            ("--etcd-password-file", &self.etcd_password_file),
            ("--etcd-ca", &self.etcd_ca),
            ("--etcd-cert", &self.etcd_cert),
            ("--etcd-key", &self.etcd_key),
        ];
        for (flag, _) in given.iter().filter(|(_, value)| value.is_some()) {
            problems.push(flag, "has no effect without --etcd-endpoints");
        }
    }
}

/// Full URLs: what has no scheme gets `https` if TLS is on, else `http`.
fn check_endpoints(problems: &mut Problems, value: &str, tls: bool) -> Vec<String> {
    let flag = "--etcd-endpoints";
    let mut endpoints = Vec::new();
    for text in value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let (scheme, rest) = match text.split_once("://") {
            None => (if tls { "https" } else { "http" }, text),
            Some(("http", _)) if tls => {
                problems.push(
                    flag,
                    format!("\"{text}\" is not encrypted, but a --etcd-ca or --etcd-cert is given"),
                );
                continue;
            }
            Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
            Some((scheme, _)) => {
                problems.push(
                    flag,
                    format!("\"{text}\" begins with {scheme}://, only http:// and https:// are known"),
                );
                continue;
            }
        };
        if let Some(addr) = problems.addr(flag, rest.trim_end_matches('/')) {
            endpoints.push(format!("{scheme}://{addr}"));
        }
    }
    if endpoints.is_empty() && problems.found().iter().all(|problem| problem.flag != flag) {
        problems.push(flag, format!("\"{value}\" names no address (example: 127.0.0.1:2379)"));
    }
    endpoints
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn args(endpoints: &str) -> EtcdArgs {
        EtcdArgs {
            etcd_endpoints: Some(endpoints.to_owned()),
            etcd_prefix: "/pushcast".to_owned(),
            etcd_lease: "10s".to_owned(),
            ..EtcdArgs::default()
        }
    }

    fn good(args: &EtcdArgs) -> EtcdSettings {
        let mut problems = Problems::default();
        let settings = args.settings(&mut problems, "push_manager");
        assert!(problems.is_empty(), "{problems}");
        settings.unwrap()
    }

    fn refused(args: &EtcdArgs) -> String {
        let mut problems = Problems::default();
        assert!(args.settings(&mut problems, "push_manager").is_none());
        problems.to_string()
    }

    fn file(dir: &Path, name: &str, text: &str) -> Option<String> {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        Some(path.to_str().unwrap().to_owned())
    }

    #[test]
    fn endpoints_become_urls() {
        let settings = good(&args("a:2379, http://b:2379/,[::1]:2379,"));
        assert_eq!(settings.endpoints, ["http://a:2379", "http://b:2379", "http://[::1]:2379"]);
        assert!(settings.tls.is_none());
        assert_eq!((settings.prefix.as_str(), settings.lease), ("/pushcast", Duration::from_secs(10)));
    }

    #[test]
    fn https_or_a_ca_turns_tls_on() {
        assert!(good(&args("https://a:2379")).tls.is_some());
        let dir = tempfile::tempdir().unwrap();
        let etcd_ca = file(dir.path(), "ca.pem", "-----BEGIN CERTIFICATE-----\n");
        let settings = good(&EtcdArgs { etcd_ca: etcd_ca.clone(), ..args("a:2379") });
        assert_eq!(settings.endpoints, ["https://a:2379"]);
        assert!(settings.tls.unwrap().ca.is_some());
        let mixed = refused(&EtcdArgs { etcd_ca, ..args("http://a:2379") });
        assert!(mixed.contains("is not encrypted"), "{mixed}");
    }

    #[test]
    fn the_password_loses_its_line_end_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for (text, password) in [("pa ss \n", "pa ss "), ("pass\r\n", "pass"), ("pass", "pass")] {
            let etcd_password_file = file(dir.path(), "password", text);
            let user = Some("root".to_owned());
            let settings = good(&EtcdArgs { etcd_user: user, etcd_password_file, ..args("a:1") });
            assert_eq!(settings.user.unwrap().password, password);
        }
    }

    #[test]
    fn mistakes_are_told_all_at_once() {
        let text = refused(&EtcdArgs {
            etcd_prefix: "pushcast".to_owned(),
            etcd_lease: "1500ms".to_owned(),
            etcd_user: Some("root".to_owned()),
            etcd_cert: Some("/no/such/cert".to_owned()),
            ..args("foo,ftp://a:1")
        });
        for want in [
            "--etcd-prefix: \"pushcast\" is not a path like /pushcast",
            "--etcd-lease: \"1500ms\" is not a number of whole seconds",
            "--etcd-user: needs --etcd-password-file",
            "--etcd-cert: cannot read \"/no/such/cert\"",
            "--etcd-cert: needs --etcd-key",
            "--etcd-endpoints: \"foo\" is not host:port",
            "--etcd-endpoints: \"ftp://a:1\" begins with ftp://",
        ] {
            assert!(text.contains(want), "{want} is missing in:\n{text}");
        }
        assert!(refused(&args(" , ")).contains("names no address"));
        assert!(
            refused(&EtcdArgs { etcd_lease: "500ms".to_owned(), ..args("a:1") }).contains("--etcd-lease")
        );
    }

    #[test]
    fn without_endpoints_there_is_no_etcd() {
        let mut none = args("");
        none.etcd_endpoints = None;
        assert_eq!(refused(&none), "");
        none.etcd_user = Some("root".to_owned());
        assert!(refused(&none).contains("--etcd-user: has no effect without --etcd-endpoints"));
    }

    #[test]
    fn debug_output_keeps_the_secrets() {
        let user = EtcdUser { name: "root".to_owned(), password: "hush".to_owned() };
        let tls = EtcdTls { ca: None, identity: Some(("cert".to_owned(), "hush".to_owned())) };
        assert!(!format!("{user:?} {tls:?}").contains("hush"));
    }
}
