//! Whether a bucket policy is public: GetBucketPolicyStatus, BlockPublicPolicy and RestrictPublicBuckets ask.
//!
//! S3 User Guide, "Blocking public access to your Amazon S3 storage", "The meaning of public": a policy is public unless
//! all that it allows is for fixed principals, or under conditions that hold one of some keys to fixed values. Fixed is
//! what has neither a wildcard nor a variable in it.

use super::Policy;
use super::condition::{Condition, Set, Test};
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

/// Whether this bucket policy allows anything to the public.
pub fn is_public(policy: &Policy) -> bool {
    policy.statements.iter().any(allows_the_public)
}

fn allows_the_public(statement: &Statement) -> bool {
    // An identity provider is no fixed principal: anybody may have an account with it.
    let fixed = |named: &Named| !matches!(named, Named::Everyone | Named::Federated(_));
    let fixed_principals =
        statement.principals.as_ref().is_none_or(|principals| !principals.not && principals.named.iter().all(fixed));
    statement.effect == Effect::Allow && !fixed_principals && !statement.conditions.iter().any(narrows)
}

/// Whether it holds for few only, and not where its key is absent.
fn narrows(condition: &Condition) -> bool {
    if condition.not || condition.if_exists || condition.set == Set::All {
        return false;
    }
    match (&*condition.key, &condition.test) {
        ("aws:sourceip", Test::Address(networks)) => !networks.iter().any(|network| network.is_broad()),
        ("s3:dataaccesspointarn", Test::Arn(arns)) => arns.iter().all(|arn| arn.has_fixed_account()),
        ("s3:dataaccesspointarn", Test::Text(texts)) => texts.iter().all(|text| text.is_fixed()),
        (key, Test::Text(texts)) if NARROWING_KEYS.contains(&key) => texts.iter().all(|text| text.is_fixed()),
        (key, Test::Arn(arns)) if NARROWING_KEYS.contains(&key) => arns.iter().all(|arn| arn.is_fixed()),
        _ => false,
    }
}

#[cfg(test)]
#[path = "public_test.rs"]
mod tests;
