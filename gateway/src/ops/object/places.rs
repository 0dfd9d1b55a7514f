//! Where the wanted bytes of an object are, and how to get at them.

use bytes::Bytes;
use cairn_storage::meta::query::{PartOfObject, WantedBytes};
use cairn_storage::meta::record::{Body, VersionRecord};
use cairn_storage::types::GroupId;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::group::unexpected;
use super::range::Span;
use crate::data::{DataPath, ReadPlan};
use crate::error::S3Error;

/// The place of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// There are none.
    Nowhere,
    /// They came with the answer.
    Here(Bytes),
    /// In chunks of the object's group.
    Chunks(ReadPlan),
}

/// Bytes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// First and last byte within the object; `None` where there are none.
    pub span: Option<Span>,
    pub part: Option<PartOfObject>,
    pub place: Place,
}

impl Found {
    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.span.map_or(0, |(first, last)| last - first + 1)
    }

    /// The bytes, verified where they lie, for a copy.
    pub fn stream(self, data: &DataPath, group: GroupId) -> BoxStream<'static, Result<Bytes, S3Error>> {
        match self.place {
            Place::Nowhere => stream::empty().boxed(),
            Place::Here(bytes) => stream::once(async move { Ok(bytes) }).boxed(),
            Place::Chunks(plan) => data.read(group, plan).map_err(S3Error::from).boxed(),
        }
    }
}

/// Makes sense of a group's answer. What cannot be satisfied is the caller's business before this.
///
/// # Errors
/// `InternalError` where answer and record do not fit together.
pub fn find(record: &VersionRecord, bytes: WantedBytes) -> Result<Found, S3Error> {
    match (bytes, &record.body) {
        (WantedBytes::Inline { first, last, part, .. } | WantedBytes::Chunks { first, last, part, .. }, _)
            if first > last =>
        {
            Ok(Found { span: None, part, place: Place::Nowhere })
        }
        (WantedBytes::Inline { bytes, first, last, part }, _) => {
            let range = usize::try_from(first).ok().zip(usize::try_from(last).ok());
            let Some((start, end)) = range.filter(|(_, end)| *end < bytes.len()) else {
                return Err(unexpected(&(first, last, bytes.len())));
            };
            let place = Place::Here(bytes.slice(start..=end));
            Ok(Found { span: Some((first, last)), part, place })
        }
        (WantedBytes::Chunks { spans, first, last, part }, Body::Manifest(manifest)) => {
            let plan = ReadPlan { manifest: *manifest, spans, first, last };
            Ok(Found { span: Some((first, last)), part, place: Place::Chunks(plan) })
        }
        (bytes, body) => Err(unexpected(&(bytes, body))),
    }
}

#[cfg(test)]
mod tests {
    use cairn_storage::meta::record::{Attributes, ChunkSpan, ETag};
    use cairn_storage::types::{ManifestId, UserId, VersionId};

    use super::*;
    use crate::error::Code;

    fn record(size: u64, body: Body) -> VersionRecord {
        VersionRecord {
            version: VersionId::default(),
            modified_ms: 0,
            size,
            etag: ETag { md5: [0; 16], parts: None },
            checksum: None,
            owner: UserId::default(),
            attributes: Attributes::default(),
            body,
        }
    }

    fn inline(first: u64, last: u64) -> WantedBytes {
        WantedBytes::Inline { bytes: Bytes::from_static(b"testcontent"), first, last, part: None }
    }

    #[test]
    fn an_inline_body_is_cut_to_what_is_wanted() {
        let record = record(11, Body::Inline(ManifestId::default()));
        let found = find(&record, inline(4, 7)).unwrap();
        assert_eq!((found.span, found.len()), (Some((4, 7)), 4));
        assert_eq!(found.place, Place::Here(Bytes::from_static(b"cont")));
    }

    #[test]
    fn an_empty_object_has_no_span() {
        let chunks = WantedBytes::Chunks { spans: Vec::new(), first: 1, last: 0, part: None };
        let found = find(&record(0, Body::Empty), chunks).unwrap();
        assert_eq!((found.span, found.len(), found.place), (None, 0, Place::Nowhere));
    }

    #[test]
    fn chunks_are_read_by_the_objects_manifest() {
        let manifest = ManifestId([7; 16]);
        let spans = vec![ChunkSpan { offset: 0, hash: [1; 32], len: 100 }];
        let chunks = WantedBytes::Chunks { spans: spans.clone(), first: 10, last: 19, part: None };
        let found = find(&record(100, Body::Manifest(manifest)), chunks).unwrap();
        assert_eq!(found.len(), 10);
        assert_eq!(found.place, Place::Chunks(ReadPlan { manifest, spans, first: 10, last: 19 }));
    }

    #[test]
    fn an_answer_that_does_not_fit_its_record_is_an_internal_error() {
        let inlined = record(11, Body::Inline(ManifestId::default()));
        assert_eq!(find(&inlined, inline(4, 11)).unwrap_err().code, Code::InternalError);
        assert_eq!(find(&inlined, WantedBytes::Nothing).unwrap_err().code, Code::InternalError);
        let chunks = WantedBytes::Chunks { spans: Vec::new(), first: 0, last: 9, part: None };
        assert_eq!(find(&inlined, chunks).unwrap_err().code, Code::InternalError);
    }
}
