//! Power cuts below the whole process, its chunk stores and its RocksDBs: what was not synced is lost, page by page and
//! name by name, and nothing that was acknowledged is.

pub mod mount;
pub mod volume;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::mount::Mounted;
use self::volume::Volume;
use crate::crash::{Journal, WRITERS, verify, verify_list, write_until_cut_off};
use crate::harness::Server;

/// Rounds of the suite; `CAIRN_POWER_CUTS` asks for more.
fn rounds() -> u64 {
    std::env::var("CAIRN_POWER_CUTS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}

/// `CAIRN_POWER_CUT_SEED` repeats a run.
fn seed() -> u64 {
    std::env::var("CAIRN_POWER_CUT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(11)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let mut random = StdRng::seed_from_u64(seed());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = directory.path().join("power");
    let disks: Vec<_> = (1..=3).map(|number| at.join(format!("disk{number}"))).collect();
    let Some(mut mounted) = Mounted::mount(Volume::default(), &at) else {
        eprintln!("skipped: file systems cannot be mounted here");
        return;
    };
    let mut server = Server::start_on(directory, disks, &["--gc-grace", "20s", "--chunk-size", "1MiB"]).await;
    server.s3().create_bucket("crash").await;
    let mut journals: Vec<Journal> = vec![Journal::new(); WRITERS as usize];
    for round in 0..rounds() {
        let writers = journals.into_iter().enumerate().map(|(writer, journal)| {
            let seed = random.random();
            tokio::spawn(write_until_cut_off(server.s3(), seed, writer as u64, journal))
        });
        let writers: Vec<_> = writers.collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(100..3_000))).await;
        let left = mounted.cut(&mut random);
        server.kill();
        journals = Vec::new();
        for writer in writers {
            journals.push(writer.await.expect("the writer ends when the server does"));
        }
        mounted.mount_instead(left);
        server.restart().await;
        for journal in &mut journals {
            verify(&server.s3(), journal, round).await;
        }
        verify_list(&server.s3(), &journals, round).await;
    }
    server.kill();
    mounted.unmount();
}
