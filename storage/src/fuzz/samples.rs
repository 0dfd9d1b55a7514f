//! Values with something in every field, for seeds. The test of `meta/stored` holds the stored forms of most: whoever
//! changes one changes a digest there.

use bytes::Bytes;

use crate::meta::command::{DeleteTarget, Holder, NamedPart, NewBody, WriteCondition};
use crate::meta::record::{
    AccessKey, Attributes, AttributesV1, Body, BucketRecord, Checksum, ChecksumAlgorithm, ChecksumKind, ChunkEntry,
    CompletedUpload, DirectoryEntry, DirectoryState, ETag, Group, Label, NamedPolicy, PartRecord, Setting,
    UploadRecord, UserRecord, UserRights, VersionRecord, VersionRecordV1,
};
use crate::meta::{Command, Envelope, Outcome, Rejection, RootCommand};
use crate::types::{
    BucketId, ClusterId, ClusterMap, ClusterSettings, DiskEntry, DiskId, DiskState, Epoch, Generation, GroupEntry,
    GroupId, Joining, ManifestId, NodeEntry, NodeId, OperationId, Recovered, ReplicaId, UploadId, UserId, VersionId,
};

pub const BUCKET: BucketId = BucketId(7);
pub const OWNER: UserId = UserId([1; 16]);
pub const MANIFEST: ManifestId = ManifestId([2; 16]);
pub const UPLOAD: UploadId = UploadId([5; 16]);
pub const DISK: DiskId = DiskId([4; 16]);
pub const CLUSTER: ClusterId = ClusterId([1; 16]);
pub const MD5: [u8; 16] = [0xab; 16];
pub const ETAG: ETag = ETag { md5: MD5, parts: Some(3) };

pub fn checksum() -> Checksum {
    Checksum { algorithm: ChecksumAlgorithm::Crc32c, kind: ChecksumKind::Composite, value: Bytes::from_static(b"wxyz") }
}

pub fn attributes() -> Attributes {
    Attributes {
        content_type: Some("text/plain".to_owned()),
        cache_control: None,
        content_disposition: Some("d".to_owned()),
        content_encoding: None,
        content_language: Some("l".to_owned()),
        expires: None,
        website_redirect: Some("/r".to_owned()),
        user: vec![("k".to_owned(), "v".to_owned())],
        labels: vec![(Label::Acl, Bytes::from_static(b"acl"))],
    }
}

/// The same, but for what release 0.1.0 did not have.
pub fn attributes_v1() -> AttributesV1 {
    let Attributes { content_type, cache_control, content_disposition, content_encoding, .. } = attributes();
    let Attributes { content_language, expires, website_redirect, user, .. } = attributes();
    AttributesV1 {
        content_type,
        cache_control,
        content_disposition,
        content_encoding,
        content_language,
        expires,
        website_redirect,
        user,
    }
}

pub fn version_v1() -> VersionRecordV1 {
    let VersionRecord { version, modified_ms, size, etag, checksum, owner, body, .. } = version();
    VersionRecordV1 { version, modified_ms, size, etag, checksum, owner, attributes: attributes_v1(), body }
}

pub fn version() -> VersionRecord {
    VersionRecord {
        version: VersionId { log_index: 300, position: 2 },
        modified_ms: 1_700_000_000_000,
        size: 1 << 40,
        etag: ETAG,
        checksum: Some(checksum()),
        owner: OWNER,
        attributes: attributes(),
        body: Body::Manifest(MANIFEST),
    }
}

pub fn user() -> UserRecord {
    UserRecord {
        id: OWNER,
        name: "n".to_owned(),
        display_name: "d".to_owned(),
        access_key: "a".to_owned(),
        secret_key: "s".to_owned(),
        root: true,
        created_ms: 5,
    }
}

pub fn bucket() -> BucketRecord {
    let (name, region) = ("b".to_owned(), "r".to_owned());
    BucketRecord { id: BUCKET, name, owner: OWNER, region, created_ms: 5, sealed: true }
}

pub fn directory_entry() -> DirectoryEntry {
    DirectoryEntry {
        name: "b".to_owned(),
        id: BUCKET,
        group: GroupId(1),
        owner: OWNER,
        region: "r".to_owned(),
        created_ms: 5,
        state: DirectoryState::Active,
    }
}

