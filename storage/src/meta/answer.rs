//! Answers queries: the contents page of what can be asked.

use std::collections::BTreeSet;

use super::error::MetaError;
use super::list::{self, Rules};
use super::overlay::Read;
use super::query::{Answer, MAX_TABLE_LEN, Query, UploadState, UserTable};
use super::read;
use super::record::{DirectoryEntry, DirectoryState, PartRecord, RepairEntry, UserRecord};
use super::schema::{
    Cf, KeyRange, name_after, referenced_hash, referring_manifest, sealed_id, setting_in, timed, user_in,
};
use super::stored::{self, GroupState, Stored, StoredRepair, StoredSetting, UploadHandle, UserEpoch};
use super::view::View;
use crate::types::{BucketId, GroupId, ROOT_GROUP, UploadId, UserId};

/// The most entries of any answer, whatever limit is asked for.
pub(super) const MAX_ENTRIES: usize = 10_000;

/// The most hashes that one query asks of.
const MAX_HASHES: usize = 65_536;

/// Answers `query` from `view`, a view of `group`.
pub(super) fn answer(view: &View<'_>, group: GroupId, query: &Query) -> Result<Answer, MetaError> {
    let root = group == ROOT_GROUP;
    match query {
        Query::Statistics => {
            let state: Option<GroupState> = view.load(&view.keys.state())?;
            Ok(Answer::Statistics(state.unwrap_or_default().statistics))
        }
        Query::Clock => {
            let state = view.load::<GroupState>(&view.keys.state())?.unwrap_or_default();
            Ok(Answer::Clock { time_ms: state.time_ms, grace_ms: state.grace_ms })
        }
        Query::Map
        | Query::UserByAccessKey { .. }
        | Query::UserById { .. }
        | Query::Users
        | Query::Directory { .. }
        | Query::DirectoryList { .. }
        | Query::DirectoryUnfinished
        | Query::UserTable { .. }
            if root =>
        {
            of_root(view, query)
        }
        _ if root => Ok(Answer::Invalid),
        _ => of_buckets(view, query),
    }
}

fn of_root(view: &View<'_>, query: &Query) -> Result<Answer, MetaError> {
    Ok(match query {
        Query::Map => Answer::Map(view.load(&view.keys.map())?.map(Box::new)),
        Query::UserByAccessKey { access_key } => match view.load(&view.keys.user_by_access_key(access_key))? {
            Some(id) => Answer::User(Some(Box::new(view.expect(&view.keys.user(id))?))),
            None => Answer::User(None),
        },
        Query::UserById { id } => Answer::User(view.load(&view.keys.user(*id))?.map(Box::new)),
        Query::Users => Answer::Users(users(view)?),
        Query::UserTable { known } => {
            let UserEpoch(epoch) = view.load(&view.keys.user_epoch())?.unwrap_or_default();
            if epoch == *known {
                return Ok(Answer::UserTable { epoch, table: None });
            }
            match user_table(view, MAX_TABLE_LEN)? {
                Some(table) => Answer::UserTable { epoch, table: Some(Box::new(table)) },
                None => Answer::TooLarge,
            }
        }
        Query::Directory { name } => Answer::Directory(view.load(&view.keys.directory(name))?),
        Query::DirectoryList { owner, prefix, after, limit } => {
            directory_list(view, *owner, prefix, after.as_deref(), bounded(*limit))?
        }
        Query::DirectoryUnfinished => {
            let mut entries = Vec::new();
            let more = view.scan(&view.keys.all_directory_unfinished(), MAX_ENTRIES, |key, _| {
                let name = name_after(key, 0).ok_or_else(|| MetaError::corrupt("bucket name", key))?;
                entries.push(view.expect(&view.keys.directory(name))?);
                Ok(())
            })?;
            Answer::DirectoryList { entries, more }
        }
        _ => Answer::Invalid,
    })
}

/// All users, by name.
fn users(view: &View<'_>) -> Result<Vec<UserRecord>, MetaError> {
    let (ids, _) = view.load_range::<UserId>(&view.keys.users_by_name(), usize::MAX)?;
    ids.into_iter().map(|id| view.expect(&view.keys.user(id))).collect()
}

/// `None` where its records are longer than that.
fn user_table(view: &View<'_>, max_len: usize) -> Result<Option<UserTable>, MetaError> {
    let mut table = UserTable::default();
    let (keys, mut room) = (view.keys, max_len);
    let is_whole = each_within(view, &keys.users(), &mut room, |_, user| {
        table.users.push(user);
        Ok(())
    })? && each_within(view, &keys.all_rights(), &mut room, |key, rights| {
        let user = user_in(key).ok_or_else(|| MetaError::corrupt("user id", key))?;
        table.rights.push((user, rights));
        Ok(())
    })? && each_within(view, &keys.access_keys(), &mut room, |_, key| {
        table.keys.push(key);
        Ok(())
    })? && each_within(view, &keys.user_groups(), &mut room, |_, group| {
        table.groups.push(group);
        Ok(())
    })? && each_within(view, &keys.policies(), &mut room, |_, policy| {
        table.policies.push(policy);
        Ok(())
    })?;
    table.users.sort_unstable_by(|one: &UserRecord, other| one.name.cmp(&other.name));
    Ok(is_whole.then_some(table))
}

