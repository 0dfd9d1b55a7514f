//! Whether an identity may do something, and why. Pure.

use std::sync::Arc;

use super::Identity;
use super::bucket::Bucket;
use super::identity::ACCOUNT;
use crate::policy::{Asked, Because, Context, Decision, Grounds, Owner, Policy, Source, decide};

/// The action on keys of an operation that names none before its body is read, DeleteObjects; and what it comes to where
/// the body names a version.
const OF_LATER_KEYS: [&str; 2] = ["s3:DeleteObject", "s3:DeleteObjectVersion"];

/// A verdict, and why.
#[derive(Debug)]
pub struct Explained {
    pub allowed: bool,
    pub because: String,
    /// The statement that decided, as it stands in its policy.
    pub statement: Option<String>,
}

/// Judges an action on a bucket, or, where `key` is not empty, on a key in it. `context` is asked for where there are
/// policies only.
pub fn of_bucket<'c>(
    caller: &Identity,
    action: &str,
    found: &Bucket,
    key: &str,
    context: impl FnOnce() -> &'c Context<'c>,
) -> bool {
    about_bucket(caller, action, found, key, context, |decision, _| decision.allowed)
}

/// The same, with the reason.
pub fn explain(caller: &Identity, action: &str, found: &Bucket, key: &str, context: &Context<'_>) -> Explained {
    about_bucket(
        caller,
        action,
        found,
        key,
        || context,
        |decision, grounds| {
            let statement = match decision.because {
                Because::Allows(source, statement) | Because::Denies(source, statement) => {
                    policy_of(source, grounds).and_then(|policy| policy.statement(statement.index))
                }
                _ => None,
            };
            Explained { allowed: decision.allowed, because: decision.because.to_string(), statement }
        },
    )
}

fn policy_of<'a>(source: Source, grounds: &Grounds<'a>) -> Option<&'a Policy> {
    let of = |policies: &'a [Arc<Policy>], index: usize| policies.get(index).map(|policy| &**policy);
    match source {
        Source::User(index) => of(grounds.user, index),
        Source::Group(index) => of(grounds.groups, index),
        Source::Narrowing { layer, policy } => of(grounds.narrowing.get(layer)?, policy),
        Source::Bucket => grounds.bucket,
    }
}

fn about_bucket<'c, T>(
    caller: &Identity,
    action: &str,
    found: &Bucket,
    key: &str,
    context: impl FnOnce() -> &'c Context<'c>,
    then: impl FnOnce(&Decision<'_>, &Grounds<'_>) -> T,
) -> T {
    let rights = caller.rights();
    let layer = rights.narrowing.as_deref();
    let grounds = Grounds {
        user: &rights.user,
        groups: &rights.groups,
        narrowing: layer.as_slice(),
        bucket: found.policy.as_ref(),
        owner: Some(Owner { account: ACCOUNT, canonical_id: &found.owner }),
    };
    let denied = Decision { allowed: false, because: Because::Nothing };
    let restricted = found.is_public && found.block.is_some_and(|block| block.restrict_public_buckets);
    if caller.is_anonymous() && (restricted || !is_for_everybody(action)) {
        return then(&denied, &grounds);
    }
    let principal = caller.principal();
    let nothing = Context::new();
    if found.policy.is_none() && rights.is_empty() {
        let asked = Asked { principal: &principal, action, resource: "", context: &nothing };
        return then(&decide(&asked, &grounds, || false), &grounds);
    }
    if key.is_empty() && action == OF_LATER_KEYS[0] {
        // Each key is judged by itself. Whose keys are all denied need not send them.
        let own = rights.user.iter().chain(&rights.groups).map(|policy| &**policy);
        let could = |policy: &Policy| OF_LATER_KEYS.iter().any(|action| policy.could_allow(&principal, action));
        let because = match () {
            () if caller.is_root() => Because::Root,
            () if caller.id == found.entry.owner => Because::Owner,
            () if own.chain(grounds.bucket).any(could) => Because::SomeKeys,
            () => Because::Nothing,
        };
        return then(&Decision { allowed: because != Because::Nothing, because }, &grounds);
    }
    let resource = match key {
        "" => format!("arn:aws:s3:::{}", found.entry.name),
        key => format!("arn:aws:s3:::{}/{key}", found.entry.name),
    };
    let asked = Asked { principal: &principal, action, resource: &resource, context: context() };
    then(&decide(&asked, &grounds, || false), &grounds)
}

/// Judges what is about no bucket, or about one that is yet to be made: every user may do it with what is theirs, unless a
/// policy denies it.
pub fn of_service<'c>(
    caller: &Identity,
    action: &str,
    bucket: &str,
    context: impl FnOnce() -> &'c Context<'c>,
) -> bool {
    let rights = caller.rights();
    let layer = rights.narrowing.as_deref();
    let id = caller.id.to_string();
    let grounds = Grounds {
        user: &rights.user,
        groups: &rights.groups,
        narrowing: layer.as_slice(),
        bucket: None,
        owner: Some(Owner { account: ACCOUNT, canonical_id: &id }),
    };
    let nothing = Context::new();
    let resource = if bucket.is_empty() { "arn:aws:s3:::*".to_owned() } else { format!("arn:aws:s3:::{bucket}") };
    let context = if rights.is_empty() { &nothing } else { context() };
    let asked = Asked { principal: &caller.principal(), action, resource: &resource, context };
    decide(&asked, &grounds, || false).allowed
}

/// What a policy can allow to whoever sends no signature: what is about data, and never what changes or shows how the
/// bucket is set up.
fn is_for_everybody(action: &str) -> bool {
    const OF_BUCKETS: &[&str] =
        &["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation"];
    action.contains("Object") && !action.contains("Acl") && !action.contains("Bucket")
        || action.contains("MultipartUpload")
        || OF_BUCKETS.contains(&action)
}

#[cfg(test)]
#[path = "judge_test.rs"]
mod tests;
