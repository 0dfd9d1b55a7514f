//! Users' rights and keys, groups and policies, below `/_cairn/admin/v1/`. Bodies of policies are their JSON, all others are
//! empty unless said; answers without a body are 204. A change is effective at every gateway within a second.
//!
//! - `GET users/NAME`: `{"user_id", "name", "display_name", "access_key", "root", "created", "disabled", "policies":
//!   [name], "inline": {name: text}, "groups": [name], "keys": [key]}`. `POST users/NAME/disable`, `.../enable`.
//! - `POST users/NAME/keys` with `{"description", "expires", "policy"}`, each of which may be absent (`expires` as RFC
//!   3339, `policy` as the text of a policy that narrows what the key may do): a key with its `secret_key`, which is shown
//!   only here. A key is `{"access_key", "user", "description", "created", "expires", "disabled", "policy"}`. `POST
//!   keys/KEY/disable`, `.../enable`; `DELETE keys/KEY`.
//! - `GET groups`: `{"groups": [group]}`, `GET groups/NAME`: `{"name", "created", "members": [name], "policies": [name],
//!   "inline": {name: text}}`; `PUT groups/NAME` makes one, `DELETE` removes one that is empty; `PUT` and `DELETE
//!   groups/NAME/members/USER`.
//! - `GET policies`: `{"policies": [policy]}`, `GET policies/NAME`: `{"name", "builtin", "policy": text, "created",
//!   "updated"}`; `PUT policies/NAME` makes or replaces one, `DELETE` removes one that is attached to nobody.
//! - `PUT` and `DELETE users/NAME/policies/POLICY` and `groups/NAME/policies/POLICY` attach and detach; the same with
//!   `inline` in the place of `policies` sets (with the body) and removes a policy of the holder's own.

use std::collections::BTreeMap;

use axum::body::Body;
use cairn_storage::meta::command::Holder;
use cairn_storage::meta::query::UserTable;
use cairn_storage::meta::record::{AccessKey, Group, NamedPolicy, UserRecord};
use cairn_storage::meta::{Answer, Query, Rejection, RootCommand};
use cairn_storage::types::{UserId, now_ms};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{answer, new_keys, without_secret};
use crate::error::{Code, S3Error};
use crate::gate::{Pass, is_key};
use crate::gateway::{Gateway, unexpected};
use crate::policy::{Kind, Policy, builtin};
use crate::request::{Reply, Request};
use crate::xml::iso_8601;

/// The longest name of a policy or a group, in bytes: IAM's.
const MAX_NAME_LEN: usize = 128;

