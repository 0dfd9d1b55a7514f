//! Lists of objects and of uploads: a scan in byte order of the keys that seeks past each common prefix. What it costs
//! grows with what it returns, not with what it skips.

use std::borrow::Cow;

use super::error::MetaError;
use super::overlay::Read;
use super::query::{Answer, ListEntry, ListFrom, UploadEntry};
use super::record::Attributes;
use super::schema::{self, KeyRange, successor};
use super::stored::{self, UploadHandle, VersionHead};
use super::view::{Iter, View};
use crate::types::{BucketId, UploadId};

/// Steps to try before a seek: short groups are passed over faster without one.
const STEPS_BEFORE_SEEK: usize = 4;

/// What a list asks for.
pub(super) struct Rules<'a> {
    pub bucket: BucketId,
    pub prefix: &'a str,
    /// `None` or not empty.
    pub delimiter: Option<&'a str>,
    pub from: &'a ListFrom,
    pub limit: usize,
}

/// What a walk comes by.
enum Found<'a> {
    /// The object key, and the raw key and value that it was found in.
    Entry(&'a [u8], &'a [u8], &'a [u8]),
    CommonPrefix(&'a [u8]),
}

/// `Query::List`. The records come without their attributes.
pub(super) fn objects(view: &View<'_>, rules: &Rules<'_>) -> Result<Answer, MetaError> {
    let Some(settings) = view.settings(rules.bucket)? else {
        return Ok(Answer::List { settings: None, entries: Vec::new(), more: false });
    };
    let at = |key: &[u8]| view.keys.current(rules.bucket, key).bytes;
    let from = match rules.from {
        ListFrom::Start => Vec::new(),
        ListFrom::AfterKey(key) => [&at(key.as_bytes()), &[0][..]].concat(),
        ListFrom::AfterPrefix(prefix) => successor(&at(prefix.as_bytes())),
    };
    let range = view.keys.current_of(rules.bucket, rules.prefix.as_bytes()).starting_at(from);
    let mut entries = Vec::with_capacity(rules.limit.min(1000));
    let past = |prefix: &[u8]| successor(&at(prefix));
    let more = walk(view, range, rules, schema::current_key, past, |found| {
        entries.push(match found {
            Found::Entry(key, raw, value) => {
                let head: VersionHead = stored::decode(value, raw)?;
                ListEntry::Key(text(key, raw)?, Box::new(head.with(Attributes::default())))
            }
            Found::CommonPrefix(prefix) => ListEntry::CommonPrefix(text(prefix, prefix)?),
        });
        Ok(())
    })?;
    Ok(Answer::List { settings: Some(settings), entries, more })
}

/// `Query::Uploads`.
pub(super) fn uploads(view: &View<'_>, rules: &Rules<'_>, after_upload: Option<UploadId>) -> Result<Answer, MetaError> {
    let Some(settings) = view.settings(rules.bucket)? else {
        return Ok(Answer::Uploads { settings: None, entries: Vec::new(), more: false });
    };
    let from = match (rules.from, after_upload) {
        (ListFrom::Start, _) => Vec::new(),
        (ListFrom::AfterKey(key), Some(upload)) => after(view, rules.bucket, key.as_bytes(), upload)?,
        (ListFrom::AfterKey(key), None) => view.keys.uploads_to(rules.bucket, key.as_bytes()).to,
        (ListFrom::AfterPrefix(prefix), _) => view.keys.uploads_of(rules.bucket, prefix.as_bytes()).to,
    };
    let range = view.keys.uploads_of(rules.bucket, rules.prefix.as_bytes()).starting_at(from);
    let mut entries = Vec::new();
    let past = |prefix: &[u8]| view.keys.uploads_of(rules.bucket, prefix).to;
    let more = walk(view, range, rules, schema::upload_key, past, |found| {
        entries.push(match found {
            Found::Entry(_, raw, value) => UploadEntry::Upload(stored::decode(value, raw)?),
            Found::CommonPrefix(prefix) => UploadEntry::CommonPrefix(text(prefix, prefix)?),
        });
        Ok(())
    })?;
    Ok(Answer::Uploads { settings: Some(settings), entries, more })
}

/// Where a list goes on within a key, after an upload. Of an upload that is gone it is not known when it was
/// initiated: then the key's uploads come again from the first, so that none is missed.
fn after(view: &View<'_>, bucket: BucketId, key: &[u8], upload: UploadId) -> Result<Vec<u8>, MetaError> {
    let handle: Option<UploadHandle> = view.load(&view.keys.upload_handle(bucket, key, upload))?;
    Ok(match handle {
        Some(handle) => [&view.keys.upload(bucket, key, handle.initiated_ms, upload).bytes, &[0][..]].concat(),
        None => view.keys.uploads_to(bucket, key).from,
    })
}

/// Walks over `range` by the rules; answers whether there is more beyond the limit. `past` gives where all that
/// starts with a prefix ends.
fn walk(
    view: &View<'_>,
    range: KeyRange,
    rules: &Rules<'_>,
    key_of: impl Fn(&[u8]) -> Option<Cow<'_, [u8]>>,
    past: impl Fn(&[u8]) -> Vec<u8>,
    mut found: impl FnMut(Found<'_>) -> Result<(), MetaError>,
) -> Result<bool, MetaError> {
    if rules.limit == 0 || range.from >= range.to {
        return Ok(false);
    }
    let mut iter = view.iter(&range)?;
    let mut count = 0;
    while let Some((raw, value)) = iter.item() {
        if count == rules.limit {
            return Ok(true);
        }
        count += 1;
        let key = key_of(raw).ok_or_else(|| MetaError::corrupt("key", raw))?;
        match common_prefix(&key, rules) {
            Some(length) => {
                let prefix = &key[..length];
                found(Found::CommonPrefix(prefix))?;
                let beyond = past(prefix);
                skip_to(&mut iter, &beyond);
            }
            None => {
                found(Found::Entry(&key, raw, value))?;
                iter.next();
            }
        }
    }
    iter.status()?;
    Ok(false)
}

/// Moves to the first key at or after `target`.
fn skip_to(iter: &mut Iter<'_>, target: &[u8]) {
    for _ in 0..STEPS_BEFORE_SEEK {
        iter.next();
        if iter.key().is_none_or(|key| key >= target) {
            return;
        }
    }
    iter.seek(target);
}

/// The length of the common prefix that `key` counts as: up to the first delimiter after the prefix, and with it.
fn common_prefix(key: &[u8], rules: &Rules<'_>) -> Option<usize> {
    let delimiter = rules.delimiter?.as_bytes();
    let rest = key.get(rules.prefix.len()..)?;
    let at = match delimiter {
        [] => None,
        [byte] => rest.iter().position(|other| other == byte),
        _ => rest.windows(delimiter.len()).position(|window| window == delimiter),
    }?;
    Some(rules.prefix.len() + at + delimiter.len())
}

fn text(bytes: &[u8], raw: &[u8]) -> Result<String, MetaError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| MetaError::corrupt("key", raw))
}

#[cfg(test)]
#[path = "list_test.rs"]
mod tests;
