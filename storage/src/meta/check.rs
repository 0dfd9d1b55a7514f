//! Reads a whole group and checks, from the records alone, what must always hold of it. For tests.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{Entry, pages};
use super::overlay::Read;
use super::query::GroupStatistics;
use super::record::{
    AccessKey, Body, CompletedUpload, Group, MAX_IDENTITIES_LEN, MAX_SETTING_LEN, NamedPolicy, PartRecord,
    UploadRecord, UserRecord, UserRights,
};
use super::schema::{Cf, HolderId, PREFIX_LEN, Table, page_place, setting_in, timed, upload_key, user_in};
use super::store::GroupStore;
use super::stored::{
    self, Attachment, ChunkPage, Flag, GroupState, IdentityTotals, KeySuffix, ManifestHeader, ManifestKind, PartPage,
    StoredBucket, StoredRepair, StoredSetting, UploadHandle, VersionHead,
};
use crate::types::{BucketId, ManifestId, UploadId};

#[derive(Default)]
struct Found {
    holders: BTreeMap<ManifestId, u64>,
    inline: BTreeSet<ManifestId>,
    headers: BTreeMap<ManifestId, ManifestHeader>,
    sizes: BTreeMap<ManifestId, u64>,
    garbage: BTreeSet<ManifestId>,
    /// What the pages list.
    listed: BTreeSet<([u8; 32], ManifestId)>,
    statistics: GroupStatistics,
}

impl Found {
    fn hold(&mut self, body: &Body) {
        match body {
            Body::Empty => {}
            Body::Inline(id) => assert!(self.inline.insert(*id), "an inline body with two holders"),
            Body::Manifest(id) => *self.holders.entry(*id).or_default() += 1,
        }
    }
}

/// Panics where the state contradicts itself. Answers how many references to chunks there are.
pub(super) fn check(store: &GroupStore) -> usize {
    let view = store.view();
    let mut found = Found::default();
    objects(store, &mut found);
    manifests(store, &mut found);
    general(store, &mut found);
    identities(store);

    found.statistics.manifests = found.headers.len() as u64;
    found.statistics.garbage_manifests = found.garbage.len() as u64;
    let state: GroupState = view.load(&view.keys.state()).unwrap().unwrap_or_default();
    assert_eq!(state.statistics, found.statistics);

    for (id, header) in &found.headers {
        assert_eq!(header.holders, found.holders.remove(id).unwrap_or(0), "holders of {id}");
        assert_eq!(header.holders == 0, found.garbage.contains(id), "{id} in the queue");
        if header.holders > 0 {
            assert_eq!(Some(&header.size), found.sizes.get(id), "size of {id}");
        }
    }
    assert!(found.holders.is_empty(), "held, but not there: {:?}", found.holders);
    assert!(found.garbage.iter().all(|id| found.headers.contains_key(id)));

    let mut references = BTreeSet::new();
    view.scan(&view.keys.all(Cf::References), usize::MAX, |key, _| {
        let (hash, id) = key[PREFIX_LEN..].split_at(32);
        references.insert((hash.try_into().unwrap(), ManifestId(id.try_into().unwrap())));
        Ok(())
    })
    .unwrap();
    assert!(references.is_subset(&found.listed), "a reference of no manifest");
    for reference in found.listed.difference(&references) {
        assert_eq!(found.headers[&reference.1].holders, 0, "a live chunk without its reference");
    }

    let mut inline = BTreeSet::new();
    view.scan(&view.keys.all(Cf::Inline), usize::MAX, |key, _| {
        inline.insert(ManifestId(key[PREFIX_LEN..].try_into().unwrap()));
        Ok(())
    })
    .unwrap();
    assert_eq!(inline, found.inline);
    references.len()
}

fn objects(store: &GroupStore, found: &mut Found) {
    let view = store.view();
    view.scan(&view.keys.all(Cf::Current), usize::MAX, |key, value| {
        let head: VersionHead = stored::decode(value, key)?;
        found.hold(&head.body);
        found.statistics.objects += 1;
        found.statistics.object_bytes += head.size;
        Ok(())
    })
    .unwrap();
}

