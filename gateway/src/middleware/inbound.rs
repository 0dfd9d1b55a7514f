//! The body of a request on its way in: counted, at a least rate, and taken back from an operation that did not read it
//! to its end, so that what is left can be drained before the connection goes on or closes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::Mutex;

use crate::server::pace::Pace;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How much of a body that nobody wants is read before the answer, in bytes, so that its connection can go on. More is
/// read after it, and the connection closes.
pub(crate) const DRAIN_LIMIT: u64 = 1 << 20;

/// How much is read after the answer of a body that did not say how long it is, in bytes: what S3 takes at once.
pub(crate) const MAX_BODY: u64 = 5 << 30;

/// How long such a body is waited for.
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// What an operation reads.
pub(crate) struct Inbound<B: Body + Unpin> {
    inner: Option<B>,
    home: Home<B>,
    pace: Pace,
}

/// A client sends its body too slowly.
#[derive(Debug, thiserror::Error)]
#[error("the body comes too slowly")]
pub(crate) struct TooSlow;

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
    /// The client waits for `100 Continue` and has sent nothing. It may do so unasked.
    NotBegun,
    /// There are so many bytes to come, at most.
    Unread(u64),
}

impl<B: Body<Data = Bytes> + Unpin> Inbound<B> {
    pub(crate) fn new(body: B, pace: Pace) -> (Self, Home<B>) {
        let shared = Shared { returned: Mutex::new(None), polled: AtomicBool::new(false), received: AtomicU64::new(0) };
        let home = Home(Arc::new(shared));
        (Self { inner: Some(body), home: Home(home.0.clone()), pace }, home)
    }
}

impl<B: Body + Unpin> Drop for Inbound<B> {
    fn drop(&mut self) {
        *self.home.0.returned.lock() = self.inner.take();
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Body for Inbound<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(inner) = this.inner.as_mut() else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(inner).poll_frame(cx);
        this.home.0.polled.store(true, Ordering::Relaxed);
        let Poll::Ready(frame) = polled else {
            ready!(this.pace.poll_wait(cx));
            return Poll::Ready(Some(Err(TooSlow.into())));
        };
        let len = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        this.home.0.received.fetch_add(len as u64, Ordering::Relaxed);
        this.pace.moved(len);
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
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
            return Left::Unread(MAX_BODY);
        };
        if body.is_end_stream() {
            return Left::Finished;
        }
        let rest = |body: &B| Left::Unread(body.size_hint().upper().unwrap_or(MAX_BODY).min(MAX_BODY));
        if expects_continue && !self.0.polled.load(Ordering::Relaxed) {
            return Left::NotBegun;
        }
        if body.size_hint().lower() > DRAIN_LIMIT {
            return rest(&body);
        }
        match tokio::time::timeout(time, drain(&mut body)).await {
            Ok(true) => Left::Finished,
            Ok(false) | Err(_) => rest(&body),
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

    fn inbound<B: Body<Data = Bytes> + Unpin>(body: B) -> (Inbound<B>, Home<B>) {
        Inbound::new(body, Pace::new(1_000, Duration::from_secs(60)))
    }

    #[tokio::test]
    async fn a_body_that_was_read_is_counted_and_finished() {
        let (mut body, home) = inbound(body(10));
        while body.frame().await.is_some() {}
        drop(body);
        assert_eq!((home.received(), home.settle(false).await), (10, Left::Finished));
    }

    #[tokio::test]
    async fn a_small_rest_is_drained_and_a_large_one_is_not() {
        let (unread, home) = inbound(body(1 << 20));
        drop(unread);
        assert_eq!((home.settle(false).await, home.received()), (Left::Finished, 0));
        let (unread, home) = inbound(body((1 << 20) + 1));
        drop(unread);
        assert_eq!(home.settle(false).await, Left::Unread((1 << 20) + 1));
    }

    #[tokio::test]
    async fn a_body_of_unknown_length_is_drained_up_to_the_limit() {
        let pieces = futures::stream::repeat_with(|| Ok::<_, hyper::Error>(Frame::data(Bytes::from(vec![0; 1 << 16]))));
        let (unread, home) = inbound(StreamBody::new(Box::pin(pieces)));
        drop(unread);
        assert_eq!(home.settle(false).await, Left::Unread(MAX_BODY));
    }

    #[tokio::test]
    async fn a_client_that_waits_is_not_told_to_go_on() {
        let (unread, home) = inbound(body(10));
        drop(unread);
        assert_eq!(home.settle(true).await, Left::NotBegun);
    }

    #[tokio::test]
    async fn a_silent_client_is_not_waited_for() {
        let silent = StreamBody::new(futures::stream::pending::<Result<Frame<Bytes>, hyper::Error>>());
        let (unread, home) = inbound(silent);
        drop(unread);
        assert_eq!(home.settle_within(false, Duration::from_millis(10)).await, Left::Unread(MAX_BODY));
    }
    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_too_slowly_breaks_off() {
        let pieces = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Some((Ok::<_, hyper::Error>(Frame::data(Bytes::from_static(&[0; 100]))), ()))
        });
        let (mut body, _home) = inbound(StreamBody::new(Box::pin(pieces)));
        let began = tokio::time::Instant::now();
        let error = loop {
            if let Err(error) = body.frame().await.unwrap() {
                break error;
            }
        };
        assert!(error.is::<TooSlow>());
        assert!((60..80).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    }
}
