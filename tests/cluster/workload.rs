//! Clients that write, overwrite, delete, read and list a few keys the whole time, with conditions too, and try again as
//! SDKs do. Each attempt is an event of its own: one that nobody heard the end of may take effect at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;

use super::history::{Action, Event, History, Outcome};
use super::{CHUNK, linearizable};
use crate::harness::{S3, body};

pub const BUCKET: &str = "busy";
pub const KEYS: usize = 6;
const CLIENTS: u64 = 4;
const ATTEMPTS: u32 = 6;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// After so long an attempt is given up.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(12);
/// For reads after all faults.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that failed however often it was tried, and when.
#[derive(Clone)]
pub struct Failure {
    pub at: Duration,
    why: String,
}

impl std::fmt::Debug for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "after {:?}: {}", self.at, self.why)
    }
}

/// Unique among all workloads, so that what is late from one is not taken for a value of the next.
static NEXT_VALUE: AtomicU64 = AtomicU64::new(1);

pub struct Workload {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    s3: S3,
    history: History,
    stop: AtomicBool,
    done: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

/// One answer: the status, the ETag and the body; `Err` where there was none.
type Answer = Result<(StatusCode, Option<String>, Vec<u8>), String>;

impl Workload {
    pub async fn start(s3: S3, seed: u64) -> Self {
        s3.create_bucket(BUCKET).await;
        Self::go_on(s3, seed, [0; KEYS])
    }

    /// Goes on where another had come to an end with these values.
    pub fn go_on(s3: S3, seed: u64, values: [u64; KEYS]) -> Self {
        let shared = Arc::new(Shared {
            s3,
            history: History::new(KEYS),
            stop: AtomicBool::new(false),
            done: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        for (key, value) in values.into_iter().enumerate().filter(|(_, value)| *value != 0) {
            shared.note(key, Duration::ZERO, Action::Write(value), Outcome::Done);
        }
        let clients = (0..CLIENTS).map(|client| {
            let (shared, random) = (shared.clone(), StdRng::seed_from_u64(seed * CLIENTS + client));
            tokio::spawn(run(shared, random))
        });
        Self { clients: clients.collect(), shared }
    }

    pub fn now(&self) -> Duration {
        self.shared.history.now()
    }

    /// How many requests had an answer so far.
    pub fn done(&self) -> u64 {
        self.shared.done.load(Ordering::Relaxed)
    }

    /// The requests that failed since.
    pub fn failures_since(&self, since: Duration) -> Vec<Failure> {
        self.shared.failures.lock().iter().filter(|failure| failure.at >= since).cloned().collect()
    }

    /// Stops the clients, reads every key once more, and fails where the history cannot be explained.
    pub async fn finish(self) -> u64 {
        let shared = self.shared.clone();
        self.end().await;
        shared.done.load(Ordering::Relaxed)
    }

    /// The same; the values that are there in the end.
    pub async fn end(self) -> [u64; KEYS] {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("a client ends well");
        }
        let mut values = [0; KEYS];
        for (key, value) in values.iter_mut().enumerate() {
            let found = in_the_end(async || self.shared.read(key).await).await;
            *value = found.map_or(0, |(value, _)| value);
        }
        in_the_end(async || self.shared.list().await).await;
        for (key, events) in self.shared.history.keys().iter().enumerate() {
            if let Err(explained) = linearizable::check(events) {
                let mut events = events.clone();
                events.sort_by_key(|event| event.called);
                let lines: Vec<String> = events.iter().map(|event| format!("{event:?}")).collect();
                panic!("of key {key} only {explained} events can be explained:\n{}", lines.join("\n"));
            }
        }
        values
    }
}

/// What is read after all faults. A lead may change yet.
pub async fn in_the_end<T>(mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(why) => assert!(Instant::now() < deadline, "there is an answer in the end: {why}"),
        }
        tokio::time::sleep(FIRST_BACKOFF).await;
    }
}

