//! Load that looks like a gateway's, from a seed: for tests and for whoever measures a store or a whole group.

use bytes::Bytes;

use super::command::{Batch, Command, Envelope, NewBody, WriteCondition};
use super::record::{Attributes, BucketRecord, ChunkEntry, ETag};
use crate::types::{BucketId, DiskId, MAX_INLINE_LEN, ManifestId, OperationId, UnixMillis, UserId};

/// An endless, repeatable log of puts of small objects. Two with the same seed give the same.
#[derive(Debug, Clone)]
pub struct Load {
    bucket: BucketId,
    seed: u64,
    next: u64,
    time_ms: UnixMillis,
}

impl Load {
    pub fn new(bucket: BucketId, seed: u64) -> Self {
        Self { bucket, seed, next: 0, time_ms: 1_700_000_000_000 }
    }

    /// The entry that creates the bucket; everything else comes after it.
    pub fn first(&mut self) -> Batch {
        let bucket = BucketRecord {
            id: self.bucket,
            name: format!("load-{}", self.bucket),
            owner: UserId([1; 16]),
            region: "us-east-1".to_owned(),
            created_ms: 0,
            sealed: false,
        };
        let envelopes = vec![self.envelope(Command::CreateBucket { bucket })];
        Batch { stamped_ms: self.time_ms, envelopes }
    }

    /// An entry of `count` puts of `len` bytes each, at most 16 KiB. Every tenth goes over an earlier key.
    pub fn batch(&mut self, count: usize, len: usize) -> Batch {
        self.time_ms += 1;
        let envelopes = (0..count).map(|_| self.put(len.min(MAX_INLINE_LEN))).collect();
        Batch { stamped_ms: self.time_ms, envelopes }
    }

    fn put(&mut self, len: usize) -> Envelope {
        let place = self.next;
        let random = self.random(place);
        let key = if place % 10 == 9 { self.random(random % place) } else { random };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.seed.to_be_bytes());
        id[8..].copy_from_slice(&place.to_be_bytes());
        let body = match len {
            0 => NewBody::Empty,
            _ => {
                let words = (0..len.div_ceil(8) as u64).flat_map(|word| (random ^ word).to_le_bytes());
                NewBody::Inline { id: ManifestId(id), bytes: words.take(len).collect::<Bytes>() }
            }
        };
        self.envelope(Command::PutObject {
            bucket: self.bucket,
            key: format!("{:02x}/{key:016x}", key % 256),
            condition: WriteCondition::Always,
            owner: UserId([1; 16]),
            size: len as u64,
            etag: ETag { md5: id, parts: None },
            checksum: None,
            attributes: Attributes {
                content_type: Some("application/octet-stream".to_owned()),
                ..Attributes::default()
            },
            body,
        })
    }

    /// An entry of `count` puts of objects of 64 MiB in eight chunks, under ten prefixes; see [`Load::object_key`].
    pub fn batch_of_objects(&mut self, count: usize) -> Batch {
        self.time_ms += 1;
        let envelopes = (0..count).map(|_| self.put_object()).collect();
        Batch { stamped_ms: self.time_ms, envelopes }
    }

    fn put_object(&mut self) -> Envelope {
        let place = self.next;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.seed.to_be_bytes());
        id[8..].copy_from_slice(&place.to_be_bytes());
        let chunk = |number: u64| {
            let mut hash = [0; 32];
            for (word, bytes) in hash.chunks_exact_mut(8).enumerate() {
                bytes.copy_from_slice(&self.random((place << 8) + (number << 3) + word as u64).to_be_bytes());
            }
            ChunkEntry { hash, len: 8 << 20 }
        };
        let body = NewBody::Chunks {
            id: ManifestId(id),
            chunks: (0..8).map(chunk).collect(),
            disks: (1..=3).map(|number| DiskId([number; 16])).collect(),
            acknowledged: vec![0b111; 8],
            homes: vec![0b111; 8],
            oldest_touch_age_ms: 0,
        };
        self.envelope(Command::PutObject {
            bucket: self.bucket,
            key: self.object_key(place),
            condition: WriteCondition::Always,
            owner: UserId([1; 16]),
            size: 64 << 20,
            etag: ETag { md5: id, parts: None },
            checksum: None,
            attributes: Attributes {
                content_type: Some("application/octet-stream".to_owned()),
                ..Attributes::default()
            },
            body,
        })
    }

    /// The key of the object that was put as the `place`th, from 1 on.
    pub fn object_key(&self, place: u64) -> String {
        let random = self.random(place);
        format!("prefix-{}/{random:016x}", random % 10)
    }

    fn envelope(&mut self, command: Command) -> Envelope {
        self.next += 1;
        Envelope {
            operation: OperationId { issued_ms: self.time_ms, random: self.random(!self.next) },
            command,
            judged: Vec::new(),
        }
    }

    /// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    fn random(&self, of: u64) -> u64 {
        let mut word = self.seed.wrapping_add(of.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
