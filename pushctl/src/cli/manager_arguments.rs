//! Which push-manager is meant, who calls it, and what TLS with it begins with.

use std::{env, fs, path::PathBuf, sync::Arc};

use clap::Args;
use pushcast_common::tls::{self, identity};
use pushctl::{api_key::ApiKey, push::PushClient};
use rustls::ClientConfig;

use super::output::Misuse;

/// A key's own variable: a flag would show it to everybody on the machine.
const KEY_VARIABLE: &str = "PUSHCTL_API_KEY";

#[derive(Debug, Args)]
pub(super) struct ManagerArguments {
    /// The push-manager's gRPC address.
    #[arg(
        long,
        env = "PUSHCTL_MANAGER",
        hide_env_values = true,
        value_name = "ADDRESS",
        default_value = "http://127.0.0.1:9000",
        global = true
    )]
    pub(super) manager: String,
    #[command(flatten)]
    pub(super) key: ApiKeyArguments,
    #[command(flatten)]
    pub(super) tls: TlsArguments,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl ManagerArguments {
    /// A client of this manager, with the caller's key and certificate.
    pub(super) fn client(&self) -> anyhow::Result<PushClient> {
        self.client_with(self.tls.read(&[&self.manager])?)
    }

    /// The same, with what was read of the TLS arguments.
    pub(super) fn client_with(&self, tls: Option<Arc<ClientConfig>>) -> anyhow::Result<PushClient> {
        let client = match tls {
            Some(tls) => PushClient::with_tls(&self.manager, tls),
            None => PushClient::new(&self.manager),
        };
        let client = client.map_err(|error| Misuse(error.to_string()))?;
        Ok(match self.key.read()? {
            Some(key) => client.with_key(key),
            None => client,
        })
    }
}

/// Who calls, for managers that want to know.
#[derive(Debug, Args)]
pub(super) struct ApiKeyArguments {
    /// File with the key that the manager asks for; the variable PUSHCTL_API_KEY may hold the key itself.
    #[arg(long, value_name = "FILE", global = true)]
    pub(super) api_key_file: Option<PathBuf>,
}

impl ApiKeyArguments {
    /// The file's key, or the variable's; none if neither is given.
    pub(super) fn read(&self) -> anyhow::Result<Option<ApiKey>> {
        if let Some(path) = &self.api_key_file {
            let name = path.display();
            let text = fs::read_to_string(path)
                .map_err(|error| Misuse(format!("--api-key-file: cannot read {name}: {error}")))?;
            let key =
                text.parse::<ApiKey>().map_err(|error| Misuse(format!("--api-key-file: {name}: {error}")))?;
            return Ok(Some(key));
        }
        let Some(value) = env::var_os(KEY_VARIABLE).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let key = value.to_string_lossy().parse::<ApiKey>();
        Ok(Some(key.map_err(|error| Misuse(format!("{KEY_VARIABLE}: {error}")))?))
    }
}

/// For managers whose addresses begin with https://.
#[derive(Debug, Args)]
pub(super) struct TlsArguments {
    /// File with the certificates (PEM) that an https:// manager's is checked against; this machine's if left out.
    #[arg(long, value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
    /// File with the certificate (PEM) to show to a manager that asks for one, of the authority that it knows; needs --private-key-file.
    #[arg(long, value_name = "FILE", global = true)]
    cert_file: Option<PathBuf>,
    /// File with the private key (PEM) of --cert-file.
    #[arg(long, value_name = "FILE", global = true)]
    private_key_file: Option<PathBuf>,
}

impl TlsArguments {
    /// What connections to these addresses begin with; none if TLS is spoken at none of them.
    pub(super) fn read(&self, addresses: &[&str]) -> anyhow::Result<Option<Arc<ClientConfig>>> {
        let Self { ca_file, cert_file, private_key_file } = self;
        if !addresses.iter().any(|address| address.starts_with("https://")) {
            let given = [
                ("--ca-file", ca_file),
                ("--cert-file", cert_file),
                ("--private-key-file", private_key_file),
            ];
            return match given.into_iter().find(|(_, file)| file.is_some()) {
                Some((flag, _)) => {
                    Err(Misuse(format!("{flag}: has no effect without an https:// address")).into())
                }
                None => Ok(None),
            };
        }
        let own = match (cert_file, private_key_file) {
            (Some(cert), Some(key)) => Some(identity::read(cert, key).map_err(|bad| {
                let flag = if bad.in_key_file { "--private-key-file" } else { "--cert-file" };
                Misuse(format!("{flag}: {bad}"))
            })?),
            (None, None) => None,
            (Some(_), None) => return Err(Misuse("--cert-file: needs --private-key-file".to_owned()).into()),
            (None, Some(_)) => return Err(Misuse("--private-key-file: needs --cert-file".to_owned()).into()),
        };
        let config = tls::client::trusting(ca_file.as_deref(), own);
        Ok(Some(Arc::new(config.map_err(|error| Misuse(format!("--ca-file: {error}")))?)))
    }
}