async fn run(shared: Arc<Shared>, mut random: StdRng) {
    while !shared.stop.load(Ordering::Relaxed) {
        let (key, kind) = (random.random_range(0..KEYS), random.random_range(0..100));
        let mut backoff = FIRST_BACKOFF;
        let mut failure = None;
        for _ in 0..ATTEMPTS {
            let done = match kind {
                0..30 => shared.read(key).await.map(drop),
                30..35 => shared.list().await,
                35..60 => shared.change(key, Action::Write(shared.value()), None).await,
                60..70 => shared.change(key, Action::Create(shared.value()), None).await,
                70..90 => shared.replace(key).await,
                _ => shared.change(key, Action::Delete, None).await,
            };
            match done {
                Ok(()) => {
                    failure = None;
                    break;
                }
                Err(why) => failure = Some(why),
            }
            tokio::time::sleep(backoff).await;
            backoff *= 2;
        }
        match failure {
            Some(why) => shared.failures.lock().push(Failure { at: shared.history.now(), why }),
            None => drop(shared.done.fetch_add(1, Ordering::Relaxed)),
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
    }
}

/// Those of odd values fit into the metadata, the others take chunks.
fn length(value: u64) -> usize {
    if value % 2 == 1 { 1000 } else { 100_000 }
}

/// How many chunks the objects of these values have.
pub fn chunks(values: &[u64]) -> usize {
    let in_chunks = values.iter().filter(|value| **value != 0 && **value % 2 == 0);
    in_chunks.map(|value| length(*value).div_ceil(CHUNK)).sum()
}

fn bytes(value: u64) -> Vec<u8> {
    let mut bytes = body(value, length(value));
    bytes[..8].copy_from_slice(&value.to_le_bytes());
    bytes
}

/// The value of these bytes. Fails where they are not those of any value: torn, or wrong.
fn value_of(read: &[u8]) -> u64 {
    let value = u64::from_le_bytes(read[..8].try_into().expect("8 bytes"));
    assert!(read == bytes(value), "the bytes read are not those of value {value}");
    value
}

impl Shared {
    fn value(&self) -> u64 {
        NEXT_VALUE.fetch_add(1, Ordering::Relaxed)
    }

    async fn send(&self, method: &str, path: &str, query: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let attempt = async {
            let answer = self.s3.send_with(method, path, query, headers, body).await?;
            let status = answer.status();
            let etag = answer.headers().get("etag").and_then(|etag| Some(etag.to_str().ok()?.to_owned()));
            Ok::<_, reqwest::Error>((status, etag, answer.bytes().await?.to_vec()))
        };
        match tokio::time::timeout(ATTEMPT_TIMEOUT, attempt).await {
            Ok(Ok(answer)) if answer.0.is_server_error() => Err(format!("{method} {path}: {}", answer.0)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(format!("{method} {path}: {error}")),
            Err(_) => Err(format!("{method} {path}: no answer within {ATTEMPT_TIMEOUT:?}")),
        }
    }

    fn note(&self, key: usize, called: Duration, action: Action, outcome: Outcome) {
        self.history.note(key, Event { action, outcome, called, returned: self.history.now() });
    }

    /// The value and its ETag.
    async fn read(&self, key: usize) -> Result<Option<(u64, String)>, String> {
        let called = self.history.now();
        let (status, etag, read) = self.send("GET", &format!("/{BUCKET}/key{key}"), "", &[], Vec::new()).await?;
        let found = match status {
            StatusCode::OK => Some((value_of(&read), etag.expect("an ETag"))),
            StatusCode::NOT_FOUND => None,
            other => panic!("a read was answered {other}: {}", String::from_utf8_lossy(&read)),
        };
        let seen = found.as_ref().map_or(0, |(value, _)| *value);
        self.note(key, called, Action::Read, Outcome::Saw(seen));
        Ok(found)
    }

    async fn replace(&self, key: usize) -> Result<(), String> {
        match self.read(key).await? {
            Some((value, etag)) => self.change(key, Action::Replace(value, self.value()), Some(etag)).await,
            None => Ok(()),
        }
    }

    async fn change(&self, key: usize, action: Action, etag: Option<String>) -> Result<(), String> {
        let path = format!("/{BUCKET}/key{key}");
        let condition = etag.as_deref().map(|etag| ("if-match", etag));
        let (method, headers, body) = match action {
            Action::Write(value) => ("PUT", Vec::new(), bytes(value)),
            Action::Create(value) => ("PUT", vec![("if-none-match", "*")], bytes(value)),
            Action::Replace(_, value) => ("PUT", condition.into_iter().collect(), bytes(value)),
            Action::Delete | Action::Read => ("DELETE", Vec::new(), Vec::new()),
        };
        let called = self.history.now();
        let answer = self.send(method, &path, "", &headers, body).await;
        let conditional = matches!(action, Action::Create(_) | Action::Replace(..));
        let outcome = match &answer {
            Ok((status, ..)) if status.is_success() => Outcome::Done,
            Ok((StatusCode::PRECONDITION_FAILED | StatusCode::NOT_FOUND, ..)) if conditional => Outcome::Refused,
            Ok((status, _, text)) => panic!("{action:?} was answered {status}: {}", String::from_utf8_lossy(text)),
            Err(_) => Outcome::Unknown,
        };
        self.note(key, called, action, outcome);
        answer.map(drop)
    }

    /// A list is a read of every key at once.
    async fn list(&self) -> Result<(), String> {
        let called = self.history.now();
        let (status, _, text) = self.send("GET", &format!("/{BUCKET}"), "list-type=2", &[], Vec::new()).await?;
        let text = String::from_utf8_lossy(&text);
        assert_eq!(status, StatusCode::OK, "{text}");
        for key in 0..KEYS {
            let is_there = text.contains(&format!("<Key>key{key}</Key>"));
            self.note(key, called, Action::Read, if is_there { Outcome::SawSome } else { Outcome::Saw(0) });
        }
        Ok(())
    }
}
