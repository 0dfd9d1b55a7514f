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

/// Makes the disks that are left a majority of their own, once what is lost was shown and agreed to.
///
/// # Errors
/// A directory is in use or not a disk of Cairn, it was not agreed, or there is nothing to recover.
pub async fn recover(directories: &[PathBuf], yes: bool) -> Result<()> {
    println!(
        "This makes the {} given director{} the whole of the metadata, for good. What only a lost disk held is lost;\n\
         of two disks each holds every commit. A lost disk that comes back later is refused.",
        directories.len(),
        if directories.len() == 1 { "y" } else { "ies" }
    );
    if !yes {
        ensure!(std::io::stdin().is_terminal(), "nobody is there to ask; say --yes");
        print!("Go on? Type yes: ");
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        ensure!(answer.trim() == "yes", "nothing was changed");
    }
    anyhow::bail!("not built yet")
}
