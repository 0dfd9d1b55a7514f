//! The commands that work on data directories while no server does.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use cairn_storage::node::{Plan, Recovering};

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

/// Has the metadata groups that lost a majority of their voters go on with those that are left in the directories, once
/// what it means was shown and agreed to.
///
/// # Errors
/// A directory is in use or not a disk of Cairn, it was not agreed, or it is not needed or not safe.
pub async fn recover(directories: Vec<PathBuf>, yes: bool) -> Result<()> {
    let recovering = Recovering::plan(directories).await?;
    explain(recovering.what());
    if let Err(error) = agreed(yes) {
        recovering.close().await;
        return Err(error);
    }
    recovering.go().await?;
    println!(
        "Done. Start the node with these directories; empty directories and new nodes may join it then. When it is up,\n\
         `cairn fsck` finds the chunks whose copies were all on what is lost, and names their objects."
    );
    Ok(())
}

fn explain(plan: &Plan) {
    println!("A majority of the voters of these metadata groups is lost; one voter of each goes on alone:");
    let mut may_lack = false;
    for alone in &plan.alone {
        may_lack |= alone.voters > 2;
        println!("  group {} on disk {}, of {} voters", alone.group, alone.disk, alone.voters);
    }
    println!("Left out of the cluster for good:");
    for node in &plan.lost_nodes {
        println!("  node {} at {}, with all its disks", node.id, node.address);
    }
    for sibling in &plan.left_out {
        println!("  disk {}, last at {}", sibling.disk, sibling.path.display());
    }
    println!("What this loses:");
    if may_lack {
        println!(
            "  - of the groups with more than two voters what was acknowledged last, as far as only the lost voters had\n    \
             heard of it: usually what was written in the moments before they were lost;"
        );
    } else {
        println!("  - no metadata: each of two voters has heard of all that was acknowledged;");
    }
    println!(
        "  - the chunks whose copies were all on what is left out.\n\
         What is left out must never run again with its directories as they are: it would take itself for the cluster."
    );
}

fn agreed(yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    ensure!(std::io::stdin().is_terminal(), "nobody is there to ask; say --yes");
    print!("Go on? Type yes: ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    ensure!(answer.trim() == "yes", "nothing was changed");
    Ok(())
}
