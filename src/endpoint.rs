//! How the commands reach an endpoint: whom they trust, how long they wait, and what they sign, which is what they send.

use std::net::IpAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Error, Result, anyhow, ensure};
use cairn_gateway::auth::Rules;
use cairn_gateway::auth::sign::{Credentials, Unsigned, payload_hash, sign_headers};
use cairn_storage::types::now_ms;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use reqwest::{Certificate, Client, Url};
use serde_json::Value;

use crate::arguments::{Endpoint, Reach};

/// How long a connection, TLS with it, may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long an answer may take that waits for nothing but messages.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// The same of a page that reads copies: up to 96 of them, eight at a time, each for half a minute where a disk is slow.
const LONG_ANSWER_WITHIN: Duration = Duration::from_secs(15 * 60);
const HEALTH_WITHIN: Duration = Duration::from_secs(5);
/// What is signed first where no region is given.
const REGION: &str = "us-east-1";

/// What one answer of an endpoint tells for the requests after it.
#[derive(Debug, Default)]
pub struct Learned {
    client: OnceLock<Client>,
    /// The region that it wants to be signed.
    region: OnceLock<String>,
    /// The proxy before it takes the path of the endpoint's URL off, so that it is not to be signed.
    bare: AtomicBool,
}

/// Sends one signed request and reads its JSON answer.
///
/// # Errors
/// No credentials in the environment, nobody at the endpoint or nobody who is trusted, or what the admin API refused, in
/// its words.
pub async fn call(endpoint: &Endpoint, method: Method, path: &str, body: Vec<u8>) -> Result<Value> {
    call_with(endpoint, method, path, "", body).await
}

/// The same with a query, percent-encoded already.
///
/// # Errors
/// As [`call`].
pub async fn call_with(endpoint: &Endpoint, method: Method, path: &str, query: &str, body: Vec<u8>) -> Result<Value> {
    ask(endpoint, method, path, query, body, ANSWER_WITHIN).await
}

/// The same where the answer takes the reading of copies.
///
/// # Errors
/// As [`call`].
pub async fn call_long(endpoint: &Endpoint, method: Method, path: &str, query: &str, body: Vec<u8>) -> Result<Value> {
    ask(endpoint, method, path, query, body, LONG_ANSWER_WITHIN).await
}

/// Whether the answer took too long: to ask again would take as long.
pub fn is_late(error: &Error) -> bool {
    // A connection that is not made is soon given up, and worth another try.
    let is_late = |error: &reqwest::Error| error.is_timeout() && !error.is_connect();
    error.chain().any(|cause| cause.downcast_ref::<reqwest::Error>().is_some_and(is_late))
}

/// Asks a health address.
///
/// # Errors
/// Nobody answers within five seconds, nobody who is trusted, or the answer is that it is not well.
pub async fn health(url: &str, reach: &Reach) -> Result<()> {
    let url = parse(url)?;
    let within = reach.timeout.map_or(HEALTH_WITHIN, Into::into);
    let client = client(&url, reach)?;
    let answer = client.get(url.clone()).timeout(within).send().await;
    let answer = answer.map_err(|error| unanswered(error, url.as_str(), within))?;
    ensure!(answer.status().is_success(), "{url} answers {}", answer.status());
    Ok(())
}

async fn ask(
    endpoint: &Endpoint,
    method: Method,
    path: &str,
    query: &str,
    body: Vec<u8>,
    within: Duration,
) -> Result<Value> {
    let (access_key, secret_key) = credentials()?;
    let credentials = Credentials { access_key: &access_key, secret_key: &secret_key };
    let name = endpoint.endpoint.as_str();
    let base = parse(name)?;
    ensure!(base.query().is_none() && base.fragment().is_none(), "{name} is no endpoint: it has a query");
    ensure!(base.username().is_empty() && base.password().is_none(), "{name} is no endpoint: it names a user");
    let prefix = base.path().trim_end_matches('/');
    let mut url = base.clone();
    url.set_path(&format!("{prefix}{path}"));
    url.set_query((!query.is_empty()).then_some(query));

    let learned = &endpoint.learned;
    if learned.client.get().is_none() {
        let _ = learned.client.set(client(&base, &endpoint.reach)?);
    }
    let client = learned.client.get().context("no client")?;
    let within = endpoint.reach.timeout.map_or(within, Into::into);
    loop {
        let region = endpoint.region.as_ref().or(learned.region.get()).map_or(REGION, String::as_str);
        let bare = learned.bare.load(Ordering::Relaxed);
        let signed_path = if bare { url.path().strip_prefix(prefix).unwrap_or_default() } else { url.path() };
        let headers = sign(&method, &url, signed_path, &body, credentials, region)?;
        let request = client.request(method.clone(), url.clone()).headers(headers).body(body.clone()).timeout(within);
        let answer = request.send().await.map_err(|error| unanswered(error, name, within))?;
        let status = answer.status();
        let elsewhere = answer.headers().get(header::LOCATION).cloned().filter(|_| status.is_redirection());
        let bytes = answer.bytes().await.map_err(|error| unanswered(error, name, within))?;
        if status.is_success() && bytes.is_empty() {
            return Ok(Value::Null);
        }
        if status.is_success() {
            return serde_json::from_slice(&bytes).context("the answer is not JSON: is the endpoint a Cairn gateway?");
        }
        let refusal: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let again = match refusal["code"].as_str() {
            Some("AuthorizationHeaderMalformed") if endpoint.region.is_none() => {
                let named = refusal["details"]["Region"].as_str().filter(|named| *named != region);
                named.is_some_and(|named| learned.region.set(named.to_owned()).is_ok())
            }
            Some("SignatureDoesNotMatch") if !prefix.is_empty() => !learned.bare.swap(true, Ordering::Relaxed),
            _ => false,
        };
        if !again {
            return Err(refused(&refusal, status, elsewhere.as_ref()));
        }
    }
}

