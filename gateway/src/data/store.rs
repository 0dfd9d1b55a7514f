//! Bytes in: cuts a body into chunks, has them hashed and written while more of it arrives, and judges it at its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cairn_storage::meta::command::NewBody;
use cairn_storage::types::{ChunkId, GroupId, MAX_CHUNK_LEN, MAX_CHUNKS_PER_BODY, ManifestId};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::checksum::Asked;
use super::hash::{Digests, Hashes, Lane};
use super::intake::Source;
use super::pool::{Block, Reservation};
use super::write::Written;
use super::{Shared, Stored};
use crate::error::{Code, S3Error};

/// The first chunk after one that was cut because its client was slow, in bytes. It doubles from chunk to chunk.
const SLOW_CHUNK: usize = 256 << 10;

/// A client that fills a chunk slower than in so many stall times is taken for one that stalls.
const SLOW_STALLS: u32 = 6;

/// What a body must be.
pub(super) struct Terms {
    /// In bytes.
    pub length: u64,
    pub sha256: Option<[u8; 32]>,
    pub md5: Option<[u8; 16]>,
    pub checksum: Asked,
    pub may_inline: bool,
}

/// See `DataPath::store`.
pub(super) async fn store(
    shared: &Arc<Shared>,
    group: GroupId,
    mut source: Source,
    terms: Terms,
) -> Result<Stored, S3Error> {
    let digests = Digests::new(terms.sha256.is_some(), terms.checksum.algorithm);
    let inline = terms.may_inline && terms.length <= shared.settings.inline_max as u64;
    let (hashes, body) = if inline || terms.length == 0 {
        let (hashes, bytes) = whole(shared, &mut source, digests, terms.length).await?;
        terms.judge(source, &hashes)?;
        let inline = NewBody::Inline { id: ManifestId::random(), bytes };
        (hashes, if terms.length == 0 { NewBody::Empty } else { inline })
    } else {
        let mut cutter = Cutter::new(shared.clone(), group, digests, terms.length);
        cutter.take_all(&mut source).await?;
        let Cutter { lane, writes, .. } = cutter;
        let hashes = lane.finish().await?;
        terms.judge(source, &hashes)?;
        (hashes, shared.writer.body(writes.finish().await?, shared.settings.third_copy_wait).await?)
    };
    metrics::counter!("cairn_received_bytes_total").increment(terms.length);
    Ok(Stored { size: terms.length, md5: hashes.md5, checksum: hashes.checksum, body })
}

impl Terms {
    /// The end of the body was reached: is it what was announced?
    fn judge(&self, source: Source, hashes: &Hashes) -> Result<(), S3Error> {
        let trailers = source.finish()?;
        if self.sha256.is_some() && self.sha256 != hashes.sha256 {
            return Err(Code::XAmzContentSHA256Mismatch.into());
        }
        if self.md5.is_some_and(|md5| md5 != hashes.md5) {
            return Err(S3Error::with(
                Code::BadDigest,
                "The Content-MD5 you specified did not match what we received.",
            ));
        }
        self.checksum.check(hashes.checksum.as_ref(), &trailers)
    }
}

