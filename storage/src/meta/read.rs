//! Where the bytes of an object are: ranges, parts, and the chunks of a manifest of one or of two levels.

use super::error::MetaError;
use super::manifest::{Entry, page_of_part, placed};
use super::overlay::Read;
use super::query::{Answer, ObjectAnswer, ObjectPart, PartOfObject, Wanted, WantedBytes};
use super::record::{Body, ChunkSpan, VersionRecord};
use super::schema::{Cf, KeyRange, PagePlace, page_place};
use super::stored::{self, ChunkPage, InlineBody, ManifestHeader, ManifestKind, PartEntry, PartPage, Stored};
use super::view::{Iter, View};
use crate::types::{BucketId, ManifestId};

/// Bytes `first..=last`; none of them where `first > last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
}

impl Range {
    /// `size` bytes from `offset` on.
    fn at(offset: u64, size: u64) -> Self {
        if size == 0 {
            // There is no byte before the first: `last` has to stay a number.
            return Self { first: offset.max(1), last: offset.max(1) - 1 };
        }
        Self { first: offset, last: offset.saturating_add(size - 1) }
    }
}

/// The current version of a key and the bytes that are wanted of it.
pub(super) fn object(
    view: &View<'_>,
    bucket: BucketId,
    key: &str,
    wanted: Wanted,
    limit: usize,
) -> Result<Option<Box<ObjectAnswer>>, MetaError> {
    let Some(record) = view.load::<VersionRecord>(&view.keys.current(bucket, key.as_bytes()))? else {
        return Ok(None);
    };
    let bytes = wanted_bytes(view, &record, wanted, limit)?;
    Ok(Some(Box::new(ObjectAnswer { record, bytes })))
}

fn wanted_bytes(
    view: &View<'_>,
    record: &VersionRecord,
    wanted: Wanted,
    limit: usize,
) -> Result<WantedBytes, MetaError> {
    let size = record.size;
    let (range, part) = match wanted {
        Wanted::Nothing => return Ok(WantedBytes::Nothing),
        Wanted::All => (Some(Range::at(0, size)), None),
        Wanted::From(first) => ((first < size).then(|| Range { first, last: size - 1 }), None),
        Wanted::Between(first, last) => {
            ((first <= last && first < size).then(|| Range { first, last: last.min(size - 1) }), None)
        }
        Wanted::Suffix(length) => {
            let length = length.min(size);
            ((length > 0).then(|| Range::at(size - length, length)), None)
        }
        Wanted::Part(number) | Wanted::PartHead(number) => part(view, record, number)?.unzip(),
    };
    let Some(Range { first, last }) = range else { return Ok(WantedBytes::Unsatisfiable) };
    let part = part.flatten();
    if let Wanted::PartHead(_) = wanted {
        return Ok(WantedBytes::Chunks { spans: Vec::new(), first, last, part });
    }
    Ok(match &record.body {
        Body::Empty => WantedBytes::Inline { bytes: bytes::Bytes::new(), first, last, part },
        Body::Inline(id) => {
            let body: InlineBody = view.expect(&view.keys.inline(*id))?;
            WantedBytes::Inline { bytes: body.0, first, last, part }
        }
        Body::Manifest(id) => {
            let spans = if first > last {
                Vec::new()
            } else {
                spans(view, &view.expect(&view.keys.manifest(*id))?, *id, first, last, limit)?
            };
            WantedBytes::Chunks { spans, first, last, part }
        }
    })
}

/// The bytes of one part. An object that was not made of parts is its own first.
fn part(
    view: &View<'_>,
    record: &VersionRecord,
    number: u16,
) -> Result<Option<(Range, Option<PartOfObject>)>, MetaError> {
    let Some((id, count, index)) = composite(view, &record.body)? else {
        return Ok((number == 1).then(|| (Range::at(0, record.size), None)));
    };
    let Some(place) = page_of_part(&index, number) else { return Ok(None) };
    let page: PartPage = view.expect(&view.keys.page(id, place))?;
    let found = placed(place.offset, page.0).find(|(_, entry)| entry.number == number);
    Ok(found.map(|(offset, PartEntry { size, checksum, .. })| {
        (Range::at(offset, size), Some(PartOfObject { number, count, checksum }))
    }))
}

/// Id, number of parts and index of the manifest of an object that was made of parts.
type Composite = (ManifestId, u16, Vec<(u16, PagePlace)>);

fn composite(view: &View<'_>, body: &Body) -> Result<Option<Composite>, MetaError> {
    let Body::Manifest(id) = body else { return Ok(None) };
    Ok(match view.expect::<ManifestHeader>(&view.keys.manifest(*id))?.kind {
        ManifestKind::Chunks => None,
        ManifestKind::Parts { count, index } => Some((*id, count, index)),
    })
}

