//! The one bounded store of buffers for chunks on their way in. What is handed out is counted until its last byte is
//! dropped, wherever that is; nobody waits for the pool while holding bytes of a chunk that needs more of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The length of a full block, in bytes: small enough to be hashed while it is in the cache, large enough for a disk.
pub(super) const BLOCK: usize = 1 << 20;

/// How many full blocks are kept for the next chunk: their pages are there already.
const SPARE_BLOCKS: usize = 64;

pub(super) struct Pool {
    /// A permit for each byte; a fair queue.
    permits: Arc<Semaphore>,
    capacity: usize,
    waiting: AtomicUsize,
    spare: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// `capacity` is in bytes.
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        let capacity = capacity.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(capacity)),
            capacity,
            waiting: AtomicUsize::new(0),
            spare: Mutex::new(Vec::new()),
        })
    }

    /// Reserves `bytes` whole, first come first served; `None` after waiting for `patience`, or for more than there is.
    pub(super) async fn reserve(self: &Arc<Self>, bytes: usize, patience: Duration) -> Option<Reservation> {
        if bytes > self.capacity {
            return None;
        }
        let permits = u32::try_from(bytes).ok()?;
        let permit = match self.permits.clone().try_acquire_many_owned(permits) {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Waiting::new(self);
                timeout(patience, self.permits.clone().acquire_many_owned(permits)).await.ok()?.ok()?
            }
        };
        Some(Reservation { pool: self.clone(), permit })
    }

    /// Whether somebody waits for bytes.
    pub(super) fn is_contended(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// How many bytes are handed out.
    #[cfg(test)]
    pub(super) fn in_use(&self) -> usize {
        self.capacity - self.permits.available_permits()
    }
}

/// Counts one who waits, until it is dropped.
struct Waiting<'a>(&'a Pool);

impl<'a> Waiting<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.waiting.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("cairn_upload_pool_waiting").increment(1);
        Self(pool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("cairn_upload_pool_waiting").decrement(1);
    }
}

/// Room for one chunk. What no block was taken for goes back when it is dropped.
pub(super) struct Reservation {
    pool: Arc<Pool>,
    permit: OwnedSemaphorePermit,
}

impl Reservation {
    /// The next block of the room, empty: of [`BLOCK`] bytes, or of what is left.
    pub(super) fn block(&mut self) -> Option<Block> {
        let room = self.permit.num_permits().min(BLOCK);
        let permit = self.permit.split(room).filter(|_| room > 0)?;
        let spare = if room == BLOCK { self.pool.spare.lock().pop() } else { None };
        let bytes = spare.unwrap_or_else(|| Vec::with_capacity(room));
        Some(Block { bytes, room, pool: self.pool.clone(), _permit: permit })
    }
}

/// A buffer of fixed room. Frozen, it becomes [`Bytes`] that give the room back when the last of them is dropped.
pub(super) struct Block {
    bytes: Vec<u8>,
    room: usize,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Block {
    /// Moves as many bytes as fit, and at most `limit`, from the front of `from`. Returns how many.
    pub(super) fn fill(&mut self, from: &mut Bytes, limit: usize) -> usize {
        let count = (self.room - self.bytes.len()).min(from.len()).min(limit);
        self.bytes.extend_from_slice(&from[..count]);
        from.advance(count);
        count
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= self.room
    }

    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.room == BLOCK {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            let mut spare = self.pool.spare.lock();
            if spare.len() < SPARE_BLOCKS {
                spare.push(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_blocks_room_comes_back_with_its_last_byte() {
        let pool = Pool::new(4 * BLOCK);
        let mut room = pool.reserve(BLOCK + 10, LONG).await.unwrap();
        let mut first = room.block().unwrap();
        let mut second = room.block().unwrap();
        assert!(room.block().is_none());
        drop(room);
        let mut source = Bytes::from(vec![7u8; BLOCK + 20]);
        assert_eq!(first.fill(&mut source, usize::MAX), BLOCK);
        assert_eq!(second.fill(&mut source, 4), 4);
        assert_eq!(second.fill(&mut source, usize::MAX), 6);
        assert!(first.is_full() && second.is_full() && source.len() == 10);
        let first = first.freeze();
        let slice = first.slice(5..6);
        drop((first, second));
        assert_eq!(pool.in_use(), BLOCK);
        drop(slice);
        assert_eq!(pool.in_use(), 0);
        assert_eq!(pool.spare.lock().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_gets_nothing_and_is_no_longer_counted() {
        let pool = Pool::new(10);
        let held = pool.reserve(8, LONG).await.unwrap();
        assert!(!pool.is_contended());
        assert!(pool.reserve(3, LONG).await.is_none());
        assert!(!pool.is_contended());
        assert!(pool.reserve(11, LONG).await.is_none());
        drop(held);
        assert!(pool.reserve(10, LONG).await.is_some());
    }

    #[tokio::test]
    async fn a_small_reservation_does_not_overtake_a_large_one() {
        let pool = Pool::new(10);
        let held = pool.reserve(8, LONG).await.unwrap();
        let large = tokio::spawn({
            let pool = pool.clone();
            async move { pool.reserve(10, LONG).await }
        });
        while !pool.is_contended() {
            tokio::task::yield_now().await;
        }
        let small = pool.reserve(1, LONG);
        tokio::pin!(small);
        assert!(futures::poll!(&mut small).is_pending());
        drop(held);
        drop(large.await.unwrap());
        assert!(small.await.is_some());
    }
}