pub fn part() -> PartRecord {
    PartRecord {
        number: 300,
        id: MANIFEST,
        modified_ms: 5,
        size: 6,
        md5: [3; 16],
        checksum: Some(checksum()),
        body: Body::Empty,
    }
}

pub fn upload() -> UploadRecord {
    UploadRecord {
        id: UPLOAD,
        key: "k".to_owned(),
        owner: OWNER,
        initiated_ms: 5,
        attributes: attributes(),
        checksum: Some((ChecksumAlgorithm::Sha256, ChecksumKind::FullObject)),
    }
}

pub fn completed() -> CompletedUpload {
    CompletedUpload {
        id: UPLOAD,
        key: "k".to_owned(),
        completed_ms: 5,
        request_digest: [6; 32],
        etag: ETag { md5: [7; 16], parts: None },
        version: VersionId { log_index: 1, position: 0 },
        size: 9,
        checksum: None,
    }
}

pub fn map() -> ClusterMap {
    ClusterMap {
        cluster: CLUSTER,
        epoch: Epoch(2),
        nodes: vec![NodeEntry { id: NodeId(3), address: "h:1".to_owned(), rack: "k".to_owned() }],
        disks: vec![DiskEntry { id: DISK, node: NodeId(3), weight: 100, state: DiskState::Draining }],
        groups: vec![GroupEntry::new(GroupId(0), vec![(ReplicaId(5), DISK)])],
        generation: Generation::default().next(Recovered { id: 300, last: Epoch(1), first: Epoch(2) }),
        settings: ClusterSettings { gc_grace_ms: Some(5), out_after_ms: Some(6) },
    }
}

/// A map whose group is on its way to other disks.
pub fn changing_map() -> ClusterMap {
    let mut map = map();
    for group in &mut map.groups {
        group.joining.push(Joining { replica: ReplicaId(300), disk: DISK, replaces: Some(ReplicaId(5)) });
        group.leaving.push((ReplicaId(1), DISK));
    }
    map
}

/// A command of most kinds.
pub fn commands() -> Vec<Command> {
    let (bucket, key, owner) = (BUCKET, "a\0/b".to_owned(), OWNER);
    let chunks = NewBody::Chunks {
        id: MANIFEST,
        chunks: vec![ChunkEntry { hash: [8; 32], len: 8 << 20 }],
        disks: vec![DISK],
        acknowledged: vec![1],
        homes: vec![u32::MAX],
        oldest_touch_age_ms: 300,
    };
    let target = DeleteTarget {
        key: key.clone(),
        condition: WriteCondition::ETag(ETAG),
        modified_ms: Some(5),
        size: Some(u64::MAX),
    };
    vec![
        Command::Nothing,
        Command::Root(RootCommand::ReplaceMap { expected: Epoch(1), map: changing_map() }),
        Command::Root(RootCommand::AddUser { user: user() }),
        Command::CreateBucket { bucket: self::bucket() },
        Command::PurgeBucket { bucket, limit: 1_000 },
        Command::PutObjectV1 {
            bucket,
            key: key.clone(),
            condition: WriteCondition::Absent,
            owner,
            size: 3,
            etag: ETAG,
            checksum: Some(checksum()),
            attributes: attributes_v1(),
            body: NewBody::Inline { id: MANIFEST, bytes: Bytes::from_static(b"abc") },
        },
        Command::PutObject {
            bucket,
            key: key.clone(),
            condition: WriteCondition::Absent,
            owner,
            size: 0,
            etag: ETAG,
            checksum: None,
            attributes: attributes(),
            body: NewBody::Empty,
        },
        Command::CopyObject {
            source_bucket: bucket,
            source_key: key.clone(),
            source_version: VersionId { log_index: 300, position: 2 },
            bucket,
            key: key.clone(),
            condition: WriteCondition::Always,
            owner,
            attributes: None,
            labels: attributes().labels,
            inline_id: MANIFEST,
            checksum: None,
        },
        Command::CreateBucketWith {
            bucket: self::bucket(),
            settings: vec![(Setting::OwnershipControls, Bytes::from_static(b"o"))],
        },
        Command::SetLabel {
            bucket,
            key: key.clone(),
            version: VersionId { log_index: 300, position: 2 },
            label: Label::Acl,
            expected: Some(Bytes::from_static(b"old")),
            value: Some(Bytes::from_static(b"acl")),
        },
        Command::DeleteObjects { bucket, targets: vec![target] },
        Command::PutPart {
            bucket,
            key: key.clone(),
            upload: UPLOAD,
            number: 10_000,
            id: MANIFEST,
            size: 8 << 20,
            md5: MD5,
            checksum: None,
            body: chunks,
        },
        Command::CompleteUpload {
            bucket,
            key,
            upload: UPLOAD,
            condition: WriteCondition::Exists,
            parts: vec![NamedPart { number: 1, id: MANIFEST }],
            manifest: MANIFEST,
            size: 9,
            etag: ETAG,
            checksum: None,
            request_digest: [6; 32],
        },
        Command::FinishRepair { done: vec![([8; 32], 5)] },
        Command::SetGrace { grace_ms: 1 << 40 },
        Command::SetBucketSetting { bucket, setting: Setting::Policy, value: Some(Bytes::from_static(b"{}")) },
        Command::Root(RootCommand::PutPolicy { name: "p".to_owned(), text: "{}".to_owned() }),
        Command::Root(RootCommand::RemovePolicy { name: "p".to_owned() }),
        Command::Root(RootCommand::PutGroup { name: "g".to_owned() }),
        Command::Root(RootCommand::RemoveGroup { name: "g".to_owned() }),
        Command::Root(RootCommand::SetMember { group: "g".to_owned(), user: "n".to_owned(), member: true }),
        Command::Root(RootCommand::Attach {
            holder: Holder::Group("g".to_owned()),
            policy: "p".to_owned(),
            attached: true,
            builtin: true,
        }),
        Command::Root(RootCommand::SetInline {
            holder: Holder::User("n".to_owned()),
            name: "i".to_owned(),
            text: Some("{}".to_owned()),
        }),
        Command::Root(RootCommand::SetUserDisabled { user: "n".to_owned(), disabled: true }),
        Command::Root(RootCommand::AddKey { key: access_key() }),
        Command::Root(RootCommand::SetKey {
            access_key: "b".to_owned(),
            disabled: true,
            expires_ms: Some(300),
            policy: Some("{}".to_owned()),
            description: "d".to_owned(),
        }),
        Command::Root(RootCommand::RemoveKey { access_key: "b".to_owned() }),
    ]
}

