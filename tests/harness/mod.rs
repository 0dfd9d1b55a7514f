//! Starts, kills and restarts real `cairn` processes in a temporary directory, and talks S3 to them.

pub mod s3;

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cairn_storage::client::remote::plain;
use rand::Rng;
use rand::rngs::StdRng;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub use s3::S3;

pub const ROOT_ACCESS_KEY: &str = "ROOTROOTROOTROOTROOT";
pub const ROOT_SECRET_KEY: &str = "a-secret-of-the-tests-that-is-long-enough";
const CLUSTER_SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A `cairn server` over some directories. Killed when it is dropped.
pub struct Server {
    directory: TempDir,
    disks: Vec<PathBuf>,
    arguments: Vec<String>,
    s3_port: u16,
    rpc_port: u16,
    child: Option<Child>,
}

/// A port that nobody listens on. Each is given once, and none that the system might give to a connection meanwhile.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id().wrapping_mul(977);
    loop {
        let number = own.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = FIRST + u16::try_from(number).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A client for servers of this machine.
pub fn http() -> reqwest::Client {
    plain().build().expect("a client")
}

/// Whether somebody answers at the URL, and with success.
pub async fn is_well(url: &str) -> bool {
    http().get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}

impl Server {
    /// Starts a server over `disks` new directories and waits until it is ready.
    pub async fn start(disks: usize, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let disks = (1..=disks).map(|number| directory.path().join(format!("disk{number}"))).collect();
        Self::start_on(directory, disks, arguments).await
    }

    /// The same over given directories.
    pub async fn start_on(directory: TempDir, disks: Vec<PathBuf>, arguments: &[&str]) -> Self {
        let mut server = Self {
            directory,
            disks,
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            s3_port: free_port(),
            rpc_port: free_port(),
            child: None,
        };
        server.restart().await;
        server
    }

    /// Starts the process (again) and waits until it is ready.
    pub async fn restart(&mut self) {
        self.spawn();
        self.wait_until_ready(Duration::from_secs(30)).await;
    }

    /// Starts the process and does not wait.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the server runs already");
        let mut command = self.command();
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a log file");
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.child = Some(command.spawn().expect("the binary starts"));
    }

    /// The command line of this server, not started.
    pub fn command(&self) -> Command {
        let mut command = cairn();
        command
            .arg("server")
            .args(&self.disks)
            .args(["--listen", &format!("127.0.0.1:{}", self.s3_port)])
            .args(["--rpc", &format!("127.0.0.1:{}", self.rpc_port)])
            .args(&self.arguments);
        command
    }

    pub async fn wait_until_ready(&mut self, within: Duration) {
        let url = format!("{}/_cairn/health/ready", self.url());
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().expect("a child")) {
                panic!("the server ended with {status}:\n{}", self.log_tail());
            }
            if is_well(&url).await {
                return;
            }
            assert!(Instant::now() < deadline, "not ready within {within:?}:\n{}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ended");
    }

    /// SIGTERM, and its end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.tell(Signal::TERM);
        self.ended().await
    }

    pub fn tell(&self, signal: Signal) {
        kill_process(pid(self.child.as_ref().expect("the server runs")), signal).expect("it can be told");
    }

    /// Waits until the process has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the server runs");
        tokio::task::spawn_blocking(move || child.wait().expect("it ended")).await.expect("the wait is done")
    }

    pub fn s3(&self) -> S3 {
        S3::new(self.url(), ROOT_ACCESS_KEY, ROOT_SECRET_KEY)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.s3_port)
    }

    pub fn disks(&self) -> &[PathBuf] {
        &self.disks
    }

    /// The next start is without the last directory.
    pub fn leave_out_last_disk(&mut self) {
        self.disks.pop();
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Resident memory of the process, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let id = self.child.as_ref().expect("the server runs").id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the process is there");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its resident size");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
        kib * 1024
    }

    /// All metrics, in Prometheus' text format.
    pub async fn metrics(&self) -> String {
        let answer = self.s3().send("GET", "/_cairn/metrics", "", Vec::new()).await.expect("the metrics answer");
        answer.text().await.expect("text")
    }

    /// The sum of a metric over all its labels that contain `label`; 0 where it is not there.
    pub async fn metric(&self, name: &str, label: &str) -> f64 {
        self.metrics()
            .await
            .lines()
            .filter(|line| line.split(['{', ' ']).next() == Some(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    pub fn log_tail(&self) -> String {
        let text = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(6000)..]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the server's last words:\n{}", self.log_tail());
        }
    }
}

