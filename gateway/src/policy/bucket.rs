//! What a bucket's policy must be beside being well written: about that bucket, and with actions that its resources have.
//! S3 refuses all else with `MalformedPolicy`.

use super::actions::{OF_BUCKETS, OF_OBJECTS};
use super::arn::ArnPattern;
use super::principal::Named;
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

    /// Whether those whom it names can be anybody: users and accounts of this account. Services and identity providers are
    /// named by whoever likes.
    ///
    /// # Errors
    /// The first one who cannot. The problem is S3's own text and the name.
    pub fn check_principals(&self, account: &str) -> Result<(), Fault> {
        let of_users = format!("arn:aws:iam::{account}:user/");
        let can_be = |named: &Named| match named {
            Named::Account(named) => **named == *account,
            Named::Arn(arn) => arn.starts_with(&of_users),
            Named::Canonical(id) => id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            Named::Everyone | Named::Service(_) | Named::Federated(_) => true,
        };
        for statement in &self.statements {
            let Some(principals) = &statement.principals else { continue };
            if let Some(named) = principals.named.iter().find(|named| !can_be(named)) {
                let element = if principals.not { "NotPrincipal" } else { "Principal" };
                let problem = format!("Invalid principal in policy: {}", named.name());
                return Err(Fault { path: format!("{}.{element}", statement.path), problem });
            }
        }
        Ok(())
    }

    /// Holds the condition keys, and those of the variables, against the ones that there are. `known` is asked for each
    /// by its full name in lower case (`s3:existingobjecttag/color`).
    ///
    /// # Errors
    /// The first key that is not known. The problem is S3's own text and the key.
    pub fn check_keys(&self, known: impl Fn(&str) -> bool) -> Result<(), Fault> {
        let fault = |path: String, key| Fault { path, problem: format!("Policy has an invalid condition key: {key}") };
        for statement in &self.statements {
            let mut of_resources = statement.resources.any_of.iter().flat_map(ArnPattern::keys);
            if let Some(key) = of_resources.find(|key| !known(key)) {
                let element = if statement.resources.not { "NotResource" } else { "Resource" };
                return Err(fault(format!("{}.{element}", statement.path), key));
            }
            for condition in &statement.conditions {
                if let Some(key) = condition.keys().find(|key| !known(key)) {
                    return Err(fault(condition.path.to_string(), key));
                }
            }
        }
        Ok(())
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
        let among = |actions: &[&str]| actions.iter().any(|known| action.matches(known));
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

#[cfg(test)]
#[path = "bucket_test.rs"]
mod tests;
