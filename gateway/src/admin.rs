//! The admin API under `/_cairn/admin/v1`: JSON, signed like S3, for the root user only (whoever calls this has seen
//! to that).
//!
//! - `POST /_cairn/admin/v1/users` with `{"name": "…", "display_name": "…"}` (the latter may be absent) makes a user
//!   with a key pair: `{"user_id", "name", "display_name", "access_key", "secret_key"}`. The secret is shown only here.
//! - `GET /_cairn/admin/v1/users` lists them, by name, without secrets: `{"users": [{"user_id", "name", "display_name",
//!   "access_key", "root", "created"}]}`.
//! - `DELETE /_cairn/admin/v1/users/NAME` removes one that owns no buckets: 204.
//!
//! What concerns nodes and disks is in `cluster`, the groups' time in `clock`, settings in `config`, what concerns chunks in
//! `explain`, `fsck` and `scrub`, and who may do what in `access` and `identities`.

mod access;
mod clock;
mod cluster;
mod config;
mod copies;
mod explain;
mod fsck;
pub(crate) mod identities;
mod scrub;

use axum::body::Body;
use cairn_storage::meta::record::UserRecord;
use cairn_storage::meta::{Answer, Outcome, Query, Rejection, RootCommand};
use cairn_storage::types::{NodeId, UserId, now_ms};
use cluster::{Change, Target};
use http::{HeaderValue, Response, StatusCode, header};
use rand::Rng;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Code, S3Error};
use crate::gate::Pass;
use crate::gateway::{Gateway, unexpected};
use crate::request::{Reply, Request};
use crate::xml::iso_8601;

/// The longest name, in bytes.
const MAX_NAME_LEN: usize = 64;

/// The longest body, in bytes.
pub const MAX_BODY_LEN: usize = 48 << 10;

const ACCESS_KEY_LEN: usize = 20;
const SECRET_KEY_LEN: usize = 40;

pub async fn handle(gateway: &Gateway, pass: Pass, request: Request) -> Reply {
    let path = request.key.clone();
    let Some(path) = path.strip_prefix("admin/v1/") else {
        return Err(Code::MethodNotAllowed.into());
    };
    match (request.method.as_str(), path.split_once('/').unwrap_or((path, ""))) {
        ("POST", ("users", "")) => add_user(gateway, pass, request).await,
        ("GET", ("users", "")) => list_users(gateway, pass).await,
        ("DELETE", ("users", name)) if !name.is_empty() && !name.contains('/') => {
            remove_user(gateway, pass, name).await
        }
        (_, (kind @ ("users" | "groups" | "policies" | "keys"), rest)) => {
            let (kind, rest) = (kind.to_owned(), rest.to_owned());
            identities::handle(gateway, pass, request, &kind, &rest).await
        }
        ("GET", ("status", "")) => cluster::status(gateway, pass).await.map(answer),
        ("POST", (kind @ ("nodes" | "disks"), rest)) => {
            let (target, change) = cluster_change(kind, rest, request.query.has("force"))?;
            cluster::change(gateway, pass, target, change).await.map(answer)
        }
        ("GET", ("explain", "")) => explain::explain(gateway, pass, &request).await.map(answer),
        ("GET", ("access", "")) => access::explain(gateway, &request).await.map(answer),
        ("GET", ("clock", "")) => Ok(answer(clock::clock(gateway, pass, false).await)),
        ("POST", ("clock", "reset")) => Ok(answer(clock::clock(gateway, pass, true).await)),
        ("GET", ("config", "")) => config::show(gateway, pass).await.map(answer),
        ("POST", ("config", name)) => config::set(gateway, pass, name, request.query.get("ms")).await.map(answer),
        ("GET", ("scrub", "")) => Ok(answer(scrub::scrub(gateway, pass, false).await)),
        ("POST", ("scrub", "start")) => Ok(answer(scrub::scrub(gateway, pass, true).await)),
        ("POST", ("fsck", rest)) => {
            if rest == "objects" {
                return fsck::objects(gateway, pass, request).await.map(answer);
            }
            let after = request.query.get("after");
            let wishes = fsck::Wishes { verify: request.query.has("verify"), repair: request.query.has("repair") };
            match rest.split_once('/') {
                Some(("groups", group)) => fsck::group(gateway, pass, group, after, wishes).await.map(answer),
                Some(("disks", disk)) => fsck::disk(gateway, pass, disk, after).await.map(answer),
                _ => Err(Code::MethodNotAllowed.into()),
            }
        }
        _ => Err(Code::MethodNotAllowed.into()),
    }
}

/// What `ID/ACTION` says is to be done with a node or a disk.
fn cluster_change(kind: &str, path: &str, force: bool) -> Result<(Target, Change), S3Error> {
    let (id, action) = path.split_once('/').unwrap_or((path, ""));
    let target = match kind {
        "nodes" => id.parse().ok().map(|id| Target::Node(NodeId(id))),
        _ => id.parse().ok().map(Target::Disk),
    };
    let target = target.ok_or_else(|| S3Error::with(Code::InvalidArgument, "This is no id of a node or a disk."))?;
    let change = match action {
        "drain" => Change::Drain,
        "undrain" => Change::Undrain,
        "remove" => Change::Remove { force },
        _ => return Err(Code::MethodNotAllowed.into()),
    };
    Ok((target, change))
}