/// The binary under test, with the credentials of the tests and nothing else of this environment's settings.
pub fn cairn() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CAIRN_")) {
        command.env_remove(name);
    }
    command
        .env("CAIRN_ROOT_ACCESS_KEY", ROOT_ACCESS_KEY)
        .env("CAIRN_ROOT_SECRET_KEY", ROOT_SECRET_KEY)
        .env("CAIRN_CLUSTER_SECRET", CLUSTER_SECRET)
        .env("CAIRN_RESERVE", "16MiB")
        .stdin(Stdio::null());
    command
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Waits until `done` says so; fails with `what` after `within`.
pub async fn eventually<F: Future<Output = bool>>(what: &str, within: Duration, mut done: impl FnMut() -> F) {
    let deadline = Instant::now() + within;
    while !done().await {
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Bytes that depend on the seed and repeat no block.
pub fn body(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// The segment files of a disk.
pub fn segments(disk: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(disk.join("chunks"))
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| {
            entry.file_type().is_file() && entry.path().parent().is_some_and(|dir| dir.ends_with("segments"))
        })
        .map(walkdir::DirEntry::into_path)
        .collect()
}

/// Flips one byte where `needle` stands in a segment of the disk. Whether it was found.
pub fn flip_byte(disk: &Path, needle: &[u8]) -> bool {
    for path in segments(disk) {
        let bytes = fs::read(&path).expect("a segment can be read");
        if let Some(at) = bytes.windows(needle.len()).position(|window| window == needle) {
            let file = File::options().write(true).open(&path).expect("a segment can be written");
            file.write_all_at(&[!bytes[at]], at as u64).expect("a byte is written");
            return true;
        }
    }
    false
}

/// Flips a byte of what is written in the segments of the disk, wherever `random` leads; there may be nothing yet.
pub fn flip_any_byte(disk: &Path, random: &mut StdRng) {
    let mut segments = segments(disk);
    segments.sort();
    let Some(path) = segments.get(random.random_range(0..segments.len().max(1))) else { return };
    let bytes = fs::read(path).expect("a segment can be read");
    let written = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
    let at = random.random_range(0..=written);
    let file = File::options().write(true).open(path).expect("a segment can be written");
    file.write_all_at(&[!bytes[at]], at as u64).expect("a byte is written");
}

/// A file system of its own, so that it can be filled. Unmounted when it is dropped.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// A tmpfs; `None` where that may not be mounted.
    pub fn mount(at: PathBuf, mebibytes: u32) -> Option<Self> {
        fs::create_dir_all(&at).expect("a mount point");
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A file system in a file, which can be frozen. Unmounted when it is dropped.
pub struct LoopDisk {
    pub path: PathBuf,
}

impl LoopDisk {
    /// An ext4; `None` where that may not be mounted.
    pub fn mount(directory: &TempDir, name: &str, mebibytes: u64) -> Option<Self> {
        let image = directory.path().join(format!("{name}.ext4"));
        File::create(&image).and_then(|file| file.set_len(mebibytes << 20)).expect("an image");
        let path = directory.path().join(name);
        fs::create_dir_all(&path).expect("a mount point");
        let works = |command: &mut Command| command.status().is_ok_and(|status| status.success());
        let is_mounted = works(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))
            && works(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&path));
        is_mounted.then_some(Self { path })
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}
