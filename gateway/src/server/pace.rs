//! How slow a client may be: so many bytes a second, averaged over a window. Only the time in which the client alone is
//! waited for counts.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The patience with one client: it begins with a window, shrinks while nothing comes, and grows with each byte.
pub(crate) struct Pace {
    /// In bytes a second. 0: any byte within the window will do.
    rate: u64,
    window: Duration,
    left: Duration,
    /// Since when the client is waited for.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(crate) fn new(rate: u64, window: Duration) -> Self {
        Self { rate, window, left: window, since: None, timer: None }
    }

    /// Nothing could be read or written. Ready when the client was too slow.
    pub(crate) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            let until = now + self.left;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(until),
                None => self.timer = Some(Box::pin(sleep_until(until))),
            }
        }
        match &mut self.timer {
            Some(timer) => {
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(())
            }
            None => Poll::Pending,
        }
    }

    /// So many bytes came or went.
    pub(crate) fn moved(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        let earned = match (bytes, self.rate) {
            (0, _) => Duration::ZERO,
            (_, 0) => self.window,
            (bytes, rate) => Duration::from_secs_f64(bytes as f64 / rate as f64),
        };
        self.left = self.left.saturating_add(earned).min(self.window);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{sleep, timeout};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    /// How long a client of so many bytes each so many seconds is borne, at most an hour.
    async fn borne(rate: u64, bytes: usize, each: u64) -> Duration {
        let mut pace = Pace::new(rate, WINDOW);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3_600) {
            if timeout(Duration::from_secs(each), poll_fn(|cx| pace.poll_wait(cx))).await.is_ok() {
                break;
            }
            pace.moved(bytes);
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_slower_than_the_rate_is_borne_for_a_while_only() {
        assert_eq!(borne(1_000, 0, 10).await.as_secs(), 60);
        assert!((60..130).contains(&borne(1_000, 5_000, 10).await.as_secs()));
        assert!(borne(1_000, 11_000, 10).await.as_secs() >= 3_600);
        assert!(borne(1_000, 50_000, 49).await.as_secs() >= 3_600, "a pause within the window is none");
        // What was fast once has no credit for more than the window.
        assert!(borne(1_000, 100_000_000, 61).await.as_secs() <= 61);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_only_silence_ends_it() {
        assert!(borne(0, 1, 59).await.as_secs() >= 3_600);
        assert_eq!(borne(0, 1, 61).await.as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_the_client_is_not_waited_for_does_not_count() {
        let mut pace = Pace::new(1_000, WINDOW);
        for _ in 0..10 {
            sleep(WINDOW).await;
            assert!(timeout(Duration::from_secs(1), poll_fn(|cx| pace.poll_wait(cx))).await.is_err());
            pace.moved(1_000);
        }
    }
}
