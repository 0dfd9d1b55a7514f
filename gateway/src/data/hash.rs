//! The hashes of a body on its way in: BLAKE3 for each chunk, and MD5, SHA-256 and checksum for the whole. What takes
//! long is done away from the runtime's workers, one batch at a time, in order.

use bytes::Bytes;
use cairn_storage::meta::record::{Checksum, ChecksumAlgorithm, ChecksumKind};
use md5::Digest;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::checksum::Hasher;
use crate::error::{Code, S3Error};

/// Batches up to this length, in bytes, are hashed where they are: 0.2 ms of MD5, hardly more than a thread's wake-up.
const IN_PLACE: usize = 128 << 10;

/// The hashes of a whole body.
pub(super) struct Digests {
    md5: md5::Md5,
    sha256: Option<sha2::Sha256>,
    checksum: Option<Hasher>,
    /// The MD5, or the SHA-256 of the payload, is the checksum too: one computation for both.
    shared: Option<ChecksumAlgorithm>,
}

/// What came out.
pub(super) struct Hashes {
    pub md5: [u8; 16],
    /// If the payload is signed whole.
    pub sha256: Option<[u8; 32]>,
    pub checksum: Option<Checksum>,
}

impl Digests {
    pub(super) fn new(payload_is_signed: bool, checksum: Option<ChecksumAlgorithm>) -> Self {
        let shared = checksum.filter(|algorithm| match algorithm {
            ChecksumAlgorithm::Md5 => true,
            ChecksumAlgorithm::Sha256 => payload_is_signed,
            _ => false,
        });
        Self {
            md5: md5::Md5::new(),
            sha256: payload_is_signed.then(sha2::Sha256::new),
            checksum: checksum.filter(|_| shared.is_none()).map(Hasher::new),
            shared,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
    }

    pub(super) fn finish(self) -> Hashes {
        let sha256: Option<[u8; 32]> = self.sha256.map(|sha256| sha256.finalize().into());
        let md5: [u8; 16] = self.md5.finalize().into();
        let shared = match self.shared {
            Some(ChecksumAlgorithm::Md5) => Some((ChecksumAlgorithm::Md5, &md5[..])),
            Some(algorithm) => sha256.as_ref().map(|sha256| (algorithm, &sha256[..])),
            None => None,
        };
        let checksum = match shared {
            Some((algorithm, value)) => {
                let value = Bytes::copy_from_slice(value);
                Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value })
            }
            None => self.checksum.map(Hasher::finish),
        };
        Hashes { md5, sha256, checksum }
    }
}

struct Hashers {
    chunk: blake3::Hasher,
    body: Digests,
}

impl Hashers {
    /// The chunk's hash first: the chunk can be on its way to the disks while the slower hashes go on.
    fn take(&mut self, pieces: &[Bytes], end: Option<oneshot::Sender<[u8; 32]>>) {
        for piece in pieces {
            self.chunk.update(piece);
        }
        if let Some(end) = end {
            // A receiver that is gone means that the upload has failed already.
            let _ = end.send(*self.chunk.finalize().as_bytes());
            self.chunk.reset();
        }
        for piece in pieces {
            self.body.update(piece);
        }
    }
}

/// The hashes of one body, and at most one batch that is being hashed.
pub(super) struct Lane(State);

enum State {
    Idle(Box<Hashers>),
    Busy(JoinHandle<Box<Hashers>>),
    /// A job did not come back: the process is shutting down, or the job panicked.
    Broken,
}

impl Lane {
    pub(super) fn new(body: Digests) -> Self {
        Self(State::Idle(Box::new(Hashers { chunk: blake3::Hasher::new(), body })))
    }

    /// Whether a batch can be taken without waiting for the one before.
    pub(super) fn is_idle(&self) -> bool {
        match &self.0 {
            State::Busy(job) => job.is_finished(),
            State::Idle(_) | State::Broken => true,
        }
    }

    /// Takes the next batch of a chunk, when the one before is done.
    pub(super) async fn feed(&mut self, pieces: Vec<Bytes>) -> Result<(), S3Error> {
        self.start(pieces, None).await
    }

    /// Takes the last batch of a chunk. The chunk's hash arrives through the answer.
    pub(super) async fn end_chunk(&mut self, pieces: Vec<Bytes>) -> Result<oneshot::Receiver<[u8; 32]>, S3Error> {
        let (end, hash) = oneshot::channel();
        self.start(pieces, Some(end)).await?;
        Ok(hash)
    }

    /// The hashes of all that was fed.
    pub(super) async fn finish(mut self) -> Result<Hashes, S3Error> {
        Ok(self.idle().await?.body.finish())
    }

    async fn start(&mut self, pieces: Vec<Bytes>, end: Option<oneshot::Sender<[u8; 32]>>) -> Result<(), S3Error> {
        let mut hashers = self.idle().await?;
        let length: usize = pieces.iter().map(Bytes::len).sum();
        self.0 = if length <= IN_PLACE {
            hashers.take(&pieces, end);
            State::Idle(hashers)
        } else {
            State::Busy(tokio::task::spawn_blocking(move || {
                hashers.take(&pieces, end);
                hashers
            }))
        };
        Ok(())
    }

    async fn idle(&mut self) -> Result<Box<Hashers>, S3Error> {
        match std::mem::replace(&mut self.0, State::Broken) {
            State::Idle(hashers) => Ok(hashers),
            State::Busy(job) => job.await.map_err(|error| {
                tracing::error!(%error, "a hashing job did not come back");
                Code::InternalError.into()
            }),
            State::Broken => Err(Code::InternalError.into()),
        }
    }
}
