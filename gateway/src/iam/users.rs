//! Users, and who calls.
//!
//! A user of Cairn has a first key in its record. One who is made here has none that opens anything: see [`NO_KEY`].

use cairn_storage::meta::RootCommand;
use cairn_storage::meta::record::UserRecord;

use super::ask::Ask;
use super::show;
use crate::admin::{NewUser, new_user};
use crate::error::{Code, S3Error};
use crate::gate::ACCOUNT;
use crate::xml::Document;

/// What stands before the user's id in the place of a first key. It has blanks in it, so that no request can name it as
/// an access key; the secret beside it is made at random and told to nobody.
const NO_KEY: &str = "no key: ";

/// Whether the key in a user's record is one.
pub(super) fn has_first_key(user: &UserRecord) -> bool {
    !user.access_key.starts_with(NO_KEY)
}

/// `CreateUser`.
pub(super) fn create(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    ask.check_path()?;
    let mut user = new_user(NewUser { name: ask.name("UserName")?.to_owned(), display_name: None })?;
    user.access_key = format!("{NO_KEY}{}", user.id);
    show::user(document.open("User"), &user);
    document.close();
    Ok(Some(RootCommand::AddUser { user }))
}

/// `GetUser`.
pub(super) fn get(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    show::user(document.open("User"), ask.user_or_caller()?);
    document.close();
    Ok(None)
}

/// `ListUsers`.
pub(super) fn list(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let users: Vec<_> = ask.table.users.iter().filter(|user| !user.root && ask.is_at_prefix()).collect();
    ask.page(document, "Users", &users, |user| &user.name, |document, user| show::user(document, user))?;
    Ok(None)
}

/// `DeleteUser`, of one who has nothing any more; the first key goes with the user. Whether it has buckets is known to
/// who does it.
pub(super) fn delete(ask: &Ask<'_>) -> Result<RootCommand, S3Error> {
    let user = ask.user()?;
    let rights = ask.rights(user);
    let has = [
        (ask.table.keys.iter().any(|key| key.user == user.id), "delete access keys"),
        (rights.is_some_and(|rights| !rights.policies.is_empty()), "detach all policies"),
        (rights.is_some_and(|rights| !rights.inline.is_empty()), "delete policies"),
        (!ask.groups_of(user).is_empty(), "remove users from group"),
    ];
    match has.iter().find(|(has, _)| *has) {
        Some((_, first)) => {
            Err(S3Error::with(Code::DeleteConflict, format!("Cannot delete entity, must {first} first.")))
        }
        None => Ok(RootCommand::RemoveUser { name: user.name.clone() }),
    }
}

/// `GetCallerIdentity`.
pub(super) fn caller(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    document.text("Arn", ask.caller.arn());
    match ask.caller.is_root() {
        true => document.text("UserId", ACCOUNT),
        false => document.display("UserId", ask.caller.id),
    };
    document.text("Account", ACCOUNT);
    Ok(None)
}

/// Something of which no user has any: the list is empty. Clients look before they delete a user.
pub(super) fn none(ask: &Ask<'_>, document: &mut Document, list: &'static str) -> Result<Option<RootCommand>, S3Error> {
    ask.user_or_caller()?;
    document.open(list).close().text("IsTruncated", "false");
    Ok(None)
}

/// `GetLoginProfile`: nobody has a password.
pub(super) fn no_password(ask: &Ask<'_>) -> Result<RootCommand, S3Error> {
    let user = ask.user_or_caller()?;
    let problem = format!("Login Profile for User {} cannot be found.", user.name);
    Err(S3Error::with(Code::NoSuchEntity, problem))
}
