//! What is known of a bucket when it is judged who may use it: where it is, whose it is, and what is set of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cairn_storage::meta::record::{DirectoryEntry, DirectoryState, Setting};
use cairn_storage::meta::{Answer, Query};
use cairn_storage::types::{Stamp, UserId};
use serde::{Deserialize, Serialize};

use super::{Identity, Pass};
use crate::acl::{Acl, Asked, Canned, Ownership, Who};
use crate::error::{Code, S3Error};
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
    pub ownership: Ownership,
    /// Counts only where there are lists.
    pub acl: Acl,
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
        let ownership = Ownership::decode(of(Setting::OwnershipControls));
        let acl = Acl::decode(of(Setting::Acl), entry.owner);
        Self { entry, owner, epoch, policy, is_public, block, ownership, acl, asked, generation }
    }

    /// Whether a list may be asked for of the bucket, or of what is put into it.
    ///
    /// # Errors
    /// `AccessControlListNotSupported` where there are none, `AccessDenied` for what would be public where that is blocked.
    pub fn check_acl(&self, asked: &Asked) -> Result<(), S3Error> {
        if !self.ownership.has_acls() {
            return if asked.is_owners() { Ok(()) } else { Err(Code::AccessControlListNotSupported.into()) };
        }
        let is_public = match asked {
            Asked::Nothing => false,
            Asked::Canned(canned) => canned.list(self.entry.owner, self.entry.owner).is_public(),
            Asked::Grants(list) => list.is_public(),
        };
        if is_public && self.block.is_some_and(|block| block.block_public_acls) {
            return Err(Code::AccessDenied.into());
        }
        Ok(())
    }

    /// Whether a list may become an object's that was asked for some time ago.
    ///
    /// # Errors
    /// `AccessDenied` for one that is public where that is blocked.
    pub fn check_kept_acl(&self, list: &Acl) -> Result<(), S3Error> {
        match self.ownership.has_acls() {
            true => self.check_acl(&Asked::Grants(list.clone())),
            false => Ok(()),
        }
    }

    /// Whose an object is that somebody puts, and its list in the form in which it is kept. What may not be asked for is
    /// left out.
    pub fn take_in(&self, writer: UserId, asked: &Asked) -> (UserId, Option<Bytes>) {
        let bucket_owner = self.entry.owner;
        let for_bucket_owner = *asked == Asked::Canned(Canned::BucketOwnerFullControl);
        let owner = match self.ownership {
            Ownership::BucketOwnerEnforced => return (bucket_owner, None),
            Ownership::BucketOwnerPreferred if for_bucket_owner => bucket_owner,
            Ownership::BucketOwnerPreferred | Ownership::ObjectWriter | Ownership::Unset => writer,
        };
        let list = match asked {
            _ if self.check_acl(asked).is_err() => None,
            Asked::Nothing => None,
            Asked::Canned(canned) => canned.list(owner, bucket_owner).encode(owner),
            Asked::Grants(list) => list.encode(owner),
        };
        (owner, list)
    }

    /// How a caller is known to lists.
    pub(super) fn who(&self, caller: &Identity) -> Who {
        let ignore_public = self.block.is_some_and(|block| block.ignore_public_acls);
        Who { user: (!caller.is_anonymous()).then_some(caller.id), ignore_public }
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
        1 + self.policy.as_ref().map_or(0, |policy| policy.text().len() / 128) + self.acl.0.len() / 32
    }
}

#[cfg(test)]
impl Bucket {
    /// A bucket `b`.
    pub fn of_user(owner: UserId, policy: Option<&str>, block: Option<&str>) -> Self {
        let set = [(Setting::Policy, policy), (Setting::PublicAccessBlock, block)];
        let value = |(setting, text): (Setting, Option<&str>)| Some((setting, Bytes::from(text?.to_owned())));
        let values: Vec<_> = set.into_iter().filter_map(value).collect();
        Self::with(owner, &values)
    }

    /// The same, with these settings.
    pub fn with(owner: UserId, values: &[(Setting, Bytes)]) -> Self {
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
        Self::read(Arc::new(entry), Some(1), values, (Instant::now(), Stamp::default()))
    }
}
