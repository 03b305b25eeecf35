//! What the fleet's processes use: their own `/metrics`, before and after.

use std::{io, sync::Arc, time::Duration};

use anyhow::anyhow;
use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use pushctl::{address::Address, figures::Sample};
use rustls::ClientConfig;
use tokio::time::timeout;

use super::super::{
    failures::{WHICH_CERTIFICATE, is_of_tls},
    output::{Misuse, with_tip},
};

/// A process under full load still answers within this.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Some ten times what a process of a large fleet exports.
const BODY_LIMIT: usize = 4 << 20;

const CPU: &str = "process_cpu_seconds_total";
const MEMORY: &str = "process_resident_memory_bytes";
const DELIVERIES: &str = "connect_node_delivered_messages_total";
const CONTENT: &str = "connect_node_delivered_bytes_total";
const OPENED: &str = "connect_node_opened_total";
const CONNECTIONS: &str = "connect_node_connections";

/// The processes whose metrics are read.
#[derive(Debug)]
pub(super) struct Servers {
    addresses: Vec<Address>,
    tls: Option<Arc<ClientConfig>>,
}

/// What one process said at one time; what it does not export is none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Reading {
    /// Processor time since its start, seconds.
    pub(super) cpu: Option<f64>,
    /// Resident memory, bytes.
    pub(super) memory: Option<f64>,
    /// Messages placed in connections; none if it holds none.
    pub(super) deliveries: Option<f64>,
    /// Bytes of their content.
    pub(super) content: Option<f64>,
    /// Connections accepted since its start.
    pub(super) opened: Option<f64>,
    /// Connections it holds.
    pub(super) connections: Option<f64>,
    /// Whether it is a push-manager.
    pub(super) is_manager: bool,
}

/// All processes at one time, in the order given; none where one did not answer.
pub(super) type Look = Vec<Option<Reading>>;

impl Servers {
    /// The processes at these HTTP addresses, with what connections to those begin with that speak TLS.
    pub(super) fn new(addresses: &[String], tls: Option<Arc<ClientConfig>>) -> Result<Self, Misuse> {
        let mut parsed: Vec<Address> = Vec::with_capacity(addresses.len());
        for address in addresses {
            let bad = |reason: &str| {
                Misuse(format!("--scrape {address}: not an HTTP address ({reason}); give one like host:9001"))
            };
            let rest = address.trim_end_matches('/').trim_end_matches("/metrics");
            let address = Address::parse(rest).map_err(|reason| bad(&reason))?;
            if parsed.contains(&address) {
                return Err(bad("it is given twice, and would count twice"));
            }
            parsed.push(address);
        }
        Ok(Self { addresses: parsed, tls })
    }

    /// `host:port` of each, in the order given.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        self.addresses.iter().map(Address::as_str)
    }

    /// Asks all of them; one that does not answer, or not as it should, is an error.
    pub(super) async fn first_look(&self) -> anyhow::Result<Look> {
        let answers = join_all(self.addresses.iter().map(|address| self.read(address))).await;
        answers.into_iter().map(|answer| answer.map(Some)).collect()
    }

    /// Asks all of them again.
    pub(super) async fn look(&self) -> Look {
        join_all(self.addresses.iter().map(async |address| self.read(address).await.ok())).await
    }

    async fn read(&self, address: &Address) -> anyhow::Result<Reading> {
        match timeout(TIMEOUT, get(address, self.tls.as_ref())).await {
            Ok(text) => Ok(reading(&Sample::parse(&text?))),
            Err(_elapsed) => {
                let (address, seconds) = (address.as_str(), TIMEOUT.as_secs());
                Err(anyhow!("--scrape {address}: no answer within {seconds} s"))
            }
        }
    }
}

fn reading(sample: &Sample) -> Reading {
    let value = |name: &str| sample.sum(name, &[]);
    Reading {
        cpu: value(CPU),
        memory: value(MEMORY),
        deliveries: value(DELIVERIES),
        content: value(CONTENT),
        opened: value(OPENED),
        connections: value(CONNECTIONS),
        is_manager: value("push_manager_build_info").is_some(),
    }
}

async fn get(at: &Address, tls: Option<&Arc<ClientConfig>>) -> anyhow::Result<String> {
    let address = at.as_str();
    let which = "what is wanted are HTTP ports: a push-manager's is 9001, a connect-node's 8002 by default";
    let socket = at.connect(tls, b"http/1.1").await.map_err(|error| {
        if is_of_tls(&error) {
            let error = anyhow!("--scrape {address}: no TLS connection ({error})");
            return with_tip(error, WHICH_CERTIFICATE);
        }
        let error = if error.kind() == io::ErrorKind::ConnectionRefused {
            anyhow!("--scrape {address}: nothing listens there")
        } else {
            anyhow!("--scrape {address}: cannot connect ({error})")
        };
        with_tip(error, which)
    })?;
    let no_metrics = |reason: String| with_tip(anyhow!("--scrape {address}: no metrics ({reason})"), which);
    let (mut sender, connection) =
        handshake(TokioIo::new(socket)).await.map_err(|error| no_metrics(error.to_string()))?;
    let request =
        http::Request::get("/metrics").header(http::header::HOST, address).body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| no_metrics(error.to_string()))?;
        if !response.status().is_success() {
            return Err(no_metrics(format!("GET /metrics is answered {}", response.status())));
        }
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await;
        let body = body.map_err(|error| no_metrics(error.to_string()))?.to_bytes();
        Ok(String::from_utf8_lossy(&body).into_owned())
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        answered = &mut answer => answered,
        // It may end right after the answer.
        _ended = &mut connection => answer.await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_given_once_and_has_a_port() {
        let of = |addresses: &[&str]| {
            Servers::new(&addresses.iter().map(|&a| a.to_owned()).collect::<Vec<_>>(), None)
        };
        let servers = of(&["h:9001", "http://h:8002/metrics", "[::1]:1"]).unwrap();
        assert_eq!(servers.addresses().collect::<Vec<_>>(), ["h:9001", "h:8002", "[::1]:1"]);
        for (bad, part) in [
            (&["h"][..], "port is missing"),
            (&["not an address"], "no host"),
            (&["h:1", "http://h:1"], "twice"),
        ] {
            assert!(of(bad).unwrap_err().to_string().contains(part), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_exported_is_not_nothing() {
        let node = "process_cpu_seconds_total 1.5\nconnect_node_delivered_messages_total 0\n";
        let expected = Reading { cpu: Some(1.5), deliveries: Some(0.0), ..Reading::default() };
        assert_eq!(reading(&Sample::parse(node)), expected);
        let manager = "push_manager_build_info{version=\"0.1.0\"} 1\nprocess_resident_memory_bytes 4096\n";
        let expected = Reading { memory: Some(4096.0), is_manager: true, ..Reading::default() };
        assert_eq!(reading(&Sample::parse(manager)), expected);
    }
}
