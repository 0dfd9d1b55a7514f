//! A process ends when it is told to, whatever it waits for.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Server, cairn, eventually, free_port};

const WAIT: Duration = Duration::from_secs(40);

/// A process, and what it says. Killed when it is dropped.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(mut command: Command, directory: &Path) -> Self {
        let log = directory.join("log");
        let file = File::create(&log).expect("a log file");
        let child = command.stdout(file.try_clone().expect("a second handle")).stderr(file).spawn();
        Self { child: child.expect("it starts"), log }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("its log")
    }

    async fn says(&self, words: &str) {
        eventually(words, WAIT, || async { self.said().contains(words) }).await;
    }

    fn tell(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is told");
    }

    async fn ends(&mut self) -> ExitStatus {
        for _ in 0..2_000 {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it goes on:\n{}", self.said());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// A role that waits for nodes that are not there.
fn waiting(role: &str, directory: &Path, arguments: &[&str]) -> Command {
    let mut command = cairn();
    command.arg(role);
    if role != "gateway" {
        command.arg(directory.join("disk")).args(["--rpc", &address()]);
    }
    if role != "storage" {
        command.args(["--listen", &address()]);
    }
    command.args(["--join", &address()]).args(arguments);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_others_ends_when_told_to() {
    let nobody = "no node of a cluster answers yet";
    for (role, arguments, words, signal) in [
        ("server", &[][..], nobody, Signal::TERM),
        ("storage", &["--bootstrap-expect", "3"], nobody, Signal::INT),
        ("gateway", &[], "no node answers yet", Signal::TERM),
    ] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut running = Running::start(waiting(role, directory.path(), arguments), directory.path());
        running.says(words).await;
        running.tell(signal);
        let status = running.ends().await;
        assert!(status.success(), "{role}: {status}\n{}", running.said());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_leaders_ends_when_told_to() {
    let mut server = Server::start(2, &[]).await;
    server.kill();
    fs::remove_dir_all(&server.disks()[1]).expect("the disk is lost");
    // While it looks for leaders, and when it has given that up.
    for words in ["a disk is missing", "the metadata groups have no leader"] {
        let mut running = Running::start(server.command(), server.path());
        running.says(words).await;
        running.tell(Signal::TERM);
        let status = running.ends().await;
        assert!(status.success(), "{status}\n{}", running.said());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_twice_ends_at_once() {
    let mut server = Server::start(1, &[]).await;
    server.s3().create_bucket("end").await;
    // An upload in flight is waited for.
    let mut upload = TcpStream::connect(server.url().trim_start_matches("http://")).await.expect("it connects");
    let head = server.s3().unsigned_payload_head("PUT", "/end/key", 8 << 20);
    let head = head.replacen("\r\n", "\r\nexpect: 100-continue\r\n", 1);
    upload.write_all(head.as_bytes()).await.expect("the head is taken");
    // From now on it is in flight, not only on its way.
    let mut asked = [0; 25];
    upload.read_exact(&mut asked).await.expect("the body is asked for");
    assert_eq!(asked, *b"HTTP/1.1 100 Continue\r\n\r\n");
    upload.write_all(&[0; 1 << 20]).await.expect("a part of the body is taken");
    server.tell(Signal::TERM);
    eventually("it is told", WAIT, || async { server.log_tail().contains("told to end") }).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    upload.write_all(&[0; 1 << 20]).await.expect("what is in flight goes on");
    server.tell(Signal::TERM);
    assert_eq!(server.ended().await.signal(), Some(Signal::KILL.as_raw()));
}
