//! The gRPC server: pushes, health, reflection.

use std::{convert::Infallible, sync::Arc, time::Duration};

use futures::stream;
use pushcast_common::tls::{accept::Tls, incoming::Incoming};
use pushcast_proto::{
    FILE_DESCRIPTOR_SET, pushmanager::v1::push_manager_service_server::PushManagerServiceServer,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{api_auth::door::Door, push_service::PushService};

/// A request of a stream may hold many items. A single push that is too big is refused by its fields, with
/// a clear message, as long as it fits this.
const MAX_REQUEST: usize = 16 << 20;

/// As on links: several requests of a busy stream fit.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const MAX_FRAME: u32 = 1 << 20;

/// Callers that vanished without a word are noticed.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);

/// After this a caller is asked to connect anew, and to prove itself again: a certificate may have expired meanwhile, or its
/// authority be another one. It also spreads callers over managers that came later. Streams that are open go on.
const MAX_AGE: Duration = Duration::from_secs(3600);

const SERVICE: &str = "pushmanager.v1.PushManagerService";

/// Says over gRPC whether the manager takes pushes.
#[derive(Clone, Debug)]
pub(crate) struct Health(HealthReporter);

impl Health {
    pub(crate) async fn set(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", SERVICE] {
            self.0.set_service_status(service, status).await;
        }
    }
}

/// The server, and the switch of its health service, which starts as not serving.
pub(crate) async fn build(
    listener: TcpListener,
    tls: Option<Tls>,
    service: PushService,
    stop: CancellationToken,
) -> Result<(Health, impl Future<Output = Result<(), tonic::transport::Error>>), ReflectionError> {
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let health = Health(reporter);
    health.set(false).await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            // Only what this server serves is listed.
            .with_service_name(SERVICE)
            .with_service_name("grpc.health.v1.Health")
            .with_service_name("grpc.reflection.v1.ServerReflection")
    };
    let service = Arc::new(service);
    let pushes =
        PushManagerServiceServer::from_arc(Arc::clone(&service)).max_decoding_message_size(MAX_REQUEST);
    // Health and reflection are open to everybody: probes and tools have neither keys nor certificates.
    let server = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(MAX_FRAME)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .max_connection_age(MAX_AGE)
        .add_service(Door::new(pushes, service))
        .add_service(health_service)
        .add_service(reflection().build_v1().map_err(ReflectionError)?)
        .add_service(reflection().build_v1alpha().map_err(ReflectionError)?);
    let incoming = stream::unfold(Incoming::new(listener, tls), async |mut incoming| {
        let accepted = incoming.next().await;
        Some((Ok::<_, Infallible>(accepted), incoming))
    });
    let serving = server.serve_with_incoming_shutdown(incoming, async move { stop.cancelled().await });
    Ok((health, serving))
}

/// The descriptors of our own protos cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("gRPC reflection: {0}")]
pub(crate) struct ReflectionError(tonic_reflection::server::Error);
