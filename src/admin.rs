//! The commands that talk to a running cluster through its admin API, signed with the root credentials.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cairn_gateway::auth::Rules;
use cairn_gateway::auth::sign::{Credentials, Unsigned, payload_hash, sign_headers, uri_encode};
use cairn_storage::types::now_ms;
use http::{HeaderMap, HeaderValue, Method, Uri};
use serde_json::{Value, json};

use crate::arguments::{Endpoint, User};

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

/// Sends one signed request and reads its JSON answer.
///
/// # Errors
/// No credentials in the environment, nobody at the endpoint, or what the admin API refused, in its words.
pub async fn call(endpoint: &Endpoint, method: Method, path: &str, body: Vec<u8>) -> Result<Value> {
    call_with(endpoint, method, path, "", body).await
}

/// The same with a query, percent-encoded already.
///
/// # Errors
/// As [`call`].
pub async fn call_with(endpoint: &Endpoint, method: Method, path: &str, query: &str, body: Vec<u8>) -> Result<Value> {
    let (access_key, secret_key) = credentials()?;
    let uri: Uri = endpoint.endpoint.parse().with_context(|| format!("{} is not a URL", endpoint.endpoint))?;
    let host = uri.authority().with_context(|| format!("{} names no host", endpoint.endpoint))?;

    let mut headers = HeaderMap::new();
    headers.insert(http::header::HOST, HeaderValue::from_str(host.as_str())?);
    let request = Unsigned { method: &method, raw_path: path, raw_query: query, headers: &headers };
    let signed = sign_headers(
        &request,
        &payload_hash(&body),
        Credentials { access_key: &access_key, secret_key: &secret_key },
        &Rules::s3(&endpoint.region),
        now_ms(),
    )?;
    headers.extend(signed);

    let separator = if query.is_empty() { "" } else { "?" };
    let url = format!("{}{path}{separator}{query}", endpoint.endpoint.trim_end_matches('/'));
    let answer = reqwest::Client::new()
        .request(method, url)
        .headers(headers)
        .body(body)
        .send()
        .await
        .with_context(|| format!("nobody answers at {}", endpoint.endpoint))?;
    let status = answer.status();
    let bytes = answer.bytes().await.context("the answer was cut off")?;
    if !status.is_success() {
        bail!("{}", refusal(&bytes).unwrap_or_else(|| format!("the endpoint answered {status}")));
    }
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).context("the answer is not JSON: is the endpoint a Cairn gateway?")
}

/// Asks a health address.
///
/// # Errors
/// Nobody answers within five seconds, or the answer is that it is not well.
pub async fn health(url: &str) -> Result<()> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
    let answer = client.get(url).send().await.with_context(|| format!("nobody answers at {url}"))?;
    ensure!(answer.status().is_success(), "{url} answers {}", answer.status());
    Ok(())
}

/// The message of an error answer.
fn refusal(bytes: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    Some(format!("{} ({})", value["message"].as_str()?, value["code"].as_str()?))
}

/// The access key and the secret key of an administrator: Cairn's variables, else AWS's.
fn credentials() -> Result<(String, String)> {
    let pair = |key: &str, secret: &str| Some((std::env::var(key).ok()?, std::env::var(secret).ok()?));
    pair("CAIRN_ROOT_ACCESS_KEY", "CAIRN_ROOT_SECRET_KEY")
        .or_else(|| pair("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
        .context("CAIRN_ROOT_ACCESS_KEY and CAIRN_ROOT_SECRET_KEY are not set: they are the root user's")
}
