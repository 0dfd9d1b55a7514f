//! What happens around every operation: a request id, authentication, the checks that all have in common, errors in
//! S3's form, accounting, and what becomes of a body that was not read. Everything needs a valid signature but for the
//! short list in `own`.

mod authenticate;
mod host;
pub(crate) mod inbound;
mod outbound;
mod own;
mod promise;
mod render;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use cairn_storage::types::UserId;
use futures::FutureExt;
use http::{HeaderValue, Response, header, request};
use rand::Rng;

use self::inbound::{Inbound, Left};
pub use self::outbound::Outbound;
use self::outbound::{Account, InFlight};
use self::render::Form;
use crate::auth::Rules;
use crate::error::{Code, S3Error};
use crate::gateway::Gateway;
use crate::operation::{Operation, Target};
use crate::ops::object::source::CopySource;
use crate::request::{Reply, Request, Unread};
use crate::router;
use crate::server::Hooks;

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    gateway: Gateway,
    hooks: Hooks,
    /// What signatures must hold.
    rules: Rules,
    /// Names this process in its answers.
    host_id: String,
}

/// An answer, and whether its connection can take another request.
pub(crate) struct Answer {
    pub response: Response<Outbound>,
    pub left: Left,
}

/// What a request turned out to be, as far as it got.
struct Progress {
    id: String,
    operation: &'static str,
    bucket: String,
    /// What an error is said to be about.
    resource: String,
    form: Form,
}

impl Service {
    pub fn new(gateway: Gateway, hooks: Hooks) -> Self {
        let host_id = hex::encode(rand::rng().random::<[u8; 16]>());
        let rules = Rules::s3(&gateway.settings().region);
        Self(Arc::new(Inner { gateway, hooks, rules, host_id }))
    }

