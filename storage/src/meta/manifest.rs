//! How the entries of a manifest are cut into pages. Pure; who reads and writes the pages is elsewhere.
//!
//! A manifest is immutable from the command that makes it. One of chunks lists what a body was cut into; one of parts
//! lists the bodies of an upload's parts and holds them. A reader finds the page of an offset by one seek.

use super::record::ChunkEntry;
use super::schema::PagePlace;
use super::stored::PartEntry;

/// Entries per page: small enough that a range read decodes little, large enough that a body of gigabytes has few.
pub(super) const PAGE_ENTRIES: usize = 256;

/// An entry of a page.
pub(super) trait Entry: Clone {
    /// Bytes of the body that it stands for.
    fn size(&self) -> u64;
}

impl Entry for ChunkEntry {
    fn size(&self) -> u64 {
        u64::from(self.len)
    }
}

impl Entry for PartEntry {
    fn size(&self) -> u64 {
        self.size
    }
}

/// Cuts `entries` into pages, each with its place.
pub(super) fn pages<E: Entry>(entries: &[E]) -> impl Iterator<Item = (PagePlace, &[E])> {
    let mut next = PagePlace { offset: 0, entry: 0 };
    entries.chunks(PAGE_ENTRIES).map(move |page| {
        let place = next;
        next.offset = page.iter().fold(next.offset, |offset, entry| offset.saturating_add(entry.size()));
        next.entry = next.entry.saturating_add(u32::try_from(page.len()).unwrap_or(u32::MAX));
        (place, page)
    })
}

/// The entries of a page with the offsets of their first bytes.
pub(super) fn placed<E: Entry>(start: u64, page: Vec<E>) -> impl Iterator<Item = (u64, E)> {
    let mut next = start;
    page.into_iter().map(move |entry| {
        let offset = next;
        next = next.saturating_add(entry.size());
        (offset, entry)
    })
}

/// The place of the page that has part `number`, if any has.
pub(super) fn page_of_part(index: &[(u16, PagePlace)], number: u16) -> Option<PagePlace> {
    let after = index.partition_point(|(first, _)| *first <= number);
    index.get(after.checked_sub(1)?).map(|(_, place)| *place)
}
