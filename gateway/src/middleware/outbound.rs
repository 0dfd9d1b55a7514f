//! The body of an answer on its way out: counted, and accounted for when its last byte is gone or the client is.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};

use crate::data::AnswerRoom;

/// The body of every answer.
pub struct Outbound {
    inner: axum::body::Body,
    sent: u64,
    failed: bool,
    /// Of a body that is in memory: held until the client has taken it.
    room: Option<AnswerRoom>,
    account: Account,
}

/// What is known of a request when its answer begins; it is told to log and metrics when the answer ends.
pub(super) struct Account {
    pub(super) id: String,
    pub(super) operation: &'static str,
    pub(super) bucket: String,
    pub(super) status: StatusCode,
    /// In bytes.
    pub(super) received: u64,
    pub(super) started: Instant,
    pub(super) _in_flight: InFlight,
}

/// One request that is being worked on.
pub(super) struct InFlight(());

impl InFlight {
    pub(super) fn new() -> Self {
        metrics::gauge!("cairn_s3_requests_in_flight").increment(1.0);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!("cairn_s3_requests_in_flight").decrement(1.0);
    }
}

impl Outbound {
    pub(super) fn new(inner: axum::body::Body, room: Option<AnswerRoom>, account: Account) -> Self {
        Self { inner, sent: 0, failed: false, room, account }
    }
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                let held = frame.map_data(|data| match self.room.take() {
                    Some(room) => room.hold(data),
                    None => data,
                });
                Poll::Ready(Some(Ok(held)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.failed = true;
                Poll::Ready(Some(Err(error)))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        let account = &self.account;
        let elapsed = account.started.elapsed();
        let status = account.status.as_u16();
        metrics::counter!("cairn_s3_requests_total", "operation" => account.operation, "status" => status_label(status))
            .increment(1);
        metrics::histogram!("cairn_s3_request_seconds", "operation" => account.operation).record(elapsed);
        metrics::counter!("cairn_s3_received_bytes_total").increment(account.received);
        metrics::counter!("cairn_s3_sent_bytes_total").increment(self.sent);
        tracing::debug!(
            request_id = account.id,
            operation = account.operation,
            bucket = account.bucket,
            status,
            received = account.received,
            sent = self.sent,
            duration_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            // The rest of the body could not be had, and the connection was cut.
            failed = self.failed,
            "request"
        );
    }
}

/// The statuses that there are, without an allocation for each request.
fn status_label(status: u16) -> metrics::SharedString {
    match status {
        200 => "200".into(),
        204 => "204".into(),
        206 => "206".into(),
        304 => "304".into(),
        403 => "403".into(),
        404 => "404".into(),
        other => other.to_string().into(),
    }
}
