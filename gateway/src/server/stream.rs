//! What HTTP is spoken over, with TLS or without: it says in S3's form what hyper refuses by itself, and, where a client is
//! still sending what nobody wants, closes so that the client can read the answer first.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::pace::Pace;
use super::socket::Duplex;

/// How long a socket is read from after its end was sent, at most.
const LINGER_TIME: Duration = Duration::from_secs(300);

/// For so long a client may be silent, or slower than the least rate, that is still sending what nobody wants.
const LINGER_PATIENCE: Duration = Duration::from_secs(10);

/// For so long a client is waited for that has sent all that it had to: it reads the answer, and closes.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// What the HTTP loop tells the socket.
#[derive(Default)]
pub(super) struct Notes {
    /// Requests so far.
    begun: AtomicU64,
    /// Requests whose answer was not handed to hyper whole.
    active: AtomicUsize,
    /// How many bytes of a body that nobody wants may still come.
    unwanted: AtomicU64,
}

impl Notes {
    /// A request is being answered, as long as this lives.
    pub(super) fn active(self: &Arc<Self>) -> Active {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(self.clone())
    }

    /// The last answer of this connection leaves so many bytes of its request unread.
    pub(super) fn leave(&self, bytes: u64) {
        self.unwanted.store(bytes, Ordering::Relaxed);
    }
}

pub(super) struct Active(Arc<Notes>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes a whole message of the status that hyper would answer with.
pub(super) type Refusal = Box<dyn Fn(StatusCode) -> Bytes + Send>;

pub(super) struct Stream {
    inner: Box<dyn Duplex>,
    /// In bytes a second.
    min_rate: u64,
    notes: Arc<Notes>,
    /// After so many requests all that hyper had to write was written, and none was being answered: what it writes before
    /// the next one begins is a refusal of its own.
    clean_after: Option<u64>,
    refusal: Refusal,
    /// What goes out in place of such a refusal.
    in_place: Bytes,
    lingering: Option<Lingering>,
}

struct Lingering {
    until: Pin<Box<Sleep>>,
    pace: Pace,
    /// In bytes.
    left: u64,
}

impl Stream {
    pub(super) fn new(inner: Box<dyn Duplex>, min_rate: u64, notes: Arc<Notes>, refusal: Refusal) -> Self {
        Self { inner, min_rate, notes, clean_after: Some(0), refusal, in_place: Bytes::new(), lingering: None }
    }

    /// The number of requests so far, if none of them is being answered.
    fn idle_after(&self) -> Option<u64> {
        let is_idle = self.notes.active.load(Ordering::Relaxed) == 0;
        is_idle.then(|| self.notes.begun.load(Ordering::Relaxed))
    }

    /// Takes what is to be written for written, if it is a refusal of hyper's own. Where a request is being answered, or
    /// something of an earlier answer may still be to come, it is not looked at: an object's bytes are never mistaken.
    fn replaces(&mut self, buf: &[u8]) -> bool {
        let clean_after = self.clean_after.take();
        if clean_after.is_none() || clean_after != self.idle_after() {
            return false;
        }
        let status =
            buf.strip_prefix(b"HTTP/1.1 ").filter(|_| buf.ends_with(b"\r\n\r\n")).and_then(|rest| rest.get(..3));
        let Some(status) = status.and_then(|status| StatusCode::from_bytes(status).ok()) else { return false };
        if !status.is_client_error() {
            return false;
        }
        self.in_place = (self.refusal)(status);
        // It may have been in the middle of anything.
        self.notes.leave(u64::MAX);
        true
    }

    fn poll_in_place(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.in_place.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.in_place))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.in_place.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads on after the end was sent: closing a socket with unread bytes in it resets the connection, and the answer
    /// may be lost with it. Costs nothing but the connection.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (left, min_rate) = (self.notes.unwanted.load(Ordering::Relaxed), self.min_rate);
        let lingering = self.lingering.get_or_insert_with(|| Lingering {
            until: Box::pin(sleep(LINGER_TIME)),
            pace: Pace::new(min_rate, LINGER_PATIENCE),
            left,
        });
        let mut scratch = [0; 16 << 10];
        while lingering.until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                Poll::Ready(_) => break,
                Poll::Pending => {
                    ready!(lingering.pace.poll_wait(cx));
                    break;
                }
            }
            let read = buf.filled().len();
            if lingering.left == 0 {
                // More than it had announced: that is no client that waits for its answer.
                break;
            }
            lingering.left = lingering.left.saturating_sub(read as u64);
            lingering.pace.moved(read);
            if lingering.left == 0 {
                lingering.pace = Pace::new(0, CLOSE_PATIENCE);
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_in_place(cx))?;
        if self.replaces(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_in_place(cx))?;
        // A refusal has no body.
        let first = bufs.iter().find(|buf| !buf.is_empty());
        if let Some(first) = first
            && self.replaces(first)
        {
            return Poll::Ready(Ok(first.len()));
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_in_place(cx))?;
        // hyper flushes only what it has written whole.
        self.clean_after = self.idle_after();
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(this.poll_in_place(cx))?;
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            if this.notes.unwanted.load(Ordering::Relaxed) == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        this.poll_linger(cx).map(Ok)
    }
}
