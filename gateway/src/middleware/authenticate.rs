//! Finds out who sent a request.

use cairn_storage::types::now_ms;
use http::request;

use crate::auth::{self, Parsed, Payload, RequestHead, Rules};
use crate::error::{Code, S3Error};
use crate::gateway::{Caller, Gateway};

/// The longest access key that is looked up, in bytes.
const MAX_ACCESS_KEY_LEN: usize = 128;

/// A request whose signature holds.
pub(super) struct Signed {
    pub caller: Caller,
    /// How the body is to be checked.
    pub payload: Payload,
}

/// `AccessDenied` without a signature, `InvalidAccessKeyId` with one of nobody we know, and what is wrong with it
/// otherwise. Reads nothing of the body. The `x-amz-*` parameters of a presigned query are among the head's headers
/// after it.
pub(super) async fn authenticate(
    gateway: &Gateway,
    rules: &Rules,
    head: &mut request::Parts,
) -> Result<Signed, S3Error> {
    let parts = RequestHead {
        method: &head.method,
        raw_path: head.uri.path(),
        raw_query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
    };
    let Parsed::Signed(claim) = auth::parse(&parts, rules, now_ms())? else {
        return Err(Code::AccessDenied.into());
    };
    let key = claim.access_key();
    let unknown = || S3Error::new(Code::InvalidAccessKeyId).detail("AWSAccessKeyId", key);
    if key.len() > MAX_ACCESS_KEY_LEN || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unknown());
    }
    let caller = gateway.user_by_access_key(key).await?.ok_or_else(unknown)?;
    let payload = claim.verify(&caller.secret_key)?;
    for (name, value) in claim.presigned_headers() {
        head.headers.append(name, value.clone());
    }
    Ok(Signed { caller, payload })
}
