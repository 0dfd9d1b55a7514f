//! The body of a request on its way in: counted, and taken back from an operation that did not read it to its end, so
//! that what is left can be drained before the connection goes on or closes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;

/// How much of a body that nobody wants is read, in bytes: a client that is still sending would take a connection that
/// closes on it for a failure, and not read the answer.
pub(crate) const DRAIN_LIMIT: u64 = 1 << 20;

/// How long such a body is waited for.
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// What an operation reads.
pub(crate) struct Inbound<B: Body + Unpin> {
    inner: Option<B>,
    home: Home<B>,
}

/// What stays behind, and gets the body back when the operation drops it.
pub(crate) struct Home<B>(Arc<Shared<B>>);

struct Shared<B> {
    returned: Mutex<Option<B>>,
    polled: AtomicBool,
    received: AtomicU64,
}

/// How a request's body was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// At its end: the connection can go on.
    Finished,
    /// The client waits for `100 Continue` and has sent nothing.
    NotBegun,
    /// There is more to come.
    Unread,
}

impl<B: Body<Data = Bytes> + Unpin> Inbound<B> {
    pub(crate) fn new(body: B) -> (Self, Home<B>) {
        let shared = Shared { returned: Mutex::new(None), polled: AtomicBool::new(false), received: AtomicU64::new(0) };
        let home = Home(Arc::new(shared));
        (Self { inner: Some(body), home: Home(home.0.clone()) }, home)
    }
}

impl<B: Body + Unpin> Drop for Inbound<B> {
    fn drop(&mut self) {
        *self.home.0.returned.lock() = self.inner.take();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Inbound<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(inner) = self.inner.as_mut() else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(inner).poll_frame(cx);
        let shared = &self.home.0;
        shared.polled.store(true, Ordering::Relaxed);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            shared.received.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Home<B> {
    /// How many bytes the operation has read.
    pub(crate) fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// After the operation: reads what is left of the body, if it is little. A client that waits for `100 Continue` is
    /// not told to go on.
    pub(crate) async fn settle(&self, expects_continue: bool) -> Left {
        self.settle_within(expects_continue, DRAIN_TIME).await
    }

    async fn settle_within(&self, expects_continue: bool, time: Duration) -> Left {
        // While the operation has spawned something that still reads, its body does not come back, and is read there.
        let Some(mut body) = self.0.returned.lock().take() else {
            return Left::Unread;
        };
        if body.is_end_stream() {
            return Left::Finished;
        }
        if expects_continue && !self.0.polled.load(Ordering::Relaxed) {
            return Left::NotBegun;
        }
        if body.size_hint().lower() > DRAIN_LIMIT {
            return Left::Unread;
        }
        match tokio::time::timeout(time, drain(&mut body)).await {
            Ok(true) => Left::Finished,
            Ok(false) | Err(_) => Left::Unread,
        }
    }
}

/// Whether the body came to its end within the limit.
async fn drain(body: &mut (impl Body<Data = Bytes> + Unpin)) -> bool {
    let mut left = DRAIN_LIMIT;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        let len = frame.data_ref().map_or(0, |data| data.len() as u64);
        match left.checked_sub(len) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn body(len: usize) -> Full<Bytes> {
        Full::new(Bytes::from(vec![0; len]))
    }

    #[tokio::test]
    async fn a_body_that_was_read_is_counted_and_finished() {
        let (mut inbound, home) = Inbound::new(body(10));
        while inbound.frame().await.is_some() {}
        drop(inbound);
        assert_eq!((home.received(), home.settle(false).await), (10, Left::Finished));
    }

    #[tokio::test]
    async fn a_small_rest_is_drained_and_a_large_one_is_not() {
        let (inbound, home) = Inbound::new(body(1 << 20));
        drop(inbound);
        assert_eq!((home.settle(false).await, home.received()), (Left::Finished, 0));
        let (inbound, home) = Inbound::new(body((1 << 20) + 1));
        drop(inbound);
        assert_eq!(home.settle(false).await, Left::Unread);
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_is_drained_up_to_the_limit() {
        let pieces = futures::stream::repeat_with(|| Ok::<_, hyper::Error>(Frame::data(Bytes::from(vec![0; 1 << 16]))));
        let (inbound, home) = Inbound::new(StreamBody::new(Box::pin(pieces)));
        drop(inbound);
        assert_eq!(home.settle(false).await, Left::Unread);
    }

    #[tokio::test]
    async fn a_client_that_waits_is_not_told_to_go_on() {
        let (inbound, home) = Inbound::new(body(10));
        drop(inbound);
        assert_eq!(home.settle(true).await, Left::NotBegun);
    }

    #[tokio::test]
    async fn a_silent_client_is_not_waited_for() {
        let silent = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, hyper::Error>>());
        let (inbound, home) = Inbound::new(silent);
        drop(inbound);
        assert_eq!(home.settle_within(false, Duration::from_millis(10)).await, Left::Unread);
    }
}
