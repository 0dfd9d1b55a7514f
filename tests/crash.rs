//! Writers that keep a journal of what was acknowledged, and a server that is killed again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::{S3, Server, body};

/// What a key may hold: what was acknowledged last and, where a later write was cut off, what that one wrote.
#[derive(Debug, Clone, Default)]
pub struct Known {
    acknowledged: Option<Written>,
    unknown: Option<Option<Written>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    seed: u64,
    length: usize,
}

pub type Journal = BTreeMap<String, Known>;

pub const WRITERS: u64 = 4;
const KEYS_PER_WRITER: u64 = 40;

/// Rounds of the suite; `CAIRN_CRASH_ROUNDS` asks for more.
fn rounds() -> u64 {
    std::env::var("CAIRN_CRASH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(50)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_nothing_acknowledged_is_lost() {
    let mut random = StdRng::seed_from_u64(7);
    let mut server = Server::start(3, &["--gc-grace", "20s", "--chunk-size", "1MiB"]).await;
    server.s3().create_bucket("crash").await;
    let mut journals: Vec<Journal> = vec![Journal::new(); WRITERS as usize];

    for round in 0..rounds() {
        let writers: Vec<_> = journals
            .into_iter()
            .enumerate()
            .map(|(writer, journal)| {
                tokio::spawn(write_until_cut_off(server.s3(), round * WRITERS + writer as u64, writer as u64, journal))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(20..700))).await;
        server.kill();
        journals = Vec::new();
        for writer in writers {
            journals.push(writer.await.expect("the writer ends when the server does"));
        }
        server.restart().await;
        for journal in &mut journals {
            verify(&server.s3(), journal, round).await;
        }
        verify_list(&server.s3(), &journals, round).await;
    }
}

pub async fn write_until_cut_off(s3: S3, seed: u64, writer: u64, mut journal: Journal) -> Journal {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        let key = format!("w{writer}/{:03}", random.random_range(0..KEYS_PER_WRITER));
        let known = journal.entry(key.clone()).or_default();
        let written = (random.random_range(0..10) > 0).then(|| Written {
            seed: random.random(),
            length: match random.random_range(0..20) {
                0 => random.random_range(1 << 20..4 << 20),
                1..5 => random.random_range(16 << 10..300 << 10),
                _ => random.random_range(0..16 << 10),
            },
        });
        let answered = match written {
            Some(Written { seed, length }) => s3.try_put("crash", &key, body(seed, length)).await,
            None => s3.try_delete("crash", &key).await,
        };
        match answered {
            Ok(status) if status.is_success() => known.acknowledged = written,
            Ok(status) if status.is_server_error() => {
                known.unknown = Some(written);
                return journal;
            }
            Ok(status) => panic!("{key}: {status}"),
            Err(_) => {
                known.unknown = Some(written);
                return journal;
            }
        }
    }
}

/// Reads every key of the journal and takes what it holds as acknowledged from now on.
pub async fn verify(s3: &S3, journal: &mut Journal, round: u64) {
    for (key, known) in journal.iter_mut() {
        let found = s3.get("crash", key).await;
        let holds = |written: &Option<Written>| match (written, &found) {
            (None, None) => true,
            (Some(written), Some(bytes)) => *bytes == body(written.seed, written.length),
            _ => false,
        };
        if !holds(&known.acknowledged) {
            let unknown = known.unknown.filter(|unknown| holds(unknown));
            let Some(written) = unknown else {
                panic!("round {round}: {key} holds {:?} bytes, known is {known:?}", found.map(|bytes| bytes.len()));
            };
            known.acknowledged = written;
        }
        known.unknown = None;
    }
}

pub async fn verify_list(s3: &S3, journals: &[Journal], round: u64) {
    let expected: Vec<&String> =
        journals.iter().flatten().filter(|(_, known)| known.acknowledged.is_some()).map(|(key, _)| key).collect();
    let listed = s3.list("crash").await;
    assert_eq!(listed.iter().collect::<Vec<_>>(), expected, "round {round}: the list");
}
