//! Access keys.

use cairn_storage::meta::RootCommand;
use cairn_storage::meta::record::AccessKey;
use cairn_storage::types::now_ms;

use super::ask::{Ask, invalid, no_such};
use super::users::has_first_key;
use crate::admin::new_keys;
use crate::error::{Code, S3Error};
use crate::xml::Document;

/// `CreateAccessKey`.
pub(super) fn create(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let user = ask.user_or_caller()?;
    let (access_key, secret_key) = new_keys();
    document.open("AccessKey").text("UserName", &user.name).text("AccessKeyId", &access_key);
    document.text("Status", "Active").text("SecretAccessKey", &secret_key);
    let created_ms = now_ms();
    document.time("CreateDate", created_ms).close();
    let key = AccessKey {
        access_key,
        secret_key,
        user: user.id,
        description: String::new(),
        created_ms,
        disabled: false,
        expires_ms: None,
        policy: None,
    };
    Ok(Some(RootCommand::AddKey { key }))
}

/// `ListAccessKeys`, the first one of the record among them. What opens nothing now is inactive, whatever the reason.
pub(super) fn list(ask: &Ask<'_>, document: &mut Document) -> Result<Option<RootCommand>, S3Error> {
    let user = ask.user_or_caller()?;
    let is_disabled = ask.rights(user).is_some_and(|rights| rights.disabled);
    let is_past = |key: &AccessKey| key.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms());
    let first = has_first_key(user).then_some((user.access_key.as_str(), !is_disabled, user.created_ms));
    let further = ask.table.keys.iter().filter(|key| key.user == user.id).map(|key| {
        let is_active = !is_disabled && !key.disabled && !is_past(key);
        (key.access_key.as_str(), is_active, key.created_ms)
    });
    let mut keys: Vec<_> = first.into_iter().chain(further).collect();
    keys.sort_unstable();
    let show = |document: &mut Document, (access_key, is_active, created_ms): &(&str, bool, u64)| {
        document.text("UserName", &user.name).text("AccessKeyId", access_key);
        document.text("Status", if *is_active { "Active" } else { "Inactive" }).time("CreateDate", *created_ms);
    };
    ask.page(document, "AccessKeyMetadata", &keys, |key| key.0, show)?;
    Ok(None)
}

/// `UpdateAccessKey`.
pub(super) fn update(ask: &Ask<'_>) -> Result<RootCommand, S3Error> {
    let AccessKey { access_key, expires_ms, policy, description, .. } = added(ask)?.clone();
    let disabled = match ask.text("Status")? {
        "Active" => false,
        "Inactive" => true,
        _ => return Err(invalid("The Status is Active or Inactive.")),
    };
    Ok(RootCommand::SetKey { access_key, disabled, expires_ms, policy, description })
}

/// `DeleteAccessKey`.
pub(super) fn delete(ask: &Ask<'_>) -> Result<RootCommand, S3Error> {
    Ok(RootCommand::RemoveKey { access_key: added(ask)?.access_key.clone() })
}

/// The key that is named, of the user that is named, and not the one in the user's record.
fn added<'a>(ask: &Ask<'a>) -> Result<&'a AccessKey, S3Error> {
    let (user, access_key) = (ask.user_or_caller()?, ask.name("AccessKeyId")?);
    if user.access_key == access_key {
        let problem = "This is the user's first key, which goes with the user; use further keys.";
        return Err(S3Error::with(Code::UnmodifiableEntity, problem));
    }
    let mut keys = ask.table.keys.iter().filter(|key| key.user == user.id);
    keys.find(|key| key.access_key == access_key).ok_or_else(|| no_such("access key", access_key))
}
