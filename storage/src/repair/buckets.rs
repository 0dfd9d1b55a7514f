//! Finishes the creations and deletions of buckets that a crash left half done between the root group and the bucket's
//! group. Creations are rolled forward, whether their client waits still or not: either end is right for it.

use std::sync::Arc;
use std::time::Duration;

use super::{RepairOptions, World};
use crate::client::ServiceError;
use crate::meta::record::{BucketRecord, DirectoryEntry};
use crate::meta::{Answer, Command, Query, Rejection, RootCommand};
use crate::types::{ROOT_GROUP, now_ms};

const EVERY: Duration = Duration::from_secs(60);
/// A creation that is younger may still be under way, milliseconds.
const UNFINISHED_AFTER_MS: u64 = 60_000;
/// Entries of the directory in one answer.
const PAGE: u32 = 500;
/// The rest between two entries.
const PAUSE: Duration = Duration::from_millis(2);

pub async fn run(world: Arc<dyn World>, _options: RepairOptions) {
    loop {
        tokio::time::sleep(EVERY).await;
        if !world.leads(ROOT_GROUP) {
            continue;
        }
        if let Err(error) = finish_creations(&*world, UNFINISHED_AFTER_MS).await {
            tracing::debug!(%error, "half-done creations of buckets wait");
        }
        if let Err(error) = finish_deletions(&*world).await {
            tracing::debug!(%error, "half-done deletions of buckets wait");
        }
    }
}

pub(crate) async fn finish_creations(world: &dyn World, older_than_ms: u64) -> Result<(), ServiceError> {
    let client = world.client();
    let Answer::DirectoryList { entries, .. } = client.query(ROOT_GROUP, Query::DirectoryUnfinished).await? else {
        return Ok(());
    };
    for entry in entries {
        if now_ms().saturating_sub(entry.created_ms) < older_than_ms {
            continue;
        }
        let DirectoryEntry { name, id, group, owner, region, created_ms, .. } = entry;
        tracing::info!(bucket = %name, "finishing the creation of a bucket");
        let bucket = BucketRecord { id, name: name.clone(), owner, region, created_ms, sealed: false };
        let then = match client.command(group, Command::CreateBucket { bucket }).await? {
            Ok(_) => RootCommand::ActivateBucket { name, bucket: id },
            // It was created, and deleted, before its name was activated.
            Err(Rejection::UnknownBucket) => RootCommand::FreeBucket { name, bucket: id },
            Err(rejection) => {
                tracing::warn!(bucket = %name, %rejection, "a bucket's group refuses to create it");
                continue;
            }
        };
        if client.command(ROOT_GROUP, Command::Root(then)).await? == Err(Rejection::UnknownBucket) {
            // The name was freed meanwhile: nobody can reach the bucket.
            drop(client.command(group, Command::SealBucket { bucket: id }).await?);
        }
    }
    Ok(())
}

/// A bucket that is active in the directory and unknown to its group was sealed, and its name not yet freed.
pub(crate) async fn finish_deletions(world: &dyn World) -> Result<(), ServiceError> {
    let client = world.client();
    let mut after = None;
    loop {
        let query = Query::DirectoryList { owner: None, prefix: String::new(), after, limit: PAGE };
        let Answer::DirectoryList { entries, more } = client.query(ROOT_GROUP, query).await? else { return Ok(()) };
        after = entries.last().map(|entry| entry.name.clone());
        for DirectoryEntry { name, id, group, .. } in entries {
            if client.query(group, Query::Bucket { bucket: id }).await? == Answer::Bucket(None) {
                tracing::info!(bucket = %name, "finishing the deletion of a bucket");
                drop(client.command(ROOT_GROUP, Command::Root(RootCommand::FreeBucket { name, bucket: id })).await?);
            }
            tokio::time::sleep(PAUSE).await;
        }
        if !more || after.is_none() {
            return Ok(());
        }
    }
}