/// `Query::ObjectParts`.
pub(super) fn object_parts(
    view: &View<'_>,
    bucket: BucketId,
    key: &str,
    after: u16,
    limit: usize,
) -> Result<Answer, MetaError> {
    let settings = view.settings(bucket)?;
    let record: Option<VersionRecord> = match settings {
        Some(_) => view.load(&view.keys.current(bucket, key.as_bytes()))?,
        None => None,
    };
    let composite = match &record {
        Some(record) => composite(view, &record.body)?,
        None => None,
    };
    let record = record.map(Box::new);
    let Some((id, total, index)) = composite else {
        return Ok(Answer::ObjectParts { settings, record, parts: Vec::new(), more: false, total: 0 });
    };
    let start = page_of_part(&index, after).or_else(|| index.first().map(|(_, place)| *place));
    let mut parts = Vec::new();
    for (_, place) in index.iter().filter(|(_, place)| start.is_some_and(|start| place.entry >= start.entry)) {
        let page: PartPage = view.expect(&view.keys.page(id, *place))?;
        for PartEntry { number, size, checksum, .. } in page.0.into_iter().filter(|entry| entry.number > after) {
            if parts.len() == limit {
                return Ok(Answer::ObjectParts { settings, record, parts, more: true, total });
            }
            parts.push(ObjectPart { number, size, checksum });
        }
    }
    Ok(Answer::ObjectParts { settings, record, parts, more: false, total })
}

/// `Query::Chunks`: of a manifest that is gone there are none.
pub(super) fn chunks(view: &View<'_>, id: ManifestId, offset: u64, limit: usize) -> Result<Answer, MetaError> {
    let header: Option<ManifestHeader> = view.load(&view.keys.manifest(id))?;
    Ok(Answer::Chunks(match header.filter(|header| offset < header.size) {
        Some(header) => spans(view, &header, id, offset, header.size - 1, limit)?,
        None => Vec::new(),
    }))
}

/// The chunks of a manifest that overlap `first..=last`, at most `limit`, without a gap: where something is missing
/// they end.
fn spans(
    view: &View<'_>,
    header: &ManifestHeader,
    id: ManifestId,
    first: u64,
    last: u64,
    limit: usize,
) -> Result<Vec<ChunkSpan>, MetaError> {
    let mut walk = Walk { iter: view.iter(&view.keys.all(Cf::Manifests))?, view, last, limit, spans: Vec::new() };
    match header.kind {
        ManifestKind::Chunks => walk.chunks(id, 0, first)?,
        ManifestKind::Parts { .. } => {
            // Another iterator, because the walk's own moves to the parts' pages.
            let mut pages = view.iter(&view.keys.all(Cf::Manifests))?;
            walk.parts(&mut pages, id, first)?;
        }
    }
    Ok(walk.spans)
}

struct Walk<'v> {
    view: &'v View<'v>,
    iter: Iter<'v>,
    last: u64,
    limit: usize,
    spans: Vec<ChunkSpan>,
}

impl Walk<'_> {
    /// Adds the chunks of a manifest whose first byte is byte `base` of the object, from its own byte `from` on.
    fn chunks(&mut self, id: ManifestId, base: u64, from: u64) -> Result<(), MetaError> {
        let range = self.view.keys.pages(id);
        let mut wanted = from;
        seek_page(self.view, &mut self.iter, id, from);
        while let Some((offset, page)) = next_page::<ChunkPage>(&mut self.iter, &range)? {
            if offset > wanted {
                break;
            }
            for (offset, chunk) in placed(offset, page.0) {
                let end = offset.saturating_add(chunk.size());
                if end <= wanted {
                    continue;
                }
                let offset = base.saturating_add(offset);
                if self.spans.len() == self.limit || offset > self.last {
                    return Ok(());
                }
                self.spans.push(ChunkSpan { offset, hash: chunk.hash, len: chunk.len });
                wanted = end;
            }
        }
        Ok(())
    }

    /// Adds the chunks of the parts of a manifest, from byte `from` on.
    fn parts(&mut self, pages: &mut Iter<'_>, id: ManifestId, from: u64) -> Result<(), MetaError> {
        let range = self.view.keys.pages(id);
        let mut wanted = from;
        seek_page(self.view, pages, id, from);
        while let Some((offset, page)) = next_page::<PartPage>(pages, &range)? {
            if offset > wanted {
                break;
            }
            for (offset, part) in placed(offset, page.0) {
                let end = offset.saturating_add(part.size);
                if end <= wanted {
                    continue;
                }
                if self.spans.len() == self.limit || offset > self.last {
                    return Ok(());
                }
                if let Body::Manifest(child) = part.body {
                    self.chunks(child, offset, wanted.saturating_sub(offset))?;
                }
                wanted = end;
                // What is missing within a part ends the walk, too.
                let reached = self.spans.last().map_or(0, |span| span.offset.saturating_add(u64::from(span.len)));
                if reached < end {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Moves to the page of a manifest that byte `offset` is in; to none where there is no such page.
fn seek_page(view: &View<'_>, iter: &mut Iter<'_>, id: ManifestId, offset: u64) {
    if offset == 0 {
        iter.seek(view.keys.pages(id).from);
    } else {
        iter.seek_for_prev(view.keys.page(id, PagePlace { offset, entry: u32::MAX }).bytes);
    }
}

/// The page at the iterator, which moves on; `None` where that is not in `range`.
fn next_page<P: Stored>(iter: &mut Iter<'_>, range: &KeyRange) -> Result<Option<(u64, P)>, MetaError> {
    let Some((key, value)) = iter.item() else {
        iter.status()?;
        return Ok(None);
    };
    if key < range.from.as_slice() || key >= range.to.as_slice() {
        return Ok(None);
    }
    let place = page_place(key).ok_or_else(|| MetaError::corrupt(P::WHAT, key))?;
    let page = stored::decode(value, key)?;
    iter.next();
    Ok(Some((place.offset, page)))
}

#[cfg(test)]
#[path = "read_test.rs"]
mod tests;
