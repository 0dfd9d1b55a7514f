//! Has each group take apart what nothing holds any more, and shows the group's figures. For the node that leads the
//! group; done twice it does no harm.

use std::sync::Arc;
use std::time::Duration;

use super::{World, share_of_grace};
use crate::client::ServiceError;
use crate::meta::{Answer, Command, Outcome, Query};
use crate::types::GroupId;

/// How many references or records one command takes apart.
const STEP: u32 = 1000;
/// The rest between two steps.
const PAUSE: Duration = Duration::from_millis(20);

pub async fn run(world: Arc<dyn World>) {
    loop {
        tokio::time::sleep(share_of_grace(&*world, 10, Duration::from_millis(250), Duration::from_secs(60))).await;
        let map = world.client().map();
        for group in map.metadata_groups() {
            if !world.leads(group) {
                continue;
            }
            if let Err(error) = collect(&*world, group, map.settings.gc_grace_ms()).await {
                tracing::debug!(%group, %error, "collection of garbage waits");
            }
        }
    }
}

async fn collect(world: &dyn World, group: GroupId, grace_ms: u64) -> Result<(), ServiceError> {
    // Whoever changed it may not have reached the group.
    if let Answer::Clock { grace_ms: known, .. } = world.client().query(group, Query::Clock).await?
        && known != grace_ms
    {
        tracing::info!(%group, grace_ms, "the grace time of a group changes");
        drop(world.client().command(group, Command::SetGrace { grace_ms }).await?);
    }
    take_apart(world, group, || Command::CollectGarbage { limit: STEP, grace_ms }).await?;
    if let Answer::SealedBuckets(buckets) = world.client().query(group, Query::SealedBuckets).await? {
        for bucket in buckets {
            take_apart(world, group, || Command::PurgeBucket { bucket, limit: STEP }).await?;
        }
    }
    if let Answer::Statistics(statistics) = world.client().query(group, Query::Statistics).await? {
        for (name, value) in [
            ("cairn_buckets", statistics.buckets),
            ("cairn_objects", statistics.objects),
            ("cairn_object_bytes", statistics.object_bytes),
            ("cairn_open_uploads", statistics.open_uploads),
            ("cairn_manifests", statistics.manifests),
            ("cairn_garbage_manifests", statistics.garbage_manifests),
            ("cairn_repair_queue", statistics.queued_repairs),
        ] {
            metrics::gauge!(name, "group" => group.to_string()).set(value as f64);
        }
    }
    Ok(())
}

/// Repeats a command until it says that there is nothing left for now.
async fn take_apart(world: &dyn World, group: GroupId, command: impl Fn() -> Command) -> Result<(), ServiceError> {
    loop {
        match world.client().command(group, command()).await? {
            Ok(Outcome::Progress { taken, more }) => {
                metrics::counter!("cairn_garbage_collected_total", "group" => group.to_string())
                    .increment(u64::from(taken));
                if !more {
                    return Ok(());
                }
            }
            Ok(_) => return Ok(()),
            Err(rejection) => {
                tracing::debug!(%group, %rejection, "a group refused to collect");
                return Ok(());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
