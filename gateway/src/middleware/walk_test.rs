//! A walk over all operations, with every spelling of host and target, over TCP: what a signature names is what is
//! touched, or nothing is.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;

use base64::Engine;
use cairn_storage::client::{Client, MetaService, ServiceError};
use cairn_storage::meta::query::{ObjectAnswer, Wanted, WantedBytes};
use cairn_storage::meta::record::{self, Attributes, ETag, VersionRecord};
use cairn_storage::meta::{Answer, Command, Envelope, Outcome, Query, Rejection, RootCommand};
use cairn_storage::types::{BucketId, GroupId, ManifestId, UserId, VersionId, now_ms};
use futures::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Method};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::auth::sign::{Credentials, UNSIGNED_PAYLOAD, Unsigned, presign, sign_headers, uri_encode};
use crate::data::{DataPath, DataSettings};
use crate::gateway::Settings;
use crate::server::{Limits, serve};
use crate::table::ROWS;
use crate::testing::Fake;

/// A bucket and a key; the key is empty where the bucket alone is meant.
type Resource = (String, String);

/// A cluster in memory that notes what it is asked about.
#[derive(Clone)]
struct Recorder {
    fake: Fake,
    touched: Arc<Mutex<BTreeSet<Resource>>>,
    /// A question about users by name, or a change of them.
    administered: Arc<Mutex<bool>>,
}

impl Recorder {
    fn note(&self, bucket: BucketId, key: &str) {
        let name = self.fake.0.lock().buckets[&bucket].name.clone();
        self.touched.lock().insert((name, key.to_owned()));
    }

    fn note_query(&self, query: &Query) {
        match query {
            Query::Object { bucket, key, .. }
            | Query::ObjectParts { bucket, key, .. }
            | Query::Upload { bucket, key, .. }
            | Query::Parts { bucket, key, .. } => self.note(*bucket, key),
            Query::Bucket { bucket }
            | Query::BucketSettings { bucket }
            | Query::List { bucket, .. }
            | Query::Uploads { bucket, .. } => {
                self.note(*bucket, "");
            }
            Query::Directory { name } => drop(self.touched.lock().insert((name.clone(), String::new()))),
            Query::DirectoryList { .. } => drop(self.touched.lock().insert(Resource::default())),
            Query::Users => *self.administered.lock() = true,
            Query::UserTable { .. } => {}
            other => panic!("{other:?}"),
        }
    }

    fn note_command(&self, command: &Command) {
        match command {
            Command::PutObject { bucket, key, .. }
            | Command::CreateUpload { bucket, key, .. }
            | Command::PutPart { bucket, key, .. }
            | Command::CompleteUpload { bucket, key, .. }
            | Command::AbortUpload { bucket, key, .. } => self.note(*bucket, key),
            Command::DeleteObjects { bucket, targets } => {
                // Of several keys at once the bucket is authorized.
                let key = if targets.len() == 1 { targets[0].key.as_str() } else { "" };
                self.note(*bucket, key);
            }
            Command::CopyObject { source_bucket, source_key, bucket, key, .. } => {
                self.note(*source_bucket, source_key);
                self.note(*bucket, key);
            }
            Command::SealBucket { bucket } | Command::SetBucketSetting { bucket, .. } => self.note(*bucket, ""),
            Command::Root(RootCommand::ReserveBucket { name, .. }) => {
                self.touched.lock().insert((name.clone(), String::new()));
            }
            Command::Root(RootCommand::AddUser { .. } | RootCommand::RemoveUser { .. }) => {
                *self.administered.lock() = true;
            }
            other => panic!("{other:?}"),
        }
    }
}

