//! The HTTP server: connections, their bounds, and their end. Knows no operation.

pub(crate) mod pace;
mod slots;
mod socket;
mod stream;
pub mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::slots::{Lane, Slots};
use self::socket::Socket;
use self::stream::{Active, Notes, Refusal, Stream};
use self::tls::{Opened, Tls};
use crate::gateway::Gateway;
use crate::middleware::inbound::{Left, MAX_BODY};
use crate::middleware::{Answer, Outbound, Service};
use crate::origin::Peer;

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
    /// `None` is plain HTTP.
    pub tls: Option<Arc<Tls>>,
}

/// The bounds of the server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time. Past them only health is served, and everything else is `SlowDown`.
    pub connections: usize,
    /// Connections at a time from one address, or one /64 network of IPv6; 0 is no bound of its own.
    pub connections_per_address: usize,
    /// Connections at a time past the bounds. A new one pushes out the oldest.
    pub lane: usize,
    /// How long such a connection may take in all.
    pub lane_time: Duration,
    /// The size of a request's head, in bytes; past it the answer is `RequestHeaderSectionTooLarge`.
    pub head_bytes: usize,
    /// The headers of a request.
    pub headers: usize,
    /// How long a connection may be idle, or take to send a head, or to shake hands where there is TLS.
    pub head_timeout: Duration,
    /// What a client has to send or to take, in bytes a second; 0 is anything.
    pub min_rate: u64,
    /// The time over which that is averaged for a client that takes its answer; how long it may take no byte at all.
    pub write_window: Duration,
    /// The same for one that sends its body.
    pub read_window: Duration,
    /// How long what is in flight may take after the shutdown signal.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_address: 1_024,
            lane: 64,
            lane_time: Duration::from_secs(10),
            head_bytes: 64 << 10,
            headers: 1_000,
            head_timeout: Duration::from_secs(60),
            min_rate: 4 << 10,
            write_window: Duration::from_secs(120),
            read_window: Duration::from_secs(60),
            shutdown: Duration::from_secs(30),
        }
    }
}

/// Serves until `shutdown`, then finishes what is in flight, for at most [`Limits::shutdown`].
pub async fn serve(listener: TcpListener, gateway: Gateway, hooks: Hooks, shutdown: impl Future<Output = ()> + Send) {
    describe_metrics();
    let (limits, tls) = (hooks.limits, hooks.tls.clone());
    let _watching = tls.clone().map(|tls| AbortOnDropHandle::new(tokio::spawn(tls.watch())));
    let shared = Shared { service: Service::new(gateway, hooks), limits, tls, closing: CancellationToken::new() };
    let slots = Slots::new(limits.connections, limits.connections_per_address);
    let mut lane = Lane::default();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener) => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut shutdown => break,
        };
        let (stream, peer) = accepted;
        let (shared, watcher) = (shared.clone(), graceful.watcher());
        match slots.take(peer.ip()) {
            Some(slot) => {
                connections.spawn(async move {
                    connection(stream, peer, shared, watcher, Manner::Full).await;
                    drop(slot);
                });
            }
            None => {
                metrics::counter!("cairn_s3_connections_refused_total").increment(1);
                let served = connection(stream, peer, shared, watcher, Manner::HealthOnly);
                let served = async move { drop(timeout(limits.lane_time, served).await) };
                lane.push(connections.spawn(served), limits.lane);
            }
        }
    }
    drop(listener);
    shared.closing.cancel();
    tracing::info!(connections = connections.len(), "no new connections; finishing what is in flight");
    if timeout(limits.shutdown, graceful.shutdown()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were still in flight and are cut off");
    }
    connections.shutdown().await;
}

/// What all connections have in common.
#[derive(Clone)]
struct Shared {
    service: Service,
    limits: Limits,
    tls: Option<Arc<Tls>>,
    /// The server ends: nobody is waited for with whom nothing is in flight.
    closing: CancellationToken,
}

/// What a connection is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Full,
    /// One request: there was no slot for it.
    HealthOnly,
    /// One request, to be told that it should have come over TLS.
    NotSecure,
}