    /// Answers one request that came from `peer`.
    pub(crate) async fn answer<B>(&self, request: http::Request<B>, peer: SocketAddr) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (started, in_flight) = (Instant::now(), InFlight::new());
        let (head, body) = request.into_parts();
        let expects_continue = head.headers.get(header::EXPECT).is_some_and(|value| !value.is_empty());
        let is_head = head.method == http::Method::HEAD;
        let (inbound, home) = Inbound::new(body);
        let mut progress = Progress {
            id: format!("{:016X}", rand::rng().random::<u64>()),
            operation: "Unknown",
            bucket: String::new(),
            resource: head.uri.path().to_owned(),
            form: Form::Xml,
        };
        let reply = self.guarded(head, Body::new(inbound), peer, &mut progress).await;
        let mut response = reply.unwrap_or_else(|error| {
            render::error(&error, progress.form, &progress.resource, &progress.id, &self.0.host_id)
        });
        if is_head {
            *response.body_mut() = Body::empty();
        }
        let left = home.settle(expects_continue).await;
        self.finish_head(&mut response, &progress.id, left);
        let account = Account {
            id: progress.id,
            operation: progress.operation,
            bucket: progress.bucket,
            status: response.status(),
            received: home.received(),
            started,
            _in_flight: in_flight,
        };
        Answer { response: response.map(|body| Outbound::new(body, account)), left }
    }

    /// Works on a request. A panic is an `InternalError` of this request alone.
    async fn guarded(&self, head: request::Parts, body: Body, peer: SocketAddr, progress: &mut Progress) -> Reply {
        let id = progress.id.clone();
        let work = Box::pin(AssertUnwindSafe(self.work(head, body, peer, progress)).catch_unwind());
        work.await.unwrap_or_else(|_| {
            tracing::error!(request_id = id, "a request panicked");
            metrics::counter!("cairn_s3_panics_total").increment(1);
            Err(Code::InternalError.into())
        })
    }

    async fn work(&self, mut head: request::Parts, body: Body, peer: SocketAddr, progress: &mut Progress) -> Reply {
        let gateway = &self.0.gateway;
        let host = host::take(&mut head)?;
        let target = Target::parse(&host, head.uri.path(), head.uri.query(), &gateway.settings().domains)?;
        if target.bucket == own::SPACE && !target.virtual_host {
            return own::answer(&self.0, head, target, body, peer, progress).await;
        }
        progress.resource = resource(&target);
        router::refuse_form(&head.method, &target, &head.headers)?;
        if let Ok(operation) = router::route(&head.method, &target, &head.headers) {
            progress.operation = operation.as_str();
        }
        let signed = authenticate::authenticate(gateway, &self.0.rules, &mut head).await?;
        // Only now: a presigned query holds headers, too, the source of a copy among them.
        let operation = router::route(&head.method, &target, &head.headers)?;
        progress.operation = operation.as_str();
        promise::check(&head.headers)?;
        // Only now: names that anybody could make up do not get into the log.
        progress.bucket.clone_from(&target.bucket);
        let request = Request {
            id: progress.id.clone(),
            caller: signed.caller,
            method: head.method,
            bucket: target.bucket,
            key: target.key,
            query: target.query,
            headers: head.headers,
            payload: signed.payload,
            body: Unread::new(body),
        };
        check_expected_owner(gateway, &request, operation).await?;
        check_expected_source_owner(gateway, &request, operation).await?;
        router::dispatch(operation, gateway, request).await
    }

    fn finish_head(&self, response: &mut Response<Body>, id: &str, left: Left) {
        let headers = response.headers_mut();
        for (name, value) in [("x-amz-request-id", id), ("x-amz-id-2", self.0.host_id.as_str())] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        headers.insert(header::SERVER, HeaderValue::from_static("Cairn"));
        if left != Left::Finished {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

fn resource(target: &Target) -> String {
    match (target.bucket.as_str(), target.key.as_str()) {
        ("", _) => "/".to_owned(),
        (bucket, "") => format!("/{bucket}"),
        (bucket, key) => format!("/{bucket}/{key}"),
    }
}

/// `x-amz-expected-bucket-owner`: the request is meant for the bucket of this user only.
async fn check_expected_owner(gateway: &Gateway, request: &Request, operation: Operation) -> Result<(), S3Error> {
    let Some(expected) = request.headers.get("x-amz-expected-bucket-owner") else {
        return Ok(());
    };
    let owner = match operation {
        Operation::ListBuckets => return Ok(()),
        Operation::CreateBucket => request.caller.id,
        _ => gateway.open_bucket_anew(&request.caller, &request.bucket).await?.owner,
    };
    check_owner(expected, owner)
}

/// `x-amz-source-expected-bucket-owner`: the same for the bucket that a copy reads. Who may not write learns nothing
/// of it.
async fn check_expected_source_owner(
    gateway: &Gateway,
    request: &Request,
    operation: Operation,
) -> Result<(), S3Error> {
    let Some(expected) = request.headers.get("x-amz-source-expected-bucket-owner") else {
        return Ok(());
    };
    if !matches!(operation, Operation::CopyObject | Operation::UploadPartCopy) {
        return Err(S3Error::with(Code::InvalidArgument, "There is no source whose owner could be expected.")
            .detail("ArgumentName", "x-amz-source-expected-bucket-owner"));
    }
    gateway.open_bucket(&request.caller, &request.bucket).await?;
    let source = CopySource::from_headers(&request.headers)?;
    check_owner(expected, gateway.open_bucket_anew(&request.caller, &source.bucket).await?.owner)
}

fn check_owner(expected: &HeaderValue, owner: UserId) -> Result<(), S3Error> {
    if expected.as_bytes() == owner.to_string().as_bytes() { Ok(()) } else { Err(Code::AccessDenied.into()) }
}

#[cfg(test)]
#[path = "service_test.rs"]
mod tests;
#[cfg(test)]
#[path = "walk_test.rs"]
mod walk_test;
