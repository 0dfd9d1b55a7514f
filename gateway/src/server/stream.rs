//! A connection's socket: it does not wait for ever for a client that takes nothing, and, where a client is still
//! sending what nobody wants, it closes so that the client can read the answer first.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::middleware::inbound::DRAIN_LIMIT;

/// How long a socket is read from after its end was sent.
const LINGER_TIME: Duration = Duration::from_secs(2);

pub(super) struct Stream {
    inner: TcpStream,
    write_timeout: Duration,
    /// Since when no byte could be written.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Whether to read on after the end was sent: closing a socket with unread bytes in it resets the connection, and
    /// the answer may be lost with it.
    linger: Arc<AtomicBool>,
    lingering: Option<Lingering>,
}

struct Lingering {
    until: Pin<Box<Sleep>>,
    /// In bytes.
    left: u64,
}

impl Stream {
    pub(super) fn new(inner: TcpStream, write_timeout: Duration, linger: Arc<AtomicBool>) -> Self {
        Self { inner, write_timeout, stalled: None, linger, lingering: None }
    }

    /// Passes on what came of a write; one that is pending for too long is an error.
    fn bounded<T>(&mut self, polled: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.bounded(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.bounded(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            if !this.linger.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let lingering =
            this.lingering.get_or_insert_with(|| Lingering { until: Box::pin(sleep(LINGER_TIME)), left: DRAIN_LIMIT });
        let mut scratch = [0; 8 << 10];
        while lingering.left > 0 && lingering.until.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut buf));
            if read.is_err() || buf.filled().is_empty() {
                break;
            }
            lingering.left = lingering.left.saturating_sub(buf.filled().len() as u64);
        }
        Poll::Ready(Ok(()))
    }
}
