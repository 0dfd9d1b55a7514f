//! The internal HTTP of a node: chunks of its disks, commands and queries for groups, messages of Raft, the map.
//!
//! Only this room knows routes and status codes. It decides nothing: it checks who asks, bounds what comes in, and
//! hands over to the traits of `client`.

mod admission;
mod chunks;
mod groups;
mod lane;
mod listen;
mod reply;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post, put};
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::client::{Disks, MetaService, RepairService};
use crate::cluster::{Ballot, Secret};
use crate::types::DiskId;
use crate::wire::{Context, Hello, Place, Stale, Verifier, path};

use lane::Lane;
pub use listen::{Server, bind};

/// How many requests of a kind are worked on at a time, and what their bodies take together, in bytes; what comes on top
/// is told that the node is busy. Without greetings and the messages of Raft nothing goes on.
const GREETINGS: (usize, usize) = (256, 32 << 20);
const RAFT_MESSAGES: (usize, usize) = (1024, 256 << 20);
const SMALL_REQUESTS: (usize, usize) = (1024, 128 << 20);
/// How many chunks may be on their way in at a time.
const CHUNKS: usize = 1024;
/// How many bytes of chunks may be on their way in or out, in units of 4 KiB: 256 MiB.
const CHUNK_PERMITS: usize = (256 << 20) / CHUNK_UNIT;
const CHUNK_UNIT: usize = 4096;

/// What the node behind the routes can do.
pub trait Backend: Send + Sync + 'static {
    /// The groups, wherever their leaders are.
    fn meta(&self) -> Arc<dyn MetaService>;

    /// The map, and which disks are up.
    fn disks(&self) -> Arc<dyn Disks>;

    /// A disk of this very node, if it is up.
    fn local_disk(&self, id: DiskId) -> Option<Arc<dyn RepairService>>;

    /// Where each disk is, as far as this node knows.
    fn places(&self) -> Vec<Place>;

    /// Whether a request may be worked on, by what it says of its sender.
    ///
    /// # Errors
    /// See [`Stale`].
    fn admit(&self, context: &Context) -> Result<(), Stale>;

    /// Takes a greeting, and greets back.
    ///
    /// # Errors
    /// Why the other is not taken for a node of the cluster: a code, and a text for a person.
    fn hello(&self, hello: Hello) -> Result<Hello, (&'static str, String)>;

    /// Hands a message of Raft to the replica that it is for; the answer is as opaque as the message.
    fn raft(&self, message: Bytes) -> BoxFuture<'_, Bytes>;

    /// Whether every group has a leader that answers.
    fn is_ready(&self) -> bool;
}

/// What every handler works with.
struct State {
    backend: Arc<dyn Backend>,
    verifier: Verifier,
    greetings: Lane,
    raft_messages: Lane,
    small_requests: Lane,
    chunks: Semaphore,
    chunk_units: Arc<Semaphore>,
}

/// The routes.
pub fn router(backend: Arc<dyn Backend>, secret: &Secret) -> Router {
    let state = Arc::new(State {
        backend,
        verifier: Verifier::new(secret),
        greetings: Lane::new(GREETINGS.0, GREETINGS.1),
        raft_messages: Lane::new(RAFT_MESSAGES.0, RAFT_MESSAGES.1),
        small_requests: Lane::new(SMALL_REQUESTS.0, SMALL_REQUESTS.1),
        chunks: Semaphore::new(CHUNKS),
        chunk_units: Arc::new(Semaphore::new(CHUNK_PERMITS)),
    });
    let greetings = Router::new()
        .route(path::VIEW, get(groups::view))
        .route(path::HELLO, post(groups::hello))
        .route(path::OVERVIEW, get(groups::overview))
        .layer(axum::middleware::from_fn_with_state(state.clone(), admission::greeting));
    let small = Router::new()
        .route("/v1/groups/{group}/command", post(groups::command))
        .route("/v1/groups/{group}/query", post(groups::query))
        .route("/v1/disks/{disk}/chunks/{chunk}", get(chunks::read))
        .route("/v1/disks/{disk}/touch", post(chunks::touch))
        .route("/v1/disks/{disk}/stat", post(chunks::stat))
        .route("/v1/disks/{disk}/verify", post(chunks::verify))
        .route("/v1/disks/{disk}/list", post(chunks::list))
        .route("/v1/disks/{disk}/scrub", post(chunks::scrub))
        .route("/v1/disks/{disk}/hold", post(chunks::hold))
        .layer(axum::middleware::from_fn_with_state(state.clone(), admission::small));
    let raft = Router::new()
        .route(path::RAFT, post(groups::raft))
        .layer(axum::middleware::from_fn_with_state(state.clone(), admission::raft));
    let chunk = Router::new()
        .route("/v1/disks/{disk}/chunks/{chunk}", put(chunks::store))
        .layer(axum::middleware::from_fn_with_state(state.clone(), admission::chunk));
    Router::new()
        .route(path::HEALTH, get(groups::health))
        .merge(greetings)
        .merge(small)
        .merge(raft)
        .merge(chunk)
        .fallback(|| async { reply::Refusal::new(http::StatusCode::NOT_FOUND, "refused", "no such route") })
        .with_state(state)
}

/// The routes of a node that waits for a cluster to be formed: it tells its ballot to those who know the secret.
pub fn waiting_router(ballot: Arc<Mutex<Ballot>>, secret: &Secret) -> Router {
    let verifier = Arc::new(Verifier::new(secret));
    let answer = move |request: axum::extract::Request| {
        let (verifier, ballot) = (verifier.clone(), ballot.clone());
        async move {
            admission::prove_to(&verifier, &request).map_err(admission::unproven)?;
            let ballot = *ballot.lock();
            reply::answer(&ballot)
        }
    };
    let refuse =
        || async { reply::Refusal::new(http::StatusCode::SERVICE_UNAVAILABLE, "unavailable", "waiting to join") };
    Router::new().route(path::WAITING, get(answer)).fallback(refuse)
}
