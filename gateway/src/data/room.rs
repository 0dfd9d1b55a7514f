//! The bound of all bytes of answers that wait for their clients. What is handed out is counted until the last byte of it
//! is dropped, in the socket's queue, too.
//!
//! Half of it is for those who take their answers: long ranges, and reading ahead. Where that is used up, ranges of
//! 64 KiB come out of the other half: a client that takes nothing holds two or three of them, so that hundreds of such
//! do not keep others from their answers. Uploads have room of their own, and nobody waits in a circle: what an answer
//! holds goes as its client takes it, whatever else waits; a copy, which waits for the uploads' room, has what it needs
//! of this one from its beginning.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// A disk is asked for at most so many bytes at once, from a multiple of it on: small enough that the bytes are still
/// in the cache when they go to the socket, and a multiple of the blocks that disks verify.
pub(super) const UNIT: u64 = 1 << 20;

/// How many answers that are in memory already may wait for room; the longest has some MiB.
const WAITING_WHOLE: usize = 16;

pub(super) type Permit = OwnedSemaphorePermit;

/// The range of an answer for which there was no room to be longer; what a disk verifies at once.
const SHORT_UNIT: u64 = UNIT / 16;

pub(super) struct Room {
    /// A permit for each byte, like `scarce`.
    plenty: Arc<Semaphore>,
    /// What `plenty` has when nobody has any.
    plenty_bytes: usize,
    /// A fair queue.
    scarce: Arc<Semaphore>,
    scarce_bytes: u32,
    /// A permit for each copy that reads; each may hold a unit.
    copies: Arc<Semaphore>,
    waiting_whole: Semaphore,
}

impl Room {
    /// `capacity` is in bytes. An eighth of it is the copies', half of it that of short ranges.
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        let capacity = capacity.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        let copies = (capacity / 8 / UNIT as usize).max(1);
        let scarce_bytes = u32::try_from(capacity / 2).unwrap_or(u32::MAX);
        let plenty_bytes = (capacity / 2).saturating_sub(copies * UNIT as usize);
        Arc::new(Self {
            plenty: Arc::new(Semaphore::new(plenty_bytes)),
            plenty_bytes,
            scarce: Arc::new(Semaphore::new(capacity / 2)),
            scarce_bytes,
            copies: Arc::new(Semaphore::new(copies)),
            waiting_whole: Semaphore::new(WAITING_WHOLE),
        })
    }

    /// Room for the next range of an answer of which `left` bytes are to come, and how long it may be. First come first
    /// served, where it has to wait; `None` after `patience`.
    pub(super) async fn next(&self, left: u64, patience: Duration) -> Option<(u64, Permit)> {
        for step in [UNIT, UNIT / 4] {
            let bytes = u32::try_from(step.min(left)).ok()?;
            if let Ok(permit) = self.plenty.clone().try_acquire_many_owned(bytes) {
                return Some((step, permit));
            }
        }
        let bytes = u32::try_from(SHORT_UNIT.min(left)).ok()?;
        Some((SHORT_UNIT, self.wait(bytes, patience).await?))
    }

    async fn wait(&self, bytes: u32, patience: Duration) -> Option<Permit> {
        timeout(patience, self.scarce.clone().acquire_many_owned(bytes)).await.ok()?.ok()
    }

    /// Room for what is read ahead: only where others find enough still.
    pub(super) fn try_ahead(&self, bytes: u32) -> Option<Permit> {
        if self.plenty.available_permits() <= self.plenty_bytes / 2 {
            return None;
        }
        self.plenty.clone().try_acquire_many_owned(bytes).ok()
    }

    /// Room for one unit after the other, for as long as the permit lives.
    pub(super) async fn standing(&self, patience: Duration) -> Option<Permit> {
        timeout(patience, self.copies.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Room for an answer of `len` bytes that is in memory already. Only few of them may wait.
    pub(super) async fn whole(&self, len: u64, patience: Duration) -> Option<Permit> {
        let bytes = u32::try_from(len).unwrap_or(u32::MAX).min(self.scarce_bytes);
        for bound in [&self.plenty, &self.scarce] {
            if let Ok(permit) = bound.clone().try_acquire_many_owned(bytes) {
                return Some(permit);
            }
        }
        let _waiting = self.waiting_whole.try_acquire().ok()?;
        self.wait(bytes, patience).await
    }
}

/// The same bytes; the permit is given back when the last of them is dropped.
pub(super) fn counted(pieces: Vec<Bytes>, permit: Permit) -> Vec<Bytes> {
    let permit = Arc::new(permit);
    pieces.into_iter().map(|bytes| Bytes::from_owner(Counted { bytes, _permit: permit.clone() })).collect()
}

/// Room for an answer that is in memory already.
pub struct AnswerRoom(Permit);

impl AnswerRoom {
    pub(super) fn new(permit: Permit) -> Self {
        Self(permit)
    }

    /// The same bytes, which hold the room as long as any of them is there.
    pub(crate) fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Counted { bytes, _permit: Arc::new(self.0) })
    }
}