/// The next connection. May be dropped and called again.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // Of one connection, or of the process being out of file descriptors: either passes.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, peer: SocketAddr, shared: Shared, watcher: Watcher, manner: Manner) {
    metrics::counter!("cairn_s3_connections_total").increment(1);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without TCP_NODELAY");
    }
    let Some(opened) = open(stream, peer, &shared).await else { return };
    let is_refused = shared.tls.is_some() && !opened.secure;
    let manner = if is_refused { Manner::NotSecure } else { manner };
    let Shared { service, limits, .. } = shared;
    let refusal = {
        let service = service.clone();
        Box::new(move |status| service.refusal(status))
    };
    let answer = move |request: http::Request<Incoming>| {
        let service = service.clone();
        async move {
            match manner {
                Manner::Full => service.answer(request).await,
                Manner::HealthOnly => service.answer_health_only(request).await,
                Manner::NotSecure => service.answer_not_secure(request).await,
            }
        }
    };
    speak(opened, peer, refusal, answer, limits, watcher, manner).await;
}

/// Shakes hands, where there is TLS; within the time that a head may take, and not while the server ends.
async fn open(stream: TcpStream, peer: SocketAddr, shared: &Shared) -> Option<Opened> {
    let limits = &shared.limits;
    let socket = Socket::new(stream, limits.min_rate, limits.write_window);
    let Some(tls) = &shared.tls else { return Some(Opened { stream: Box::new(socket), secure: false }) };
    let opening = timeout(limits.head_timeout, tls.open(socket));
    let error = match shared.closing.run_until_cancelled(opening).await? {
        Ok(Ok(opened)) => return Some(opened),
        Ok(Err(error)) => error,
        Err(_) => std::io::ErrorKind::TimedOut.into(),
    };
    metrics::counter!("cairn_s3_tls_handshakes_failed_total").increment(1);
    tracing::debug!(%error, %peer, "a connection ended before it spoke TLS");
    None
}

/// Speaks HTTP on a connection, whoever answers. Each request says who the peer is.
async fn speak<F: Future<Output = Answer>>(
    opened: Opened,
    peer: SocketAddr,
    refusal: Refusal,
    answer: impl Fn(http::Request<Incoming>) -> F,
    limits: Limits,
    watcher: Watcher,
    manner: Manner,
) {
    let said = Peer { address: peer.ip(), secure: opened.secure };
    let notes = Arc::new(Notes::default());
    let io = TokioIo::new(Stream::new(opened.stream, limits.min_rate, notes.clone(), refusal));
    let answer = service_fn(move |mut request: http::Request<Incoming>| {
        let notes = notes.clone();
        request.extensions_mut().insert(said);
        let answered = answer(request);
        async move {
            let active = notes.active();
            let answer = answered.await;
            match answer.left {
                Left::Finished => {}
                Left::NotBegun => notes.leave(MAX_BODY),
                Left::Unread(bytes) => notes.leave(bytes),
            }
            Ok::<_, Infallible>(answer.response.map(|body| Answering { body, _active: active }))
        }
    });
    // hyper's own bounds are beyond ours: what it refuses it cannot say in S3's form.
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes.saturating_mul(2).max(BUFFER_BYTES))
        .max_headers(limits.headers.saturating_add(MORE_HEADERS))
        .keep_alive(manner == Manner::Full)
        .serve_connection(io, answer);
    if let Err(error) = Box::pin(watcher.watch(served)).await {
        tracing::debug!(%error, %peer, "a connection ended with an error");
    }
}

/// The size of a connection's buffers, each way, unless a head may be larger.
const BUFFER_BYTES: usize = 128 << 10;

/// So many headers more than we take are still read, to be refused.
const MORE_HEADERS: usize = 24;

/// A body on its way to hyper: its request is active until it is gone.
struct Answering {
    body: Outbound,
    _active: Active,
}

impl Body for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
    describe_counter!("cairn_s3_connections_refused_total", "Connections past the bounds, served health only.");
    describe_counter!("cairn_s3_panics_total", "Requests that panicked.");
    describe_counter!("cairn_s3_tls_handshakes_failed_total", "Connections that ended before they spoke TLS.");
    describe_counter!("cairn_s3_tls_reloads_total", "New certificate files, by whether they were taken.");
    describe_gauge!(
        "cairn_s3_tls_certificate_expiry_timestamp_seconds",
        Unit::Seconds,
        "When a certificate that is served expires, since the epoch."
    );
}

#[cfg(test)]
#[path = "server_test.rs"]
mod tests;