impl MetaService for Recorder {
    fn command(
        &self,
        group: GroupId,
        envelope: Envelope,
    ) -> BoxFuture<'_, Result<Result<Outcome, Rejection>, ServiceError>> {
        self.note_command(&envelope.command);
        match envelope.command {
            // The next request needs the bucket.
            Command::SealBucket { .. } => Box::pin(async { Ok(Err(Rejection::BucketNotEmpty)) }),
            _ => self.fake.command(group, envelope),
        }
    }

    fn query(&self, group: GroupId, query: Query) -> BoxFuture<'_, Result<Answer, ServiceError>> {
        self.note_query(&query);
        match query {
            Query::Object { bucket, key, wanted, .. } if key == "source" => {
                let state = self.fake.0.lock();
                let epoch = state.epochs.get(&bucket).copied().unwrap_or_default();
                let settings = state.buckets.get(&bucket).map(|_| epoch);
                drop(state);
                let answer = Answer::Object { settings, object: Some(Box::new(source(wanted))) };
                Box::pin(async { Ok(answer) })
            }
            _ => self.fake.query(group, query),
        }
    }
}

/// An object of one byte.
fn source(wanted: Wanted) -> ObjectAnswer {
    let record = VersionRecord {
        version: VersionId::default(),
        modified_ms: 0,
        size: 1,
        etag: ETag { md5: [0; 16], parts: None },
        checksum: None,
        owner: UserId::default(),
        attributes: Attributes::default(),
        body: record::Body::Inline(ManifestId::default()),
    };
    let bytes = match wanted {
        Wanted::Nothing => WantedBytes::Nothing,
        _ => WantedBytes::Inline { bytes: Bytes::from_static(b"x"), first: 0, last: 0, part: None },
    };
    ObjectAnswer { record, bytes }
}

/// Of bucket `a`, to whom the other one belongs as well, so that nothing but the address keeps them apart.
const OWNER: Credentials = Credentials { access_key: "KEYroot", secret_key: "secret of root" };

struct World {
    recorder: Recorder,
    address: SocketAddr,
}

async fn world() -> World {
    let fake = Fake::default();
    let root = fake.add_user("root", true);
    for bucket in ["aaa", "bbb"] {
        fake.add_bucket(bucket, root.id);
    }
    let recorder = Recorder { fake: fake.clone(), touched: Arc::default(), administered: Arc::default() };
    let client = Client::new(Arc::new(recorder.clone()), Arc::new(fake));
    let data = DataPath::new(client.clone(), DataSettings::default());
    let gateway = Gateway::new(client, data, Settings::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hooks =
        Hooks { ready: Arc::new(|| Box::pin(async { true })), metrics: None, limits: Limits::default(), tls: None };
    tokio::spawn(serve(listener, gateway, hooks, std::future::pending()));
    World { recorder, address }
}

/// What came of a request.
struct Seen {
    status: u16,
    touched: BTreeSet<Resource>,
    administered: bool,
}

impl Seen {
    /// What was touched; of a request that was denied, as one without a signature is, not what it takes to deny it.
    fn reached(&self) -> BTreeSet<Resource> {
        let by_judging = |(_, key): &&Resource| self.status == 403 && key.is_empty();
        self.touched.iter().filter(|resource| !by_judging(resource)).cloned().collect()
    }
}

impl World {
    /// Sends the lines of a head and a body, on a connection of its own.
    async fn send(&self, head: &str, body: &str) -> Seen {
        self.recorder.touched.lock().clear();
        *self.recorder.administered.lock() = false;
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("{head}\n{answer}"));
        let touched = self.recorder.touched.lock().clone();
        Seen { status, touched, administered: *self.recorder.administered.lock() }
    }
}

/// How a request says what it is.
struct Shape {
    method: Method,
    /// It is about the bucket alone.
    of_bucket: bool,
    query: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
}

fn built() -> impl Iterator<Item = Operation> {
    ROWS.iter().filter(|row| row.is_built()).map(|row| row.operation)
}

