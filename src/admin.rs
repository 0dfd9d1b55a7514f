//! The commands about users, and what all commands do with answers of the admin API.

use anyhow::Result;
use cairn_gateway::auth::sign::uri_encode;
use http::Method;
use serde_json::{Value, json};

use crate::arguments::User;
use crate::endpoint::call;
use crate::identities;

/// Where the users are, below the endpoint.
const USERS: &str = "/_cairn/admin/v1/users";

/// Runs `cairn user ...`.
///
/// # Errors
/// No credentials in the environment, nobody at the endpoint, or what the admin API refused, in its words.
pub async fn user(command: User) -> Result<()> {
    match command {
        User::Add { name, endpoint } => {
            let body = serde_json::to_vec(&json!({ "name": name }))?;
            let user = call(&endpoint, Method::POST, USERS, body).await?;
            if endpoint.json {
                println!("{user}");
            } else {
                println!("User id     {}", text(&user, "user_id"));
                println!("Name        {}", text(&user, "display_name"));
                println!("Access key  {}", text(&user, "access_key"));
                println!("Secret key  {}    (shown this once)", text(&user, "secret_key"));
            }
        }
        User::List { endpoint } => {
            let users = call(&endpoint, Method::GET, USERS, Vec::new()).await?;
            if endpoint.json {
                println!("{users}");
            } else {
                println!("{:<34}{:<24}NAME", "USER ID", "ACCESS KEY");
                for user in users["users"].as_array().into_iter().flatten() {
                    let (id, key) = (text(user, "user_id"), text(user, "access_key"));
                    println!("{id:<34}{key:<24}{}", text(user, "display_name"));
                }
            }
        }
        User::Info { name, endpoint } => {
            let user = call(&endpoint, Method::GET, &format!("{USERS}/{}", uri_encode(&name)), Vec::new()).await?;
            identities::show_user(&endpoint, &user);
        }
        User::Disable { name, endpoint } => {
            let path = format!("{USERS}/{}/disable", uri_encode(&name));
            identities::done(&endpoint, Method::POST, &path, Vec::new(), "Disabled").await?;
        }
        User::Enable { name, endpoint } => {
            let path = format!("{USERS}/{}/enable", uri_encode(&name));
            identities::done(&endpoint, Method::POST, &path, Vec::new(), "Enabled").await?;
        }
        User::Remove { name, endpoint } => {
            call(&endpoint, Method::DELETE, &format!("{USERS}/{}", uri_encode(&name)), Vec::new()).await?;
            if endpoint.json {
                println!("{}", json!({ "removed": name }));
            } else {
                println!("Removed {name}.");
            }
        }
    }
    Ok(())
}

pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

pub fn array<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}