/// Hands the records of `range` to `each`, as long as there is room for them; answers whether there was for all.
fn each_within<T: Stored>(
    view: &View<'_>,
    range: &KeyRange,
    room: &mut usize,
    mut each: impl FnMut(&[u8], T) -> Result<(), MetaError>,
) -> Result<bool, MetaError> {
    let mut iter = view.iter(range)?;
    while let Some((key, value)) = iter.item() {
        match room.checked_sub(key.len() + value.len()) {
            Some(left) => *room = left,
            None => return Ok(false),
        }
        each(key, stored::decode(value, key)?)?;
        iter.next();
    }
    iter.status()?;
    Ok(true)
}

/// Active buckets, by name: one owner's from the index by owner, everybody's from the directory itself.
fn directory_list(
    view: &View<'_>,
    owner: Option<UserId>,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Answer, MetaError> {
    let (range, from, skip) = match owner {
        Some(owner) => {
            (view.keys.directory_of(owner, prefix), after.map(|name| view.keys.directory_by_owner(owner, name)), 16)
        }
        None => (view.keys.directory_from(prefix), after.map(|name| view.keys.directory(name)), 0),
    };
    let range = range.starting_at(from.map_or_else(Vec::new, |key| [&key.bytes, &[0][..]].concat()));
    let mut entries: Vec<DirectoryEntry> = Vec::new();
    if limit == 0 || range.from >= range.to {
        return Ok(Answer::DirectoryList { entries, more: false });
    }
    let mut iter = view.iter(&range)?;
    while let Some(key) = iter.key() {
        let name = name_after(key, skip).ok_or_else(|| MetaError::corrupt("bucket name", key))?;
        let entry: DirectoryEntry = view.expect(&view.keys.directory(name))?;
        if entry.state == DirectoryState::Active {
            if entries.len() == limit {
                return Ok(Answer::DirectoryList { entries, more: true });
            }
            entries.push(entry);
        }
        iter.next();
    }
    iter.status()?;
    Ok(Answer::DirectoryList { entries, more: false })
}

fn of_buckets(view: &View<'_>, query: &Query) -> Result<Answer, MetaError> {
    match query {
        Query::Bucket { bucket } => Ok(Answer::Bucket(view.bucket(*bucket)?)),
        Query::BucketSettings { bucket } => bucket_settings(view, *bucket),
        Query::Object { bucket, key, wanted, limit } => {
            let settings = view.settings(*bucket)?;
            let object = match settings {
                Some(_) => read::object(view, *bucket, key, *wanted, bounded(*limit))?,
                None => None,
            };
            Ok(Answer::Object { settings, object })
        }
        Query::Chunks { manifest, offset, limit } => read::chunks(view, *manifest, *offset, bounded(*limit)),
        Query::ObjectParts { bucket, key, after, limit } => {
            read::object_parts(view, *bucket, key, *after, bounded(*limit))
        }
        Query::List { bucket, prefix, delimiter, from, limit } => {
            let delimiter = delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
            list::objects(view, &Rules { bucket: *bucket, prefix, delimiter, from, limit: bounded(*limit) })
        }
        Query::Uploads { bucket, prefix, delimiter, from, after_upload, limit } => {
            let delimiter = delimiter.as_deref().filter(|delimiter| !delimiter.is_empty());
            let rules = Rules { bucket: *bucket, prefix, delimiter, from, limit: bounded(*limit) };
            list::uploads(view, &rules, *after_upload)
        }
        Query::Upload { bucket, key, upload } => {
            let settings = view.settings(*bucket)?;
            let upload = match settings {
                Some(_) => upload_state(view, *bucket, key, *upload)?,
                None => UploadState::Unknown,
            };
            Ok(Answer::Upload { settings, upload })
        }
        Query::Parts { bucket, key, upload, after, limit } => {
            let settings = view.settings(*bucket)?;
            let state = match settings {
                Some(_) => upload_state(view, *bucket, key, *upload)?,
                None => UploadState::Unknown,
            };
            let (parts, more) = match (&state, bounded(*limit)) {
                (UploadState::Open(_), limit @ 1..) => {
                    view.load_range::<PartRecord>(&view.keys.parts_of(*upload, *after), limit)?
                }
                _ => (Vec::new(), false),
            };
            Ok(Answer::Parts { settings, upload: state, parts, more })
        }
        Query::Referenced { hashes } => Ok(referenced(view, hashes)?.map_or(Answer::Invalid, Answer::Referenced)),
        Query::Collectable { hashes } => Ok(match referenced(view, hashes)? {
            Some(referenced) => {
                let state = view.load::<GroupState>(&view.keys.state())?.unwrap_or_default();
                Answer::Collectable { referenced, grace_ms: state.grace_ms }
            }
            None => Answer::Invalid,
        }),
        Query::References { after, limit } => references(view, after.as_ref(), bounded(*limit)),
        Query::Referrers { hashes, limit } => referrers(view, hashes, bounded(*limit)),
        Query::Repairs { limit } => repairs(view, bounded(*limit)),
        Query::SealedBuckets => {
            let mut buckets: Vec<BucketId> = Vec::new();
            view.scan(&view.keys.sealed_buckets(), MAX_ENTRIES, |key, _| {
                buckets.push(sealed_id(key).ok_or_else(|| MetaError::corrupt("sealed bucket", key))?);
                Ok(())
            })?;
            Ok(Answer::SealedBuckets(buckets))
        }
        _ => Ok(Answer::Invalid),
    }
}

/// Most buckets have none: then one look tells it.
fn bucket_settings(view: &View<'_>, bucket: BucketId) -> Result<Answer, MetaError> {
    let settings = view.settings(bucket)?;
    let mut values = Vec::new();
    if settings.is_some_and(|epoch| epoch > 0) {
        view.scan(&view.keys.settings_of(bucket), usize::MAX, |key, value| {
            let setting = setting_in(key).ok_or_else(|| MetaError::corrupt("setting", key))?;
            let StoredSetting(value) = stored::decode(value, key)?;
            values.push((setting, value));
            Ok(())
        })?;
    }
    Ok(Answer::BucketSettings { settings, values })
}

fn bounded(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES)
}

