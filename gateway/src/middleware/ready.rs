//! Whether the cluster is ready, as everybody may ask: found out once a second at most, whoever asks how often.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How old an answer may be.
const LIFETIME: Duration = Duration::from_secs(1);

/// For so long the cluster is waited for; one that does not answer is not ready.
const PATIENCE: Duration = Duration::from_secs(5);

type Ask = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

pub(super) struct Ready {
    ask: Ask,
    last: Mutex<Option<Asked>>,
}

struct Asked {
    since: Instant,
    answer: Shared<BoxFuture<'static, bool>>,
}

impl Ready {
    pub(super) fn new(ask: Ask) -> Self {
        Self { ask, last: Mutex::default() }
    }

    /// One that asks while another waits gets the same answer.
    pub(super) async fn get(&self) -> bool {
        let answer = {
            let mut last = self.last.lock();
            match &*last {
                Some(asked) if asked.since.elapsed() < LIFETIME || asked.answer.peek().is_none() => {
                    asked.answer.clone()
                }
                _ => {
                    // By a task: a client that goes away does not make the next one ask again.
                    let asking = tokio::spawn(tokio::time::timeout(PATIENCE, (self.ask)()));
                    let answer = async { matches!(asking.await, Ok(Ok(true))) }.boxed().shared();
                    *last = Some(Asked { since: Instant::now(), answer: answer.clone() });
                    answer
                }
            }
        };
        answer.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::time::sleep;

    use super::*;

    fn counting(took: Duration) -> (Ready, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let ask = move || {
            count.fetch_add(1, Ordering::Relaxed);
            sleep(took).map(|()| true).boxed()
        };
        (Ready::new(Arc::new(ask)), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_at_once_are_one_question() {
        let (ready, asked) = counting(Duration::from_millis(1_500));
        assert!(join_all((0..100).map(|_| ready.get())).await.into_iter().all(|ready| ready));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(ready.get().await);
        assert_eq!(asked.load(Ordering::Relaxed), 2, "the first answer was a second old");
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_once_a_second_at_most() {
        let (ready, asked) = counting(Duration::ZERO);
        for _ in 0..40 {
            assert!(ready.get().await);
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(asked.load(Ordering::Relaxed), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_away_does_not_make_the_next_one_ask_again() {
        let (ready, asked) = counting(Duration::from_millis(900));
        for _ in 0..8 {
            let gone = tokio::time::timeout(Duration::from_millis(100), ready.get()).await;
            assert!(gone.is_err());
        }
        assert!(ready.get().await);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_does_not_answer_is_not_ready() {
        let (ready, _) = counting(Duration::from_secs(60));
        let began = Instant::now();
        assert!(!ready.get().await);
        assert_eq!(began.elapsed(), PATIENCE);
    }
}
