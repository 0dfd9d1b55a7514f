//! Policies that can be attached. Those that are built in are AWS's own, as their ARNs have it.

use std::collections::HashMap;

use cairn_storage::meta::RootCommand;
use cairn_storage::meta::query::UserTable;
use cairn_storage::types::now_ms;

use super::ask::{Ask, invalid, no_such, no_such_policy};
use super::not_built;
use super::show::{self, Managed};
use crate::admin::identities::{checked, good_policy};
use crate::error::{Code, S3Error};
use crate::policy::{Kind, builtin};
use crate::xml::Document;

/// The text of a policy that a parameter has, which has been read and found good.
pub(super) fn text(ask: &Ask<'_>) -> Result<String, S3Error> {
    good_policy(ask.text("PolicyDocument")?.as_bytes(), Kind::Identity)
}

/// `CreatePolicy`.
pub(super) fn create(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    ask.check_path()?;
    let name = checked(ask.name("PolicyName")?)?;
    if all(ask.table).any(|policy| policy.name == name) {
        return Err(S3Error::with(Code::EntityAlreadyExists, format!("A policy called {name} already exists.")));
    }
    let (text, now) = (text(ask)?, now_ms());
    let policy = Managed { name: &name, text: &text, created_ms: now, updated_ms: now };
    show::policy(document.open("Policy"), &policy, 0);
    document.close();
    Ok(Some(RootCommand::PutPolicy { name, text }))
}

/// `CreatePolicyVersion`: the new text takes the place of the one that is there.
pub(super) fn create_version(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let name = own(ask)?;
    if ask.optional("SetAsDefault") != Some("true") {
        return Err(not_built("a version of a policy that is not the default one"));
    }
    let (text, now) = (text(ask)?, now_ms());
    let policy = Managed { name, text: &text, created_ms: now, updated_ms: now };
    show::version(document.open("PolicyVersion"), &policy, false);
    document.close();
    Ok(Some(RootCommand::PutPolicy { name: name.to_owned(), text }))
}

/// `GetPolicy`.
pub(super) fn get(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let policy = named(ask)?;
    let attached = attachments(ask.table).get(policy.name).copied().unwrap_or_default();
    show::policy(document.open("Policy"), &policy, attached);
    document.close();
    Ok(None)
}

/// `GetPolicyVersion`.
pub(super) fn get_version(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let (policy, version) = (named(ask)?, ask.name("VersionId")?);
    if version != "v1" {
        return Err(no_such("policy version", version));
    }
    show::version(document.open("PolicyVersion"), &policy, true);
    document.close();
    Ok(None)
}

/// `ListPolicyVersions`.
pub(super) fn list_versions(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let versions = [named(ask)?];
    ask.page(document, "Versions", &versions, |_| "v1", |document, policy| show::version(document, policy, false))?;
    Ok(None)
}

/// `ListPolicies`.
pub(super) fn list(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let attached = attachments(ask.table);
    let count = |policy: &Managed<'_>| attached.get(policy.name).copied().unwrap_or_default();
    let scope = ask.optional("Scope").unwrap_or("All");
    if !["All", "AWS", "Local"].contains(&scope) {
        return Err(invalid("The Scope is All, AWS or Local."));
    }
    let only_attached = ask.optional("OnlyAttached") == Some("true");
    let is_wanted = |policy: &Managed<'_>| {
        let of_scope = scope == "All" || (scope == "AWS") == builtin::find(policy.name).is_some();
        of_scope && ask.is_at_prefix() && (!only_attached || count(policy) > 0)
    };
    let mut policies: Vec<_> = all(ask.table).filter(is_wanted).collect();
    policies.sort_unstable_by_key(|policy| policy.name);
    let show = |document: &mut Document, policy: &Managed<'_>| show::policy(document, policy, count(policy));
    ask.page(document, "Policies", &policies, |policy| policy.name, show)?;
    Ok(None)
}

/// `DeletePolicy`.
pub(super) fn delete(ask: &Ask<'_>) -> Result<RootCommand, S3Error> {
    Ok(RootCommand::RemovePolicy { name: own(ask)?.to_owned() })
}

/// The policy that `PolicyArn` names.
pub(super) fn named<'a>(ask: &Ask<'a>) -> Result<Managed<'a>, S3Error> {
    let (name, arn) = ask.policy_arn()?;
    all(ask.table).find(|policy| policy.name == name).ok_or_else(|| no_such_policy(arn))
}

/// The name of one that can be changed.
fn own<'a>(ask: &Ask<'a>) -> Result<&'a str, S3Error> {
    let policy = named(ask)?;
    match builtin::find(policy.name) {
        Some(_) => Err(S3Error::with(Code::UnmodifiableEntity, "The policy is built in.")),
        None => Ok(policy.name),
    }
}

fn all(table: &UserTable) -> impl Iterator<Item = Managed<'_>> {
    let builtin = builtin::ALL.iter().map(|(name, text)| Managed { name, text, created_ms: 0, updated_ms: 0 });
    let own = table.policies.iter().filter(|policy| builtin::find(&policy.name).is_none()).map(|policy| Managed {
        name: &policy.name,
        text: &policy.text,
        created_ms: policy.created_ms,
        updated_ms: policy.updated_ms,
    });
    builtin.chain(own)
}

/// To how many each policy is attached.
fn attachments(table: &UserTable) -> HashMap<&str, usize> {
    let mut attached = HashMap::new();
    let of_users = table.rights.iter().flat_map(|(_, rights)| &rights.policies);
    for name in of_users.chain(table.groups.iter().flat_map(|group| &group.policies)) {
        *attached.entry(name.as_str()).or_default() += 1;
    }
    attached
}
