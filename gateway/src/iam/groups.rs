//! Groups and their members.

use cairn_storage::meta::RootCommand;
use cairn_storage::meta::record::{Group, UserRecord};
use cairn_storage::types::now_ms;

use super::ask::{Ask, no_such};
use super::show;
use crate::admin::identities::checked;
use crate::error::{Code, S3Error};
use crate::xml::Document;

/// `CreateGroup`.
pub(super) fn create(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    ask.check_path()?;
    let name = checked(ask.name("GroupName")?)?;
    if ask.group().is_ok() {
        return Err(S3Error::with(Code::EntityAlreadyExists, format!("Group with name {name} already exists.")));
    }
    let group = Group { name, created_ms: now_ms(), ..Group::default() };
    show::group(document.open("Group"), &group);
    document.close();
    Ok(Some(RootCommand::PutGroup { name: group.name }))
}

/// `GetGroup`: the group, and its members.
pub(super) fn get(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let group = ask.group()?;
    show::group(document.open("Group"), group);
    document.close();
    let is_member = |user: &&UserRecord| group.members.binary_search(&user.id).is_ok();
    let members: Vec<_> = ask.table.users.iter().filter(is_member).collect();
    ask.page(document, "Users", &members, |user| &user.name, |document, user| show::user(document, user))?;
    Ok(None)
}

/// `ListGroups`.
pub(super) fn list(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let groups: Vec<_> = ask.table.groups.iter().filter(|_| ask.is_at_prefix()).collect();
    page(ask, document, &groups)
}

/// `ListGroupsForUser`.
pub(super) fn list_for_user(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    page(ask, document, &ask.groups_of(ask.user()?))
}

fn page(ask: &Ask<'_>, document: &mut Document, groups: &[&Group]) -> Result<Option<RootCommand>, S3Error> {
    ask.page(document, "Groups", groups, |group| &group.name, |document, group| show::group(document, group))?;
    Ok(None)
}

/// `DeleteGroup`.
pub(super) fn delete(ask: &Ask<'_>) -> Result<RootCommand, S3Error> {
    Ok(RootCommand::RemoveGroup { name: ask.group()?.name.clone() })
}

/// `AddUserToGroup`.
pub(super) fn add(ask: &Ask<'_>) -> Result<RootCommand, S3Error> {
    Ok(member(ask.group()?, ask.user()?, true))
}

/// `RemoveUserFromGroup`.
pub(super) fn remove(ask: &Ask<'_>) -> Result<RootCommand, S3Error> {
    let (group, user) = (ask.group()?, ask.user()?);
    match group.members.contains(&user.id) {
        true => Ok(member(group, user, false)),
        false => Err(no_such("user", &user.name)),
    }
}

fn member(group: &Group, user: &UserRecord, member: bool) -> RootCommand {
    RootCommand::SetMember { group: group.name.clone(), user: user.name.clone(), member }
}
