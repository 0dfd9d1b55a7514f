//! The loops that keep a node in touch: it greets all others every second, keeps what it learns for the next start, and
//! follows the map.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;

use super::form;
use super::inner::{Inner, View};
use crate::client::Disks;
use crate::client::remote::{CallError, resolve};
use crate::cluster::peers::Kept;

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
/// How often a node that refuses us is complained of, in rounds.
const COMPLAIN_ROUNDS: u32 = 60;

/// Greets all nodes, for as long as it is polled.
pub async fn greet(inner: Arc<Inner>) {
    let mut round = 0u32;
    let mut joins = Vec::new();
    loop {
        if round.is_multiple_of(RESOLVE_ROUNDS) {
            joins = resolve(&inner.options.join).await;
        }
        let map = inner.map();
        let own = inner.local_disks();
        inner.peers.lock().see_own(own.iter().filter(|disk| disk.is_up()).map(|disk| disk.id()));
        let addresses = inner.peers.lock().to_greet(&map, &joins, &inner.entry.address);
        let hello = inner.own_hello();
        let greetings = addresses.iter().map(async |address| {
            let answer = inner.remote.hello(address, &hello).await;
            let heard = match answer {
                Ok(answer) => inner.hear(&answer, true),
                Err(CallError::Unreachable(_)) => Ok(()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = heard
                && round.is_multiple_of(COMPLAIN_ROUNDS)
            {
                tracing::warn!(%address, %why, "a node does not take this one for a node of its cluster");
            }
        });
        join_all(greetings).await;
        let up = inner.peers.lock().up();
        inner.set_up(up);
        round = round.wrapping_add(1);
        tokio::time::sleep(GREET_PAUSE).await;
        let _ = tokio::time::timeout(GREET_EVERY, inner.greet.notified()).await;
    }
}

/// Keeps the map new, for as long as it is polled.
pub async fn follow_map(view: Arc<View>) {
    loop {
        let _ = tokio::time::timeout(MAP_EVERY, view.inner.refresh.notified()).await;
        if let Err(error) = form::refresh_map(&view).await {
            tracing::debug!(%error, "the root group does not tell the map");
            tokio::time::sleep(GREET_PAUSE).await;
        }
    }
}

/// Keeps what is known of the cluster in all data directories, for as long as it is polled.
pub async fn keep(inner: Arc<Inner>) {
    let mut kept: Option<Kept> = None;
    loop {
        let map = inner.map();
        let now = Kept { map: (*map).clone(), places: inner.peers.lock().places() };
        if now.map.epoch.0 > 0 && kept.as_ref() != Some(&now) {
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
        }
        let mut epoch = inner.epoch.subscribe();
        let _ = tokio::time::timeout(GREET_EVERY, epoch.changed()).await;
        tokio::time::sleep(KEEP_PAUSE).await;
    }
}
