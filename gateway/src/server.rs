//! The HTTP server: connections, their bounds, and their end. Knows no operation.

mod stream;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::stream::Stream;
use crate::gateway::Gateway;
use crate::middleware::Service;
use crate::middleware::inbound::Left;

/// Upper bounds, in seconds, of the buckets of `cairn_s3_request_seconds`, for whoever builds the recorder.
pub const LATENCY_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// What the server asks of the process around it.
#[derive(Clone)]
pub struct Hooks {
    /// Whether every group has a leader.
    pub ready: Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>,
    /// What `/_cairn/metrics` shows. Its upkeep is the process' business.
    pub metrics: Option<PrometheusHandle>,
    pub limits: Limits,
}

/// The bounds of the server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time. More wait until one of them ends.
    pub connections: usize,
    /// The size of a request's head, in bytes; past it the answer is 431.
    pub head_bytes: usize,
    /// How long a connection may be idle, or take to send a head.
    pub head_timeout: Duration,
    /// How long a client may take no byte of its answer.
    pub write_timeout: Duration,
    /// How long what is in flight may take after the shutdown signal.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            head_bytes: 64 << 10,
            head_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(120),
            shutdown: Duration::from_secs(30),
        }
    }
}

/// Serves until `shutdown`, then finishes what is in flight, for at most [`Limits::shutdown`].
pub async fn serve(listener: TcpListener, gateway: Gateway, hooks: Hooks, shutdown: impl Future<Output = ()> + Send) {
    describe_metrics();
    let limits = hooks.limits;
    let service = Service::new(gateway, hooks);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut shutdown => break,
        };
        let (stream, peer, slot) = accepted;
        let (service, watcher) = (service.clone(), graceful.watcher());
        connections.spawn(async move {
            connection(stream, peer, service, limits, watcher).await;
            drop(slot);
        });
    }
    drop(listener);
    tracing::info!(connections = connections.len(), "no new connections; finishing what is in flight");
    if tokio::time::timeout(limits.shutdown, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were still in flight and are cut off");
    }
    connections.shutdown().await;
}

type Slot = tokio::sync::OwnedSemaphorePermit;

/// The next connection, once there is room for it. May be dropped and called again.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, SocketAddr, Slot) {
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else {
            // The semaphore is never closed.
            std::future::pending::<()>().await;
            continue;
        };
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, slot),
            Err(error) => {
                // Of one connection, or of the process being out of file descriptors: either passes.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, peer: SocketAddr, service: Service, limits: Limits, watcher: Watcher) {
    metrics::counter!("cairn_s3_connections_total").increment(1);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without TCP_NODELAY");
    }
    let linger = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Stream::new(stream, limits.write_timeout, linger.clone()));
    let answer = service_fn(move |request: http::Request<Incoming>| {
        let (service, linger) = (service.clone(), linger.clone());
        async move {
            let answer = service.answer(request, peer).await;
            if answer.left == Left::Unread {
                linger.store(true, Ordering::Relaxed);
            }
            Ok::<_, Infallible>(answer.response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(limits.head_bytes)
        .serve_connection(io, answer);
    if let Err(error) = Box::pin(watcher.watch(served)).await {
        tracing::debug!(%error, %peer, "a connection ended with an error");
    }
}

fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("cairn_s3_requests_total", "Answered requests, by operation and status.");
    describe_histogram!("cairn_s3_request_seconds", Unit::Seconds, "From a request's head to the end of its answer.");
    describe_counter!("cairn_s3_received_bytes_total", Unit::Bytes, "Bytes of request bodies.");
    describe_counter!("cairn_s3_sent_bytes_total", Unit::Bytes, "Bytes of answers' bodies.");
    describe_gauge!("cairn_s3_requests_in_flight", "Requests whose answer has not ended.");
    describe_counter!("cairn_s3_connections_total", "Accepted connections.");
    describe_counter!("cairn_s3_panics_total", "Requests that panicked.");
}

#[cfg(test)]
#[path = "server_test.rs"]
mod tests;
