use bytes::Bytes;

use super::super::command::{Outcome, Rejection};
use super::super::record::VersionRecordV1;
use super::*;
use crate::fuzz::samples::{
    DISK, MANIFEST, OWNER, access_key, attributes, attributes_v1, bucket, checksum, completed,
    directory_entry as entry, group, map, part, policy, rights, upload, user, version, version_v1,
};
use crate::types::{ClusterSettings, Generation};

/// Every stored value with the digest of its encoded form. A change here is a change of the format: it needs a new
/// version of the value, and the old one stays readable.
fn forms() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    fn form<T: Stored>(value: &T, digest: &'static str) -> (&'static str, Vec<u8>, &'static str) {
        let bytes = encode(value).unwrap();
        let again = T::read(bytes[0], &bytes[1..]).expect(T::WHAT);
        assert_eq!(encode(&again).unwrap(), bytes, "{}", T::WHAT);
        assert!(T::read(bytes[0] + 1, &bytes[1..]).is_none(), "{} of a version to come", T::WHAT);
        (T::WHAT, bytes, digest)
    }
    let place = PagePlace { offset: 1 << 33, entry: 256 };
    let statistics = GroupStatistics {
        buckets: 1,
        objects: 2,
        object_bytes: 3,
        open_uploads: 4,
        manifests: 5,
        garbage_manifests: 6,
        queued_repairs: 7,
    };
    let state = GroupState {
        time_ms: 1,
        high_ms: 8,
        grace_ms: 2,
        grace_before_ms: 9,
        grace_set_ms: 10,
        operations_from_ms: 3,
        forgotten_ms: 11,
        stamped_ms: 12,
        calm_ms: 13,
        newest_issued_ms: 14,
        issued_ms: [15, 16, 17, 18, 19, 20, 21, 22, 23, 24],
        garbage_from_ms: 4,
        completed_from_ms: 5,
        next_bucket: 6,
        statistics,
        brought_ms: 25,
    };
    let part_entry = PartEntry { number: 1, size: 5, body: Body::Manifest(MANIFEST), checksum: Some(checksum()) };
    vec![
        form(&version(), "d6ff6d7965461b91"),
        form(&Pointer { schema: 1, generation: 2 }, "f1f378c7efc66ada"),
        form(&state, "d9fa66809fae9f6b"),
        form(&Marker(Bytes::from_static(b"m")), "9eb95a95390c9310"),
        form(&StoredBucket::Kept { record: bucket(), epoch: 300 }, "5918ab71c754f871"),
        form(&StoredBucket::Purged, "6abc4fcdb4f073e1"),
        form(&ManifestHeader { holders: 2, size: 300, kind: ManifestKind::Chunks }, "47ae467874b11b17"),
        form(
            &ManifestHeader { holders: 1, size: 300, kind: ManifestKind::Parts { count: 2, index: vec![(1, place)] } },
            "104d52f9d4fde76a",
        ),
        form(&ChunkPage(vec![ChunkEntry { hash: [1; 32], len: 8 << 20 }]), "c24dd23423e1443d"),
        form(&PartPage(vec![part_entry]), "fdfde68968584298"),
        form(&UploadHandle { initiated_ms: 5 }, "741e00871976560e"),
        form(&upload(), "2d66a0d13ed7ad44"),
        form(&part(), "a138688d624233b4"),
        form(&completed(), "ad55f1391286d5d4"),
        form(&KeySuffix(Bytes::from_static(b"k")), "bed6d3e629450c81"),
        form(&Flag, "48fc721fbbc172e0"),
        form(&StoredRepair { queued_ms: 5, known: vec![DISK] }, "62a9a561d9a09951"),
        form(&map(), "292484c62d9ab079"),
        form(&user(), "e63c4b5ac0023a15"),
        form(&OWNER, "3eba2351eb9eb4d6"),
        form(&entry(), "c61f74555c154e74"),
        form(&InlineBody(Bytes::from_static(b"raw")), "cf682934556ffea9"),
        form(&Kept(Ok(Outcome::Done)), "396eab8ebe8b2247"),
        form(&Kept(Ok(Outcome::Bucket(bucket()))), "1559d2d105771d95"),
        form(&Kept(Ok(Outcome::VersionV1(Box::new(version_v1())))), "0edc868675f151b1"),
        form(&Kept(Ok(Outcome::Version(Box::new(version())))), "ef9daa406f22afb0"),
        form(&Kept(Ok(Outcome::Deleted(vec![Ok(true), Err(Rejection::NoSuchKey)]))), "f2a6be172087a17e"),
        form(&Kept(Ok(Outcome::Part(Box::new(part())))), "15f9eb51595ef597"),
        form(&Kept(Ok(Outcome::Progress { taken: 3, more: true })), "31e4295c39f82a0a"),
        form(&Kept(Ok(Outcome::Directory(entry()))), "0491b295920eb5c2"),
        form(&Kept(Ok(Outcome::Map(Box::new(map())))), "841831bd9279a90f"),
        form(&Kept(Ok(Outcome::User(Box::new(user())))), "9c68d66b82deb440"),
        form(&Kept(Err(Rejection::BucketTaken(Box::new(entry())))), "bf32c186b3942d4e"),
        form(&Kept(Err(Rejection::Invalid)), "518652925b58fb8b"),
        form(&StoredSetting(Bytes::from_static(b"raw")), "cf682934556ffea9"),
        form(&UserEpoch(1 << 48 | 7), "206c39076d952358"),
        form(&Kept(Ok(Outcome::Settings(300))), "aa9d84cca1361f31"),
        form(&Kept(Err(Rejection::SettingsChanged)), "ae9c4fd83f6ea1d7"),
        form(&rights(), "bb67e31e3173d43d"),
        form(&access_key(), "e91b89eec137804e"),
        form(&group(), "718bcd58c82682e3"),
        form(&policy(), "2cf16d87eba8f8b3"),
        form(&Attachment { builtin: true }, "2022ec9d571ba774"),
        form(&IdentityTotals { bytes: 300, policies: 1, groups: 2, users: Some(300) }, "b34ecd9e2e36d6d9"),
        form(&Kept(Err(Rejection::InUse)), "3e9c8fe7061f1fd7"),
        form(&Kept(Err(Rejection::LimitExceeded)), "acee15c8dae35dbe"),
    ]
}

