//! The commands about users' keys, groups and policies.

use std::path::Path;

use anyhow::{Context, Result};
use cairn_gateway::auth::sign::uri_encode;
use http::Method;
use serde_json::{Value, json};

use crate::admin::{array, text};
use crate::arguments::{Endpoint, Group, Holder, Key, Policy};
use crate::endpoint::call;

const API: &str = "/_cairn/admin/v1";

/// Runs `cairn group ...`.
///
/// # Errors
/// No such group or user, or as every command that asks an endpoint.
pub async fn group(command: Group) -> Result<()> {
    let path = |name: &str| format!("{API}/groups/{}", uri_encode(name));
    match command {
        Group::Add { name, endpoint } => done(&endpoint, Method::PUT, &path(&name), Vec::new(), "Made").await,
        Group::Remove { name, endpoint } => done(&endpoint, Method::DELETE, &path(&name), Vec::new(), "Removed").await,
        Group::List { endpoint } => {
            let groups = call(&endpoint, Method::GET, &format!("{API}/groups"), Vec::new()).await?;
            show(&endpoint, &groups, || {
                println!("{:<32}{:<40}MEMBERS", "GROUP", "POLICIES");
                for group in array(&groups, "groups") {
                    println!("{:<32}{:<40}{}", text(group, "name"), names(group, "policies"), names(group, "members"));
                }
            });
            Ok(())
        }
        Group::Info { name, endpoint } => {
            let group = call(&endpoint, Method::GET, &path(&name), Vec::new()).await?;
            show(&endpoint, &group, || {
                println!("Group     {}", text(&group, "name"));
                println!("Members   {}", names(&group, "members"));
                show_policies(&group);
            });
            Ok(())
        }
        Group::Attach { group, user, endpoint } => {
            let member = format!("{}/members/{}", path(&group), uri_encode(&user));
            done(&endpoint, Method::PUT, &member, Vec::new(), "Added").await
        }
        Group::Detach { group, user, endpoint } => {
            let member = format!("{}/members/{}", path(&group), uri_encode(&user));
            done(&endpoint, Method::DELETE, &member, Vec::new(), "Removed").await
        }
    }
}

/// Runs `cairn policy ...`.
///
/// # Errors
/// A policy that is none, no such policy, user or group, or as every command that asks an endpoint.
pub async fn policy(command: Policy) -> Result<()> {
    let path = |name: &str| format!("{API}/policies/{}", uri_encode(name));
    match command {
        Policy::Set { name, file, endpoint } => done(&endpoint, Method::PUT, &path(&name), read(&file)?, "Set").await,
        Policy::Remove { name, endpoint } => done(&endpoint, Method::DELETE, &path(&name), Vec::new(), "Removed").await,
        Policy::List { endpoint } => {
            let policies = call(&endpoint, Method::GET, &format!("{API}/policies"), Vec::new()).await?;
            show(&endpoint, &policies, || {
                println!("{:<40}UPDATED", "POLICY");
                for policy in array(&policies, "policies") {
                    let updated = policy["updated"].as_str().unwrap_or("built in");
                    println!("{:<40}{updated}", text(policy, "name"));
                }
            });
            Ok(())
        }
        Policy::Info { name, endpoint } => {
            let policy = call(&endpoint, Method::GET, &path(&name), Vec::new()).await?;
            show(&endpoint, &policy, || println!("{}", text(&policy, "policy").trim_end()));
            Ok(())
        }
        Policy::Attach { name, holder, endpoint } => {
            done(&endpoint, Method::PUT, &attachment(&holder, &name), Vec::new(), "Attached").await
        }
        Policy::Detach { name, holder, endpoint } => {
            done(&endpoint, Method::DELETE, &attachment(&holder, &name), Vec::new(), "Detached").await
        }
    }
}

