//! Reads a whole small body: the XML and JSON that some operations take. Bounded for each request and for all together.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use cairn_storage::types::UserId;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::auth::{Decoder, Payload};
use crate::data::checksum::{self, Asked};
use crate::error::{Code, S3Error};
use crate::gateway::Gateway;
use crate::request::{Request, broke_off};

/// How long a client may take to send a whole document.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// How long a document waits for room.
const ROOM_TIME: Duration = Duration::from_secs(5);

/// What documents that are being read may hold together, in units of 1 KiB (64 MiB).
const UNITS: usize = 64 << 10;

/// What those of one user may hold of it: whoever sends many slowly is in the way of nobody else.
const UNITS_OF_A_USER: usize = UNITS / 4;

/// The bound of all documents in memory.
pub(crate) struct Documents {
    all: Arc<Semaphore>,
    /// Each lives as long as documents of its user do.
    of_users: Mutex<HashMap<UserId, Weak<Semaphore>>>,
}

impl Default for Documents {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(UNITS)), of_users: Mutex::default() }
    }
}

/// Room for a document, given back when it is dropped.
pub(crate) struct Room {
    _of_user: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Documents {
    /// Room for a document of at most `len` bytes in memory. `SlowDown` where none becomes free in time.
    pub(crate) async fn reserve(&self, user: UserId, len: usize) -> Result<Room, S3Error> {
        let units = u32::try_from(len >> 10).unwrap_or(u32::MAX).saturating_add(1);
        let of_user = self.of(user);
        // First of the user's own, so that nobody waits for others with a part of what they need.
        let wait = async {
            let of_user = of_user.acquire_many_owned(units).await.ok()?;
            let of_all = self.all.clone().acquire_many_owned(units).await.ok()?;
            Some(Room { _of_user: of_user, _of_all: of_all })
        };
        timeout(ROOM_TIME, wait).await.ok().flatten().ok_or_else(|| Code::SlowDown.into())
    }

    fn of(&self, user: UserId) -> Arc<Semaphore> {
        let mut of_users = self.of_users.lock();
        if let Some(known) = of_users.get(&user).and_then(Weak::upgrade) {
            return known;
        }
        of_users.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(UNITS_OF_A_USER));
        of_users.insert(user, Arc::downgrade(&share));
        share
    }
}

/// A body in memory. Gives its share of the bound back when it is dropped.
pub struct Document {
    bytes: Bytes,
    _room: Room,
}

