//! Buffers for large reads, used again and again: fresh memory costs a page fault for every 4 KiB, which is about what
//! it costs to copy them. Holds on to at most [`KEPT`] buffers in the whole process.

use bytes::Bytes;
use parking_lot::Mutex;

/// The length of a buffer, in bytes: large enough that a system call does not matter, small enough that its checksum
/// is computed while it is still in the processor's cache.
pub const BUFFER: usize = 256 << 10;
/// How many buffers wait for their next use at most (64 MiB).
const KEPT: usize = 256;

static FREE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// A buffer of [`BUFFER`] bytes that goes back to the others when the last piece of it is dropped.
pub struct Buffer(Box<[u8]>);

impl Buffer {
    /// One that was used before, with whatever is in it, or a new one.
    pub fn take() -> Self {
        let kept = FREE.lock().pop();
        Self(kept.unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice()))
    }

    pub fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        let mut free = FREE.lock();
        if free.len() < KEPT {
            free.push(buffer);
        }
    }
}
