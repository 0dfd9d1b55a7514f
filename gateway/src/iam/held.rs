//! The policies of a user or a group: those that are attached, and its own. What an action is about says of whom.

use cairn_storage::meta::RootCommand;
use cairn_storage::meta::command::Holder;

use super::ask::{Ask, no_such, no_such_policy, policy_arn_of};
use super::table::About;
use super::{policies, show};
use crate::admin::identities::checked;
use crate::error::S3Error;
use crate::policy::builtin;
use crate::xml::Document;

/// Who has policies, and which.
struct Held<'a> {
    holder: Holder,
    /// How answers name the holder.
    element: &'static str,
    name: &'a str,
    attached: &'a [String],
    inline: &'a [(String, String)],
}

fn held<'a>(ask: &Ask<'a>) -> Result<Held<'a>, S3Error> {
    if ask.about == About::Group {
        let group = ask.group()?;
        return Ok(Held {
            holder: Holder::Group(group.name.clone()),
            element: "GroupName",
            name: &group.name,
            attached: &group.policies,
            inline: &group.inline,
        });
    }
    let user = ask.user()?;
    let (attached, inline) = match ask.rights(user) {
        Some(rights) => (&rights.policies[..], &rights.inline[..]),
        None => (&[][..], &[][..]),
    };
    let holder = Holder::User(user.name.clone());
    Ok(Held { holder, element: "UserName", name: &user.name, attached, inline })
}

impl<'a> Held<'a> {
    /// The text of the holder's own policy that `PolicyName` names, and its name.
    fn own(&self, ask: &Ask<'a>) -> Result<(&'a str, &'a str), S3Error> {
        let name = ask.name("PolicyName")?;
        let found = self.inline.iter().find(|(own, _)| own == name);
        found.map(|(name, text)| (name.as_str(), text.as_str())).ok_or_else(|| no_such("policy", name))
    }
}

/// `AttachUserPolicy`, `AttachGroupPolicy`.
pub(super) fn attach(ask: &Ask<'_>) -> Result<RootCommand, S3Error> {
    Ok(attachment(held(ask)?.holder, policies::named(ask)?.name, true))
}

/// `DetachUserPolicy`, `DetachGroupPolicy`.
pub(super) fn detach(ask: &Ask<'_>) -> Result<RootCommand, S3Error> {
    let (held, (name, arn)) = (held(ask)?, ask.policy_arn()?);
    match held.attached.iter().any(|attached| attached == name) {
        true => Ok(attachment(held.holder, name, false)),
        false => Err(no_such_policy(arn)),
    }
}

fn attachment(holder: Holder, policy: &str, attached: bool) -> RootCommand {
    RootCommand::Attach { holder, policy: policy.to_owned(), attached, builtin: builtin::find(policy).is_some() }
}

/// `ListAttachedUserPolicies`, `ListAttachedGroupPolicies`.
pub(super) fn list_attached(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let held = held(ask)?;
    let names = if ask.is_at_prefix() { held.attached } else { &[] };
    ask.page(document, "AttachedPolicies", names, String::as_str, |document, name| {
        document.text("PolicyName", name).text("PolicyArn", &policy_arn_of(name));
    })?;
    Ok(None)
}

/// `PutUserPolicy`, `PutGroupPolicy`.
pub(super) fn put(ask: &Ask<'_>) -> Result<RootCommand, S3Error> {
    let (holder, name) = (held(ask)?.holder, checked(ask.name("PolicyName")?)?);
    Ok(RootCommand::SetInline { holder, name, text: Some(policies::text(ask)?) })
}

/// `GetUserPolicy`, `GetGroupPolicy`.
pub(super) fn get(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let held = held(ask)?;
    let (name, text) = held.own(ask)?;
    document.text(held.element, held.name).text("PolicyName", name);
    show::text(document, "PolicyDocument", text);
    Ok(None)
}

/// `ListUserPolicies`, `ListGroupPolicies`.
pub(super) fn list(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    ask.page(
        document,
        "PolicyNames",
        held(ask)?.inline,
        |(name, _)| name,
        |document, (name, _)| {
            document.content(name);
        },
    )?;
    Ok(None)
}

/// `DeleteUserPolicy`, `DeleteGroupPolicy`.
pub(super) fn delete(ask: &Ask<'_>) -> Result<RootCommand, S3Error> {
    let held = held(ask)?;
    let name = held.own(ask)?.0.to_owned();
    Ok(RootCommand::SetInline { holder: held.holder, name, text: None })
}
