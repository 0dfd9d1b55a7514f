//! A lane: how many requests of a kind are worked on at a time, and what their bodies may take together. Each kind has
//! its own, so that one that stalls is in nobody else's way.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::reply::Refusal;

/// Bodies are counted in units of so many bytes.
const UNIT: usize = 1024;
/// How long a body waits for room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct Lane {
    places: Semaphore,
    units: Semaphore,
}

/// A place in a lane and the room for a body, for as long as it lives.
pub(super) struct Place<'a> {
    _place: SemaphorePermit<'a>,
    _room: SemaphorePermit<'a>,
}

impl Lane {
    /// For `places` requests with bodies of `bytes` together.
    pub(super) fn new(places: usize, bytes: usize) -> Self {
        Self { places: Semaphore::new(places), units: Semaphore::new(bytes / UNIT) }
    }

    /// For a request with a body of at most `len` bytes in memory. Busy at once without a place, in a moment without room.
    pub(super) async fn enter(&self, len: usize) -> Result<Place<'_>, Refusal> {
        let place = self.places.try_acquire().map_err(|_| Refusal::busy())?;
        let units = u32::try_from(len.div_ceil(UNIT)).map_err(|_| Refusal::busy())?;
        let room = timeout(ROOM_TIMEOUT, self.units.acquire_many(units)).await;
        let room = room.map_err(|_| Refusal::busy())?.map_err(|_| Refusal::busy())?;
        Ok(Place { _place: place, _room: room })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lane_has_a_bound_of_requests_and_one_of_bytes() {
        let lane = Lane::new(2, 4 * UNIT);
        let first = lane.enter(3 * UNIT).await.ok().unwrap();
        assert!(lane.enter(UNIT + 1).await.is_err(), "there is no room");
        let _second = lane.enter(UNIT).await.ok().unwrap();
        assert!(lane.enter(0).await.is_err(), "there is no place");
        drop(first);
        assert!(lane.enter(3 * UNIT).await.is_ok());
    }
}
