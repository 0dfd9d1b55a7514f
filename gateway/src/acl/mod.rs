//! Access control lists: who is granted what of a bucket or an object besides its owner, and whose what is put into a
//! bucket is. Pure.
//!
//! Source: S3 User Guide, "Access control list (ACL) overview" and "Controlling ownership of objects and disabling ACLs for
//! your bucket".

mod headers;

use bytes::Bytes;
use cairn_storage::types::UserId;
use serde::{Deserialize, Serialize};

pub use self::headers::{Asked, invalid_id};

/// The most grants of a list.
pub const MAX_GRANTS: usize = 100;

/// Who is granted something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    User(UserId),
    /// Everybody, signed or not.
    AllUsers,
    /// Whoever signs.
    AuthenticatedUsers,
    /// Nobody here: the service that writes access logs.
    LogDelivery,
}

impl Grantee {
    /// The URI of a group.
    pub fn uri(self) -> Option<&'static str> {
        match self {
            Self::User(_) => None,
            Self::AllUsers => Some("http://acs.amazonaws.com/groups/global/AllUsers"),
            Self::AuthenticatedUsers => Some("http://acs.amazonaws.com/groups/global/AuthenticatedUsers"),
            Self::LogDelivery => Some("http://acs.amazonaws.com/groups/s3/LogDelivery"),
        }
    }

    /// The group of a URI.
    pub fn group(uri: &str) -> Option<Self> {
        [Self::AllUsers, Self::AuthenticatedUsers, Self::LogDelivery].into_iter().find(|group| group.uri() == Some(uri))
    }

    fn is_public(self) -> bool {
        matches!(self, Self::AllUsers | Self::AuthenticatedUsers)
    }
}

/// What is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Permission {
    Read,
    Write,
    ReadAcp,
    WriteAcp,
    FullControl,
}

impl Permission {
    const ALL: [Self; 5] = [Self::Read, Self::Write, Self::ReadAcp, Self::WriteAcp, Self::FullControl];

    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::ReadAcp => "READ_ACP",
            Self::WriteAcp => "WRITE_ACP",
            Self::FullControl => "FULL_CONTROL",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.name() == name)
    }

    /// What of a bucket's list allows an action: of the bucket itself, and of the objects that are put into it and deleted.
    pub fn of_bucket(action: &str) -> Option<Self> {
        match action {
            "s3:ListBucket" | "s3:ListBucketVersions" | "s3:ListBucketMultipartUploads" => Some(Self::Read),
            "s3:PutObject" | "s3:DeleteObject" => Some(Self::Write),
            "s3:GetBucketAcl" => Some(Self::ReadAcp),
            "s3:PutBucketAcl" => Some(Self::WriteAcp),
            _ => None,
        }
    }

    /// What of an object's list allows an action.
    pub fn of_object(action: &str) -> Option<Self> {
        match action {
            "s3:GetObject" | "s3:GetObjectVersion" => Some(Self::Read),
            // Who reads all of it can know these.
            "s3:GetObjectAttributes" | "s3:GetObjectVersionAttributes" => Some(Self::Read),
            "s3:GetObjectAcl" | "s3:GetObjectVersionAcl" => Some(Self::ReadAcp),
            "s3:PutObjectAcl" | "s3:PutObjectVersionAcl" => Some(Self::WriteAcp),
            _ => None,
        }
    }
}

/// Who is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Who {
    /// `None` for who has not signed.
    pub user: Option<UserId>,
    /// What the public is granted is not counted.
    pub ignore_public: bool,
}

/// A list. Where none is kept, the owner has all there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acl(pub Vec<(Grantee, Permission)>);

impl Acl {
    /// The list of what is its owner's alone.
    pub fn of_owner(owner: UserId) -> Self {
        Self(vec![(Grantee::User(owner), Permission::FullControl)])
    }

    /// As it is kept with a bucket or a version. `None` where it is what no list means.
    pub fn encode(&self, owner: UserId) -> Option<Bytes> {
        (*self != Self::of_owner(owner)).then(|| Bytes::from(serde_json::to_vec(self).unwrap_or_default()))
    }

    /// The inverse. What cannot be read grants nothing.
    pub fn decode(bytes: Option<&Bytes>, owner: UserId) -> Self {
        match bytes {
            None => Self::of_owner(owner),
            Some(bytes) => serde_json::from_slice(bytes).unwrap_or_else(|error| {
                tracing::error!(%error, "an access control list cannot be read: it grants nothing");
                Self(Vec::new())
            }),
        }
    }

