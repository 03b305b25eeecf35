//! The flags of who may call, and of what the listeners for callers show.

use pushcast_common::{
    settings::{OPEN, Problems},
    tls::{ClientCa, ServerTls, TlsArgs},
};

use super::{file::ApiKeys, proof::Way};

const KEYS_FILE: &str = "--api-keys-file";
const CLIENT_CA: &str = "--api-client-ca-file";

/// Flattened into the manager's own.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ApiArgs {
    /// Who may push; there is no default: "keys" lets those of --api-keys-file who send their key, "mtls" those of it
    /// who show their certificate, "none" everybody
    #[arg(long, value_name = "keys|mtls|none")]
    pub(crate) api_auth: Option<String>,
    /// The callers of --api-auth keys or mtls, one in each line (see below); changes hold within two seconds
    #[arg(long, value_name = "FILE")]
    api_keys_file: Option<String>,
    /// Certificates (PEM) of the authority of callers' certificates, for --api-auth mtls, which also needs
    /// --tls-cert-file. Read again when it changes
    #[arg(long, value_name = "FILE")]
    api_client_ca_file: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// What the flags say.
#[derive(Debug)]
pub(crate) struct ApiSettings {
    pub(crate) keys: Option<ApiKeys>,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) client_ca: Option<ClientCa>,
}

impl ApiArgs {
    /// The checked settings. With problems recorded they are only fit for going on checking: files are read also where
    /// they are not asked for, so that all mistakes are told.
    pub(crate) fn settings(&self, problems: &mut Problems) -> ApiSettings {
        let how = problems.how("--api-auth", self.api_auth.as_deref(), &["keys", "mtls", OPEN]);
        let how = how.as_deref();
        self.check_together(problems, how);
        let way = if how == Some("mtls") { Way::Mtls } else { Way::Keys };
        let keys = self.api_keys_file.as_deref().and_then(|file| {
            let told =
                |mistakes: Vec<String>| mistakes.into_iter().for_each(|what| problems.push(KEYS_FILE, what));
            ApiKeys::read(file, way).map_err(told).ok()
        });
        let client_ca = self
            .api_client_ca_file
            .as_deref()
            .and_then(|file| ClientCa::read(file.into()).map_err(|what| problems.push(CLIENT_CA, what)).ok());
        ApiSettings { keys, client_ca, tls: self.tls.settings(problems, "push_manager") }
    }

    fn check_together(&self, problems: &mut Problems, how: Option<&str>) {
        match (how, &self.api_keys_file) {
            (Some(way @ ("keys" | "mtls")), None) => {
                problems.push(KEYS_FILE, format!("must be given with --api-auth {way}"));
            }
            (Some(OPEN), Some(_)) => problems.push(KEYS_FILE, "has no effect with --api-auth none"),
            _ => {}
        }
        match (how, &self.api_client_ca_file) {
            (Some("mtls"), None) => problems.push(CLIENT_CA, "must be given with --api-auth mtls"),
            (Some("keys" | OPEN), Some(_)) => problems.push(CLIENT_CA, "is of use only with --api-auth mtls"),
            _ => {}
        }
        if how == Some("mtls") && self.tls.tls_cert_file.is_none() && self.tls.tls_key_file.is_none() {
            problems.push("--tls-cert-file", "must be given with --api-auth mtls: certificates are of TLS");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_needs_its_own_flags_and_no_others() {
        let refused = |how: &str, ca: Option<&str>| {
            let args = ApiArgs {
                api_auth: Some(how.to_owned()),
                api_client_ca_file: ca.map(str::to_owned),
                ..ApiArgs::default()
            };
            let mut problems = Problems::default();
            args.settings(&mut problems);
            problems.to_string()
        };
        assert_eq!(refused("none", None), "");
        assert_eq!(refused("keys", None), "--api-keys-file: must be given with --api-auth keys");
        let text = refused("mtls", None);
        for flag in ["--api-keys-file", "--api-client-ca-file", "--tls-cert-file"] {
            assert!(text.contains(&format!("{flag}: must be given with --api-auth mtls")), "{text}");
        }
        let text = refused("keys", Some("/no/such/file"));
        assert!(text.contains("--api-client-ca-file: is of use only with --api-auth mtls"), "{text}");
        assert!(text.contains("cannot read \"/no/such/file\""), "{text}");
    }
}
