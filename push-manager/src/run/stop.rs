//! How a manager stops.

use std::time::Duration;

use pushcast_common::registry::State;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

use super::{Manager, RunError, grpc_failure};
use crate::hub::Gate;

/// Callers that are told to connect elsewhere have this long to hear of it while their calls are still taken: several
/// round trips of any network that a fleet is in.
const HEARD_WITHIN: Duration = Duration::from_millis(500);

/// At the end, linked nodes have this long to acknowledge everything …
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

/// … and nodes without a link this long to come back for what they lack.
const COME_BACK_WITHIN: Duration = Duration::from_secs(3);

/// Links have this long to end after Close.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// Callers' connections have this long to end.
const SERVERS_WITHIN: Duration = Duration::from_secs(2);

impl Manager {
    /// Says that it is about to stop and takes pushes for `delay` longer: whatever sends callers here (a load balancer, the
    /// endpoints of a Service, a resolver) hears of it late. Then those that are connected over gRPC are told to connect
    /// elsewhere, and their calls are still taken for a moment. If a part fails meanwhile it fails, as while it serves.
    pub(super) async fn step_aside(&mut self, delay: Duration) -> Result<(), RunError> {
        if delay.is_zero() || self.hub.gate() != Gate::Open {
            return Ok(());
        }
        info!(?delay, "Stopping soon: pushes are taken for a while longer.");
        self.hub.set_gate(Gate::Leaving);
        self.state.send_replace(State::Draining);
        self.health.set(false).await;
        self.go_on(sleep(delay)).await?;
        self.stops.calls.cancel();
        self.go_on(sleep(HEARD_WITHIN)).await
    }

    /// Takes no more pushes, and ends when all that were taken are acknowledged, or patience is over.
    pub(super) async fn stop(&mut self) -> Result<(), RunError> {
        info!("Stopping: no more pushes are taken.");
        self.hub.set_gate(Gate::Draining);
        self.state.send_replace(State::Draining);
        self.health.set(false).await;
        self.settle().await;
        self.close_links().await?;
        self.stops.membership.cancel();
        (&mut self.membership).await??;
        self.stop_servers().await
    }

    /// Waits until every node has acknowledged everything, within bounds.
    async fn settle(&self) {
        let begun = Instant::now();
        let (give_up, lonely) = (begun + SETTLE_WITHIN, begun + COME_BACK_WITHIN);
        loop {
            let (linked, others) = self.hub.unsettled();
            let bound = if linked > 0 { give_up } else { lonely };
            if linked + others == 0 {
                return;
            }
            if Instant::now() >= bound {
                warn!(
                    linked,
                    without_link = others,
                    "Stopping before every node has acknowledged everything."
                );
                return;
            }
            tokio::select! {
                () = self.hub.progress() => {}
                () = sleep_until(bound) => {}
            }
        }
    }

    async fn close_links(&mut self) -> Result<(), RunError> {
        self.stops.fleet.cancel();
        self.hub.close_links();
        let begun = Instant::now();
        while !self.fleet.is_finished() && self.hub.n_linked() > 0 && begun.elapsed() < CLOSE_WITHIN {
            tokio::select! {
                () = self.hub.progress() => {}
                () = sleep_until(begun + CLOSE_WITHIN) => {}
            }
        }
        self.stops.links.cancel();
        Ok((&mut self.fleet).await?)
    }

    async fn stop_servers(&mut self) -> Result<(), RunError> {
        self.stops.calls.cancel();
        self.stops.http.cancel();
        match timeout(SERVERS_WITHIN, &mut self.grpc).await {
            Ok(Ok(Ok(()))) => {}
            Ok(ended) => return Err(grpc_failure(ended)),
            // A caller that keeps a stream open does not keep the manager.
            Err(_) => self.grpc.abort(),
        }
        Ok((&mut self.http).await??)
    }
}