fn sign(
    method: &Method,
    url: &Url,
    signed_path: &str,
    body: &[u8],
    credentials: Credentials<'_>,
    region: &str,
) -> Result<HeaderMap> {
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(&host)?);
    let request =
        Unsigned { method, raw_path: signed_path, raw_query: url.query().unwrap_or_default(), headers: &headers };
    let signed = sign_headers(&request, &payload_hash(body), credentials, &Rules::s3(region), now_ms())?;
    headers.extend(signed);
    Ok(headers)
}

fn parse(text: &str) -> Result<Url> {
    let url: Url = text.parse().with_context(|| format!("{text} is not a URL"))?;
    let fits = matches!(url.scheme(), "http" | "https") && url.has_host();
    ensure!(fits, "{text} is not a URL that begins with http:// or https://");
    Ok(url)
}

/// A client for one address. It follows no redirection: what is signed is for one host and one path.
fn client(url: &Url, reach: &Reach) -> Result<Client> {
    let builder = Client::builder().connect_timeout(CONNECT_WITHIN).redirect(reqwest::redirect::Policy::none());
    let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
    let builder = match (&reach.ca, url.scheme()) {
        // Whoever speaks no TLS need not have certificates on the machine.
        (_, "http") => builder.tls_certs_only([]),
        (Some(file), _) => builder.tls_certs_only(certificates(file)?),
        (None, _) => builder,
    };
    builder.build().context("https cannot be spoken here; `--ca FILE` names whom to trust where the system has nobody")
}

fn certificates(file: &Path) -> Result<Vec<Certificate>> {
    let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let certificates = Certificate::from_pem_bundle(&text).unwrap_or_default();
    ensure!(!certificates.is_empty(), "{} holds no certificate in PEM", file.display());
    Ok(certificates)
}

/// Whether it is this machine, of which no proxy knows anything.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Why there is no answer, in words that say what to do.
fn unanswered(error: reqwest::Error, address: &str, within: Duration) -> Error {
    let within = humantime::format_duration(within);
    let cause = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .last()
        .unwrap_or_default();
    let said = if error.is_timeout() && error.is_connect() {
        format!("nobody answers at {address}: no connection within {}", humantime::format_duration(CONNECT_WITHIN))
    } else if error.is_timeout() {
        format!("{address} does not answer within {within} (`--timeout` gives it longer)")
    } else if cause.contains("CaUsedAsEndEntity") {
        format!("{address} shows the certificate of a CA in place of one that a CA has signed")
    } else if cause.contains("invalid peer certificate") {
        format!("the certificate of {address} is not trusted (`--ca FILE` names whom to trust)")
    } else if cause.contains("InvalidContentType") {
        format!("{address} does not speak https")
    } else if error.is_body() || error.is_decode() {
        "the answer was cut off".to_owned()
    } else {
        format!("nobody answers at {address}")
    };
    anyhow!(error).context(said)
}

/// The message of an error answer.
fn refused(refusal: &Value, status: StatusCode, elsewhere: Option<&HeaderValue>) -> Error {
    match (refusal["message"].as_str(), refusal["code"].as_str(), elsewhere.and_then(|to| to.to_str().ok())) {
        (Some(message), Some(code), _) => anyhow!("{message} ({code})"),
        (_, _, Some(to)) => anyhow!("the endpoint answers {status}, and says that it is at {to}"),
        _ => anyhow!("the endpoint answers {status}: is it a Cairn gateway, and its path right?"),
    }
}

/// The access key and the secret key of an administrator: Cairn's variables, else AWS's.
fn credentials() -> Result<(String, String)> {
    let pair = |key: &str, secret: &str| Some((std::env::var(key).ok()?, std::env::var(secret).ok()?));
    pair("CAIRN_ROOT_ACCESS_KEY", "CAIRN_ROOT_SECRET_KEY")
        .or_else(|| pair("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
        .context("CAIRN_ROOT_ACCESS_KEY and CAIRN_ROOT_SECRET_KEY are not set: they are the root user's")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_stands_before_this_machine() {
        let loopback = |host: &str| is_loopback(&parse(&format!("http://{host}/")).unwrap());
        for host in ["127.0.0.1:9000", "127.8.9.1", "[::1]:9000", "[::ffff:127.0.0.1]", "localhost", "LOCALHOST."] {
            assert!(loopback(host), "{host}");
        }
        assert!(loopback("a.b.localhost:1"));
        for host in ["128.0.0.1", "[::2]", "localhost.example", "notlocalhost", "127.0.0.1.example"] {
            assert!(!loopback(host), "{host}");
        }
    }

    #[test]
    fn an_endpoint_is_a_url_of_http() {
        for text in ["127.0.0.1:9000", "localhost:9000", "ftp://host/", "http://", ""] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
