//! All policies together: may this caller do it, and what decided.
//!
//! In this order, as IAM's "Policy evaluation logic" and S3's "How Amazon S3 authorizes a request" have it:
//!
//! 1. An explicit deny in any policy decides. The policies of users and groups do not bind root; and a bucket's policy
//!    keeps neither root of the bucket's account nor the owner of the bucket from what would put the policy right (Get-,
//!    Put-, DeleteBucketPolicy). A session of the owner is not the owner in this: nor is one of root in AWS.
//! 2. Within the account that has the bucket one permission is enough: of root, of the owner of the bucket, of a policy
//!    of the user or of a group, of the bucket's policy (where it names the caller or everyone: what it allows to the
//!    account is for the account to hand on), or of an ACL.
//! 3. A user of another account needs two: a policy of its own account, and the bucket's policy or an ACL. The root user
//!    of another account needs the latter, anonymous callers and services as well.
//! 4. Where rights are narrowed, by the policies of the access key or of the session, these must allow it, too. They do
//!    not narrow what the bucket's policy allows, within the account, to a session by its own ARN or to everyone; a key
//!    they narrow in all it does.
//!
//! Cairn's own is ownership: in AWS it is the account that owns a bucket, here each user owns those that they made, may
//! do with them what no policy denies, and is like root of the account there.

use std::fmt;
use std::sync::Arc;

use super::context::Asked;
use super::principal::{Grantee, Principal};
use super::{Policy, StatementRef, Verdict};

/// What has a say in a decision.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grounds<'a> {
    /// Of the user, or of the role of a session.
    pub user: &'a [Arc<Policy>],
    /// Of the groups that the user is in.
    pub groups: &'a [Arc<Policy>],
    /// What narrows the caller's rights: the policies of the access key, those of the session. Of each layer one policy
    /// must allow it; a layer without policies allows nothing.
    pub narrowing: &'a [&'a [Arc<Policy>]],
    /// Of the bucket that it is about.
    pub bucket: Option<&'a Policy>,
    /// Who owns that bucket. `None` where it is about none (ListBuckets), and decided within the caller's account: by
    /// its policies alone. For what everyone may do with what is theirs, the caller stands here.
    pub owner: Option<Owner<'a>>,
}

/// Who owns a bucket.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub account: &'a str,
    pub canonical_id: &'a str,
}

/// May it, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'a> {
    pub allowed: bool,
    pub because: Because<'a>,
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because<'a> {
    /// The caller is the root user of the account.
    Root,
    /// The caller owns the bucket.
    Owner,
    /// This statement allows it, and nothing denies it.
    Allows(Source, StatementRef<'a>),
    /// An ACL grants it, and nothing denies it.
    Acl,
    /// This statement denies it, whatever else allows it.
    Denies(Source, StatementRef<'a>),
    /// Of some keys a policy could allow it; each is judged by itself.
    SomeKeys,
    /// Nothing allows it.
    Nothing,
    /// It would be allowed, were it not for this layer of what narrows the caller's rights.
    Narrowed(usize),
    /// The bucket is another account's, which allows it; the caller's own does not.
    OwnAccount,
    /// The caller's account allows it; the bucket is another account's, which does not.
    OtherAccount,
}

/// Whose policy it was, counted from 0 in [`Grounds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    User(usize),
    Group(usize),
    Narrowing { layer: usize, policy: usize },
    Bucket,
}

/// Decides. `acl` says whether an ACL grants it, and is asked only where it matters.
pub fn decide<'a>(asked: &Asked, grounds: &Grounds<'a>, acl: impl FnOnce() -> bool) -> Decision<'a> {
    let (allowed, because) = match judge(asked, grounds, acl) {
        Ok(because) => (true, because),
        Err(because) => (false, because),
    };
    Decision { allowed, because }
}

