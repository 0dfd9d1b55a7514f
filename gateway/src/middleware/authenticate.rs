//! Finds out who sent a request.

use cairn_storage::types::now_ms;
use http::{HeaderMap, request};

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
    /// Those of the request, and the `x-amz-*` parameters of a presigned query, which count as headers.
    pub headers: HeaderMap,
}

/// `AccessDenied` without a signature, `InvalidAccessKeyId` with one of nobody we know, and what is wrong with it
/// otherwise. Reads nothing of the body.
pub(super) async fn authenticate(gateway: &Gateway, head: &request::Parts) -> Result<Signed, S3Error> {
    let parts = RequestHead {
        method: &head.method,
        raw_path: head.uri.path(),
        raw_query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
    };
    let Parsed::Signed(claim) = auth::parse(&parts, &Rules::s3(&gateway.settings().region), now_ms())? else {
        return Err(Code::AccessDenied.into());
    };
    let key = claim.access_key();
    let unknown = || S3Error::new(Code::InvalidAccessKeyId).detail("AWSAccessKeyId", key);
    if key.len() > MAX_ACCESS_KEY_LEN || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unknown());
    }
    let caller = gateway.user_by_access_key(key).await?.ok_or_else(unknown)?;
    let payload = claim.verify(&caller.secret_key)?;
    let mut headers = head.headers.clone();
    for (name, value) in claim.presigned_headers() {
        headers.append(name, value.clone());
    }
    Ok(Signed { caller, payload, headers })
}
