//! AWS's query protocol: a form that is posted to `/`, for IAM and STS. These services know no `x-amz-content-sha256`,
//! so that the form has to be read before its signature can be checked. Until then nothing is done with it, and all
//! such forms together have no more room than one user's documents have. Who names no key that there is is asked for no
//! form.

use axum::body::Body;
use cairn_storage::types::now_ms;
use http::{HeaderMap, HeaderValue, Method, header, request};
use sha2::{Digest, Sha256};

use super::render::Form;
use super::{Inner, Progress, authenticate};
use crate::auth::{self, Parsed, Payload, Place, RequestHead, Rules, sign};
use crate::error::{Code, S3Error};
use crate::gate::Identity;
use crate::iam::{self, Api};
use crate::operation::{Target, Version};
use crate::origin::Peer;
use crate::request::{Reply, Request, Unread};

/// The longest form, in bytes: the longest policy, percent-encoded, and as much besides.
const MAX_FORM_LEN: usize = 128 << 10;

/// Whether a request is one of that protocol.
pub(super) fn is_one(method: &Method, target: &Target, headers: &HeaderMap) -> bool {
    const TYPE: &[u8] = b"application/x-www-form-urlencoded";
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_form = content_type.get(..TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(TYPE));
    *method == Method::POST && target.bucket.is_empty() && target.key.is_empty() && is_form
}

/// Answers it, where it is signed in the header by version 4 for the service that it asks.
pub(super) async fn answer(
    service: &Inner,
    mut head: request::Parts,
    target: Target,
    body: Body,
    progress: &mut Progress,
) -> Reply {
    let gateway = &service.gateway;
    let api = named(&head.headers);
    progress.form = Form::Query(api);
    progress.operation = api.name;
    if !target.query.0.is_empty() {
        return Err(S3Error::with(Code::ValidationError, "The parameters stand in the form, and none in the URL."));
    }
    // IAM is of no region.
    let rules = |body: &[u8]| Rules {
        any_region: true,
        service: api.service.to_owned(),
        assumed_body_hash: Some(sign::payload_hash(body)),
        ..Rules::s3("us-east-1")
    };
    let access_key = check_claim(service, &head, &rules(b"")).await?;
    let mut request = Request {
        id: progress.id.clone(),
        caller: Identity::anonymous(),
        method: head.method.clone(),
        bucket: target.bucket.clone(),
        key: target.key.clone(),
        query: target.query.clone().into(),
        version: Version::Current,
        document_len: MAX_FORM_LEN,
        virtual_host: target.virtual_host,
        signature: None,
        peer: head.extensions.get::<Peer>().copied(),
        headers: head.headers.clone().into(),
        payload: Payload::Unsigned,
        body: Unread::new(body),
    };
    let form = request.read_document(gateway).await?;
    let signed = authenticate::authenticate(gateway, &rules(&form), &mut head, &target).await?;
    match &signed.payload {
        Payload::Sha256(hash) if Sha256::digest(&*form).as_slice() == hash => {}
        _ => return Err(Code::XAmzContentSHA256Mismatch.into()),
    }
    (request.caller, request.signature) = (signed.caller, signed.signature);
    let form =
        std::str::from_utf8(&form).map_err(|_| S3Error::with(Code::ValidationError, "The form is not UTF-8."))?;
    let call = iam::find(api, form)?;
    progress.operation = call.name();
    iam::answer(gateway, &call, &request, &access_key).await
}

/// The access key of a head that has a signature of the right kind, of now, and by a key that there is; whether it holds
/// is not known yet.
async fn check_claim(service: &Inner, head: &request::Parts, rules: &Rules) -> Result<String, S3Error> {
    let parts = RequestHead {
        method: &head.method,
        raw_path: head.uri.path(),
        raw_query: "",
        headers: &head.headers,
        bucket_of_host: "",
    };
    match auth::parse(&parts, rules, now_ms())? {
        Parsed::Signed(claim) if claim.place() == Place::Header => {
            let known = service.gateway.user_by_access_key(claim.access_key()).await?;
            known.map(|_| claim.access_key().to_owned()).ok_or_else(|| Code::InvalidAccessKeyId.into())
        }
        Parsed::Signed(_) | Parsed::Anonymous(_) => Err(Code::MissingAuthenticationToken.into()),
    }
}

/// The service that the signature's scope names; IAM where it names none of the two, which it then is found not to be
/// for.
fn named(headers: &HeaderMap) -> &'static Api {
    let credential = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let scope = credential.and_then(|value| value.split_once("Credential=")?.1.split([',', ' ']).next());
    match scope.and_then(|scope| scope.rsplit('/').nth(1)) {
        Some("sts") => &iam::STS,
        _ => &iam::IAM,
    }
}
