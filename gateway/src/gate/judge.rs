//! Whether an identity may do something, and why. Pure.

use std::sync::Arc;

use cairn_storage::types::UserId;

use super::Identity;
use super::bucket::Bucket;
use super::identity::ACCOUNT;
use crate::acl::{Acl, Permission};
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

/// What is said of an action before the object is known that it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    Denied,
    /// Nothing denies it; whose the object is, and its list, decide.
    OfObject,
}

/// An object: whose it is, and its list.
pub type Of<'a> = (UserId, &'a Acl);

/// Judges an action on a bucket, or, where `key` is not empty, on a key in it. `context` is asked for where there are
/// policies only.
pub fn of_bucket<'c>(
    caller: &Identity,
    action: &str,
    found: &Bucket,
    key: &str,
    context: impl FnOnce() -> &'c Context<'c>,
) -> Verdict {
    let waits = is_of_object(found, action, key);
    match (about_bucket(caller, action, found, (key, None), context, |decision, _| decision.allowed), waits) {
        (false, _) => Verdict::Denied,
        (true, false) => Verdict::Allowed,
        (true, true) => Verdict::OfObject,
    }
}

/// Whether an action is judged by the object that it is on.
pub fn is_of_object(found: &Bucket, action: &str, key: &str) -> bool {
    found.ownership.has_acls() && !key.is_empty() && Permission::of_object(action).is_some()
}

/// Judges an action on an object, of which `of_bucket` said that the object decides.
pub fn of_object<'c>(
    caller: &Identity,
    action: &str,
    found: &Bucket,
    (key, object): (&str, Of<'_>),
    context: impl FnOnce() -> &'c Context<'c>,
) -> bool {
    about_bucket(caller, action, found, (key, Some(object)), context, |decision, _| decision.allowed)
}

/// The same as either, with the reason.
pub fn explain(
    caller: &Identity,
    action: &str,
    found: &Bucket,
    on: (&str, Option<Of<'_>>),
    context: &Context<'_>,
) -> Explained {
    about_bucket(
        caller,
        action,
        found,
        on,
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
    (key, object): (&str, Option<Of<'_>>),
    context: impl FnOnce() -> &'c Context<'c>,
    then: impl FnOnce(&Decision<'_>, &Grounds<'_>) -> T,
) -> T {
    let rights = caller.rights();
    let layer = rights.narrowing.as_deref();
    // What the owner of the bucket allows is about what is the owner's.
    let others = object.filter(|(owner, _)| *owner != found.entry.owner);
    let other = others.map(|(owner, _)| owner.to_string());
    let grounds = Grounds {
        user: &rights.user,
        groups: &rights.groups,
        narrowing: layer.as_slice(),
        bucket: if others.is_none() { found.policy.as_ref() } else { None },
        owner: Some(Owner { account: ACCOUNT, canonical_id: other.as_ref().unwrap_or(&found.owner) }),
    };
    let who = found.who(caller);
    let granted = || match (object, Permission::of_object(action)) {
        _ if !found.ownership.has_acls() => false,
        (Some((_, list)), Some(wanted)) => list.grants(who, wanted),
        // It is yet to be seen.
        (None, Some(_)) => !key.is_empty(),
        (_, None) => Permission::of_bucket(action).is_some_and(|wanted| found.acl.grants(who, wanted)),
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
        return then(&decide(&asked, &grounds, granted), &grounds);
    }
    if key.is_empty() && action == OF_LATER_KEYS[0] {
        // Each key is judged by itself. Whose keys are all denied need not send them.
        let own = rights.user.iter().chain(&rights.groups).map(|policy| &**policy);
        let could = |policy: &Policy| OF_LATER_KEYS.iter().any(|action| policy.could_allow(&principal, action));
        let because = match () {
            () if caller.is_root() => Because::Root,
            () if caller.id == found.entry.owner => Because::Owner,
            () if own.chain(grounds.bucket).any(could) => Because::SomeKeys,
            () if granted() => Because::Acl,
            () => Because::Nothing,
        };
        return then(&Decision { allowed: because != Because::Nothing, because }, &grounds);
    }
    let resource = match key {
        "" => format!("arn:aws:s3:::{}", found.entry.name),
        key => format!("arn:aws:s3:::{}/{key}", found.entry.name),
    };
    let asked = Asked { principal: &principal, action, resource: &resource, context: context() };
    then(&decide(&asked, &grounds, granted), &grounds)
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