pub fn envelopes() -> Vec<Envelope> {
    let operation = OperationId { issued_ms: 1_700_000_000_000, random: u64::MAX };
    commands().into_iter().map(|command| Envelope { operation, command, judged: vec![(BucketId(1), 300)] }).collect()
}

/// Results of most kinds.
pub fn results() -> Vec<Result<Outcome, Rejection>> {
    vec![
        Ok(Outcome::Done),
        Ok(Outcome::Version(Box::new(version()))),
        Ok(Outcome::VersionV1(Box::new(version_v1()))),
        Ok(Outcome::Deleted(vec![Ok(true), Err(Rejection::PreconditionFailed)])),
        Ok(Outcome::Part(Box::new(part()))),
        Ok(Outcome::Progress { taken: 300, more: true }),
        Ok(Outcome::User(Box::new(user()))),
        Ok(Outcome::Map(Box::new(changing_map()))),
        Ok(Outcome::Settings(300)),
        Err(Rejection::SettingsChanged),
        Err(Rejection::BucketTaken(Box::new(directory_entry()))),
        Err(Rejection::InUse),
        Err(Rejection::NoSuchPolicy),
        Err(Rejection::NoSuchGroup),
        Err(Rejection::NoSuchAccessKey),
        Err(Rejection::LimitExceeded),
    ]
}

pub fn rights() -> UserRights {
    let inline = vec![("i".to_owned(), "t".to_owned())];
    UserRights { disabled: true, policies: vec!["p".to_owned()], inline }
}

pub fn access_key() -> AccessKey {
    AccessKey {
        access_key: "a".to_owned(),
        secret_key: "s".to_owned(),
        user: OWNER,
        description: "d".to_owned(),
        created_ms: 5,
        disabled: true,
        expires_ms: Some(300),
        policy: Some("p".to_owned()),
    }
}

pub fn group() -> Group {
    let UserRights { policies, inline, .. } = rights();
    Group { name: "g".to_owned(), created_ms: 5, members: vec![OWNER, UserId([2; 16])], policies, inline }
}

pub fn policy() -> NamedPolicy {
    NamedPolicy { name: "n".to_owned(), text: "t".to_owned(), created_ms: 5, updated_ms: 300 }
}
