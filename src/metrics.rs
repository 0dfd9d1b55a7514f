//! The process' metrics: keeps them, and serves them to whoever can connect to `--metrics`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use http::header;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tower::limit::GlobalConcurrencyLimitLayer;

/// How often the histograms are brought up to date, so that they do not grow between two scrapes.
const UPKEEP: Duration = Duration::from_secs(5);
/// Answers that are made at a time.
const AT_A_TIME: usize = 4;

/// The upper bounds of the histograms of durations, in seconds.
const DURATION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Begins to keep metrics.
///
/// # Errors
/// It was done before.
pub fn record() -> Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), DURATION_BUCKETS)?
        .install_recorder()?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// Serves `/metrics` at `address` for as long as the process lives.
///
/// # Errors
/// The port is taken.
pub async fn serve(address: Option<SocketAddr>, handle: PrometheusHandle) -> Result<()> {
    let Some(address) = address else { return Ok(()) };
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("metrics cannot be served at {address}"))?;
    let render = move || {
        let handle = handle.clone();
        async move {
            let text = tokio::task::spawn_blocking(move || handle.render()).await.unwrap_or_default();
            ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
        }
    };
    let router = Router::new().route("/metrics", get(render)).layer(GlobalConcurrencyLimitLayer::new(AT_A_TIME));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(())
}