#[test]
fn the_forms_are_frozen() {
    let changed: Vec<String> = forms()
        .into_iter()
        .map(|(what, bytes, known)| (what, blake3::hash(&bytes).to_hex()[..16].to_owned(), known))
        .filter(|(_, digest, known)| digest != known)
        .map(|(what, digest, _)| format!("{what} {digest}"))
        .collect();
    assert!(changed.is_empty(), "the stored form changed of: {changed:#?}");
}

/// Without labels; its head and its attributes one after the other.
#[test]
fn a_version_of_the_release_before_is_read() {
    let VersionRecordV1 { version, modified_ms, size, etag, checksum, owner, attributes, body } = version_v1();
    let head = (version, modified_ms, size, etag, checksum, owner, body);
    let bytes = postcard::to_extend(&(head, attributes), vec![1]).unwrap();
    assert_eq!(&blake3::hash(&bytes).to_hex()[..16], "2a199cba1f6265a4");
    let read: VersionRecord = decode(&bytes, b"").unwrap();
    assert_eq!(read, VersionRecord::from(version_v1()));
    let head: VersionHead = decode(&bytes, b"").unwrap();
    assert_eq!(head.with(attributes_v1().into()), read);
}

#[test]
fn an_upload_of_the_release_before_is_read() {
    let UploadRecord { id, key, owner, initiated_ms, checksum, .. } = upload();
    let bytes = (id, key, owner, initiated_ms, attributes_v1(), checksum);
    let bytes = postcard::to_extend(&bytes, vec![1]).unwrap();
    assert_eq!(&blake3::hash(&bytes).to_hex()[..16], "54ebae0990d42f9c");
    assert_eq!(decode::<UploadRecord>(&bytes, b"").unwrap().attributes, attributes_v1().into());
}