fn upload_state(view: &View<'_>, bucket: BucketId, key: &str, upload: UploadId) -> Result<UploadState, MetaError> {
    let key = key.as_bytes();
    if let Some(handle) = view.load::<UploadHandle>(&view.keys.upload_handle(bucket, key, upload))? {
        let record = view.expect(&view.keys.upload(bucket, key, handle.initiated_ms, upload))?;
        return Ok(UploadState::Open(Box::new(record)));
    }
    let completed = view.load(&view.keys.completed(bucket, key, upload))?;
    Ok(completed.map_or(UploadState::Unknown, |completed| UploadState::Completed(Box::new(completed))))
}

/// For each hash, whether a manifest refers to it; `None` where there are too many.
fn referenced(view: &View<'_>, hashes: &[[u8; 32]]) -> Result<Option<Vec<bool>>, MetaError> {
    if hashes.len() > MAX_HASHES {
        return Ok(None);
    }
    let mut answers = Vec::with_capacity(hashes.len());
    let Some(first) = hashes.first() else { return Ok(Some(answers)) };
    let mut iter = view.iter(&view.keys.all(view.keys.references_to(first).cf))?;
    for hash in hashes {
        let range = view.keys.references_to(hash);
        iter.seek(&range.from);
        answers.push(iter.key().is_some_and(|key| key < range.to.as_slice()));
        iter.status()?;
    }
    Ok(Some(answers))
}

fn references(view: &View<'_>, after: Option<&[u8; 32]>, limit: usize) -> Result<Answer, MetaError> {
    let mut hashes = Vec::new();
    let mut iter = view.iter(&view.keys.all(Cf::References))?;
    if let Some(after) = after {
        iter.seek(&view.keys.references_to(after).to);
    }
    while let Some(key) = iter.key().filter(|_| hashes.len() < limit) {
        let hash = referenced_hash(key).ok_or_else(|| MetaError::corrupt("reference", key))?;
        hashes.push(hash);
        iter.seek(&view.keys.references_to(&hash).to);
    }
    iter.status()?;
    Ok(Answer::References(hashes))
}

fn referrers(view: &View<'_>, hashes: &[[u8; 32]], limit: usize) -> Result<Answer, MetaError> {
    if hashes.len() > MAX_HASHES {
        return Ok(Answer::Invalid);
    }
    let mut manifests = BTreeSet::new();
    for hash in hashes {
        view.scan(&view.keys.references_to(hash), limit.saturating_sub(manifests.len()), |key, _| {
            manifests.insert(referring_manifest(key).ok_or_else(|| MetaError::corrupt("reference", key))?);
            Ok(())
        })?;
    }
    Ok(Answer::Referrers(manifests))
}

fn repairs(view: &View<'_>, limit: usize) -> Result<Answer, MetaError> {
    let mut entries = Vec::new();
    view.scan(&view.keys.repairs(), limit, |key, _| {
        let (queued_ms, hash) = timed(key).ok_or_else(|| MetaError::corrupt("queued repair", key))?;
        let entry: StoredRepair = view.expect(&view.keys.repair(&hash))?;
        entries.push(RepairEntry { hash, queued_ms, known: entry.known });
        Ok(())
    })?;
    Ok(Answer::Repairs(entries))
}