fn manifests(store: &GroupStore, found: &mut Found) {
    let view = store.view();
    let mut current = None;
    view.scan(&view.keys.all(Cf::Manifests), usize::MAX, |key, value| {
        let id = ManifestId(key[PREFIX_LEN..PREFIX_LEN + 16].try_into().unwrap());
        let Some(place) = page_place(key) else {
            let header: ManifestHeader = stored::decode(value, key)?;
            current = Some((id, header.kind.clone(), header.holders));
            found.headers.insert(id, header);
            return Ok(());
        };
        let (owner, kind, holders) = current.as_ref().expect("a page without a header");
        assert_eq!(*owner, id);
        let size = found.sizes.entry(id).or_default();
        assert!(*holders == 0 || place.offset == *size, "a page that is not where the one before ends");
        match kind {
            ManifestKind::Chunks => {
                let page: ChunkPage = stored::decode(value, key)?;
                assert_eq!(pages(&page.0).count(), 1);
                for chunk in page.0 {
                    *size += chunk.size();
                    found.listed.insert((chunk.hash, id));
                }
            }
            ManifestKind::Parts { index, .. } => {
                let page: PartPage = stored::decode(value, key)?;
                assert!(index.contains(&(page.0[0].number, place)));
                *size += page.0.iter().map(Entry::size).sum::<u64>();
                page.0.iter().for_each(|part| found.hold(&part.body));
            }
        }
        Ok(())
    })
    .unwrap();
}