fn shape(operation: Operation) -> Shape {
    use Operation as O;
    const UPLOAD: &str = "uploadId=00000000000000000000000000000001";
    const PART: &str = "partNumber=1&uploadId=00000000000000000000000000000001";
    // Within the bucket that is asked for, so that the source is no other resource: `aaa` in all requests.
    const COPY: &[(&str, &str)] = &[("x-amz-copy-source", "aaa/source")];
    // It allows nothing that is not allowed anyway, whatever the bucket.
    const POLICY: &str = r#"{"Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::000000000000:root"},
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::aaa/*"}}"#;
    const ATTRIBUTES: &[(&str, &str)] = &[("x-amz-object-attributes", "ETag")];
    let (method, of_bucket, query, headers, body): (_, _, _, &[_], _) = match operation {
        O::ListBuckets => ("GET", true, "", &[], ""),
        O::CreateBucket => ("PUT", true, "", &[], ""),
        O::HeadBucket => ("HEAD", true, "", &[], ""),
        O::DeleteBucket => ("DELETE", true, "", &[], ""),
        O::GetBucketLocation => ("GET", true, "location", &[], ""),
        O::GetBucketVersioning => ("GET", true, "versioning", &[], ""),
        O::GetBucketAcl => ("GET", true, "acl", &[], ""),
        O::PutBucketAcl => ("PUT", true, "acl", &[("x-amz-acl", "private")], ""),
        O::GetBucketOwnershipControls => ("GET", true, "ownershipControls", &[], ""),
        O::PutBucketOwnershipControls => {
            let body = "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>";
            ("PUT", true, "ownershipControls", &[], body)
        }
        O::DeleteBucketOwnershipControls => ("DELETE", true, "ownershipControls", &[], ""),
        O::GetBucketPolicy => ("GET", true, "policy", &[], ""),
        O::PutBucketPolicy => ("PUT", true, "policy", &[], POLICY),
        O::DeleteBucketPolicy => ("DELETE", true, "policy", &[], ""),
        O::GetBucketPolicyStatus => ("GET", true, "policyStatus", &[], ""),
        O::GetPublicAccessBlock => ("GET", true, "publicAccessBlock", &[], ""),
        O::PutPublicAccessBlock => {
            ("PUT", true, "publicAccessBlock", &[], "<PublicAccessBlockConfiguration></PublicAccessBlockConfiguration>")
        }
        O::DeletePublicAccessBlock => ("DELETE", true, "publicAccessBlock", &[], ""),
        O::ListObjects => ("GET", true, "prefix=p", &[], ""),
        O::ListObjectsV2 => ("GET", true, "list-type=2", &[], ""),
        O::ListObjectVersions => ("GET", true, "versions", &[], ""),
        O::ListMultipartUploads => ("GET", true, "uploads", &[], ""),
        O::DeleteObjects => {
            let body = "<Delete><Object><Key>x</Key></Object><Object><Key>y</Key></Object></Delete>";
            ("POST", true, "delete", &[], body)
        }
        O::GetObject => ("GET", false, "response-content-type=text/plain", &[], ""),
        O::HeadObject => ("HEAD", false, "", &[], ""),
        O::PutObject => ("PUT", false, "", &[], "body"),
        O::CopyObject => ("PUT", false, "", COPY, ""),
        O::DeleteObject => ("DELETE", false, "", &[], ""),
        O::GetObjectAttributes => ("GET", false, "attributes", ATTRIBUTES, ""),
        O::GetObjectAcl => ("GET", false, "acl", &[], ""),
        O::PutObjectAcl => ("PUT", false, "acl", &[("x-amz-acl", "private")], ""),
        O::CreateMultipartUpload => ("POST", false, "uploads", &[], ""),
        O::UploadPart => ("PUT", false, PART, &[], "part"),
        O::UploadPartCopy => ("PUT", false, PART, COPY, ""),
        O::CompleteMultipartUpload => {
            let body = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>";
            ("POST", false, UPLOAD, &[], body)
        }
        O::AbortMultipartUpload => ("DELETE", false, UPLOAD, &[], ""),
        O::ListParts => ("GET", false, UPLOAD, &[], ""),
        other => panic!("{other:?} is built and has no shape"),
    };
    Shape { method: method.parse().unwrap(), of_bucket, query, headers, body }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Header,
    Presigned,
    /// Version 2, which does not sign the host, only the bucket in it.
    Header2,
    Presigned2,
}

const WAYS: [Way; 4] = [Way::Header, Way::Presigned, Way::Header2, Way::Presigned2];

/// A request that a client has signed: its target, and its headers but for `Host`.
struct Signed {
    path_and_query: String,
    lines: String,
}

fn sign(way: Way, shape: &Shape, host: &str, path: &str) -> Signed {
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_str(host).unwrap());
    for (name, value) in shape.headers {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    let unsigned = Unsigned { method: &shape.method, raw_path: path, raw_query: shape.query, headers: &headers };
    let rules = Rules::s3("us-east-1");
    let mut query = shape.query.to_owned();
    let added = match way {
        Way::Header => sign_headers(&unsigned, UNSIGNED_PAYLOAD, OWNER, &rules, now_ms()).unwrap(),
        Way::Presigned => {
            query = presign(&unsigned, OWNER, &rules, now_ms(), 60);
            Vec::new()
        }
        Way::Header2 => {
            let date = httpdate();
            let signature = sign2(shape, host, path, &date);
            let authorization = format!("AWS {}:{signature}", OWNER.access_key);
            vec![
                (header::DATE, HeaderValue::from_str(&date).unwrap()),
                (header::AUTHORIZATION, HeaderValue::from_str(&authorization).unwrap()),
            ]
        }
        Way::Presigned2 => {
            let expires = (now_ms() / 1000 + 60).to_string();
            let signature = uri_encode(&sign2(shape, host, path, &expires));
            let mark = if query.is_empty() { "" } else { "&" };
            let _ = write!(query, "{mark}AWSAccessKeyId={}&Expires={expires}&Signature={signature}", OWNER.access_key);
            Vec::new()
        }
    };
    headers.remove("host");
    headers.extend(added);
    let mut lines = String::new();
    for (name, value) in &headers {
        let _ = write!(lines, "{name}: {}\r\n", value.to_str().unwrap());
    }
    let _ = write!(lines, "content-length: {}\r\n", shape.body.len());
    let mark = if query.is_empty() { "" } else { "?" };
    Signed { path_and_query: format!("{path}{mark}{query}"), lines }
}

fn httpdate() -> String {
    time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc2822).unwrap()
}

/// What a client of version 2 signs, which knows its bucket: the path-style path, whatever the host.
fn sign2(shape: &Shape, host: &str, path: &str, date: &str) -> String {
    let bucket = host.split_once('.').map(|(bucket, _)| bucket.to_ascii_lowercase());
    let bucket =
        bucket.filter(|bucket| matches!(bucket.as_str(), "aaa" | "bbb")).map_or(String::new(), |b| format!("/{b}"));
    let mut amz: Vec<String> = shape.headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    amz.sort();
    let mut signed: Vec<&str> = shape.query.split('&').collect();
    signed.retain(|pair| !pair.is_empty() && !matches!(*pair, "prefix=p" | "list-type=2"));
    signed.sort_unstable();
    let mark = if signed.is_empty() { "" } else { "?" };
    let string = format!("{}\n\n\n{date}\n{}{bucket}{path}{mark}{}", shape.method, amz.concat(), signed.join("&"));
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(OWNER.secret_key.as_bytes()).unwrap();
    mac.update(string.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes())
}

/// Hosts with the bucket in the path.
const PATH_STYLE: &[&str] =
    &["127.0.0.1:9000", "127.0.0.1", "localhost:9000", "localhost", "LOCALHOST:9000", "localhost.:9000", "[::1]:9000"];

/// The hosts of a bucket.
fn virtual_hosts(bucket: &str) -> Vec<String> {
    let upper = bucket.to_ascii_uppercase();
    let hosts = [
        format!("{bucket}.localhost:9000"),
        format!("{bucket}.localhost"),
        format!("{upper}.LOCALHOST"),
        format!("{bucket}.localhost.:9000"),
    ];
    hosts.to_vec()
}

/// All honest addresses of a resource: host and raw path.
fn addresses(bucket: &str, key: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let escaped = key.replace('/', "%2F");
    let first_escaped = bucket.replacen('a', "%61", 1);
    for host in PATH_STYLE {
        found.push(((*host).to_owned(), format!("/{bucket}/{key}")));
        found.push(((*host).to_owned(), format!("/{first_escaped}/{key}")));
        found.push(((*host).to_owned(), format!("/{bucket}/{escaped}")));
    }
    for host in virtual_hosts(bucket) {
        found.push((host.clone(), format!("/{key}")));
        found.push((host, format!("/{escaped}")));
    }
    found
}

/// What a request about `bucket` and `key` may touch.
fn allowed(operation: Operation, bucket: &str, key: &str) -> BTreeSet<Resource> {
    let resource = |bucket: &str, key: &str| (bucket.to_owned(), key.to_owned());
    let mut allowed = BTreeSet::from([resource(bucket, ""), resource(bucket, key)]);
    if matches!(operation, Operation::CopyObject | Operation::UploadPartCopy) {
        allowed.extend([resource("aaa", ""), resource("aaa", "source")]);
    }
    allowed
}

#[tokio::test]
async fn every_operation_touches_what_it_is_asked_for_however_it_is_spelled() {
    let world = world().await;
    for operation in built().filter(|operation| *operation != Operation::ListBuckets) {
        let shape = shape(operation);
        let key = if shape.of_bucket { "" } else { "b/secret" };
        for (host, path) in addresses("aaa", key) {
            for way in WAYS {
                let Signed { path_and_query, lines } = sign(way, &shape, &host, &path);
                for authority in ["".to_owned(), format!("http://{host}"), format!("HTTP://{}", host.to_lowercase())] {
                    // What is neither signed nor ours to look at says nothing.
                    let noise = "x-forwarded-host: bbb.localhost\r\nforwarded: host=bbb.localhost\r\n\
                                 x-original-url: /bbb/k\r\nx-rewrite-url: /bbb/k\r\nx-host: bbb.localhost\r\n";
                    let line = format!("{} {authority}{path_and_query} HTTP/1.1\r\n", shape.method);
                    let seen = world.send(&format!("{line}host: {host}\r\n{lines}{noise}"), shape.body).await;
                    let what = format!("{operation:?} {way:?} {line} {host}: {} {:?}", seen.status, seen.touched);
                    let (bucket, key) = ("aaa".to_owned(), key.to_owned());
                    assert!(seen.touched.contains(&(bucket.clone(), key.clone())), "{what}");
                    assert!(seen.touched.is_subset(&allowed(operation, &bucket, &key)), "{what}");
                    assert!(!matches!(seen.status, 401 | 403), "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn no_second_host_moves_a_signature_to_another_resource() {
    let world = world().await;
    let mut others: Vec<String> = PATH_STYLE.iter().map(|host| (*host).to_owned()).collect();
    others.extend(["aaa", "bbb"].into_iter().flat_map(virtual_hosts));
    for operation in built() {
        let shape = shape(operation);
        // Each of them is another resource, or the admin API, with the bucket in the other place.
        for key in ["public", "bbb/secret", "_cairn/admin/v1/users"] {
            let key = if shape.of_bucket { "" } else { key };
            for (signed_host, path) in [("127.0.0.1:9000", format!("/aaa/{key}")), ("aaa.localhost", format!("/{key}"))]
            {
                for way in WAYS {
                    let Signed { path_and_query, lines } = sign(way, &shape, signed_host, &path);
                    for other in others.iter().filter(|other| !other.eq_ignore_ascii_case(signed_host)) {
                        let line =
                            |authority: &str| format!("{} {authority}{path_and_query} HTTP/1.1\r\n", shape.method);
                        let absolute = format!("http://{other}");
                        for head in [
                            format!("{}host: {signed_host}\r\n", line(&absolute)),
                            format!("{}host: {signed_host}\r\nhost: {other}\r\n", line("")),
                            format!("{}host: {other}\r\nhost: {signed_host}\r\n", line("")),
                            format!("{}host: {signed_host}\r\nhost: {other}\r\n", line(&absolute)),
                            line(&absolute),
                            line(""),
                            format!("{}host: {other}\r\n", line("")),
                            format!("{}host: {other}\r\n", line(&format!("http://{signed_host}"))),
                            format!("{}host: {signed_host},{other}\r\n", line("")),
                            format!("{}host: {signed_host}\r\n", line(&format!("http://{signed_host}@{other}"))),
                            line(&absolute).replace("HTTP/1.1", "HTTP/1.0"),
                            format!("{}host: {signed_host}\r\n", line(&absolute).replace("HTTP/1.1", "HTTP/1.0")),
                        ] {
                            let seen = world.send(&format!("{head}{lines}"), shape.body).await;
                            let what = format!("{operation:?} {way:?} {head}: {} {:?}", seen.status, seen.touched);
                            assert!(!seen.administered, "{what}");
                            if matches!(way, Way::Header | Way::Presigned) {
                                assert!(matches!(seen.status, 400 | 403) && seen.touched.is_empty(), "{what}");
                            } else if operation != Operation::ListBuckets {
                                // Another host may spell the same resource.
                                assert!(seen.touched.is_subset(&allowed(operation, "aaa", key)), "{what}");
                            }
                        }
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_moves_a_signature_to_another_resource() {
    let world = world().await;
    let shape = shape(Operation::GetObject);
    for (host, path) in [("127.0.0.1:9000", "/aaa/bbb/secret"), ("aaa.localhost", "/bbb/secret")] {
        for way in WAYS {
            let Signed { path_and_query, lines } = sign(way, &shape, host, path);
            let query = path_and_query.split_once('?').map_or("", |(_, query)| query);
            let mut touching = 0;
            for sent in [
                path.to_owned(),
                path.replace('/', "%2F").replacen("%2F", "/", 1),
                path.replacen("bbb/", "bbb%2f", 1),
                path.replacen('b', "%62", 1),
                format!("/{path}"),
                format!("//{path}"),
                format!("/.{path}"),
                format!("/x/..{path}"),
                format!("/%2E{path}"),
                format!("/{}", path.replace("/bbb", "/../bbb")),
                path.replace("/bbb", "/%2e%2e/bbb"),
                path.replace("/bbb", "//bbb"),
                path.replace("/bbb", "/%2Fbbb"),
                path.replace("/bbb", "\\bbb"),
                path.replace("secret", "secret%00"),
                path.replace("secret", "secret;x"),
                path.replace("bbb", "bbb%252F"),
                format!("{path}/"),
                format!("/bbb/secret#{path}"),
                "/bbb/secret".to_owned(),
                "/_cairn/admin/v1/users".to_owned(),
                "/%5Fcairn/admin/v1/users".to_owned(),
            ] {
                let head = format!("GET {sent}?{query} HTTP/1.1\r\nhost: {host}\r\n{lines}");
                let seen = world.send(&head, "").await;
                let what = format!("{way:?} {host} {sent}: {} {:?}", seen.status, seen.touched);
                assert!(seen.reached().is_subset(&allowed(Operation::GetObject, "aaa", "bbb/secret")), "{what}");
                assert!(!seen.administered, "{what}");
                touching += usize::from(!seen.touched.is_empty());
            }
            let spellings = if matches!(way, Way::Header | Way::Presigned) { 3 } else { 1 };
            assert!(touching >= spellings, "{way:?} {host}: {touching}");
        }
    }
}