impl std::ops::Deref for Document {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Request {
    /// Reads the body to its end, as far as the operation's row allows, and checks all that was said of it: the signature's
    /// hash, `Content-MD5`, a checksum.
    ///
    /// # Errors
    /// `MaxMessageLengthExceeded`, `IncompleteBody`, `RequestTimeout`, `SlowDown` where too many documents are being
    /// read, and what the checks say.
    pub async fn read_document(&mut self, gateway: &Gateway) -> Result<Document, S3Error> {
        let limit = self.document_len;
        let content_md5 = checksum::content_md5(&self.headers)?;
        let asked = Asked::from_headers(&self.headers)?;
        let announced = announced_len(&self.headers);
        if announced.is_some_and(|len| len > 2 * limit as u64) {
            return Err(Code::MaxMessageLengthExceeded.into());
        }
        let reserve = announced.and_then(|len| usize::try_from(len).ok()).unwrap_or(limit).min(limit);
        let room = gateway.0.documents.reserve(self.caller.id, reserve).await?;
        let body = self.body.take();
        let read = read(body, &self.payload, reserve, limit);
        let (bytes, trailers) = timeout(TIME_LIMIT, read).await.map_err(|_| Code::RequestTimeout)??;
        if let Payload::Sha256(signed) = &self.payload
            && Sha256::digest(&bytes).as_slice() != signed
        {
            return Err(Code::XAmzContentSHA256Mismatch.into());
        }
        if content_md5.is_some_and(|md5| md5::Md5::digest(&bytes).as_slice() != md5) {
            return Err(Code::BadDigest.into());
        }
        let computed = asked.algorithm.map(|algorithm| checksum::of(algorithm, &bytes));
        asked.check(computed.as_ref(), &trailers)?;
        Ok(Document { bytes, _room: room })
    }
}

/// What the head says of the length; the frames of an `aws-chunked` body count too.
fn announced_len(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// The decoded body and its trailers. What is held is what was reserved: the buffer does not grow by doubling.
async fn read(mut body: Body, payload: &Payload, reserve: usize, limit: usize) -> Result<(Bytes, HeaderMap), S3Error> {
    let mut decoder = match payload {
        Payload::Chunked(chunked) => Some(Decoder::new(chunked.clone())),
        Payload::Unsigned | Payload::Sha256(_) => None,
    };
    let mut whole = BytesMut::with_capacity(reserve);
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broke_off(&error))?;
        let Ok(bytes) = frame.into_data() else { continue };
        match &mut decoder {
            Some(decoder) => decoder.push(bytes, &mut pieces)?,
            None => pieces.push(bytes),
        }
        for piece in pieces.drain(..) {
            if whole.len() + piece.len() > limit {
                return Err(Code::MaxMessageLengthExceeded.into());
            }
            whole.extend_from_slice(&piece);
        }
    }
    let trailers = decoder.map(Decoder::finish).transpose()?.unwrap_or_default();
    Ok((whole.freeze(), trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_plain(content: &'static str, limit: usize) -> Result<Bytes, Code> {
        let read = read(Body::from(content), &Payload::Unsigned, limit, limit).await;
        read.map(|(bytes, _)| bytes).map_err(|error| error.code)
    }

    #[tokio::test]
    async fn a_document_has_a_bound() {
        assert_eq!(read_plain("12345", 5).await, Ok(Bytes::from_static(b"12345")));
        assert_eq!(read_plain("123456", 5).await, Err(Code::MaxMessageLengthExceeded));
        assert_eq!(read_plain("", 5).await, Ok(Bytes::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn documents_in_memory_have_a_bound_for_all_together_and_for_each_user() {
        let documents = Documents::default();
        let code = |room: Result<Room, S3Error>| room.err().map(|error| error.code);
        let share = (UNITS_OF_A_USER - 1) << 10;
        let mut rooms = Vec::new();
        for _ in 0..UNITS / UNITS_OF_A_USER {
            let user = UserId::random();
            rooms.push(documents.reserve(user, share).await.unwrap());
            assert_eq!(code(documents.reserve(user, 1 << 10).await), Some(Code::SlowDown), "past the user's share");
        }
        assert_eq!(code(documents.reserve(UserId::random(), 1 << 10).await), Some(Code::SlowDown), "past all");
        rooms.pop();
        assert_eq!(code(documents.reserve(UserId::random(), share).await), None);
        assert_eq!(documents.of_users.lock().len(), rooms.len() + 1, "who has no document is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_documents_of_one_user_are_not_in_the_way_of_others() {
        let documents = Documents::default();
        let slow = UserId::random();
        let asked: Vec<_> = (0..16).map(|_| documents.reserve(slow, 4 << 20)).collect();
        let mut asked = Box::pin(futures::future::join_all(asked));
        assert!(futures::poll!(&mut asked).is_pending(), "some wait for room");
        assert!(documents.reserve(UserId::random(), 4 << 20).await.is_ok());
        let rooms = asked.await;
        assert!(rooms.iter().filter(|room| room.is_ok()).count() < 5, "they hold no more than their user's share");
    }

    #[tokio::test(start_paused = true)]
    async fn a_document_waits_a_little_for_room() {
        let documents = Arc::new(Documents::default());
        let user = UserId::random();
        let room = documents.reserve(user, (UNITS_OF_A_USER - 1) << 10).await.unwrap();
        let other = documents.clone();
        let waiting = tokio::spawn(async move { other.reserve(user, 1 << 10).await.is_ok() });
        tokio::time::sleep(ROOM_TIME / 2).await;
        drop(room);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_incomplete() {
        let pieces = [Ok(Bytes::from_static(b"1")), Err(std::io::Error::other("gone"))];
        let body = Body::from_stream(futures::stream::iter(pieces));
        assert_eq!(read(body, &Payload::Unsigned, 5, 5).await.unwrap_err().code, Code::IncompleteBody);
    }
}