fn general(store: &GroupStore, found: &mut Found) {
    let view = store.view();
    let mut handles = BTreeSet::new();
    let mut uploads = BTreeSet::new();
    let mut parts_of = BTreeSet::new();
    let (mut completed, mut completed_order) = (BTreeSet::new(), BTreeSet::new());
    let (mut repairs, mut repair_order) = (BTreeSet::new(), BTreeSet::new());
    let (mut sealed, mut sealed_index) = (0, 0);
    let (mut changed, mut settings) = (BTreeSet::new(), BTreeSet::new());
    let bucket_in = |key: &[u8]| BucketId(u64::from_be_bytes(key[PREFIX_LEN + 1..][..8].try_into().unwrap()));
    view.scan(&view.keys.all(Cf::General), usize::MAX, |key, value| {
        let tag = key[PREFIX_LEN];
        let is = |table: Table| tag == table as u8;
        if is(Table::Bucket) {
            match stored::decode(value, key)? {
                StoredBucket::Kept { record, epoch } => {
                    if epoch > 0 {
                        changed.insert(bucket_in(key));
                    }
                    if record.sealed { sealed += 1 } else { found.statistics.buckets += 1 }
                }
                StoredBucket::Purged => {}
            }
        } else if is(Table::SealedBucket) {
            sealed_index += 1;
        } else if is(Table::Setting) {
            let StoredSetting(value) = stored::decode(value, key)?;
            assert!(setting_in(key).is_some() && value.len() <= MAX_SETTING_LEN, "a setting that nobody can have made");
            settings.insert(bucket_in(key));
        } else if is(Table::UploadHandle) {
            let handle: UploadHandle = stored::decode(value, key)?;
            handles.insert((UploadId(key[key.len() - 16..].try_into().unwrap()), handle.initiated_ms));
        } else if is(Table::Upload) {
            let record: UploadRecord = stored::decode(value, key)?;
            assert_eq!(upload_key(key).unwrap(), record.key.as_bytes());
            uploads.insert((record.id, record.initiated_ms));
        } else if is(Table::Part) {
            let record: PartRecord = stored::decode(value, key)?;
            found.hold(&record.body);
            parts_of.insert(UploadId(key[PREFIX_LEN + 1..PREFIX_LEN + 17].try_into().unwrap()));
        } else if is(Table::Completed) {
            let record: CompletedUpload = stored::decode(value, key)?;
            completed.insert((record.completed_ms, record.id.0, key[PREFIX_LEN..].to_vec()));
        } else if is(Table::CompletedOrder) {
            let (time, id) = timed::<16>(key).unwrap();
            let suffix: KeySuffix = stored::decode(value, key)?;
            completed_order.insert((time, id, suffix.0.to_vec()));
        } else if is(Table::Garbage) {
            found.garbage.insert(ManifestId(timed(key).unwrap().1));
        } else if is(Table::Repair) {
            let entry: StoredRepair = stored::decode(value, key)?;
            repairs.insert((entry.queued_ms, key[PREFIX_LEN + 1..].to_vec()));
        } else if is(Table::RepairOrder) {
            let (time, hash) = timed::<32>(key).unwrap();
            repair_order.insert((time, hash.to_vec()));
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(handles, uploads);
    assert!(parts_of.iter().all(|id| uploads.iter().any(|(upload, _)| upload == id)), "parts of no upload");
    assert_eq!(completed, completed_order);
    assert_eq!(repairs, repair_order);
    assert_eq!(sealed, sealed_index);
    assert!(settings.is_subset(&changed), "settings of no bucket, or without an epoch");
    found.statistics.open_uploads = uploads.len() as u64;
    found.statistics.queued_repairs = repairs.len() as u64;
}

/// Every index of the table of users is what the records say, and no record speaks of who, or what, is not there.
fn identities(store: &GroupStore) {
    let view = store.view();
    let keys = view.keys;
    let (mut users, mut records, mut indexes) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
    let (mut totals, mut users_len) = (IdentityTotals::default(), 0);
    view.scan(&keys.all(Cf::General), usize::MAX, |key, value| {
        let is = |tables: &[Table]| tables.iter().any(|table| key[PREFIX_LEN] == *table as u8);
        if is(&[Table::User]) {
            let user: UserRecord = stored::decode(value, key)?;
            users_len += value.len() as u64;
            users.insert(user.id, user);
        } else if is(&[Table::Rights, Table::AccessKey, Table::UserGroup, Table::Policy]) {
            totals.bytes += (key.len() - PREFIX_LEN + value.len()) as u64;
            totals.policies += u64::from(is(&[Table::Policy]));
            totals.groups += u64::from(is(&[Table::UserGroup]));
            records.push((key.to_vec(), value.to_vec()));
        } else if is(&[Table::AccessKeyByUser, Table::GroupByMember, Table::Attachment]) {
            indexes.insert(key.to_vec(), value.to_vec());
        }
        Ok(())
    })
    .unwrap();
    let counted = view.load::<IdentityTotals>(&keys.identity_totals()).unwrap().unwrap_or_default();
    totals.users = counted.users.map(|_| users_len);
    assert_eq!(counted, totals);
    assert!(totals.bytes <= MAX_IDENTITIES_LEN);

    let mut found = BTreeSet::new();
    let mut policies_of = |holder: HolderId<'_>, policies: &[String], inline: &[(String, String)]| {
        assert!(policies.is_sorted_by(|one, next| one < next));
        assert!(inline.is_sorted_by(|one, next| one.0 < next.0));
        for policy in policies {
            let index = keys.attachment(policy, holder);
            let Attachment { builtin } = view.expect(&index).unwrap();
            let stored: Option<NamedPolicy> = view.load(&keys.policy(policy)).unwrap();
            assert!(builtin || stored.is_some(), "{policy} is attached, and not there");
            found.insert(index.bytes);
        }
    };
    for (key, value) in &records {
        let tag = key[PREFIX_LEN];
        if tag == Table::Rights as u8 {
            let user = user_in(key).unwrap();
            let rights: UserRights = stored::decode(value, key).unwrap();
            assert!(users.contains_key(&user) && rights != UserRights::default());
            policies_of(HolderId::User(user), &rights.policies, &rights.inline);
        } else if tag == Table::UserGroup as u8 {
            let group: Group = stored::decode(value, key).unwrap();
            assert!(group.members.is_sorted_by(|one, next| one < next));
            policies_of(HolderId::Group(&group.name), &group.policies, &group.inline);
        }
    }
    for (key, value) in &records {
        let tag = key[PREFIX_LEN];
        if tag == Table::AccessKey as u8 {
            let key: AccessKey = stored::decode(value, key).unwrap();
            assert!(users.contains_key(&key.user), "a key of nobody");
            assert!(users.values().all(|user| user.access_key != key.access_key), "a key that a user has");
            found.insert(keys.access_key_by_user(key.user, &key.access_key).bytes);
        } else if tag == Table::UserGroup as u8 {
            let group: Group = stored::decode(value, key).unwrap();
            for user in group.members {
                assert!(users.contains_key(&user), "a member that is nobody");
                found.insert(keys.group_by_member(user, &group.name).bytes);
            }
        }
    }
    assert!(indexes.keys().eq(&found), "an index that the records do not bear out");
    for (key, value) in indexes.iter().filter(|(key, _)| key[PREFIX_LEN] != Table::Attachment as u8) {
        let Flag = stored::decode(value, key).unwrap();
    }
}
