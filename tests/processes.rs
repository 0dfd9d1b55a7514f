//! Starting, stopping, being refused: what an operator meets on a bad day.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::harness::{Server, body, cairn, free_port, is_well};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_directories_is_refused_by_name() {
    let server = Server::start(1, &[]).await;
    let second = cairn()
        .arg("server")
        .arg(&server.disks()[0])
        .args(["--listen", &format!("127.0.0.1:{}", free_port()), "--rpc", &format!("127.0.0.1:{}", free_port())])
        .output()
        .expect("it runs");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("in use"), "{said}");
    assert!(said.contains(&*server.disks()[0].to_string_lossy()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_somebody_else_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join("precious"), "data").expect("a file");
    let refused = cairn()
        .arg("server")
        .arg(directory.path())
        .args(["--listen", &format!("127.0.0.1:{}", free_port()), "--rpc", &format!("127.0.0.1:{}", free_port())])
        .output()
        .expect("it runs");
    assert!(!refused.status.success());
    let left: Vec<_> =
        fs::read_dir(directory.path()).expect("a list").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left, ["precious"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = socket.local_addr().expect("its address").to_string();
    let free = format!("127.0.0.1:{}", free_port());
    for (listen, rpc) in [(&taken, &free), (&free, &taken)] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let refused = cairn()
            .arg("server")
            .arg(directory.path().join("disk"))
            .args(["--listen", listen, "--rpc", rpc])
            .output()
            .expect("it runs");
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains(&taken) && said.matches("in use").count() == 1, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_finishes_what_is_in_flight_and_ends_well() {
    let mut server = Server::start(3, &[]).await;
    let s3 = server.s3();
    s3.create_bucket("end").await;
    s3.put("end", "key", body(1, 3 << 20)).await;
    let in_flight = tokio::spawn({
        let s3 = s3.clone();
        async move { s3.get("end", "key").await }
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    let status = server.terminate().await;
    assert!(status.success(), "{status}");
    assert_eq!(in_flight.await.expect("the read ends"), Some(body(1, 3 << 20)));
    server.restart().await;
    assert_eq!(s3.get("end", "key").await, Some(body(1, 3 << 20)));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_made_once_kept_private_and_printed_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = directory.path().join("disk");
    let start = || {
        let port = free_port();
        let mut command = cairn();
        command
            .env_remove("CAIRN_ROOT_ACCESS_KEY")
            .env_remove("CAIRN_ROOT_SECRET_KEY")
            .env_remove("CAIRN_CLUSTER_SECRET")
            .arg("server")
            .arg(&disk)
            .args(["--listen", &format!("127.0.0.1:{port}"), "--rpc", &format!("127.0.0.1:{}", free_port())])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null());
        (command, port)
    };
    let mut printed = Vec::new();
    for _ in 0..2 {
        let (mut command, port) = start();
        let mut child = command.spawn().expect("it starts");
        crate::harness::eventually("ready", Duration::from_secs(30), || async {
            is_well(&format!("http://127.0.0.1:{port}/_cairn/health/ready")).await
        })
        .await;
        child.kill().expect("it is killed");
        printed.push(String::from_utf8_lossy(&child.wait_with_output().expect("its words").stdout).into_owned());
    }
    assert!(printed[0].contains("Secret key"), "{}", printed[0]);
    assert!(!printed[1].contains("Secret key"), "{}", printed[1]);
    for entry in walkdir::WalkDir::new(&disk) {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("its mode").permissions().mode();
        if entry.file_type().is_file() {
            assert_eq!(mode & 0o077, 0, "{} is open to others", entry.path().display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_directories_one_alone_serves_only_after_recover() {
    let mut server = Server::start(2, &[]).await;
    let s3 = server.s3();
    s3.create_bucket("two").await;
    s3.put("two", "key", body(1, 100_000)).await;
    server.kill();
    fs::remove_dir_all(&server.disks()[1]).expect("the disk is lost");

    let recovered = cairn().args(["recover", "--yes"]).arg(&server.disks()[0]).output().expect("it runs");
    assert!(recovered.status.success(), "{}", String::from_utf8_lossy(&recovered.stderr));
    server.leave_out_last_disk();
    server.restart().await;
    assert_eq!(s3.get("two", "key").await, Some(body(1, 100_000)));
    s3.put("two", "after", body(2, 100_000)).await;
    assert_eq!(s3.list("two").await, ["after", "key"]);
}
