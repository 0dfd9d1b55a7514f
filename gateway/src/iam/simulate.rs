//! `SimulatePrincipalPolicy`: what the policies of a user and of its groups say by themselves, without the ownership of
//! buckets, their policies, and conditions on a request. `cairn explain access` says what a request would be told.

use cairn_storage::meta::RootCommand;
use cairn_storage::types::now_ms;

use super::ask::{Ask, identity, invalid};
use crate::error::S3Error;
use crate::gate::{Said, would};
use crate::policy::{Context, Value};
use crate::xml::Document;

/// How many answers there are at most to one question.
const MAX_ANSWERS: usize = 100;

/// The longest action or resource that is asked about, in bytes.
const MAX_LEN: usize = 1_024;

/// The most bytes of policies, for each question, together.
const MAX_WORK: usize = 1 << 20;

pub(super) fn simulate(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let user = ask.user_of_name(ask.source()?)?;
    let (actions, mut resources) = (members(ask, "ActionNames.member."), members(ask, "ResourceArns.member."));
    if actions.is_empty() {
        return Err(invalid("The parameter ActionNames must be there."));
    }
    if resources.is_empty() {
        resources.push("*");
    }
    let too_long = |text: &&str| text.len() > MAX_LEN;
    if actions.len() * resources.len() > MAX_ANSWERS || actions.iter().chain(&resources).any(too_long) {
        return Err(invalid(format!("There are more than {MAX_ANSWERS} questions, or one is too long.")));
    }
    let caller = identity(ask.table, user);
    // Each pattern of each policy is held against each text.
    let policies = caller.rights().user.iter().chain(&caller.rights().groups);
    let len: usize = policies.map(|policy| policy.text().len()).sum();
    if len.saturating_mul(actions.len() * resources.len()) > MAX_WORK {
        return Err(invalid("The user has too many policies for so many questions at once."));
    }
    let context = Context::new().with("aws:currenttime", Value::Time(now_ms()));
    document.open("EvaluationResults");
    for action in actions {
        for resource in &resources {
            let decision = match would(&caller, action, resource, &context) {
                Said::Allowed => "allowed",
                Said::Denied => "explicitDeny",
                Said::Nothing => "implicitDeny",
            };
            document.open("member").text("EvalActionName", action).text("EvalResourceName", resource);
            document.text("EvalDecision", decision).close();
        }
    }
    document.close().text("IsTruncated", "false");
    Ok(None)
}

/// The values of a list, in the order of the form.
fn members<'a>(ask: &Ask<'a>, start: &str) -> Vec<&'a str> {
    let pairs = ask.params.0.iter().filter(|(name, _)| name.starts_with(start));
    pairs.map(|(_, value)| value.as_str()).collect()
}
