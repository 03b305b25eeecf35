//! The `--fleet-*` flags of both binaries.

use std::path::PathBuf;

use rustls::pki_types::{DnsName, ServerName};

use super::{
    BadFile, FleetAuth, Role, Source, key,
    mtls::{self, Files},
};
use crate::settings::{OPEN, Problems};

/// How managers and nodes know each other; flatten it into the binary's own struct.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct FleetArgs {
    /// How managers and nodes prove themselves to each other, the same in all of a fleet; has no default: "key" by
    /// --fleet-key-file, "mtls" by certificates, both encrypted; "none" lets everybody in
    #[arg(long, value_name = "key|mtls|none")]
    pub fleet_auth: Option<String>,
    /// The fleet's keys for --fleet-auth key: one in base64 per line, 32 bytes or more each; the first is shown, all are
    /// accepted. Read again when it changes
    #[arg(long, value_name = "FILE")]
    pub fleet_key_file: Option<String>,
    /// Certificates (PEM) of the authority whose certificates are of the fleet, for --fleet-auth mtls. Read again when
    /// it changes, as the next two
    #[arg(long, value_name = "FILE")]
    pub fleet_ca_file: Option<String>,
    /// This process's certificate (PEM) for --fleet-auth mtls
    #[arg(long, value_name = "FILE")]
    pub fleet_cert_file: Option<String>,
    /// Private key (PEM) of --fleet-cert-file
    #[arg(long, value_name = "FILE")]
    pub fleet_private_key_file: Option<String>,
    /// DNS name that certificates of the other side must have, for --fleet-auth mtls [default: push-manager for
    /// managers, connect-node for nodes]
    #[arg(long, value_name = "NAME")]
    pub fleet_peer_name: Option<String>,
}

impl FleetArgs {
    /// The checked settings of a process of this role. With problems recorded it is only fit for going on checking.
    pub fn settings(&self, problems: &mut Problems, role: Role) -> FleetAuth {
        let how = problems.how("--fleet-auth", self.fleet_auth.as_deref(), &["key", "mtls", OPEN]);
        let how = how.as_deref();
        self.refuse_flags_of_another_way(problems, how);
        let source = match how {
            Some("key") => self.key(problems, role),
            Some("mtls") => self.mtls(problems, role),
            _ => None,
        };
        let Some(source) = source else { return FleetAuth::default() };
        FleetAuth::new(source).unwrap_or_else(|BadFile { flag, message }| {
            problems.push(flag, message);
            FleetAuth::default()
        })
    }

    fn refuse_flags_of_another_way(&self, problems: &mut Problems, how: Option<&str>) {
        for (flag, way, given) in [
            (key::FLAG, "key", &self.fleet_key_file),
            (mtls::CA, "mtls", &self.fleet_ca_file),
            (mtls::CERT, "mtls", &self.fleet_cert_file),
            (mtls::PRIVATE_KEY, "mtls", &self.fleet_private_key_file),
            (mtls::PEER, "mtls", &self.fleet_peer_name),
        ] {
            if given.is_some() && how.is_some_and(|how| how != way) {
                problems.push(flag, format!("is of use only with --fleet-auth {way}"));
            }
        }
    }

    fn key(&self, problems: &mut Problems, role: Role) -> Option<Source> {
        let file = needed(problems, "key", key::FLAG, self.fleet_key_file.as_deref())?;
        Some(Source::Key { role, file })
    }

    fn mtls(&self, problems: &mut Problems, role: Role) -> Option<Source> {
        let mut file = |flag, given: &Option<String>| needed(problems, "mtls", flag, given.as_deref());
        let ca = file(mtls::CA, &self.fleet_ca_file);
        let cert = file(mtls::CERT, &self.fleet_cert_file);
        let private_key = file(mtls::PRIVATE_KEY, &self.fleet_private_key_file);
        let name = self.fleet_peer_name.clone().unwrap_or_else(|| role.other().name().to_owned());
        let Ok(peer) = DnsName::try_from(name.clone()) else {
            problems.push(mtls::PEER, format!("\"{name}\" is not a DNS name"));
            return None;
        };
        let peer = ServerName::DnsName(peer);
        let files = Files { ca: ca?, cert: cert?, private_key: private_key?, peer };
        Some(Source::Mtls { role, files })
    }
}

fn needed(problems: &mut Problems, way: &str, flag: &str, given: Option<&str>) -> Option<PathBuf> {
    if given.is_none() {
        problems.push(flag, format!("must be given with --fleet-auth {way}"));
    }
    given.map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(args: &FleetArgs) -> String {
        let mut problems = Problems::default();
        args.settings(&mut problems, Role::Manager);
        problems.to_string()
    }

    fn way(how: &str) -> FleetArgs {
        FleetArgs { fleet_auth: Some(how.to_owned()), ..FleetArgs::default() }
    }

    #[test]
    fn every_way_needs_its_own_flags_and_no_others() {
        assert_eq!(refused(&way("none")), "");
        assert!(refused(&FleetArgs::default()).contains("choose one of: key, mtls, none"));
        assert_eq!(refused(&way("key")), "--fleet-key-file: must be given with --fleet-auth key");
        let text = refused(&way("mtls"));
        for flag in ["--fleet-ca-file", "--fleet-cert-file", "--fleet-private-key-file"] {
            assert!(text.contains(&format!("{flag}: must be given with --fleet-auth mtls")), "{text}");
        }
        let mixed = FleetArgs { fleet_ca_file: Some("a".to_owned()), ..way("none") };
        assert_eq!(refused(&mixed), "--fleet-ca-file: is of use only with --fleet-auth mtls");
    }

    #[test]
    fn files_that_cannot_be_used_are_named_with_their_flag() {
        let missing = Some("/no/such/file".to_owned());
        let text = refused(&FleetArgs { fleet_key_file: missing.clone(), ..way("key") });
        assert!(text.starts_with("--fleet-key-file: cannot read \"/no/such/file\""), "{text}");
        let text = refused(&FleetArgs {
            fleet_ca_file: missing.clone(),
            fleet_cert_file: missing.clone(),
            fleet_private_key_file: missing,
            fleet_peer_name: Some("no name".to_owned()),
            ..way("mtls")
        });
        assert!(text.contains("--fleet-peer-name: \"no name\" is not a DNS name"), "{text}");
    }
}