/// Runs `cairn key ...`.
///
/// # Errors
/// No such user or key, or as every command that asks an endpoint.
pub async fn key(command: Key) -> Result<()> {
    let path = |access_key: &str| format!("{API}/keys/{}", uri_encode(access_key));
    match command {
        Key::Add { user, description, expires, policy, endpoint } => {
            let policy = match policy {
                None => None,
                Some(file) => Some(String::from_utf8(read(&file)?).context("the policy is no text")?),
            };
            let expires = expires.map(|at| humantime::format_rfc3339_seconds(at.into()).to_string());
            let body = serde_json::to_vec(&json!({
                "description": description.unwrap_or_default(),
                "expires": expires,
                "policy": policy,
            }))?;
            let keys = format!("{API}/users/{}/keys", uri_encode(&user));
            let key = call(&endpoint, Method::POST, &keys, body).await?;
            show(&endpoint, &key, || {
                println!("Access key  {}", text(&key, "access_key"));
                println!("Secret key  {}    (shown this once)", text(&key, "secret_key"));
            });
            Ok(())
        }
        Key::List { user, endpoint } => {
            let user = call(&endpoint, Method::GET, &format!("{API}/users/{}", uri_encode(&user)), Vec::new()).await?;
            let keys = json!({ "keys": user["keys"] });
            show(&endpoint, &keys, || show_keys(&user));
            Ok(())
        }
        Key::Disable { access_key, endpoint } => {
            done(&endpoint, Method::POST, &format!("{}/disable", path(&access_key)), Vec::new(), "Disabled").await
        }
        Key::Enable { access_key, endpoint } => {
            done(&endpoint, Method::POST, &format!("{}/enable", path(&access_key)), Vec::new(), "Enabled").await
        }
        Key::Remove { access_key, endpoint } => {
            done(&endpoint, Method::DELETE, &path(&access_key), Vec::new(), "Removed").await
        }
    }
}

/// Shows what a user has and may do.
pub fn show_user(endpoint: &Endpoint, user: &Value) {
    show(endpoint, user, || {
        println!("User      {}", text(user, "name"));
        println!("User id   {}", text(user, "user_id"));
        println!("State     {}", if user["disabled"] == json!(true) { "disabled" } else { "enabled" });
        println!("Groups    {}", names(user, "groups"));
        show_policies(user);
        println!();
        println!("{:<24}the first", text(user, "access_key"));
        show_keys(user);
    });
}

/// Sends a change, and says that it was made.
pub async fn done(endpoint: &Endpoint, method: Method, path: &str, body: Vec<u8>, what: &str) -> Result<()> {
    call(endpoint, method, path, body).await?;
    if endpoint.json {
        println!("{}", json!({ "done": true }));
    } else {
        println!("{what}.");
    }
    Ok(())
}

fn show(endpoint: &Endpoint, value: &Value, for_people: impl FnOnce()) {
    if endpoint.json { println!("{value}") } else { for_people() }
}

fn show_policies(holder: &Value) {
    println!("Policies  {}", names(holder, "policies"));
    for (name, policy) in holder["inline"].as_object().into_iter().flatten() {
        println!("Of its own, {name}:");
        println!("{}", policy.as_str().unwrap_or_default().trim_end());
    }
}

fn show_keys(user: &Value) {
    println!("{:<24}{:<10}{:<26}{:<10}DESCRIPTION", "ACCESS KEY", "STATE", "EXPIRES", "NARROWED");
    for key in array(user, "keys") {
        let state = if key["disabled"] == json!(true) { "disabled" } else { "enabled" };
        let expires = key["expires"].as_str().unwrap_or("never");
        let narrowed = if key["policy"].is_null() { "no" } else { "yes" };
        println!("{:<24}{state:<10}{expires:<26}{narrowed:<10}{}", text(key, "access_key"), text(key, "description"));
    }
}

fn names(value: &Value, field: &str) -> String {
    let names: Vec<&str> = array(value, field).filter_map(Value::as_str).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn attachment(holder: &Holder, policy: &str) -> String {
    let (kind, name) = match (&holder.user, &holder.group) {
        (Some(user), _) => ("users", user.as_str()),
        (None, group) => ("groups", group.as_deref().unwrap_or_default()),
    };
    format!("{API}/{kind}/{}/policies/{}", uri_encode(name), uri_encode(policy))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
