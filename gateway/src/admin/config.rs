//! What decides about data, the same for all nodes: `GET /_cairn/admin/v1/config` answers `{"gc_grace_ms", "out_after_ms"}`;
//! `POST .../config/gc-grace` and `.../config/out-after` with `?ms=N` change one of them, and answer the same.

use std::time::Duration;

use cairn_storage::meta::{Answer, Command, Outcome, Query, Rejection, RootCommand};
use cairn_storage::types::{ClusterMap, ClusterSettings};
use serde_json::{Value, json};

use crate::error::{Code, S3Error};
use crate::gate::Pass;
use crate::gateway::{Gateway, unexpected};

/// How often a change of the map is tried again that came too late.
const ATTEMPTS: usize = 5;
/// How long a group is told of it; one without a leader hears of it later.
const GROUP_TIMEOUT: Duration = Duration::from_secs(2);
/// The least and the most that makes sense, in milliseconds: a second and ten years.
const BOUNDS_MS: std::ops::RangeInclusive<u64> = 1000..=3_652 * 24 * 60 * 60 * 1000;

pub async fn show(gateway: &Gateway, pass: Pass) -> Result<Value, S3Error> {
    Ok(render(&newest(gateway, pass).await?.settings))
}

pub async fn set(gateway: &Gateway, pass: Pass, name: &str, value: Option<&str>) -> Result<Value, S3Error> {
    let ms: Option<u64> = value.and_then(|value| value.parse().ok()).filter(|ms| BOUNDS_MS.contains(ms));
    let ms = ms.ok_or_else(|| S3Error::with(Code::InvalidArgument, "It must be from a second to ten years."))?;
    for _ in 0..ATTEMPTS {
        let mut map = newest(gateway, pass).await?;
        let expected = map.epoch;
        match name {
            "gc-grace" => map.settings.gc_grace_ms = Some(ms),
            "out-after" => map.settings.out_after_ms = Some(ms),
            _ => return Err(S3Error::with(Code::InvalidArgument, "There is no such setting.")),
        }
        match gateway.root_command(pass, RootCommand::ReplaceMap { expected, map }).await? {
            Ok(Outcome::Map(map)) => {
                tracing::info!(name, ms, epoch = %map.epoch, "a setting of the cluster was changed");
                tell_groups(gateway, pass, &map).await;
                return Ok(render(&map.settings));
            }
            Err(Rejection::MapChanged) => {}
            _ => return Err(unexpected("ReplaceMap")),
        }
    }
    Err(Code::OperationAborted.into())
}

async fn newest(gateway: &Gateway, pass: Pass) -> Result<ClusterMap, S3Error> {
    match gateway.root_query(pass, Query::Map).await? {
        Answer::Map(Some(map)) => Ok(*map),
        _ => Err(unexpected("Map")),
    }
}

/// Each group's leader does it, too, by and by.
async fn tell_groups(gateway: &Gateway, pass: Pass, map: &ClusterMap) {
    let grace_ms = map.settings.gc_grace_ms();
    let told = map.metadata_groups().map(|group| async move {
        let told = gateway.client(pass).command(group, Command::SetGrace { grace_ms });
        if !matches!(tokio::time::timeout(GROUP_TIMEOUT, told).await, Ok(Ok(Ok(_)))) {
            tracing::warn!(%group, "a group does not answer; it hears of the grace time later");
        }
    });
    futures::future::join_all(told).await;
}

fn render(settings: &ClusterSettings) -> Value {
    json!({ "gc_grace_ms": settings.gc_grace_ms(), "out_after_ms": settings.out_after_ms() })
}
