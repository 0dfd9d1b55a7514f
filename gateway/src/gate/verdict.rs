//! Whether an identity may do something, and why. Pure.

use cairn_storage::types::UserId;

use super::Identity;
use crate::error::{Code, S3Error};

/// What is asked for: an action of IAM on a bucket, or on a key in it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// As in a policy: `s3:GetObject`.
    pub action: &'a str,
    /// Empty where it is about no bucket.
    pub bucket: &'a str,
    /// Empty where it is about the bucket.
    pub key: &'a str,
    /// Of the bucket; `None` where there is none yet.
    pub owner: Option<UserId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed(Why),
    Denied(Why),
}

/// What a verdict rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Root may do everything.
    Root,
    /// The bucket is the caller's own.
    Owner,
    /// Every user may list the own buckets and make new ones.
    AnyUser,
    /// The bucket is another user's.
    NotOwner,
}

impl Verdict {
    /// # Errors
    /// `AccessDenied`.
    pub fn or_error(self) -> Result<(), S3Error> {
        match self {
            Self::Allowed(_) => Ok(()),
            Self::Denied(_) => Err(Code::AccessDenied.into()),
        }
    }
}

/// Judges by ownership.
pub fn judge(caller: &Identity, asked: &Asked<'_>) -> Verdict {
    match asked.owner {
        _ if caller.root => Verdict::Allowed(Why::Root),
        None => Verdict::Allowed(Why::AnyUser),
        Some(owner) if owner == caller.id => Verdict::Allowed(Why::Owner),
        Some(_) => Verdict::Denied(Why::NotOwner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_its_owners_and_roots() {
        let identity =
            |id, root| Identity { id: UserId([id; 16]), name: String::new(), display_name: String::new(), root };
        let of = |owner: Option<u8>| Asked {
            action: "s3:GetObject",
            bucket: "b",
            key: "k",
            owner: owner.map(|id| UserId([id; 16])),
        };
        assert_eq!(judge(&identity(1, false), &of(Some(1))), Verdict::Allowed(Why::Owner));
        assert_eq!(judge(&identity(2, false), &of(Some(1))), Verdict::Denied(Why::NotOwner));
        assert_eq!(judge(&identity(2, true), &of(Some(1))), Verdict::Allowed(Why::Root));
        assert_eq!(judge(&identity(2, false), &of(None)), Verdict::Allowed(Why::AnyUser));
        assert!(Verdict::Denied(Why::NotOwner).or_error().is_err());
    }
}
