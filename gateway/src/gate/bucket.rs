//! What is known of a bucket when it is judged who may use it: where it is, whose it is, and what is set of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_storage::meta::record::{DirectoryEntry, DirectoryState, Setting};
use cairn_storage::meta::{Answer, Query};
use cairn_storage::types::Stamp;
use serde::{Deserialize, Serialize};

use super::Pass;
use crate::error::S3Error;
use crate::gateway::{Gateway, no_such_bucket, unexpected};
use crate::policy::{Kind, Policy, is_public};

/// How often a bucket is looked up again for those who have not signed, and are denied by what is remembered of it.
const FRESH: Duration = Duration::from_secs(1);

/// What of public access is blocked; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PublicAccessBlock {
    pub block_public_acls: bool,
    pub ignore_public_acls: bool,
    pub block_public_policy: bool,
    pub restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
}

/// A bucket, as its group knew it at the epoch of its settings.
pub struct Bucket {
    pub entry: Arc<DirectoryEntry>,
    /// The owner's canonical id.
    pub owner: String,
    /// Of the settings; `None` where the group knows no such bucket: a delete, or a creation, did not come to its end.
    pub epoch: Option<u64>,
    pub policy: Option<Policy>,
    /// Whether the policy allows anything to the public.
    pub is_public: bool,
    pub block: Option<PublicAccessBlock>,
    asked: Instant,
    /// The cluster's generation when it was asked for: after a recovery the same epoch may be of other settings.
    generation: Stamp,
}

impl Bucket {
    /// The active bucket of a name, from the root group and its own.
    ///
    /// # Errors
    /// `NoSuchBucket`, and that a group does not answer.
    pub(super) async fn find(gateway: &Gateway, name: &str) -> Result<Arc<Self>, S3Error> {
        let entry = gateway.directory_entry(name).await?.filter(|entry| entry.state == DirectoryState::Active);
        Self::of(gateway, Arc::new(entry.ok_or_else(|| no_such_bucket(name))?)).await
    }

    /// What is set of the bucket of an entry, from its group.
    ///
    /// # Errors
    /// That the group does not answer.
    pub(super) async fn of(gateway: &Gateway, entry: Arc<DirectoryEntry>) -> Result<Arc<Self>, S3Error> {
        let client = gateway.client(Pass(()));
        let generation = client.map().generation.stamp();
        let asked = Instant::now();
        let query = Query::BucketSettings { bucket: entry.id };
        let Answer::BucketSettings { settings: epoch, values } = client.query(entry.group, query).await? else {
            return Err(unexpected("BucketSettings"));
        };
        let bucket = Arc::new(Self::read(entry, epoch, &values, (asked, generation)));
        gateway.remember_bucket(bucket.clone());
        Ok(bucket)
    }

    fn read(
        entry: Arc<DirectoryEntry>,
        epoch: Option<u64>,
        values: &[(Setting, Bytes)],
        (asked, generation): (Instant, Stamp),
    ) -> Self {
        let of = |wanted| values.iter().find(|(setting, _)| *setting == wanted).map(|(_, value)| value);
        let policy = of(Setting::Policy).map(|text| {
            Policy::parse(text, Kind::Bucket).unwrap_or_else(|fault| {
                // Who owns the bucket may put it right.
                tracing::error!(bucket = entry.name, %fault, "a bucket's policy cannot be read: all are denied");
                Policy::nothing(Kind::Bucket)
            })
        });
        // What cannot be read blocks everything.
        let block =
            of(Setting::PublicAccessBlock).map(|json| serde_json::from_slice(json).unwrap_or(PublicAccessBlock::ALL));
        let is_public = policy.as_ref().is_some_and(is_public);
        let owner = entry.owner.to_string();
        Self { entry, owner, epoch, policy, is_public, block, asked, generation }
    }

    /// Whether it was asked for a moment ago.
    pub fn is_fresh(&self) -> bool {
        self.asked.elapsed() < FRESH
    }

    /// Whether it was asked for in this generation of the cluster.
    pub fn is_of(&self, generation: Stamp) -> bool {
        self.generation == generation
    }

    /// What it takes to remember it, in KiB.
    pub fn weight(&self) -> usize {
        1 + self.policy.as_ref().map_or(0, |policy| policy.text().len() / 128)
    }
}

#[cfg(test)]
impl Bucket {
    /// A bucket `b`.
    pub fn of_user(owner: cairn_storage::types::UserId, policy: Option<&str>, block: Option<&str>) -> Self {
        use cairn_storage::types::{BucketId, GroupId};
        let entry = DirectoryEntry {
            name: "b".to_owned(),
            id: BucketId(1),
            group: GroupId(1),
            owner,
            region: String::new(),
            created_ms: 0,
            state: DirectoryState::Active,
        };
        let set = [(Setting::Policy, policy), (Setting::PublicAccessBlock, block)];
        let value = |(setting, text): (Setting, Option<&str>)| Some((setting, Bytes::from(text?.to_owned())));
        let values: Vec<_> = set.into_iter().filter_map(value).collect();
        Self::read(Arc::new(entry), Some(1), &values, (Instant::now(), Stamp::default()))
    }
}
