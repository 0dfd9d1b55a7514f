//! How often something may be asked, filled up each second.

use std::time::{Duration, Instant};

pub(crate) struct Budget {
    rate: u32,
    left: u32,
    since: Instant,
}

impl Budget {
    /// Of `rate` questions, in a burst and in each second.
    pub(crate) fn new(rate: u32) -> Self {
        Self { rate, left: rate, since: Instant::now() }
    }

    pub(crate) fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            (self.left, self.since) = (self.rate, now);
        }
        let left = self.left.checked_sub(1);
        self.left = left.unwrap_or(0);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_asked_and_no_more_until_the_next_second() {
        let mut budget = Budget::new(50);
        let now = budget.since;
        assert!((0..50).all(|_| budget.take(now)));
        assert!(!budget.take(now));
        assert!(budget.take(now + Duration::from_secs(1)));
    }
}
