//! How fast a node repairs: no faster than a ceiling, slower while others need the disks and the network, and never
//! slower than a floor. That others need them shows in how long a copy takes, compared with the best of its size.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How far the rate falls after a copy that took long, and grows after one that did not.
const FALL: f64 = 0.7;
const GROW: f64 = 1.05;
/// A copy takes long that takes so many times as long as the best one.
const LONG: f64 = 3.0;
/// How fast the best is forgotten, with each copy: disks wear, and fill.
const FORGET: f64 = 1.002;
/// Over how long the speed is told.
const WINDOW: Duration = Duration::from_secs(60);

pub struct Pace {
    /// Bytes a second.
    floor: f64,
    ceiling: f64,
    state: Mutex<State>,
}

struct State {
    /// Bytes a second.
    rate: f64,
    /// When the next copy may begin.
    next: Instant,
    /// Seconds of the best copy of `2^n` bytes or less.
    best: [Option<f64>; 33],
    /// When chunks were put where they belong, and how many.
    settled: VecDeque<(Instant, u64)>,
}

impl Pace {
    /// Rates in bytes a second.
    pub fn new(floor: u64, ceiling: u64) -> Self {
        let (floor, ceiling) = (floor.min(ceiling).max(1) as f64, ceiling.max(1) as f64);
        let state = State { rate: ceiling, next: Instant::now(), best: [None; 33], settled: VecDeque::new() };
        Self { floor, ceiling, state: Mutex::new(state) }
    }

    /// Waits until a copy of so many bytes may begin.
    pub async fn take(&self, len: u32) {
        let begins = {
            let mut state = self.state.lock();
            let begins = state.next.max(Instant::now());
            state.next = begins + Duration::from_secs_f64(f64::from(len) / state.rate);
            begins
        };
        tokio::time::sleep_until(begins).await;
    }

    /// A copy of so many bytes was made in this time.
    pub fn made(&self, len: u32, took: Duration) {
        let mut state = self.state.lock();
        let took = took.as_secs_f64();
        let class = (u32::BITS - len.leading_zeros()) as usize;
        let best = state.best[class].map_or(took, |best| (best * FORGET).min(took));
        state.best[class] = Some(best);
        let rate = state.rate * if took > best * LONG { FALL } else { GROW };
        state.rate = rate.clamp(self.floor, self.ceiling);
    }

    /// So many chunks are where they belong that were not.
    pub fn settled(&self, chunks: u64) {
        let mut state = self.state.lock();
        let now = Instant::now();
        state.forget(now);
        match state.settled.back_mut() {
            Some((at, count)) if now.duration_since(*at) < Duration::from_secs(1) => *count += chunks,
            _ => state.settled.push_back((now, chunks)),
        }
    }

    /// How many chunks a minute are put where they belong now.
    pub fn per_minute(&self) -> u64 {
        let mut state = self.state.lock();
        state.forget(Instant::now());
        state.settled.iter().map(|(_, count)| count).sum()
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        while self.settled.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.settled.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn it_is_not_faster_than_the_ceiling_and_not_slower_than_the_floor() {
        let pace = Pace::new(u64::from(MIB), 8 * u64::from(MIB));
        let begun = Instant::now();
        for _ in 0..17 {
            pace.take(MIB).await;
        }
        assert_eq!(begun.elapsed().as_secs(), 2);
        pace.made(MIB, Duration::from_millis(10));
        for _ in 0..100 {
            pace.made(MIB, Duration::from_millis(90));
        }
        pace.take(MIB).await;
        let begun = Instant::now();
        for _ in 0..3 {
            pace.take(MIB).await;
        }
        assert_eq!(begun.elapsed().as_secs(), 3);
        // What takes long for its size only counts against its size.
        for _ in 0..100 {
            pace.made(8 * MIB, Duration::from_millis(90));
        }
        pace.take(MIB).await;
        let begun = Instant::now();
        for _ in 0..8 {
            pace.take(MIB).await;
        }
        assert_eq!(begun.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_speed_is_that_of_the_last_minute() {
        let pace = Pace::new(1, 1);
        pace.settled(5);
        tokio::time::advance(Duration::from_secs(40)).await;
        pace.settled(2);
        assert_eq!(pace.per_minute(), 7);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(pace.per_minute(), 2);
    }
}
