//! Work that takes long: `200` first, then white space that keeps the connection alive, then the result or, under the same
//! `200`, S3's error. So S3 has it for CopyObject, UploadPartCopy and CompleteMultipartUpload (API reference of each:
//! "can contain either a success or an error"). What fails fast keeps its status.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Response, header};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::error::{Code, S3Error};
use crate::request::Reply;
use crate::xml;

/// How long work may take before its answer begins.
const DELAY: Duration = Duration::from_secs(5);

/// How often white space follows.
const PAUSE: Duration = Duration::from_secs(3);

/// Among a response's extensions: work whose result is its body.
#[derive(Clone)]
pub(super) struct Late(Arc<Mutex<Option<BoxFuture<'static, Reply>>>>);

/// The reply of `work`, or, where that takes long, one that promises it.
pub(crate) async fn patiently(mut work: BoxFuture<'static, Reply>) -> Reply {
    if let Ok(reply) = timeout(DELAY, &mut work).await {
        return reply;
    }
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::CONTENT_TYPE, xml::CONTENT_TYPE);
    response.extensions_mut().insert(Late(Arc::new(Mutex::new(Some(work)))));
    Ok(response)
}

/// What the body does next.
enum Step {
    Prolog(BoxFuture<'static, Reply>),
    Wait(BoxFuture<'static, Reply>),
    End,
}

impl Late {
    /// The body, if it was not taken yet. `render` makes S3's error document.
    pub(super) fn into_body(self, render: impl Fn(&S3Error) -> xml::Document + Send + Sync + 'static) -> Option<Body> {
        let work = self.0.lock().take()?;
        let work: BoxFuture<'static, Reply> = AssertUnwindSafe(work)
            .catch_unwind()
            .map(|result| {
                result.unwrap_or_else(|_| {
                    tracing::error!("a request panicked");
                    Err(Code::InternalError.into())
                })
            })
            .boxed();
        let pieces = futures::stream::unfold((Step::Prolog(work), render), |(step, render)| async move {
            let (piece, next) = match step {
                Step::Prolog(work) => (Bytes::from_static(xml::PROLOG.as_bytes()), Step::Wait(work)),
                Step::Wait(mut work) => match timeout(PAUSE, &mut work).await {
                    Err(_) => (Bytes::from_static(b" "), Step::Wait(work)),
                    Ok(reply) => (result(reply, &render).await, Step::End),
                },
                Step::End => return None,
            };
            Some((Ok::<_, Infallible>(piece), (next, render)))
        });
        Some(Body::from_stream(pieces))
    }
}

/// The document that the reply has or is, without its prolog.
async fn result(reply: Reply, render: &impl Fn(&S3Error) -> xml::Document) -> Bytes {
    let whole = match reply {
        Ok(response) => response.into_body().collect().await.map(http_body_util::Collected::to_bytes),
        Err(error) => {
            tracing::debug!(%error, "a request failed after its answer had begun");
            return render(&error).finish_without_prolog().into();
        }
    };
    match whole {
        Ok(bytes) => match bytes.strip_prefix(xml::PROLOG.as_bytes()) {
            Some(rest) => bytes.slice_ref(rest),
            None => bytes,
        },
        Err(_) => render(&Code::InternalError.into()).finish_without_prolog().into(),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::xml::Document;

    /// What a client sees of work that takes so long.
    async fn seen(took: Duration, reply: fn() -> Reply) -> (Result<StatusCode, Code>, String, Duration) {
        let work = async move {
            sleep(took).await;
            reply()
        };
        let began = Instant::now();
        let mut response = match patiently(work.boxed()).await {
            Ok(response) => response,
            Err(error) => return (Err(error.code), String::new(), began.elapsed()),
        };
        let answered = began.elapsed();
        if let Some(late) = response.extensions_mut().remove::<Late>() {
            *response.body_mut() = late.into_body(|error| xml::error(error, "/b/k", "ID", "HOST")).unwrap();
        }
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (Ok(status), String::from_utf8(body.to_vec()).unwrap(), answered)
    }

    fn done() -> Reply {
        let mut document = Document::new("CopyObjectResult");
        document.text("ETag", "e");
        Ok(document.reply())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_done_soon_is_answered_as_ever() {
        let (status, body, _) = seen(Duration::from_secs(4), done).await;
        assert_eq!(status, Ok(StatusCode::OK));
        assert!(body.starts_with(xml::PROLOG) && body.ends_with("</CopyObjectResult>"));
        let (status, ..) = seen(Duration::from_secs(4), || Err(Code::PreconditionFailed.into())).await;
        assert_eq!(status, Err(Code::PreconditionFailed));
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_is_answered_early_and_kept_alive() {
        let (status, body, answered) = seen(Duration::from_secs(60), done).await;
        assert_eq!((status, answered), (Ok(StatusCode::OK), DELAY));
        let rest = body.strip_prefix(xml::PROLOG).unwrap();
        let document = rest.trim_start_matches(' ');
        assert_eq!(rest.len() - document.len(), 18, "one blank for each pause");
        assert!(document.starts_with("<CopyObjectResult xmlns=") && document.ends_with("</CopyObjectResult>"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_late_is_an_error_in_the_body() {
        for (reply, code) in [
            ((|| Err(Code::ServiceUnavailable.into())) as fn() -> Reply, "ServiceUnavailable"),
            (|| panic!("on purpose"), "InternalError"),
        ] {
            let (status, body, _) = seen(Duration::from_secs(10), reply).await;
            assert_eq!(status, Ok(StatusCode::OK));
            let document = body.strip_prefix(xml::PROLOG).unwrap().trim_start_matches(' ');
            assert!(document.starts_with(&format!("<Error><Code>{code}</Code>")), "{body}");
            assert!(document.contains("<RequestId>ID</RequestId>") && document.ends_with("</Error>"), "{body}");
        }
    }
}
