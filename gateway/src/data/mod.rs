//! The way of an object's bytes: in (decode, check, cut, hash, place, send, count) and out (choose, read ahead, verify).
//!
//! Makes nothing visible: it leaves durable chunks and a [`NewBody`] that names them; the operation's metadata command
//! is what publishes it. Knows nothing of buckets, keys or XML.

pub mod checksum;
#[cfg(test)]
mod fake;
mod hash;
mod intake;
mod notes;
mod pool;
mod read;
mod room;
mod settings;
mod since;
mod store;
mod write;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use cairn_storage::client::Client;
use cairn_storage::meta::command::NewBody;
use cairn_storage::meta::record::{Checksum, ChunkSpan};
use cairn_storage::placement;
use cairn_storage::types::{ChunkId, ClusterMap, DiskId, GroupId, ManifestId};
use futures::{Stream, StreamExt};

pub use self::intake::Intake;
use self::intake::Source;
use self::pool::Pool;
use self::read::{Reader, Run};
pub use self::room::AnswerRoom;
use self::room::Room;
pub use self::settings::DataSettings;
pub(crate) use self::since::Since;
use self::store::Terms;
use self::write::Writer;
use crate::error::{Code, S3Error};

/// The data path of this process. One for each process; cheap to clone.
#[derive(Clone)]
pub struct DataPath(Arc<Shared>);

struct Shared {
    settings: DataSettings,
    pool: Arc<Pool>,
    writer: Writer,
    reader: Arc<Reader>,
    room: Arc<Room>,
}

/// Where a chunk belongs; `placement::order`, but for tests.
type Place = fn(&ChunkId, &ClusterMap) -> Vec<DiskId>;

/// A body that was read to its end, checked, and is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// In bytes.
    pub size: u64,
    pub md5: [u8; 16],
    /// Of the bytes (`FullObject`), if one was asked for.
    pub checksum: Option<Checksum>,
    /// For the command that makes it visible.
    pub body: NewBody,
}

/// Which bytes to read, and what is known of where they are: as in `Answer::Object` for an object in chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPlan {
    /// Asked for the chunks that `spans` does not reach.
    pub manifest: ManifestId,
    /// In order, from the chunk with the byte `first` on.
    pub spans: Vec<ChunkSpan>,
    /// Offset of the first byte wanted.
    pub first: u64,
    /// Offset of the last byte wanted, inclusive. `first > last` wants nothing.
    pub last: u64,
}

/// Why bytes could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// No replica gave the chunk, and at least one might, later.
    #[error("no replica of a chunk answers")]
    Unavailable,
    /// Every replica was asked; none has the chunk, or none of them verifies.
    #[error("a chunk is lost")]
    Lost,
    /// Too many answers wait for their clients.
    #[error("there is no room for the bytes")]
    Busy,
    /// The manifest ended before the range did.
    #[error("the manifest does not reach the end of the range")]
    Manifest,
}

impl DataPath {
    /// The settings must be valid, see [`DataSettings::validate`].
    pub fn new(client: Client, settings: DataSettings) -> Self {
        Self::with_placement(client, settings, placement::order)
    }

    fn with_placement(client: Client, settings: DataSettings, place: Place) -> Self {
        let room = Room::new(settings.read_pool_bytes);
        Self(Arc::new(Shared {
            pool: Pool::new(settings.pool_bytes),
            writer: Writer::new(client.clone(), place, &settings),
            reader: Arc::new(Reader::new(client, place, settings.clone(), room.clone())),
            room,
            settings,
        }))
    }

    /// Reads a whole body, checks everything that was said of it, and stores it. On return its chunks are fsynced on
    /// two disks (or on one, where the cluster keeps one copy). After an error nothing can be seen of it.
    ///
    /// `IncompleteBody`, `RequestTimeout`, `XAmzContentSHA256Mismatch`, `SignatureDoesNotMatch`, `BadDigest`,
    /// `InvalidRequest` by the body; `SlowDown`, `StorageFull`, `ServiceUnavailable`, `InternalError` by the cluster.
    pub async fn store(&self, group: GroupId, intake: Intake) -> Result<Stored, S3Error> {
        let (source, terms) = intake.split();
        store::store(&self.0, group, source, terms).await
    }

    /// The same for bytes that come from elsewhere in the cluster: copies between groups, UploadPartCopy. `length` is
    /// in bytes; a stream that ends before or after it is an error.
    pub async fn store_stream(
        &self,
        group: GroupId,
        stream: impl Stream<Item = Result<Bytes, S3Error>> + Send + 'static,
        length: u64,
        checksum: checksum::Asked,
        may_inline: bool,
    ) -> Result<Stored, S3Error> {
        let terms = Terms { length, sha256: None, md5: None, checksum, may_inline };
        store::store(&self.0, group, Source::Stream(stream.boxed()), terms).await
    }

    /// The bytes of a plan, for a copy. Reads ahead; each piece was verified where it lay. After an error the stream ends.
    /// Each piece must be dropped before the next is asked for.
    pub fn read(
        &self,
        group: GroupId,
        plan: ReadPlan,
    ) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static + use<> {
        Run::copy(self.0.reader.clone(), group, plan).into_stream()
    }

    /// The bytes of a plan as a body of known length, for a client, once its first bytes are there: a total failure is a clean
    /// `ServiceUnavailable`, `SlowDown` or `InternalError`; a later one aborts the connection.
    pub async fn open(&self, group: GroupId, plan: ReadPlan) -> Result<Body, S3Error> {
        Ok(Run::answer(self.0.reader.clone(), group, plan).into_body().await?)
    }

    /// Room for an answer of `len` bytes that is in memory already; `None` where too many wait for their clients.
    pub(crate) async fn answer_room(&self, len: u64) -> Option<AnswerRoom> {
        self.0.room.whole(len, self.0.settings.pool_wait).await.map(AnswerRoom::new)
    }

    /// After `Rejection::TouchTooOld`: touches the body's chunks again where they lie, and renews what `body` says of
    /// them. `ServiceUnavailable` where too few disks still have one of them: the client has to send it again.
    pub async fn retouch(&self, group: GroupId, body: &mut NewBody) -> Result<(), S3Error> {
        self.0.writer.retouch(group, body).await
    }
}

/// The body for a command that is sent now: its chunks were touched so much longer ago than it says.
pub(crate) fn aged(body: &NewBody, since: &Since) -> NewBody {
    let mut body = body.clone();
    if let NewBody::Chunks { oldest_touch_age_ms, .. } = &mut body {
        *oldest_touch_age_ms = oldest_touch_age_ms.saturating_add(since.age_ms());
    }
    body
}

impl From<ReadError> for S3Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable => Code::ServiceUnavailable.into(),
            ReadError::Busy => Code::SlowDown.into(),
            ReadError::Lost | ReadError::Manifest => Code::InternalError.into(),
        }
    }
}
