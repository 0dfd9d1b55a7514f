//! The loops that keep a node in touch: it greets all others every second, keeps what it learns for the next start, and
//! follows the map.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::inner::{Inner, View};
use super::{control, form};
use crate::client::Disks;
use crate::client::remote::{CallError, resolve};
use crate::cluster::peers::Kept;
use crate::types::Relation;
use crate::wire::Stale;
use crate::wire::context::OLDER;

const GREET_EVERY: Duration = Duration::from_secs(1);
/// Greetings that are asked for at once still keep this distance.
const GREET_PAUSE: Duration = Duration::from_millis(50);
/// How often the names of `--join` are looked up again, in rounds.
const RESOLVE_ROUNDS: u32 = 10;
/// How often the root group is asked for the map.
const MAP_EVERY: Duration = Duration::from_secs(5);
/// How long it is waited before what was learned is kept: changes come in groups.
const KEEP_PAUSE: Duration = Duration::from_millis(200);
/// How long the disks may take to keep it.
const KEEP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often what only went on a little is kept.
const KEEP_EVERY: Duration = Duration::from_secs(60);
/// How often a node that refuses us is complained of, in rounds.
const COMPLAIN_ROUNDS: u32 = 60;

/// For the one round of greetings before anything here may vote.
const FIRST_ROUND: Duration = Duration::from_secs(3);

/// Greets once all nodes that are known: by what they remember of the disks here these may be old copies. Whoever does not
/// answer now has nothing of theirs counted that is older than what it remembers, anyway.
pub async fn ask(inner: &Inner) {
    let round = async {
        let joins = resolve(&inner.options.join).await;
        greet_all(inner, &joins, false).await;
    };
    let _ = tokio::time::timeout(FIRST_ROUND, round).await;
}

async fn greet_all(inner: &Inner, joins: &[String], complain: bool) {
    let map = inner.map();
    let own = inner.local_disks();
    inner.peers.lock().see_own(own.iter().filter(|disk| disk.is_up()).map(|disk| disk.id()));
    let addresses = inner.peers.lock().to_greet(&map, joins, &inner.entry.address);
    let hello = inner.own_hello();
    let greetings = addresses.iter().map(async |address| {
        let answer = inner.remote.hello(address, &hello).await;
        let heard = match answer {
            Ok(answer) => inner.hear(&answer, true).map_err(|(_, why)| why),
            Err(CallError::Unreachable(_)) => Ok(()),
            Err(error) => {
                if matches!(&error, CallError::Typed { code, .. } if code == OLDER) {
                    inner.refresh.notify_one();
                }
                Err(error.to_string())
            }
        };
        if let Err(why) = heard
            && complain
        {
            tracing::warn!(%address, %why, "a node does not take this one for a node of its cluster");
        }
    });
    join_all(greetings).await;
}

/// Greets all nodes, for as long as it is polled.
pub async fn greet(inner: Arc<Inner>) {
    let mut round = 0u32;
    let mut joins = Vec::new();
    loop {
        if round.is_multiple_of(RESOLVE_ROUNDS) {
            joins = resolve(&inner.options.join).await;
        }
        greet_all(&inner, &joins, round.is_multiple_of(COMPLAIN_ROUNDS)).await;
        let up = inner.peers.lock().up();
        inner.set_up(up);
        round = round.wrapping_add(1);
        tokio::time::sleep(GREET_PAUSE).await;
        let _ = tokio::time::timeout(GREET_EVERY, inner.greet.notified()).await;
    }
}

/// Keeps the map new, for as long as it is polled.
pub async fn follow_map(view: Arc<View>) {
    let mut generation = view.inner.map().generation.stamp();
    loop {
        let _ = tokio::time::timeout(MAP_EVERY, view.inner.refresh.notified()).await;
        if let Some(address) = view.inner.remote.take_newer() {
            learn(&view.inner, &address).await;
        }
        // In a map of after a recovery this node may not be as it is.
        let now = view.inner.map().generation.stamp();
        if now != generation && form::settle_once(&view, None, None).await.is_ok() {
            generation = now;
        }
        if let Err(error) = form::refresh_map(&view).await {
            tracing::debug!(%error, "the root group does not tell the map");
            tokio::time::sleep(GREET_PAUSE).await;
        }
    }
}

/// Takes over the map of a node that knows of a recovery which this one has not heard of.
async fn learn(inner: &Inner, address: &str) {
    if inner.recovering.load(Ordering::Acquire) {
        return;
    }
    match inner.remote.view(address).await {
        Ok(view) if view.map.cluster == inner.cluster => {
            if inner.map().generation.of(&view.map.generation) == Relation::Foreign {
                tracing::error!(%address, "{}", Stale::Foreign);
            }
            // Before anything that it sends is taken for what is of today.
            control::stop_former(inner, &view.map).await;
            inner.set_map((*view.map).clone());
        }
        Ok(_) => {}
        Err(error) => tracing::debug!(%address, %error, "the map of after a recovery is not had"),
    }
}

/// Keeps what is known of the cluster in all data directories, for as long as it is polled.
pub async fn keep(inner: Arc<Inner>) {
    let mut kept: Option<Kept> = None;
    let mut written_at = Instant::now();
    loop {
        let map = inner.map();
        let now = Kept { map: (*map).clone(), places: inner.peers.lock().places() };
        let is_kept = |kept: &Kept| kept.is_like(&now) && written_at.elapsed() < KEEP_EVERY;
        if now.map.epoch.0 > 0 && !kept.as_ref().is_some_and(is_kept) {
            let saves = inner.local_disks().into_iter().filter(|disk| disk.is_up()).map(|disk| {
                let (path, written) = (disk.path().to_owned(), now.clone());
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = written.save(&path) {
                        tracing::warn!(path = %path.display(), %error, "the cluster map could not be kept");
                    }
                })
            });
            // A disk that hangs is left behind; its own watch deals with it.
            let _ = tokio::time::timeout(KEEP_TIMEOUT, join_all(saves)).await;
            kept = Some(now);
            written_at = Instant::now();
        }
        let mut epoch = inner.epoch.subscribe();
        let _ = tokio::time::timeout(GREET_EVERY, epoch.changed()).await;
        tokio::time::sleep(KEEP_PAUSE).await;
    }
}
