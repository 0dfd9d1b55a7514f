//! Disks that can lose power: for a while each node's is on a volume that drops what was not synced.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use rand::rngs::StdRng;

use super::Cluster;
use crate::powercut::mount::Mounted;
use crate::powercut::volume::{PAGE, ROOT, Volume};

const PIECE: u64 = 1 << 20;

/// The volumes of all nodes, each over its node's directory.
pub struct Power(Vec<Mounted>);

impl Power {
    /// Moves the disks of all nodes, which do not run. `None` where nothing may be mounted.
    pub fn give(cluster: &Cluster) -> Option<Self> {
        let mounted = cluster.nodes.iter().map(|node| {
            let mut volume = Volume::default();
            load(&mut volume, ROOT, &node.directory);
            Mounted::mount(volume, &node.directory)
        });
        mounted.collect::<Option<_>>().map(Self)
    }

    /// The power of these nodes is cut, and comes back. They run when it goes, and do not after that.
    pub fn cut(&mut self, cluster: &mut Cluster, nodes: &[usize], random: &mut StdRng) {
        let left: Vec<Volume> = nodes.iter().map(|node| self.0[*node].cut(random)).collect();
        for (node, left) in nodes.iter().zip(left) {
            cluster.kill(*node);
            self.0[*node].mount_instead(left);
        }
    }

    /// Moves the disks back. The nodes do not run.
    pub fn take(self, cluster: &Cluster) {
        for (node, mounted) in cluster.nodes.iter().zip(self.0) {
            let volume = mounted.unmount();
            let disk = node.directory.join("disk");
            fs::remove_dir_all(&disk).expect("the disk of before goes");
            store(&volume, ROOT, &node.directory);
        }
    }
}

/// Whether volumes can be mounted here.
pub fn is_possible() -> bool {
    let directory = tempfile::tempdir().expect("a temporary directory");
    Mounted::mount(Volume::default(), directory.path()).is_some_and(|mounted| {
        mounted.unmount();
        true
    })
}

/// Copies what is below `from`, holes as holes. All of it is synced.
fn load(volume: &mut Volume, inode: u64, from: &Path) {
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let (name, metadata) = (entry.file_name(), entry.metadata().expect("what it is"));
        if name == "lost+found" {
            continue;
        }
        let mode = u16::try_from(metadata.permissions().mode() & 0o7777).expect("twelve bits");
        let inner = volume.create(inode, &name, mode, metadata.is_dir()).expect("it is made");
        if metadata.is_dir() {
            load(volume, inner, &entry.path());
            continue;
        }
        let file = File::open(entry.path()).expect("a file");
        for at in pieces(metadata.len()) {
            let mut bytes = vec![0; usize::try_from(at.end - at.start).expect("a piece")];
            file.read_exact_at(&mut bytes, at.start).expect("it is read");
            written_pages(&bytes, at.start, |page, at| volume.write(inner, at, page).expect("it is written"));
        }
        volume.allocate(inner, metadata.len()).expect("it has its length");
        volume.sync_file(inner).expect("it is synced");
    }
    volume.sync_directory(inode).expect("it is synced");
}

/// Copies what is in a directory of the volume, holes as holes.
fn store(volume: &Volume, inode: u64, to: &Path) {
    for (name, inner) in volume.entries(inode).expect("a directory") {
        let (to, attributes) = (to.join(name), volume.attributes(inner).expect("what it is"));
        if attributes.is_directory {
            fs::create_dir(&to).expect("it is made");
            store(volume, inner, &to);
        } else {
            let file = File::create_new(&to).expect("it is made");
            for at in pieces(attributes.len) {
                let bytes = volume.read(inner, at.start, at.end - at.start).expect("it is read");
                written_pages(&bytes, at.start, |page, at| file.write_all_at(page, at).expect("it is written"));
            }
            file.set_len(attributes.len).expect("it has its length");
        }
        fs::set_permissions(&to, fs::Permissions::from_mode(attributes.mode.into())).expect("it has its mode");
    }
}

/// A file in pieces that fit into memory.
fn pieces(len: u64) -> impl Iterator<Item = Range<u64>> {
    (0..len).step_by(PIECE as usize).map(move |start| start..len.min(start + PIECE))
}

/// The pages of what was read at `start` that are no holes, and where each is.
fn written_pages(bytes: &[u8], start: u64, mut with: impl FnMut(&[u8], u64)) {
    for (page, at) in bytes.chunks(PAGE as usize).zip((start..).step_by(PAGE as usize)) {
        if page.iter().any(|byte| *byte != 0) {
            with(page, at);
        }
    }
}