struct Counted {
    bytes: Bytes,
    _permit: Arc<Permit>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn room_comes_back_with_the_last_byte_of_the_last_piece() {
        let room = Room::new(16 << 20);
        let free = room.plenty.available_permits();
        let (_, permit) = room.next(1_000, LONG).await.unwrap();
        let mut pieces = counted(vec![Bytes::from_static(b"abc"), Bytes::from_static(b"def")], permit);
        let rest = pieces.pop().unwrap().slice(2..);
        drop(pieces);
        assert_eq!(room.plenty.available_permits(), free - 1_000);
        assert_eq!(&rest[..], b"f");
        drop(rest);
        assert_eq!(room.plenty.available_permits(), free);
    }

    #[tokio::test(start_paused = true)]
    async fn the_scarcer_room_is_the_less_is_read_at_once() {
        // 6 MiB of plenty, 8 MiB for short ranges, 2 MiB for copies.
        let room = Room::new(16 << 20);
        let mut held = Vec::new();
        let mut steps = Vec::new();
        assert!(room.try_ahead(1).is_some());
        while let Some((step, permit)) = room.next(u64::MAX, LONG).await {
            held.push(permit);
            steps.push(step);
        }
        assert_eq!(steps[..6], [UNIT; 6]);
        assert_eq!(steps[6..], [SHORT_UNIT; 128]);
        assert!(room.try_ahead(1).is_none());
        drop(held.drain(..4));
        assert_eq!(room.next(u64::MAX, LONG).await.unwrap().0, UNIT);
        held.clear();
        assert!(room.try_ahead(1).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn copies_have_room_of_their_own_and_no_more() {
        let room = Room::new(16 << 20);
        let mut held = Vec::new();
        while let Some(permit) = room.next(u64::MAX, LONG).await {
            held.push(permit);
        }
        let _copies = [room.standing(LONG).await.unwrap(), room.standing(LONG).await.unwrap()];
        assert!(room.standing(LONG).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn few_whole_answers_wait_and_the_others_are_refused_at_once() {
        let room = Room::new(32 << 20);
        let mut held = Vec::new();
        while let Some(permit) = room.next(u64::MAX, LONG).await {
            held.push(permit);
        }
        let waiting: Vec<_> = (0..WAITING_WHOLE)
            .map(|_| {
                let room = room.clone();
                tokio::spawn(async move { room.whole(100_000, LONG).await.is_some() })
            })
            .collect();
        while room.waiting_whole.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let began = tokio::time::Instant::now();
        assert!(room.whole(1, LONG).await.is_none());
        assert!(began.elapsed().is_zero());
        held.clear();
        for waited in waiting {
            assert!(waited.await.unwrap());
        }
    }
}
