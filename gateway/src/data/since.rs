//! How long ago something was, for what must never be taken for younger than it is: by the clock on the wall and by the
//! one that only counts, whichever says more. The latter stands still while the machine sleeps.

use cairn_storage::types::now_ms;
use tokio::time::Instant;

/// A moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since {
    counted: Instant,
    wall_ms: u64,
}

impl Since {
    pub(crate) fn now() -> Self {
        Self { counted: Instant::now(), wall_ms: now_ms() }
    }

    /// In milliseconds.
    pub(crate) fn age_ms(&self) -> u64 {
        let counted = u64::try_from(self.counted.elapsed().as_millis()).unwrap_or(u64::MAX);
        counted.max(now_ms().saturating_sub(self.wall_ms))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_clock_that_says_more_is_believed() {
        let hour_ms = 3_600_000;
        let slept = Since { wall_ms: now_ms() - hour_ms, ..Since::now() };
        assert!((hour_ms..hour_ms + 60_000).contains(&slept.age_ms()), "the machine slept");
        let set_back = Since { wall_ms: now_ms() + hour_ms, ..Since::now() };
        tokio::time::advance(Duration::from_secs(7_200)).await;
        assert!((2 * hour_ms..2 * hour_ms + 60_000).contains(&set_back.age_ms()), "the clock was set back");
    }
}
