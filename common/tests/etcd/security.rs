//! etcd that asks who we are.

use std::{fs, path::Path, time::Duration};

use etcd_client::{Client, ConnectOptions, Permission};
use pushcast_common::registry::{EtcdTls, EtcdUser, Kind, Registry, Source};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::time::timeout;

use crate::{metric, record, server::Etcd, settings, until_ids};

async fn turn_on_passwords(etcd: &Etcd) {
    let mut client = etcd.client().await;
    client.role_add("fleet").await.unwrap();
    let ours = Permission::read_write("/pushcast/").with_prefix();
    client.role_grant_permission("fleet", ours).await.unwrap();
    client.user_add("fleet", "secret", None).await.unwrap();
    client.user_grant_role("fleet", "fleet").await.unwrap();
    client.role_add("root").await.unwrap();
    client.user_add("root", "rootpw", None).await.unwrap();
    client.user_grant_role("root", "root").await.unwrap();
    client.auth_enable().await.unwrap();
}

fn registry_as(etcd: &Etcd, password: &str, component: &'static str) -> Registry {
    let mut settings = settings(&[etcd.url()], component);
    settings.user = Some(EtcdUser { name: "fleet".to_owned(), password: password.to_owned() });
    Registry::etcd(settings)
}

#[tokio::test]
async fn a_password_is_given_again_after_a_restart() {
    let mut etcd = Etcd::start().await;
    turn_on_passwords(&etcd).await;
    let registry = registry_as(&etcd, "secret", "secure_password");
    let first = registry.register(Kind::Node, record("n1", "i1")).await.unwrap();
    until_ids(&registry, &["n1"]).await;
    // etcd's tokens do not outlive it.
    etcd.stop();
    etcd.run().await;
    let second = registry.register(Kind::Node, record("n2", "i2")).await.unwrap();
    until_ids(&registry, &["n1", "n2"]).await;
    first.revoke().await;
    second.revoke().await;
    until_ids(&registry, &[]).await;
    registry.close().await;
}

#[tokio::test]
async fn a_wrong_password_is_tried_on_until_it_is_right() {
    let etcd = Etcd::start().await;
    turn_on_passwords(&etcd).await;
    let registry = registry_as(&etcd, "changed", "secure_wrong");
    let nodes = registry.watch(Kind::Node);
    let register = registry.register(Kind::Node, record("n1", "i1"));
    tokio::pin!(register);
    assert!(timeout(Duration::from_secs(2), &mut register).await.is_err());
    assert_eq!(nodes.borrow().source, Source::Unknown);
    assert_eq!(metric("secure_wrong_registry_connected"), Some(0.0));
    let root = ConnectOptions::new().with_user("root", "rootpw");
    let mut client = Client::connect([etcd.url()], Some(root)).await.unwrap();
    client.user_change_password("fleet", "changed").await.unwrap();
    let registration = register.await.unwrap();
    until_ids(&registry, &["n1"]).await;
    registration.revoke().await;
    registry.close().await;
}

struct Certificates {
    ca: String,
    client: (String, String),
    arguments: Vec<String>,
}

/// A CA, a certificate for etcd on 127.0.0.1 and one for us.
fn certificates(dir: &Path) -> Certificates {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let sign = |name: &str, usages: &[ExtendedKeyUsagePurpose]| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = usages.to_vec();
        (params.signed_by(&key, &ca).unwrap().pem(), key.serialize_pem())
    };
    // etcd dials itself with its own certificate, so that one is for both sides.
    let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let server = sign("127.0.0.1", &both);
    let client = sign("connect-node", &[ExtendedKeyUsagePurpose::ClientAuth]);
    let write = |name: &str, pem: &str| {
        let path = dir.join(name);
        fs::write(&path, pem).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let arguments = vec![
        "--client-cert-auth".to_owned(),
        format!("--trusted-ca-file={}", write("ca.pem", &ca.pem())),
        format!("--cert-file={}", write("server.pem", &server.0)),
        format!("--key-file={}", write("server.key", &server.1)),
    ];
    Certificates { ca: ca.pem(), client, arguments }
}

#[tokio::test]
async fn tls_checks_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let ours = certificates(dir.path());
    let mut etcd = Etcd::stopped("https", &ours.arguments);
    etcd.run().await;
    let with = |ca: &str, identity: Option<(String, String)>, component| {
        let mut settings = settings(&[etcd.url()], component);
        settings.tls = Some(EtcdTls { ca: Some(ca.to_owned()), identity });
        Registry::etcd(settings)
    };
    let registry = with(&ours.ca, Some(ours.client.clone()), "secure_tls");
    let registration = registry.register(Kind::Node, record("n1", "i1")).await.unwrap();
    until_ids(&registry, &["n1"]).await;

    // etcd reads its files again at every handshake, so these must not be in the same place.
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = certificates(elsewhere.path());
    for other in [
        with(&ours.ca, None, "secure_tls_anonymous"),
        with(&ours.ca, Some(stranger.client.clone()), "secure_tls_stranger"),
        with(&stranger.ca, Some(ours.client.clone()), "secure_tls_other_ca"),
    ] {
        let register = other.register(Kind::Node, record("n2", "i2"));
        assert!(timeout(Duration::from_millis(1500), register).await.is_err());
        assert_eq!(other.watch(Kind::Node).borrow().source, Source::Unknown);
        other.close().await;
    }
    registration.revoke().await;
    until_ids(&registry, &[]).await;
    registry.close().await;
}