    pub fn grants(&self, who: Who, wanted: Permission) -> bool {
        self.0.iter().any(|(grantee, permission)| {
            let is_meant = match *grantee {
                Grantee::User(user) => who.user == Some(user),
                Grantee::AllUsers => !who.ignore_public,
                Grantee::AuthenticatedUsers => !who.ignore_public && who.user.is_some(),
                Grantee::LogDelivery => false,
            };
            is_meant && (*permission == wanted || *permission == Permission::FullControl)
        })
    }

    /// Whether anything is granted to the public.
    pub fn is_public(&self) -> bool {
        self.0.iter().any(|(grantee, _)| grantee.is_public())
    }
}

/// The lists that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canned {
    Private,
    PublicRead,
    PublicReadWrite,
    AuthenticatedRead,
    /// The service that starts machines is nobody here.
    AwsExecRead,
    BucketOwnerRead,
    BucketOwnerFullControl,
    LogDeliveryWrite,
}

impl Canned {
    const ALL: [(&'static str, Self); 8] = [
        ("private", Self::Private),
        ("public-read", Self::PublicRead),
        ("public-read-write", Self::PublicReadWrite),
        ("authenticated-read", Self::AuthenticatedRead),
        ("aws-exec-read", Self::AwsExecRead),
        ("bucket-owner-read", Self::BucketOwnerRead),
        ("bucket-owner-full-control", Self::BucketOwnerFullControl),
        ("log-delivery-write", Self::LogDeliveryWrite),
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(own, _)| *own == name).map(|(_, canned)| canned)
    }

    /// The list for what is `owner`'s in a bucket.
    pub fn list(self, owner: UserId, bucket_owner: UserId) -> Acl {
        use {Grantee as G, Permission as P};
        let others: &[(G, P)] = match self {
            Self::Private | Self::AwsExecRead => &[],
            Self::PublicRead => &[(G::AllUsers, P::Read)],
            Self::PublicReadWrite => &[(G::AllUsers, P::Read), (G::AllUsers, P::Write)],
            Self::AuthenticatedRead => &[(G::AuthenticatedUsers, P::Read)],
            Self::BucketOwnerRead if owner != bucket_owner => &[(G::User(bucket_owner), P::Read)],
            Self::BucketOwnerFullControl if owner != bucket_owner => &[(G::User(bucket_owner), P::FullControl)],
            Self::BucketOwnerRead | Self::BucketOwnerFullControl => &[],
            Self::LogDeliveryWrite => &[(G::LogDelivery, P::Write), (G::LogDelivery, P::ReadAcp)],
        };
        let mut grants = others.to_vec();
        grants.extend(Acl::of_owner(owner).0);
        Acl(grants)
    }
}

/// Whose the objects of a bucket are, and whether there are lists at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ownership {
    /// The bucket's owner's, and there are none.
    #[default]
    BucketOwnerEnforced,
    /// The bucket's owner's where they are put with `bucket-owner-full-control`, else those of who puts them.
    BucketOwnerPreferred,
    /// Those of who puts them.
    ObjectWriter,
    /// The same, and nothing was said about it.
    Unset,
}

impl Ownership {
    const NAMES: [(&'static str, Self); 3] = [
        ("BucketOwnerEnforced", Self::BucketOwnerEnforced),
        ("BucketOwnerPreferred", Self::BucketOwnerPreferred),
        ("ObjectWriter", Self::ObjectWriter),
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find(|(own, _)| *own == name).map(|(_, ownership)| ownership)
    }

    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.into_iter().find(|(_, own)| *own == self).map(|(name, _)| name)
    }

    pub fn has_acls(self) -> bool {
        self != Self::BucketOwnerEnforced
    }

    /// As it is kept with a bucket. `None` for what holds where nothing is kept.
    pub fn encode(self) -> Option<Bytes> {
        self.has_acls().then(|| Bytes::from_static(self.name().unwrap_or_default().as_bytes()))
    }

    /// The inverse. What cannot be read leaves all to the bucket's owner.
    pub fn decode(bytes: Option<&Bytes>) -> Self {
        match bytes.map(|bytes| &**bytes) {
            None => Self::BucketOwnerEnforced,
            Some(b"") => Self::Unset,
            Some(name) => std::str::from_utf8(name).ok().and_then(Self::named).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
#[path = "acl_test.rs"]
mod tests;
