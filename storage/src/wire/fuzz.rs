//! What travels between processes, and the proof that it is from one of the cluster.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::message::{
    DiskNews, EndedNews, Hello, Listed, NodeNews, Overview, Place, RefusedNode, ScrubStatus, Stat, View,
};
use super::{AuthError, Context, Signer, Verifier, auth::SignedBody, decode, encode};
use crate::cluster::Secret;
use crate::fuzz::holds;
use crate::fuzz::inputs::edit;
use crate::fuzz::samples::{self, BUCKET, CLUSTER, DISK, MANIFEST, OWNER, UPLOAD};
use crate::meta::query::{
    GroupStatistics, ListEntry, ListFrom, ObjectAnswer, PartOfObject, UploadEntry, UploadState, UserTable, Wanted,
    WantedBytes,
};
use crate::meta::record::{ChunkSpan, RepairEntry, Setting};
use crate::meta::{Answer, Envelope, Outcome, Query, Rejection};
use crate::types::{ChunkId, Epoch, GroupId, Life, NodeId, ReplicaId, Stamp};

type Question = (Option<ChunkId>, u32);
type Held = (Epoch, ChunkId);
type Touched = Vec<Option<Stat>>;
type Applied = Result<Outcome, Rejection>;

macro_rules! kinds {
    ($($number:literal $type:ty,)*) => {
        /// The first byte says what kind of a message follows it.
        pub fn wire_message(data: &[u8]) -> bool {
            let Some((kind, bytes)) = data.split_first() else { return false };
            match kind {
                $($number => holds::<$type>(bytes, |bytes| decode(bytes).ok(), |value| encode(value).unwrap_or_default()),)*
                _ => false,
            }
        }
    };
}

kinds! {
    0 View,
    1 Hello,
    2 Overview,
    3 Context,
    4 ScrubStatus,
    5 Vec<ChunkId>,
    6 Question,
    7 Held,
    8 Touched,
    9 Vec<Listed>,
    10 Envelope,
    11 Applied,
    12 Query,
    13 Answer,
    14 String,
}

fn place() -> Place {
    let life = Life { incarnation: 300, instance: u64::MAX };
    Place { disk: DISK, node: NodeId(3), address: "h:1".to_owned(), life, synced: 9 }
}

fn disk() -> DiskNews {
    let why = "it is lost".to_owned();
    DiskNews {
        id: DISK,
        lives: vec![Life { incarnation: 1, instance: 0 }, place().life],
        began: 1,
        synced: 2,
        up: true,
        capacity: 1 << 40,
        free: 1 << 39,
        chunks: 3,
        misplaced: 4,
        settled: false,
        ended: vec![EndedNews { group: GroupId(1), replica: ReplicaId(2), broken: true, why }],
    }
}

fn context() -> Context {
    let life = place().life;
    Context { cluster: Some((CLUSTER, Stamp { number: 1, id: 300 })), from: Some((DISK, life)), to: None }
}

fn queries() -> Vec<Query> {
    let (bucket, key) = (BUCKET, "a/b".to_owned());
    vec![
        Query::Map,
        Query::DirectoryList { owner: Some(OWNER), prefix: "b".to_owned(), after: Some("c".to_owned()), limit: 1_000 },
        Query::Object { bucket, key: key.clone(), wanted: Wanted::Between(5, u64::MAX), limit: 16 },
        Query::List {
            bucket,
            prefix: key.clone(),
            delimiter: Some("/".to_owned()),
            from: ListFrom::AfterPrefix(key.clone()),
            limit: u32::MAX,
        },
        Query::Parts { bucket, key, upload: UPLOAD, after: 9, limit: 1_000 },
        Query::Collectable { hashes: vec![[7; 32], [8; 32]] },
        Query::BucketSettings { bucket },
        Query::UserTable { known: u64::MAX },
    ]
}

fn answers() -> Vec<Answer> {
    let settings = Some(300);
    let part = PartOfObject { number: 1, count: 2, checksum: Some(samples::checksum()) };
    let spans = vec![ChunkSpan { offset: 1 << 33, hash: [8; 32], len: 8 << 20 }];
    let bytes = WantedBytes::Chunks { spans, first: 1, last: 2, part: Some(part) };
    let object = ObjectAnswer { record: samples::version(), bytes };
    let key = ListEntry::Key("k".to_owned(), Box::new(samples::version()));
    vec![
        Answer::Map(Some(Box::new(samples::map()))),
        Answer::Users(vec![samples::user()]),
        Answer::Directory(Some(samples::directory_entry())),
        Answer::Bucket(Some((samples::bucket(), 300))),
        Answer::Object { settings, object: Some(Box::new(object)) },
        Answer::List { settings, entries: vec![key, ListEntry::CommonPrefix("p/".to_owned())], more: true },
        Answer::Parts {
            settings,
            upload: UploadState::Completed(Box::new(samples::completed())),
            parts: vec![samples::part()],
            more: false,
        },
        Answer::Uploads { settings, entries: vec![UploadEntry::Upload(samples::upload())], more: false },
        Answer::Repairs(vec![RepairEntry { hash: [8; 32], queued_ms: 5, known: vec![DISK] }]),
        Answer::Statistics(GroupStatistics::default()),
        Answer::Referrers([MANIFEST].into()),
        Answer::Collectable { referenced: vec![true, false], grace_ms: 300 },
        Answer::BucketSettings { settings, values: vec![(Setting::Policy, bytes::Bytes::from_static(b"{}"))] },
        Answer::UserTable { epoch: 300, table: None },
        Answer::UserTable { epoch: 300, table: Some(Box::new(user_table())) },
        Answer::TooLarge,
    ]
}

