//! What a bucket's policy must be beside being well written: about that bucket, and with actions that its resources have.
//! S3 refuses all else with `MalformedPolicy`.

use super::actions::{OF_BUCKETS, OF_OBJECTS};
use super::arn::ArnPattern;
use super::pattern::Pattern;
use super::statement::Statement;
use super::{Fault, Policy};

impl Policy {
    /// Holds the policy against the bucket that it is to be attached to. A resource with wildcards, or with variables,
    /// is of the bucket where it can match it or a key in it.
    ///
    /// # Errors
    /// The first statement with a resource of another bucket, an action that S3 does not have, or an action that applies
    /// to none of the statement's resources. The problem is S3's own text.
    pub fn check_bucket(&self, bucket: &str) -> Result<(), Fault> {
        self.statements.iter().try_for_each(|statement| check(statement, bucket))
    }
}

fn check(statement: &Statement, bucket: &str) -> Result<(), Fault> {
    let fault = |element: &str, problem: &str| {
        Err(Fault { path: format!("{}.{element}", statement.path), problem: problem.to_owned() })
    };
    let of_bucket = |arn: &ArnPattern| arn.may_match_bucket(bucket);
    let of_keys = |arn: &ArnPattern| arn.may_match_key_of(bucket);
    let resources = &statement.resources;
    // NotResource leaves out what it names, and is about the rest: of the bucket, and of its keys.
    if !resources.not && !resources.any_of.iter().all(|arn| of_bucket(arn) || of_keys(arn)) {
        return fault("Resource", "Policy has invalid resource");
    }
    let for_bucket = resources.not || resources.any_of.iter().any(of_bucket);
    let for_keys = resources.not || resources.any_of.iter().any(of_keys);
    if statement.actions.not {
        return Ok(());
    }
    for action in &statement.actions.any_of {
        let among = |actions: &[&str]| actions.iter().any(|known| is(action, known));
        let (bucket_action, key_action) = (among(OF_BUCKETS), among(OF_OBJECTS));
        if !bucket_action && !key_action {
            return fault("Action", "Policy has invalid action");
        }
        if !(bucket_action && for_bucket || key_action && for_keys) {
            return fault("Action", "Action does not apply to any resource(s) in statement");
        }
    }
    Ok(())
}

/// Whether the pattern, which has no variables, is for this action.
fn is(pattern: &Pattern, action: &str) -> bool {
    matches!(pattern, Pattern::Fixed(glob) if glob.matches(action))
}

#[cfg(test)]
#[path = "bucket_test.rs"]
mod tests;
