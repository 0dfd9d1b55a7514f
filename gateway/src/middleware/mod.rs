//! What happens around every operation: a request id, authentication, the checks that all have in common, errors in
//! S3's form, accounting, and what becomes of a body that was not read. Everything needs a valid signature but for the
//! short list in `own`.

mod authenticate;
mod form;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod host;
pub(crate) mod inbound;
pub(crate) mod late;
mod outbound;
mod own;
mod promise;
mod ready;
mod render;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderValue, Response, StatusCode, header, request};
use http_body::Body as _;
use rand::Rng;

use self::inbound::{Inbound, Left};
use self::late::Late;
pub use self::outbound::Outbound;
use self::outbound::{Account, InFlight};
use self::ready::Ready;
use self::render::Form;
use crate::auth::Rules;
use crate::data::AnswerRoom;
use crate::error::{Code, S3Error};
use crate::gateway::Gateway;
use crate::operation::{Operation, Target, Version};
use crate::origin::Peer;
use crate::request::{Reply, Request, Unread};
use crate::server::Hooks;
use crate::server::pace::Pace;
use crate::{gate, router, xml};

/// A body in memory of at most so many bytes is part of what a connection costs, and not counted.
const SMALL_ANSWER: u64 = 16 << 10;

/// Answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    gateway: Gateway,
    hooks: Hooks,
    ready: Ready,
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
        let settings = gateway.settings();
        let (any_region, version2) = (settings.any_region, settings.sigv2);
        let rules = Rules { any_region, version2, ..Rules::s3(&settings.region) };
        let ready = Ready::new(hooks.ready.clone());
        Self(Arc::new(Inner { gateway, hooks, ready, rules, host_id }))
    }

    /// Answers one request.
    pub(crate) async fn answer<B>(&self, request: http::Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.answer_by(request, async |head, body, progress| self.work(head, body, progress).await).await
    }

    /// Answers a request for which there was no room: health as ever, anything else with `SlowDown`.
    pub(crate) async fn answer_health_only<B>(&self, request: http::Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.answer_by(request, async |mut head, _, progress| {
            self.check_head(&head)?;
            let host = host::take(&mut head)?;
            let domains = &self.0.gateway.settings().domains;
            let target = Target::parse(&host, head.uri.path(), head.uri.query(), domains)?;
            if let Some(said) = own::health(&self.0, &head.method, &target).await {
                progress.operation = "Own";
                return Ok(said);
            }
            Err(S3Error::with(Code::SlowDown, "Too many connections. Please reduce your request rate."))
        })
        .await
    }

    /// Answers a request in the clear at a port with TLS.
    pub(crate) async fn answer_not_secure<B>(&self, request: http::Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let refused = S3Error::with(Code::BadRequest, "The request came over HTTP to a port that speaks HTTPS only.");
        self.answer_by(request, async |_, _, _| Err(refused)).await
    }

    /// A whole message in the place of one that hyper would answer with by itself, to a request that it cannot read.
    pub(crate) fn refusal(&self, status: StatusCode) -> Bytes {
        let error = match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => self.head_too_large(),
            StatusCode::URI_TOO_LONG => Code::InvalidURI.into(),
            _ => S3Error::with(Code::BadRequest, "An error occurred when parsing the HTTP request."),
        };
        let id = new_id();
        let (mut head, body) = render::text(&error, &id, &self.0.host_id);
        self.finish_head(&mut head, &id, Left::Unread(0));
        tracing::debug!(request_id = id, %error, "a request that could not be read");
        render::message(&head, &body)
    }

    fn head_too_large(&self) -> S3Error {
        let max = self.0.hooks.limits.head_bytes.to_string();
        S3Error::new(Code::RequestHeaderSectionTooLarge).detail("MaxSizeAllowed", max)
    }

    async fn answer_by<B>(
        &self,
        request: http::Request<B>,
        work: impl AsyncFnOnce(request::Parts, Body, &mut Progress) -> Reply,
    ) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (started, in_flight) = (Instant::now(), InFlight::new());
        let (head, body) = request.into_parts();
        let expects_continue = head.headers.get(header::EXPECT).is_some_and(|value| !value.is_empty());
        let is_head = head.method == http::Method::HEAD;
        let limits = &self.0.hooks.limits;
        let (inbound, home) = Inbound::new(body, Pace::new(limits.min_rate, limits.read_window));
        let mut progress = Progress {
            id: new_id(),
            operation: "Unknown",
            bucket: String::new(),
            resource: head.uri.path().to_owned(),
            form: Form::Xml,
        };
        let reply = guarded(&progress.id.clone(), work(head, Body::new(inbound), &mut progress)).await;
        let (mut response, room) = match self.with_room(reply, progress.operation).await {
            Ok(held) => held,
            Err(error) => {
                let Progress { form, resource, id, .. } = &progress;
                (render::error(&error, *form, resource, id, &self.0.host_id), None)
            }
        };
        if let Some(late) = response.extensions_mut().remove::<Late>() {
            let (service, resource, id) = (self.0.clone(), progress.resource.clone(), progress.id.clone());
            let render = move |error: &S3Error| xml::error(error, &resource, &id, &service.host_id);
            *response.body_mut() = late.into_body(render).unwrap_or_default();
        }
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
        Answer { response: response.map(|body| Outbound::new(body, room, account)), left }
    }

    /// The reply with room for its body, where that is in memory: what a client does not take is counted. The bytes of
    /// objects are counted where they are read.
    async fn with_room(&self, reply: Reply, operation: &str) -> Result<(Response<Body>, Option<AnswerRoom>), S3Error> {
        let response = reply?;
        let len = response.body().size_hint().exact().unwrap_or(0);
        if len <= SMALL_ANSWER || operation == Operation::GetObject.as_str() {
            return Ok((response, None));
        }
        let room = self.0.gateway.data().answer_room(len).await.ok_or(Code::SlowDown)?;
        Ok((response, Some(room)))
    }

    async fn work(&self, mut head: request::Parts, body: Body, progress: &mut Progress) -> Reply {
        let gateway = &self.0.gateway;
        self.check_head(&head)?;
        let host = host::take(&mut head)?;
        let target = Target::parse(&host, head.uri.path(), head.uri.query(), &gateway.settings().domains)?;
        if target.bucket == own::SPACE && !target.virtual_host {
            return own::answer(&self.0, head, target, body, progress).await;
        }
        if form::is_one(&head.method, &target, &head.headers) {
            return form::answer(&self.0, head, target, body, progress).await;
        }
        progress.resource = resource(&target);
        router::refuse_form(&head.method, &target, &head.headers)?;
        if let Ok(row) = router::route(&head.method, &target, &head.headers) {
            progress.operation = row.operation.as_str();
        }
        let signed = authenticate::authenticate(gateway, &self.0.rules, &mut head, &target).await?;
        // Only now: a presigned query holds headers, too, the source of a copy among them.
        let row = router::route(&head.method, &target, &head.headers).map_err(|error| {
            // Who has not signed is told of nothing but what is open to all.
            if signed.caller.is_anonymous() { Code::AccessDenied.into() } else { error }
        })?;
        progress.operation = row.operation.as_str();
        promise::check(row, &head.headers)?;
        // Only now: names that anybody could make up do not get into the log.
        progress.bucket.clone_from(&target.bucket);
        let request = Request {
            id: progress.id.clone(),
            caller: signed.caller,
            method: head.method,
            bucket: target.bucket,
            key: target.key,
            query: target.query.into(),
            version: Version::Current,
            document_len: row.document_len,
            virtual_host: target.virtual_host,
            signature: signed.signature,
            peer: head.extensions.get::<Peer>().copied(),
            headers: head.headers.into(),
            payload: signed.payload,
            body: Unread::new(body),
        };
        gate::answer(gateway, row, request).await
    }

    /// Bounds that are ours, within those of hyper.
    fn check_head(&self, head: &request::Parts) -> Result<(), S3Error> {
        let limits = &self.0.hooks.limits;
        let of_header = |(name, value): (&http::HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        let of_line = head.method.as_str().len() + head.uri.path().len() + head.uri.query().map_or(0, str::len) + 14;
        let bytes = of_line + head.headers.iter().map(of_header).sum::<usize>();
        if bytes > limits.head_bytes || head.headers.len() > limits.headers {
            return Err(self.head_too_large());
        }
        Ok(())
    }

    fn finish_head<T>(&self, response: &mut Response<T>, id: &str, left: Left) {
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

/// 16 upper-case hexadecimal digits.
fn new_id() -> String {
    format!("{:016X}", rand::rng().random::<u64>())
}

/// Works on a request. A panic is an `InternalError` of this request alone.
async fn guarded(id: &str, work: impl Future<Output = Reply>) -> Reply {
    let work = Box::pin(AssertUnwindSafe(work).catch_unwind());
    work.await.unwrap_or_else(|_| {
        tracing::error!(request_id = id, "a request panicked");
        metrics::counter!("cairn_s3_panics_total").increment(1);
        Err(Code::InternalError.into())
    })
}

fn resource(target: &Target) -> String {
    match (target.bucket.as_str(), target.key.as_str()) {
        ("", _) => "/".to_owned(),
        (bucket, "") => format!("/{bucket}"),
        (bucket, key) => format!("/{bucket}/{key}"),
    }
}

#[cfg(test)]
#[path = "denied_test.rs"]
mod denied_test;
#[cfg(test)]
#[path = "service_test.rs"]
mod tests;
#[cfg(test)]
#[path = "walk_test.rs"]
mod walk_test;