/// Answers what is about `KIND/REST`.
pub async fn handle(gateway: &Gateway, pass: Pass, mut request: Request, kind: &str, rest: &str) -> Reply {
    let parts: Vec<&str> = rest.split('/').collect();
    let method = request.method.clone();
    let command = match (method.as_str(), kind, &parts[..]) {
        ("GET", "users", [name]) => return info(gateway, pass, |table| user(table, name)).await,
        ("GET", "groups", [""]) => return info(gateway, pass, |table| Ok(groups(table))).await,
        ("GET", "groups", [name]) => return info(gateway, pass, |table| one_group(table, name)).await,
        ("GET", "policies", [""]) => return info(gateway, pass, |table| Ok(policies(table))).await,
        ("GET", "policies", [name]) => return info(gateway, pass, |table| one_policy(table, name)).await,
        ("POST", "users", [name, "keys"]) => return add_key(gateway, pass, &mut request, name).await,

        ("POST", "users", [name, switch @ ("disable" | "enable")]) => {
            RootCommand::SetUserDisabled { user: (*name).to_owned(), disabled: *switch == "disable" }
        }
        ("POST", "keys", [access_key, switch @ ("disable" | "enable")]) => {
            let table = table(gateway, pass).await?;
            if table.users.iter().any(|user| user.access_key == *access_key) {
                return Err(first_key());
            }
            let key = table.keys.into_iter().find(|key| key.access_key == *access_key).ok_or_else(|| no_such("key"))?;
            let AccessKey { access_key, expires_ms, policy, description, .. } = key;
            RootCommand::SetKey { access_key, disabled: *switch == "disable", expires_ms, policy, description }
        }
        ("DELETE", "keys", [access_key]) => RootCommand::RemoveKey { access_key: (*access_key).to_owned() },
        ("PUT", "groups", [name]) => RootCommand::PutGroup { name: checked(name)? },
        ("DELETE", "groups", [name]) => RootCommand::RemoveGroup { name: (*name).to_owned() },
        ("PUT" | "DELETE", "groups", [group, "members", user]) => {
            RootCommand::SetMember { group: (*group).to_owned(), user: (*user).to_owned(), member: method == "PUT" }
        }
        ("PUT", "policies", [name]) => {
            let name = checked(name)?;
            if builtin::find(&name).is_some() {
                return Err(S3Error::with(Code::EntityAlreadyExists, "A policy of this name is built in."));
            }
            RootCommand::PutPolicy { name, text: policy_text(gateway, &mut request).await? }
        }
        ("DELETE", "policies", [name]) if builtin::find(name).is_some() => {
            return Err(S3Error::with(Code::InvalidArgument, "The policy is built in."));
        }
        ("DELETE", "policies", [name]) => RootCommand::RemovePolicy { name: (*name).to_owned() },
        ("PUT" | "DELETE", "users" | "groups", [holder, "policies", policy]) => RootCommand::Attach {
            holder: self::holder(kind, holder),
            policy: (*policy).to_owned(),
            attached: method == "PUT",
            builtin: builtin::find(policy).is_some(),
        },
        ("PUT", "users" | "groups", [holder, "inline", name]) => RootCommand::SetInline {
            holder: self::holder(kind, holder),
            name: checked(name)?,
            text: Some(policy_text(gateway, &mut request).await?),
        },
        ("DELETE", "users" | "groups", [holder, "inline", name]) => {
            RootCommand::SetInline { holder: self::holder(kind, holder), name: (*name).to_owned(), text: None }
        }
        _ => return Err(Code::MethodNotAllowed.into()),
    };
    change(gateway, pass, command).await?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

pub(crate) async fn change(gateway: &Gateway, pass: Pass, command: RootCommand) -> Result<(), S3Error> {
    let (said, is_key) = (describe(&command), matches!(command, RootCommand::RemoveKey { .. }));
    let makes_group = matches!(command, RootCommand::PutGroup { .. });
    let result = gateway.root_command(pass, command).await?;
    gateway.forget_users().await;
    if result.is_ok() {
        tracing::info!(change = said, "what users may do was changed");
    }
    if makes_group && result == Err(Rejection::Exists) {
        // As it was to be.
        return Ok(());
    }
    result.map(drop).map_err(|rejection| match rejection {
        Rejection::NoSuchUser => Code::NoSuchUser.into(),
        Rejection::UserHasBuckets => Code::UserHasBuckets.into(),
        Rejection::NoSuchPolicy => no_such("policy"),
        Rejection::NoSuchGroup => no_such("group"),
        Rejection::NoSuchAccessKey => no_such("key"),
        Rejection::Invalid if is_key => first_key(),
        Rejection::Exists => Code::EntityAlreadyExists.into(),
        Rejection::InUse => Code::DeleteConflict.into(),
        Rejection::LimitExceeded => Code::LimitExceeded.into(),
        Rejection::Invalid => Code::InvalidArgument.into(),
        rejection => {
            tracing::error!(%rejection, "the root group refused a change of the users for no reason that is known");
            Code::InternalError.into()
        }
    })
}

/// For the log; no policy and no secret.
fn describe(command: &RootCommand) -> String {
    let holder = |holder: &Holder| match holder {
        Holder::User(name) => format!("user {name}"),
        Holder::Group(name) => format!("group {name}"),
    };
    match command {
        RootCommand::AddUser { user } => format!("added user {}", user.name),
        RootCommand::RemoveUser { name } => format!("removed user {name}"),
        RootCommand::PutPolicy { name, .. } => format!("set policy {name}"),
        RootCommand::RemovePolicy { name } => format!("removed policy {name}"),
        RootCommand::PutGroup { name } => format!("made group {name}"),
        RootCommand::RemoveGroup { name } => format!("removed group {name}"),
        RootCommand::SetMember { group, user, member: true } => format!("took user {user} into group {group}"),
        RootCommand::SetMember { group, user, member: false } => format!("took user {user} out of group {group}"),
        RootCommand::Attach { holder: of, policy, attached: true, .. } => {
            format!("attached {policy} to {}", holder(of))
        }
        RootCommand::Attach { holder: of, policy, .. } => format!("detached {policy} from {}", holder(of)),
        RootCommand::SetInline { holder: of, name, .. } => format!("set policy {name} of {} itself", holder(of)),
        RootCommand::SetUserDisabled { user, disabled: true } => format!("disabled user {user}"),
        RootCommand::SetUserDisabled { user, .. } => format!("enabled user {user}"),
        RootCommand::AddKey { key } => format!("added key {}", key.access_key),
        RootCommand::SetKey { access_key, disabled: true, .. } => format!("disabled key {access_key}"),
        RootCommand::SetKey { access_key, .. } => format!("enabled key {access_key}"),
        RootCommand::RemoveKey { access_key } => format!("removed key {access_key}"),
        _ => "another".to_owned(),
    }
}

fn first_key() -> S3Error {
    let problem = "This is the user's first key, which goes with the user; disable the user, or use further keys.";
    S3Error::with(Code::InvalidArgument, problem)
}

fn no_such(what: &str) -> S3Error {
    S3Error::with(Code::NoSuchEntity, format!("There is no {what} of this name."))
}

fn holder(kind: &str, name: &str) -> Holder {
    if kind == "users" { Holder::User(name.to_owned()) } else { Holder::Group(name.to_owned()) }
}

/// The name of something that is made.
pub(crate) fn checked(name: &str) -> Result<String, S3Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_LEN || !name.bytes().all(allowed) {
        let rule = "A name has 1 to 128 letters, digits and +=,.@_- only.";
        return Err(S3Error::with(Code::InvalidArgument, rule));
    }
    Ok(name.to_owned())
}