/// The reason for which it is allowed; as an error, the one for which it is not.
fn judge<'a>(asked: &Asked, grounds: &Grounds<'a>, acl: impl FnOnce() -> bool) -> Result<Because<'a>, Because<'a>> {
    let caller = asked.principal;
    let at_home =
        caller.account().is_some() && grounds.owner.is_none_or(|owner| caller.account() == Some(owner.account));
    let is_root = matches!(caller, Principal::Root(_));
    let owns = at_home && grounds.owner.is_some_and(|owner| caller.is_canonical(owner.canonical_id));
    let never_locked_out = at_home && is_root || owns && matches!(caller, Principal::User(_));

    // Every deny there is, before any permission.
    let own = match caller {
        Principal::User(_) | Principal::Session(_) => own_policies(asked, grounds)?,
        Principal::Anonymous | Principal::Root(_) | Principal::Service(_) => None,
    };
    let narrowed = narrowing(asked, grounds.narrowing)?;
    let by_bucket = match grounds.bucket.map_or(Verdict::Silent, |policy| policy.evaluate(asked)) {
        Verdict::Deny(_) if never_locked_out && puts_policy_right(asked.action) => None,
        Verdict::Deny(statement) => return Err(Because::Denies(Source::Bucket, statement)),
        Verdict::Allow(statement) => Some(statement),
        Verdict::Silent => None,
    };
    let bucket_allows = |statement| Because::Allows(Source::Bucket, statement);

    if at_home
        && matches!(caller, Principal::Session(_))
        && let Some(statement) = by_bucket
        && matches!(statement.grantee, Grantee::Caller | Grantee::Everyone)
    {
        return Ok(bucket_allows(statement));
    }
    let because = if at_home {
        let named = by_bucket.filter(|statement| statement.grantee != Grantee::Account).map(bucket_allows);
        match own.or(named) {
            _ if is_root => Because::Root,
            _ if owns => Because::Owner,
            Some(because) => because,
            None if acl() => Because::Acl,
            None => return Err(Because::Nothing),
        }
    } else {
        let theirs = by_bucket.map(bucket_allows).or_else(|| acl().then_some(Because::Acl));
        let needs_own = matches!(caller, Principal::User(_) | Principal::Session(_));
        match (theirs, own) {
            (Some(because), own) if own.is_some() || !needs_own => because,
            (Some(_), _) => return Err(Because::OwnAccount),
            (None, Some(_)) => return Err(Because::OtherAccount),
            (None, None) => return Err(Because::Nothing),
        }
    };
    narrowed.map_or(Ok(because), |layer| Err(Because::Narrowed(layer)))
}

/// The first permission of the caller's own policies.
fn own_policies<'a>(asked: &Asked, grounds: &Grounds<'a>) -> Result<Option<Because<'a>>, Because<'a>> {
    let users = grounds.user.iter().enumerate().map(|(index, policy)| (Source::User(index), policy));
    let groups = grounds.groups.iter().enumerate().map(|(index, policy)| (Source::Group(index), policy));
    first_allow(asked, users.chain(groups))
}

/// The first layer that does not allow it.
fn narrowing<'a>(asked: &Asked, layers: &[&'a [Arc<Policy>]]) -> Result<Option<usize>, Because<'a>> {
    let mut silent = None;
    for (layer, policies) in layers.iter().enumerate() {
        let source = |policy| Source::Narrowing { layer, policy };
        let policies = policies.iter().enumerate().map(|(index, policy)| (source(index), policy));
        if first_allow(asked, policies)?.is_none() {
            silent = silent.or(Some(layer));
        }
    }
    Ok(silent)
}

fn first_allow<'a>(
    asked: &Asked,
    policies: impl Iterator<Item = (Source, &'a Arc<Policy>)>,
) -> Result<Option<Because<'a>>, Because<'a>> {
    let mut allowed = None;
    for (source, policy) in policies {
        match policy.evaluate(asked) {
            Verdict::Deny(statement) => return Err(Because::Denies(source, statement)),
            Verdict::Allow(statement) => allowed = allowed.or(Some(Because::Allows(source, statement))),
            Verdict::Silent => {}
        }
    }
    Ok(allowed)
}

/// S3 API Reference, "PutBucketPolicy": root of the bucket's account can do these even where the policy denies it, so
/// that nobody locks themselves out.
fn puts_policy_right(action: &str) -> bool {
    ["s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"].contains(&action)
}

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the caller is root"),
            Self::Owner => f.write_str("the caller owns the bucket"),
            Self::Allows(source, statement) => write!(f, "{statement} of {source} allows it"),
            Self::Acl => f.write_str("an ACL grants it"),
            Self::Denies(source, statement) => write!(f, "{statement} of {source} denies it"),
            Self::SomeKeys => f.write_str("a policy could allow it of some keys, each of which is judged by itself"),
            Self::Nothing => f.write_str("nothing allows it"),
            Self::Narrowed(layer) => {
                write!(f, "the policy that narrows the caller's rights ({}) does not allow it", layer + 1)
            }
            Self::OwnAccount => f.write_str("no policy of the caller's own account allows it"),
            Self::OtherAccount => f.write_str("the account that owns the bucket does not allow it"),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(index) => write!(f, "policy {} of the user", index + 1),
            Self::Group(index) => write!(f, "policy {} of the groups", index + 1),
            Self::Narrowing { layer, policy } => write!(f, "narrowing policy {}.{}", layer + 1, policy + 1),
            Self::Bucket => f.write_str("the bucket's policy"),
        }
    }
}

#[cfg(test)]
#[path = "decide_test.rs"]
mod tests;