/// A short body in one buffer of its own: the client's pieces may be small parts of large buffers.
async fn whole(
    shared: &Shared,
    source: &mut Source,
    mut digests: Digests,
    length: u64,
) -> Result<(Hashes, Bytes), S3Error> {
    let expected = usize::try_from(length).map_err(|_| Code::InternalError)?;
    let mut bytes = BytesMut::with_capacity(expected);
    let read = async {
        while let Some(piece) = source.next().await? {
            if bytes.len() + piece.len() > expected {
                return Err(too_long());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok::<_, S3Error>(())
    };
    // A bound for all of it: so few bytes are no reason to keep a request open.
    match timeout(shared.settings.idle, read).await {
        Ok(result) => result?,
        Err(_) => return Err(source.timed_out()),
    }
    if bytes.len() < expected {
        return Err(Code::IncompleteBody.into());
    }
    digests.update(&bytes);
    Ok((digests.finish(), bytes.freeze()))
}

fn too_long() -> S3Error {
    S3Error::with(Code::IncompleteBody, "The body is longer than its headers said.")
}

/// The length of the next chunk, in bytes, of a body of which `remaining` bytes are still to come after `chunks`
/// chunks. Aims at half of the chunks that a body may have, so that there is room for chunks that are cut short.
/// `None` where what remains does not fit any more.
fn chunk_len(preferred: usize, remaining: u64, chunks: usize) -> Option<usize> {
    let fits =
        |left: usize| (left > 0).then(|| remaining.div_ceil(left as u64)).filter(|len| *len <= MAX_CHUNK_LEN as u64);
    let left = MAX_CHUNKS_PER_BODY.saturating_sub(chunks);
    let least = fits(left.saturating_sub(MAX_CHUNKS_PER_BODY / 2)).or_else(|| fits(left))?;
    let len = least.max(preferred.min(MAX_CHUNK_LEN) as u64).min(remaining);
    usize::try_from(len).ok()
}

/// The chunk that is being filled.
struct Open {
    room: Reservation,
    block: Option<Block>,
    /// Full blocks.
    pieces: Vec<Bytes>,
    filled: usize,
    /// The chunk is complete at this length, in bytes.
    goal: usize,
    since: Instant,
}

/// A body on its way into chunks.
struct Cutter {
    shared: Arc<Shared>,
    /// Of the body, in bytes.
    length: u64,
    /// How many of them were put into chunks.
    taken: u64,
    chunks: usize,
    /// How long this client's chunks should be: less, after it has stalled.
    appetite: usize,
    open: Option<Open>,
    /// What of the open chunk was not handed to the lane yet.
    unhashed: Vec<Bytes>,
    lane: Lane,
    writes: Writes,
}

impl Cutter {
    fn new(shared: Arc<Shared>, group: GroupId, digests: Digests, length: u64) -> Self {
        let appetite = shared.settings.chunk_size;
        Self {
            writes: Writes { shared: shared.clone(), group, tasks: JoinSet::new(), started: 0, done: Vec::new() },
            shared,
            length,
            taken: 0,
            chunks: 0,
            appetite,
            open: None,
            unhashed: Vec::new(),
            lane: Lane::new(digests),
        }
    }

    /// Reads the source to its end. All its bytes are then in chunks that are written or under way.
    async fn take_all(&mut self, source: &mut Source) -> Result<(), S3Error> {
        while let Some(mut piece) = self.next_piece(source).await? {
            if piece.len() as u64 > self.length - self.taken {
                return Err(too_long());
            }
            while !piece.is_empty() {
                self.fill(&mut piece).await?;
            }
        }
        if self.taken < self.length { Err(Code::IncompleteBody.into()) } else { Ok(()) }
    }

    /// The next bytes from the source. While it is silent, and others wait for the pool, the open chunk is cut where
    /// it stands.
    async fn next_piece(&mut self, source: &mut Source) -> Result<Option<Bytes>, S3Error> {
        let (stall, idle) = (self.shared.settings.stall, self.shared.settings.idle);
        let mut silent = Duration::ZERO;
        loop {
            if let Ok(piece) = timeout(stall, source.next()).await {
                let piece = piece?;
                let slow = |open: &Open| open.since.elapsed() > stall * SLOW_STALLS;
                if piece.is_some() && self.open.as_ref().is_some_and(slow) {
                    self.cut_if_others_wait().await?;
                }
                return Ok(piece);
            }
            silent += stall;
            if silent >= idle {
                return Err(source.timed_out());
            }
            self.cut_if_others_wait().await?;
        }
    }

    async fn cut_if_others_wait(&mut self) -> Result<(), S3Error> {
        if self.open.is_none() || !self.shared.pool.is_contended() {
            return Ok(());
        }
        if chunk_len(SLOW_CHUNK, self.length - self.taken, self.chunks + 1).is_none() {
            // So many chunks of this body were cut already that the rest would not fit.
            return Err(Code::SlowDown.into());
        }
        metrics::counter!("cairn_stalled_chunks_total").increment(1);
        self.appetite = SLOW_CHUNK.min(self.shared.settings.chunk_size);
        self.end_chunk().await
    }

    /// Moves bytes from the front of `piece` into the open chunk, at most to the end of a block.
    async fn fill(&mut self, piece: &mut Bytes) -> Result<(), S3Error> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let open = self.open_chunk().await?;
                self.open.insert(open)
            }
        };
        let block = match &mut open.block {
            Some(block) => block,
            None => open.block.insert(open.room.block().ok_or(Code::InternalError)?),
        };
        let count = block.fill(piece, open.goal - open.filled);
        open.filled += count;
        self.taken += count as u64;
        let (is_full, is_complete) = (block.is_full(), open.filled >= open.goal);
        if is_full && let Some(block) = open.block.take() {
            let bytes = block.freeze();
            open.pieces.push(bytes.clone());
            self.unhashed.push(bytes);
        }
        if is_complete {
            self.appetite = self.appetite.saturating_mul(2).min(self.shared.settings.chunk_size);
            return self.end_chunk().await;
        }
        if is_full && self.lane.is_idle() {
            self.lane.feed(std::mem::take(&mut self.unhashed)).await?;
        }
        Ok(())
    }

    async fn open_chunk(&mut self) -> Result<Open, S3Error> {
        let goal = chunk_len(self.appetite, self.length - self.taken, self.chunks).ok_or(Code::EntityTooLarge)?;
        let room = self.shared.pool.reserve(goal, self.shared.settings.pool_wait).await.ok_or(Code::SlowDown)?;
        Ok(Open { room, block: None, pieces: Vec::new(), filled: 0, goal, since: Instant::now() })
    }

    /// The open chunk goes on its way as it is.
    async fn end_chunk(&mut self) -> Result<(), S3Error> {
        let Some(Open { block, mut pieces, room, .. }) = self.open.take() else { return Ok(()) };
        drop(room);
        if let Some(block) = block {
            let bytes = block.freeze();
            pieces.push(bytes.clone());
            self.unhashed.push(bytes);
        }
        self.chunks += 1;
        let hash = self.lane.end_chunk(std::mem::take(&mut self.unhashed)).await?;
        self.writes.start(hash, pieces).await
    }
}