/// The policy in a body, which has been read and found good.
async fn policy_text(gateway: &Gateway, request: &mut Request) -> Result<String, S3Error> {
    let document = request.read_document(gateway).await?;
    good_policy(&document, Kind::Identity)
}

/// The text of a policy that has been read and found good.
pub(crate) fn good_policy(text: &[u8], kind: Kind) -> Result<String, S3Error> {
    let malformed = |fault: crate::policy::Fault| S3Error::with(Code::MalformedPolicyDocument, fault.to_string());
    let policy = Policy::parse(text, kind).map_err(malformed)?;
    policy.check_keys(is_key).map_err(malformed)?;
    Ok(policy.text().to_owned())
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct NewKey {
    description: Option<String>,
    expires: Option<String>,
    policy: Option<String>,
}

async fn add_key(gateway: &Gateway, pass: Pass, request: &mut Request, name: &str) -> Reply {
    let wanted: NewKey = {
        let document = request.read_document(gateway).await?;
        let parsed = if document.is_empty() { Ok(NewKey::default()) } else { serde_json::from_slice(&document) };
        parsed.map_err(|_| {
            S3Error::with(
                Code::InvalidArgument,
                "The body must be JSON: {\"description\", \"expires\", \"policy\"}, each a text or absent.",
            )
        })?
    };
    let expires_ms = match wanted.expires.as_deref().map(|text| OffsetDateTime::parse(text, &Rfc3339)) {
        None => None,
        Some(Ok(at)) if at <= OffsetDateTime::now_utc() => {
            return Err(S3Error::with(Code::InvalidArgument, "The time of expiry is past."));
        }
        Some(Ok(at)) => Some(u64::try_from(at.unix_timestamp()).unwrap_or(0).saturating_mul(1000)),
        Some(Err(_)) => return Err(S3Error::with(Code::InvalidArgument, "The time of expiry must be as RFC 3339.")),
    };
    let policy = match wanted.policy {
        None => None,
        Some(policy) => Some(good_policy(policy.as_bytes(), Kind::Session)?),
    };
    let table = table(gateway, pass).await?;
    let user = table.users.iter().find(|user| user.name == name).ok_or(Code::NoSuchUser)?;
    let (access_key, secret_key) = new_keys();
    let key = AccessKey {
        access_key,
        secret_key,
        user: user.id,
        description: wanted.description.unwrap_or_default(),
        created_ms: now_ms(),
        disabled: false,
        expires_ms,
        policy,
    };
    change(gateway, pass, RootCommand::AddKey { key: key.clone() }).await?;
    let mut shown = key_of(&key, &table.users);
    shown["secret_key"] = json!(key.secret_key);
    Ok(answer(shown))
}

/// All users, and all that decides what they may do.
pub(crate) async fn table(gateway: &Gateway, pass: Pass) -> Result<UserTable, S3Error> {
    match gateway.root_query(pass, Query::UserTable { known: u64::MAX }).await? {
        Answer::UserTable { table: Some(table), .. } => Ok(*table),
        _ => Err(unexpected("UserTable")),
    }
}

async fn info(gateway: &Gateway, pass: Pass, show: impl Fn(&UserTable) -> Result<Value, S3Error>) -> Reply {
    show(&table(gateway, pass).await?).map(answer)
}

fn user(table: &UserTable, name: &str) -> Result<Value, S3Error> {
    let user = table.users.iter().find(|user| user.name == name).ok_or(Code::NoSuchUser)?;
    let rights =
        table.rights.iter().find(|(id, _)| *id == user.id).map(|(_, rights)| rights.clone()).unwrap_or_default();
    let groups: Vec<&str> =
        table.groups.iter().filter(|group| group.members.contains(&user.id)).map(|group| group.name.as_str()).collect();
    let keys = table.keys.iter().filter(|key| key.user == user.id);
    let mut shown = without_secret(user);
    shown["disabled"] = json!(rights.disabled);
    shown["policies"] = json!(rights.policies);
    shown["inline"] = texts(&rights.inline);
    shown["groups"] = json!(groups);
    shown["keys"] = keys.map(|key| key_of(key, &table.users)).collect();
    Ok(shown)
}

fn texts(inline: &[(String, String)]) -> Value {
    Value::Object(inline.iter().map(|(name, text)| (name.clone(), json!(text))).collect::<Map<_, _>>())
}

fn key_of(key: &AccessKey, users: &[UserRecord]) -> Value {
    json!({
        "access_key": key.access_key,
        "user": users.iter().find(|user| user.id == key.user).map(|user| &user.name),
        "description": key.description,
        "created": iso_8601(key.created_ms),
        "expires": key.expires_ms.map(iso_8601),
        "disabled": key.disabled,
        "policy": key.policy,
    })
}

fn groups(table: &UserTable) -> Value {
    let names = names(table);
    json!({ "groups": table.groups.iter().map(|group| group_of(group, &names)).collect::<Vec<_>>() })
}

fn one_group(table: &UserTable, name: &str) -> Result<Value, S3Error> {
    let group = table.groups.iter().find(|group| group.name == name).ok_or_else(|| no_such("group"))?;
    Ok(group_of(group, &names(table)))
}

fn names(table: &UserTable) -> BTreeMap<UserId, &str> {
    table.users.iter().map(|user| (user.id, user.name.as_str())).collect()
}

fn group_of(group: &Group, names: &BTreeMap<UserId, &str>) -> Value {
    json!({
        "name": group.name,
        "created": iso_8601(group.created_ms),
        "members": group.members.iter().filter_map(|id| names.get(id)).collect::<Vec<_>>(),
        "policies": group.policies,
        "inline": texts(&group.inline),
    })
}

fn policies(table: &UserTable) -> Value {
    let builtin = builtin::ALL.iter().map(|(name, text)| builtin_of(name, text));
    json!({ "policies": builtin.chain(table.policies.iter().map(policy_of)).collect::<Vec<_>>() })
}

fn one_policy(table: &UserTable, name: &str) -> Result<Value, S3Error> {
    if let Some(text) = builtin::find(name) {
        return Ok(builtin_of(name, text));
    }
    table.policies.iter().find(|policy| policy.name == name).map(policy_of).ok_or_else(|| no_such("policy"))
}

fn builtin_of(name: &str, text: &str) -> Value {
    json!({ "name": name, "builtin": true, "policy": text, "created": null, "updated": null })
}

fn policy_of(policy: &NamedPolicy) -> Value {
    json!({
        "name": policy.name,
        "builtin": false,
        "policy": policy.text,
        "created": iso_8601(policy.created_ms),
        "updated": iso_8601(policy.updated_ms),
    })
}
