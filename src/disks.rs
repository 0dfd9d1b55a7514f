//! The commands that work on data directories while no server does.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// Makes the chunk index of a disk anew from its segments.
///
/// # Errors
/// The directory is in use, is not a disk of Cairn, or cannot be read or written.
pub fn rebuild_index(directory: &Path) -> Result<()> {
    let report = cairn_storage::node::rebuild_index(directory)?;
    println!(
        "{}: {} chunks of {} bytes found in {} segments; {} torn records stepped over",
        directory.display(),
        report.records,
        report.bytes,
        report.segments,
        report.torn
    );
    for segment in &report.unreadable_segments {
        println!("segment {segment} cannot be read: its header is lost, and its chunks with it");
    }
    Ok(())
}

/// Makes the one disk that is left of two go on alone, once what it means was shown and agreed to.
///
/// # Errors
/// A directory is in use or not a disk of Cairn, it was not agreed, or it is not needed or not safe.
pub async fn recover(directories: Vec<PathBuf>, yes: bool) -> Result<()> {
    println!(
        "This makes the disk that is left go on alone, for good, with one copy of everything. Nothing that was\n\
         acknowledged is lost, since each of two disks holds all of it. The other disk is refused if it comes back."
    );
    if !yes {
        ensure!(std::io::stdin().is_terminal(), "nobody is there to ask; say --yes");
        print!("Go on? Type yes: ");
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        ensure!(answer.trim() == "yes", "nothing was changed");
    }
    let done = cairn_storage::node::recover(directories).await?;
    println!(
        "Disk {} goes on alone; disk {} is left out. Start the server with its directory only.",
        done.disk, done.lost
    );
    Ok(())
}