/// The chunks of one body on their way to the disks. Dropped, they are given up.
struct Writes {
    shared: Arc<Shared>,
    group: GroupId,
    tasks: JoinSet<Result<(usize, Written), S3Error>>,
    started: usize,
    done: Vec<(usize, Written)>,
}

impl Writes {
    /// Starts the next chunk, when there is room among those under way.
    async fn start(
        &mut self,
        hash: tokio::sync::oneshot::Receiver<[u8; 32]>,
        pieces: Vec<Bytes>,
    ) -> Result<(), S3Error> {
        while self.tasks.len() >= self.shared.settings.chunks_in_flight {
            self.wait_for_one().await?;
        }
        let (shared, group, place) = (self.shared.clone(), self.group, self.started);
        self.started += 1;
        self.tasks.spawn(async move {
            let hash = hash.await.map_err(|_| Code::InternalError)?;
            Ok((place, shared.writer.write(ChunkId { group, hash }, pieces).await?))
        });
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<(), S3Error> {
        match self.tasks.join_next().await {
            Some(Ok(written)) => self.done.push(written?),
            Some(Err(error)) => {
                tracing::error!(%error, "the task of a chunk did not come back");
                return Err(Code::InternalError.into());
            }
            None => {}
        }
        Ok(())
    }

    /// All the chunks, in order, when the last of them is written.
    async fn finish(mut self) -> Result<Vec<Written>, S3Error> {
        while !self.tasks.is_empty() {
            self.wait_for_one().await?;
        }
        self.done.sort_unstable_by_key(|(place, _)| *place);
        Ok(self.done.into_iter().map(|(_, written)| written).collect())
    }
}

#[cfg(test)]
#[path = "store_test.rs"]
mod tests;
