//! Finds out who sent a request.

use cairn_storage::types::now_ms;
use http::{HeaderMap, HeaderName, request};

use crate::auth::{self, Parsed, Payload, Place, RequestHead, Rules};
use crate::data::checksum;
use crate::error::{Code, S3Error};
use crate::gate::{Caller, Identity};
use crate::gateway::Gateway;
use crate::operation::Target;
use crate::request::{Content, SignatureFacts};

/// The longest access key that is looked up, in bytes.
const MAX_ACCESS_KEY_LEN: usize = 128;

/// A request whose signature holds, or that has none.
pub(super) struct Signed {
    pub caller: Caller,
    /// How the body is to be checked.
    pub payload: Payload,
    /// Where the signature is.
    pub place: Place,
    /// Whether it is of version 2.
    pub version2: bool,
    pub signature: Option<SignatureFacts>,
}

/// Nobody in particular without a signature; `InvalidAccessKeyId` with one of nobody we know, and what is wrong with it
/// otherwise. Reads nothing of the body. The `x-amz-*` parameters of a presigned query are among the head's headers
/// after it, but for checksums.
pub(super) async fn authenticate(
    gateway: &Gateway,
    rules: &Rules,
    head: &mut request::Parts,
    target: &Target,
) -> Result<Signed, S3Error> {
    let parts = RequestHead {
        method: &head.method,
        raw_path: head.uri.path(),
        raw_query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
        bucket_of_host: if target.virtual_host { &target.bucket } else { "" },
    };
    let claim = match auth::parse(&parts, rules, now_ms())? {
        Parsed::Signed(claim) => claim,
        Parsed::Anonymous(payload) => {
            check_once(&head.headers)?;
            return Ok(Signed {
                caller: Identity::anonymous(),
                payload,
                place: Place::Header,
                version2: false,
                signature: None,
            });
        }
    };
    let key = claim.access_key();
    let unknown = || S3Error::new(Code::InvalidAccessKeyId).detail("AWSAccessKeyId", key);
    if key.len() > MAX_ACCESS_KEY_LEN || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unknown());
    }
    let known = gateway.user_by_access_key(key).await?.ok_or_else(unknown)?;
    let payload = claim.verify(&known.secret_key)?;
    for (name, value) in claim.presigned_headers() {
        match head.headers.get(name) {
            Some(sent) if sent != value => return Err(said_twice(name.as_str())),
            Some(_) => {}
            // S3 signs a checksum in the query and does not check it: the JavaScript SDK presigns with that of an
            // empty body, whatever will be sent.
            None if checksum::is_header(name.as_str()) => {}
            None => drop(head.headers.insert(name, value.clone())),
        }
    }
    check_once(&head.headers)?;
    let signature = SignatureFacts {
        kind: if claim.place() == Place::Query { "REST-QUERY-STRING" } else { "REST-HEADER" },
        version: if claim.is_version2() { "AWS" } else { "AWS4-HMAC-SHA256" },
        signed_ms: claim.signed_ms(&head.headers),
        content: Content::from(&payload),
    };
    Ok(Signed {
        caller: known.caller.clone(),
        payload,
        place: claim.place(),
        version2: claim.is_version2(),
        signature: Some(signature),
    })
}

/// Headers whose values are lists, and may stand on lines of their own.
const LISTS: &[&str] = &["x-amz-object-attributes", "x-amz-optional-object-attributes", "x-amz-trailer"];

/// A signature does not tell two headers from one with a comma in it, so that what must be one is there once.
fn check_once(headers: &HeaderMap) -> Result<(), S3Error> {
    for name in headers.keys().map(HeaderName::as_str) {
        let is_list = name.starts_with("x-amz-meta-") || LISTS.contains(&name);
        if name.starts_with("x-amz-") && !is_list && headers.get_all(name).iter().nth(1).is_some() {
            return Err(said_twice(name));
        }
    }
    Ok(())
}

fn said_twice(name: &str) -> S3Error {
    S3Error::with(Code::InvalidArgument, "A header of the request is there more than once.")
        .detail("ArgumentName", name)
}