/// The map of release 0.1.0 was its fields without the last two.
#[test]
fn a_map_of_the_release_before_is_read() {
    let ClusterMap { cluster, epoch, nodes, disks, groups, .. } = map();
    let mut bytes = postcard::to_extend(&(cluster, epoch, nodes, disks, groups), vec![1]).unwrap();
    assert_eq!(&blake3::hash(&bytes).to_hex()[..16], "0d5257e15167355a");
    let read: ClusterMap = decode(&bytes, b"").unwrap();
    assert_eq!(read, ClusterMap { generation: Generation::default(), settings: ClusterSettings::default(), ..map() });
    // As the result of a command that was kept: version, Ok, the variant.
    bytes.splice(..1, [1, 0, 7]);
    assert_eq!(&blake3::hash(&bytes).to_hex()[..16], "cec0977074e4805a");
    let Kept(Ok(Outcome::MapV1(kept))) = decode(&bytes, b"").unwrap() else { panic!("a map was kept") };
    assert_eq!(ClusterMap::from(*kept), read);
}

#[test]
fn a_group_state_of_version_1_is_read() {
    let bytes = [1, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 7];
    let form = blake3::hash(&bytes).to_hex();
    assert_eq!(&form[..16], "7b895db63392fee4", "as it was written");
    let state: GroupState = decode(&bytes, b"").unwrap();
    assert_eq!((state.time_ms, state.high_ms, state.grace_ms, state.grace_now()), (1, 1, 2, 2));
    assert_eq!((state.operations_from_ms, state.forgotten_ms), (3, 3));
    assert_eq!((state.next_bucket, state.statistics.queued_repairs), (6, 7));
}

#[test]
fn a_group_state_of_version_2_is_read() {
    let mut bytes = vec![2, 1, 8, 2, 9, 10, 3, 11, 12, 13, 14];
    bytes.extend((15..25).chain([4, 5, 6]).chain(1..=7));
    assert_eq!(&blake3::hash(&bytes).to_hex()[..16], "fbc41154747edfe2", "as it was written");
    let state: GroupState = decode(&bytes, b"").unwrap();
    assert_eq!((state.time_ms, state.high_ms, state.issued_ms[9]), (1, 8, 24));
    assert_eq!((state.next_bucket, state.statistics.queued_repairs, state.brought_ms), (6, 7, 0));
    bytes.pop();
    assert!(decode::<GroupState>(&bytes, b"").is_err(), "what is cut off is corrupt");
}

#[test]
fn a_bucket_of_version_1_is_read() {
    let mut bytes = postcard::to_extend(&bucket(), vec![1, 0]).unwrap();
    assert_eq!(&blake3::hash(&bytes).to_hex()[..16], "6d801f30ecd8cdca", "as it was written");
    assert_eq!(decode::<StoredBucket>(&bytes, b"").unwrap(), StoredBucket::Kept { record: bucket(), epoch: 0 });
    assert_eq!(decode::<StoredBucket>(&[1, 1], b"").unwrap(), StoredBucket::Purged);
    bytes.pop();
    assert!(decode::<StoredBucket>(&bytes, b"").is_err(), "what is cut off is corrupt");
}

#[test]
fn the_head_of_a_version_is_had_without_its_attributes() {
    let bytes = encode(&version()).unwrap();
    let head: VersionHead = decode(&bytes, b"").unwrap();
    assert_eq!(head.with(attributes()), version());
}

#[test]
fn what_is_cut_off_or_too_long_is_corrupt() {
    let bytes = encode(&part()).unwrap();
    for cut in 0..bytes.len() {
        assert!(matches!(decode::<PartRecord>(&bytes[..cut], b"key"), Err(MetaError::Corrupt { .. })));
    }
    let longer = [&bytes, &b"x"[..]].concat();
    assert!(matches!(decode::<PartRecord>(&longer, b"key"), Err(MetaError::Corrupt { .. })));
}