fn user_table() -> UserTable {
    UserTable {
        users: vec![samples::user()],
        rights: vec![(OWNER, samples::rights())],
        keys: vec![samples::access_key()],
        groups: vec![samples::group()],
        policies: vec![samples::policy()],
    }
}

pub fn message_seeds() -> Vec<Vec<u8>> {
    fn seed<T: serde::Serialize>(kind: u8, value: &T) -> Vec<u8> {
        [vec![kind], encode(value).unwrap_or_default()].concat()
    }
    let map = std::sync::Arc::new(samples::changing_map());
    let chunk = ChunkId { group: GroupId(1), hash: [7; 32] };
    let (node, place, disk) = (map.nodes[0].clone(), place(), disk());
    let leads = vec![(GroupId(1), ReplicaId(2), DISK)];
    let hello = Hello {
        cluster: CLUSTER,
        node: node.clone(),
        session: u64::MAX,
        version: "0.1.0".to_owned(),
        epoch: Epoch(2),
        generation: Stamp { number: 1, id: 300 },
        disks: vec![disk.clone()],
        old_copies: vec!["/d".to_owned()],
        places: vec![place.clone()],
        settled_per_minute: 1,
        leads: leads.clone(),
    };
    let news = NodeNews {
        id: node.id,
        up: true,
        version: "0.1.0".to_owned(),
        epoch: Epoch(2),
        settled_per_minute: 1,
        disks: vec![disk],
    };
    let refused = RefusedNode { node: node.id, address: node.address.clone(), why: "another cluster's".to_owned() };
    let overview = Overview { map: map.clone(), nodes: vec![news], leaders: leads, refused: vec![refused] };
    let mut seeds = vec![
        seed(0, &View { map, up: vec![DISK], places: vec![place] }),
        seed(1, &hello),
        seed(2, &overview),
        seed(3, &context()),
        seed(4, &ScrubStatus { started_ms: Some(5), finished_ms: None, checked: 6, corrupt: 7, chunks: 300 }),
        seed(5, &vec![chunk, chunk]),
        seed(6, &(Some(chunk), 1_000u32)),
        seed(7, &(Epoch(2), chunk)),
        seed(8, &vec![None, Some(Stat { len: 8 << 20, stored_ms: 5 })]),
        seed(9, &vec![Listed { id: chunk, len: 1, touched_ms: 5, condemned_ms: Some(6) }]),
        seed(14, &"why not"),
    ];
    seeds.extend(samples::envelopes().iter().map(|envelope| seed(10, envelope)));
    seeds.extend(samples::results().iter().map(|result| seed(11, result)));
    seeds.extend(queries().iter().map(|query| seed(12, query)));
    seeds.extend(answers().iter().map(|answer| seed(13, answer)));
    seeds
}

const NOW_MS: u64 = 1_700_000_000_000;

pub fn proof_seeds() -> Vec<Vec<u8>> {
    let seeds: [&[u8]; 4] =
        [b"\x01", b"\0/v1/raft?x=1", b"\x03\x01\0\x20\x02\0", b"\x02\x01\0\x01\x03\0\x01\0\x60\x04\0"];
    seeds.map(<[u8]>::to_vec).to_vec()
}

/// A request as text, a line for each part that is signed, is signed, and then changed as the input says: what is taken
/// of it is what was signed.
pub fn wire_proof(data: &[u8]) -> bool {
    let Some((kind, script)) = data.split_first() else { return false };
    let Ok(secret) = Secret::new("a secret of the cluster") else { return false };
    let method = if kind % 2 == 0 { Method::POST } else { Method::PUT };
    let body = if kind % 4 < 2 { SignedBody::Chunk } else { SignedBody::Small(b"body") };
    let (target, context) = ("/v1/disks/1/chunks/2?start=0&end=1", context());
    let mut headers = HeaderMap::new();
    Signer::new(&secret).sign(&mut headers, &method, target, body, &context, NOW_MS);
    let verify = |method: &Method, target: &str, headers: &HeaderMap, now: u64| {
        let said = Verifier::new(&secret).verify(headers, method, target, now)?;
        said.check(body).map(|()| said.context)
    };
    assert_eq!(verify(&method, target, &headers, NOW_MS + 1), Ok(context));
    assert_eq!(verify(&method, target, &headers, NOW_MS + (1 << 30)), Err(AuthError::Skewed));

    let mut lines = vec![format!("{method} {target}")];
    lines.extend(headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default())));
    let mut text = lines.join("\n").into_bytes();
    edit(&mut text, script);
    let Some((other_method, other_target, other)) = read(&text) else { return false };
    if let Ok(said) = verify(&other_method, &other_target, &other, NOW_MS) {
        assert_eq!((other_method.as_str(), other_target.as_str(), said), (method.as_str(), target, context));
        for name in ["x-cairn-time", "x-cairn-nonce"] {
            assert_eq!(other.get(name), headers.get(name));
        }
    }
    true
}

fn read(text: &[u8]) -> Option<(Method, String, HeaderMap)> {
    let mut lines = std::str::from_utf8(text).ok()?.split('\n');
    let (method, target) = lines.next()?.split_once(' ')?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?);
    }
    Some((method.parse().ok()?, target.to_owned(), headers))
}
