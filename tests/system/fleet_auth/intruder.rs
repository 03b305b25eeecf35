//! Those who stand between a manager and a node.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// Ends what it holds when it is dropped.
#[derive(Debug)]
struct Ends(JoinHandle<()>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Speaks TLS with whoever comes, with a certificate of its own, and would pass on what it hears.
#[derive(Debug)]
pub(super) struct Intruder {
    pub(super) addr: String,
    attempts: Arc<AtomicUsize>,
    heard: Arc<AtomicUsize>,
    _task: Ends,
}

impl Intruder {
    pub(super) async fn start(node: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let names = vec!["connect-node".to_owned()];
        let cert = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let (attempts, heard) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&attempts), Arc::clone(&heard));
        let node = node.to_owned();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counts.0.fetch_add(1, Ordering::Relaxed);
                let Ok(mut stream) = acceptor.accept(socket).await else { continue };
                let mut bytes = [0; 4096];
                // Whatever came would go on to the node.
                let Ok(mut onward) = TcpStream::connect(&node).await else { continue };
                while let Ok(n @ 1..) = stream.read(&mut bytes).await {
                    counts.1.fetch_add(n, Ordering::Relaxed);
                    if onward.write_all(&bytes[..n]).await.is_err() {
                        break;
                    }
                }
            }
        });
        Self { addr, attempts, heard, _task: Ends(task) }
    }

    /// Connections that it took.
    pub(super) fn attempts(&self) -> usize {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Bytes that it could read.
    pub(super) fn heard(&self) -> usize {
        self.heard.load(Ordering::Relaxed)
    }
}

/// Passes everything on, and keeps it.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) addr: String,
    heard: Arc<Mutex<Vec<u8>>>,
    _task: Ends,
}

impl Tap {
    pub(super) async fn start(node: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let (keep, node) = (Arc::clone(&heard), node.to_owned());
        let task = tokio::spawn(async move {
            let mut lines = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (keep, node) = (Arc::clone(&keep), node.clone());
                lines.spawn(async move {
                    let Ok(far) = TcpStream::connect(&node).await else { return };
                    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) =
                        (near.into_split(), far.into_split());
                    let back = tokio::io::copy(&mut far_in, &mut near_out);
                    let there = async {
                        let mut bytes = [0; 4096];
                        while let Ok(n @ 1..) = near_in.read(&mut bytes).await {
                            keep.lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .extend_from_slice(&bytes[..n]);
                            if far_out.write_all(&bytes[..n]).await.is_err() {
                                break;
                            }
                        }
                    };
                    tokio::select! {
                        _ = back => {}
                        () = there => {}
                    }
                });
            }
        });
        Self { addr, heard, _task: Ends(task) }
    }

    /// Whether this went by in clear.
    pub(super) fn heard(&self, what: &[u8]) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(heard.len() > what.len(), "nothing went by");
        heard.windows(what.len()).any(|window| window == what)
    }
}
