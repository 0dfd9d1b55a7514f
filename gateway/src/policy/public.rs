//! Whether a bucket policy is public: GetBucketPolicyStatus, BlockPublicPolicy and RestrictPublicBuckets ask.
//!
//! S3 User Guide, "Blocking public access to your Amazon S3 storage", "The meaning of public": a policy is public unless
//! all that it allows is for fixed principals, or under conditions that hold one of some keys to fixed values. Fixed is
//! what has neither a wildcard nor a variable in it.

use super::Policy;
use super::condition::{Condition, Set, Test};
use super::network::{Network, are_broad};
use super::principal::Named;
use super::statement::{Effect, Statement};

/// The keys whose fixed values make a statement not public, in lower case, beside `aws:SourceIp` and
/// `s3:DataAccessPointArn`.
const NARROWING_KEYS: &[&str] = &[
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:principalservicename",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceowner",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "s3:dataaccesspointaccount",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
];

/// What requests without a signature have in keys that say who asks. To hold such a key to it narrows nothing.
const ANONYMOUS: &str = "anonymous";

/// Whether this bucket policy allows anything to the public. What statements allow under a condition on `aws:SourceIp`
/// is judged by all their networks together.
pub fn is_public(policy: &Policy) -> bool {
    let allowed: Option<Vec<&[Network]>> = policy.statements.iter().map(allowed_from).collect();
    allowed.is_none_or(|networks| are_broad(networks.into_iter().flatten()))
}

/// The networks from which it allows something to everyone: none where it allows nothing to everyone. `None` where it
/// allows it from everywhere.
fn allowed_from(statement: &Statement) -> Option<&[Network]> {
    // An identity provider is no fixed principal: anybody may have an account with it.
    let fixed = |named: &Named| !matches!(named, Named::Everyone | Named::Federated(_));
    let fixed_principals =
        statement.principals.as_ref().is_none_or(|principals| !principals.not && principals.named.iter().all(fixed));
    // What holds where its key is absent, or holds for all but few, narrows nothing.
    let mut conditions = statement
        .conditions
        .iter()
        .filter(|condition| !condition.not && !condition.if_exists && condition.set != Set::All);
    if statement.effect == Effect::Deny || fixed_principals || conditions.clone().any(narrows) {
        return Some(&[]);
    }
    conditions.find_map(|condition| match (&*condition.key, &condition.test) {
        ("aws:sourceip", Test::Address(networks)) if !are_broad(networks) => Some(&**networks),
        _ => None,
    })
}

/// Whether it holds for few only, from wherever they ask.
fn narrows(condition: &Condition) -> bool {
    match (&*condition.key, &condition.test) {
        ("s3:dataaccesspointarn", Test::Arn(arns)) => arns.iter().all(|arn| arn.has_fixed_account()),
        ("s3:dataaccesspointarn", Test::Text(texts)) => texts.iter().all(|text| text.is_fixed()),
        (key, Test::Text(texts)) if NARROWING_KEYS.contains(&key) => {
            texts.iter().all(|text| text.is_fixed() && !text.may_match(ANONYMOUS))
        }
        (key, Test::Arn(arns)) if NARROWING_KEYS.contains(&key) => arns.iter().all(|arn| arn.is_fixed()),
        _ => false,
    }
}

#[cfg(test)]
#[path = "public_test.rs"]
mod tests;