/// What is said of a user who is to be made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    pub name: String,
    pub display_name: Option<String>,
}

async fn add_user(gateway: &Gateway, pass: Pass, mut request: Request) -> Reply {
    let document = request.read_document(gateway).await?;
    let wanted: NewUser = serde_json::from_slice(&document)
        .map_err(|_| S3Error::with(Code::InvalidArgument, "The body must be JSON: {\"name\": \"...\"}."))?;
    drop(document);
    let user = new_user(wanted)?;
    match gateway.root_command(pass, RootCommand::AddUser { user: user.clone() }).await? {
        Ok(Outcome::User(_) | Outcome::Done) => {}
        Err(Rejection::Exists) => return Err(Code::UserAlreadyExists.into()),
        _ => return Err(unexpected("AddUser")),
    }
    gateway.forget_users().await;
    tracing::info!(user = user.name, access_key = user.access_key, "a user was added");
    Ok(answer(json!({
        "user_id": user.id.to_string(),
        "name": user.name,
        "display_name": user.display_name,
        "access_key": user.access_key,
        "secret_key": user.secret_key,
    })))
}

async fn list_users(gateway: &Gateway, pass: Pass) -> Reply {
    let Answer::Users(users) = gateway.root_query(pass, Query::Users).await? else {
        return Err(unexpected("Users"));
    };
    let users: Vec<Value> = users.iter().map(without_secret).collect();
    Ok(answer(json!({ "users": users })))
}

async fn remove_user(gateway: &Gateway, pass: Pass, name: &str) -> Reply {
    match gateway.root_command(pass, RootCommand::RemoveUser { name: name.to_owned() }).await? {
        Ok(_) => {}
        Err(Rejection::NoSuchUser) => return Err(Code::NoSuchUser.into()),
        Err(Rejection::UserHasBuckets) => return Err(Code::UserHasBuckets.into()),
        Err(Rejection::Invalid) => {
            return Err(S3Error::with(Code::AccessDenied, "The root user cannot be removed."));
        }
        Err(_) => return Err(unexpected("RemoveUser")),
    }
    gateway.forget_users().await;
    tracing::info!(user = name, "a user was removed");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// A user with random keys; `InvalidArgument` for names that would be hard to write down.
pub(crate) fn new_user(wanted: NewUser) -> Result<UserRecord, S3Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@' | b'+' | b'=');
    let name = wanted.name;
    if name.is_empty() || name.len() > MAX_NAME_LEN || !name.bytes().all(allowed) {
        let rule = "A user's name has 1 to 64 letters, digits and -_.@+= only.";
        return Err(S3Error::with(Code::InvalidArgument, rule));
    }
    let display_name = wanted.display_name.unwrap_or_else(|| name.clone());
    if display_name.len() > 4 * MAX_NAME_LEN || display_name.chars().any(char::is_control) {
        return Err(S3Error::with(Code::InvalidArgument, "The display name is too long or has control characters."));
    }
    let (access_key, secret_key) = new_keys();
    let (id, created_ms) = (UserId::random(), now_ms());
    Ok(UserRecord { id, name, display_name, access_key, secret_key, root: false, created_ms })
}

/// An access key and its secret.
pub(crate) fn new_keys() -> (String, String) {
    (
        random_text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", ACCESS_KEY_LEN),
        random_text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", SECRET_KEY_LEN),
    )
}

/// From the operating system's generator by way of a thread's own, which is fit for keys.
fn random_text(alphabet: &[u8], len: usize) -> String {
    let mut rng = rand::rng();
    (0..len).map(|_| char::from(alphabet[rng.random_range(0..alphabet.len())])).collect()
}

fn without_secret(user: &UserRecord) -> Value {
    json!({
        "user_id": user.id.to_string(),
        "name": user.name,
        "display_name": user.display_name,
        "access_key": user.access_key,
        "root": user.root,
        "created": iso_8601(user.created_ms),
    })
}

fn answer(value: Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str) -> NewUser {
        NewUser { name: name.to_owned(), display_name: None }
    }

    #[test]
    fn a_new_user_has_keys_of_its_own_and_is_not_root() {
        let (first, second) = (new_user(wanted("anna")).unwrap(), new_user(wanted("anna")).unwrap());
        assert_ne!((first.id, &first.access_key), (second.id, &second.access_key));
        assert_ne!(first.secret_key, second.secret_key);
        assert_eq!((first.access_key.len(), first.secret_key.len()), (20, 40));
        assert!(first.access_key.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
        assert_eq!((first.display_name.as_str(), first.root), ("anna", false));
    }

    #[test]
    fn names_are_plain() {
        for name in ["", "a b", "a/b", "ü", &"x".repeat(65)] {
            assert!(new_user(wanted(name)).is_err(), "{name}");
        }
        let display_name = Some("Anna\n".to_owned());
        assert!(new_user(NewUser { name: "anna".to_owned(), display_name }).is_err());
    }

    #[test]
    fn a_list_has_no_secrets() {
        let user = new_user(wanted("anna")).unwrap();
        let shown = without_secret(&user).to_string();
        assert!(shown.contains(&user.access_key) && !shown.contains(&user.secret_key));
    }
}
