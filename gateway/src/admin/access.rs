//! Whether somebody may do something, and why: `GET /_cairn/admin/v1/access?user=NAME&action=s3:GetObject&resource=
//! BUCKET/KEY[&from=IP]`, judged as a request would be by the settings of now. The resource may be an ARN; without a key it
//! is the bucket. `user=*` is who sends no signature; a user is judged as by a key that nothing narrows. The answer is `{"user", "action", "resource", "allowed", "because",
//! "statement"}`; `statement` is the text of the statement that decided, or `null` where none did. A condition that asks
//! for more of the request than its address and its time finds nothing, and TLS is taken for absent, as there is no request.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::error::{Code, S3Error};
use crate::gate::{self, Identity};
use crate::gateway::Gateway;
use crate::request::Request;

/// # Errors
/// `NoSuchUser`, `NoSuchBucket`, `InvalidArgument`, or that a group does not answer.
pub async fn explain(gateway: &Gateway, request: &Request) -> Result<Value, S3Error> {
    let parameter = |name| request.query.get(name).filter(|value| !value.is_empty());
    let (Some(user), Some(action), Some(resource)) = (parameter("user"), parameter("action"), parameter("resource"))
    else {
        return Err(invalid("The user, the action and the resource must be named."));
    };
    let from: Option<IpAddr> = match parameter("from").map(str::parse) {
        None => None,
        Some(Ok(address)) => Some(address),
        Some(Err(_)) => return Err(invalid("What it is asked from is no IP address.")),
    };
    if !action.starts_with("s3:") || action.contains(['*', '?']) {
        return Err(invalid("The action is one of S3, such as s3:GetObject."));
    }
    let named = resource.strip_prefix("arn:aws:s3:::").unwrap_or(resource);
    let (bucket, key) = named.split_once('/').unwrap_or((named, ""));
    let caller = match user {
        "*" => Identity::anonymous(),
        name => {
            // It knows all that was changed before.
            gateway.forget_users().await;
            let (caller, is_disabled) = gateway.user_by_name(name).await?.ok_or(Code::NoSuchUser)?;
            if is_disabled {
                return Ok(json!({
                    "user": user,
                    "action": action,
                    "resource": format!("arn:aws:s3:::{named}"),
                    "allowed": false,
                    "because": "the user is disabled",
                    "statement": null,
                }));
            }
            caller
        }
    };
    let verdict = gate::explain(gateway, &caller, action, (bucket, key), from).await?;
    Ok(json!({
        "user": user,
        "action": action,
        "resource": format!("arn:aws:s3:::{named}"),
        "allowed": verdict.allowed,
        "because": verdict.because,
        "statement": verdict.statement,
    }))
}

fn invalid(problem: &'static str) -> S3Error {
    S3Error::with(Code::InvalidArgument, problem)
}
