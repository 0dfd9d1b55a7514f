use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::testing::Fake;

struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

async fn start(limits: Limits) -> Server {
    let gateway = Fake::default().gateway();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ready = || -> BoxFuture<'static, bool> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            true
        })
    };
    let hooks = Hooks { ready: Arc::new(ready), metrics: None, limits };
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(serve(listener, gateway, hooks, async {
        let _ = stopped.await;
    }));
    Server { address, stop: Some(stop), running }
}

/// Reads one answer: its head, and the body that its length announces.
async fn read_answer(stream: &mut TcpStream) -> io::Result<String> {
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Ok(text);
            }
        }
        match timeout(Duration::from_secs(10), stream.read(&mut piece)).await.unwrap()? {
            0 => return Ok(text),
            len => seen.extend_from_slice(&piece[..len]),
        }
    }
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(timeout(Duration::from_secs(10), stream.read(&mut [0; 1])).await.unwrap(), Ok(0) | Err(_))
}

const LIVE: &[u8] = b"GET /_cairn/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test]
async fn a_client_that_waits_for_100_is_refused_without_it() {
    let server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = b"PUT /b/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let answer = read_answer(&mut stream).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n") && answer.contains("<Code>AccessDenied</Code>"), "{answer}");
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn a_connection_goes_on_after_a_small_body_that_was_refused() {
    let server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut request = b"PUT /b/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 524288\r\n\r\n".to_vec();
    request.extend(vec![0; 512 << 10]);
    stream.write_all(&request).await.unwrap();
    assert!(read_answer(&mut stream).await.unwrap().starts_with("HTTP/1.1 403"));
    stream.write_all(LIVE).await.unwrap();
    assert!(read_answer(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_sends_a_large_body_unasked_reads_its_refusal() {
    let server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"PUT /b/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1073741824\r\n\r\n").await.unwrap();
    for _ in 0..14 {
        stream.write_all(&[0; 64 << 10]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answer = read_answer(&mut stream).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("connection: close"), "{answer}");
    assert!(answer.ends_with("</Error>"), "{answer}");
    // It is not read for ever.
    let endless = async { while stream.write_all(&[0; 64 << 10]).await.is_ok() {} };
    timeout(Duration::from_secs(10), endless).await.unwrap();
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = start(Limits { head_bytes: 10_000, ..Limits::default() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n", "x".repeat(20_000));
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(read_answer(&mut stream).await.unwrap().starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let server = start(Limits { head_timeout: Duration::from_millis(100), ..Limits::default() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn connections_past_the_bound_wait_for_their_turn() {
    let server = start(Limits { connections: 1, ..Limits::default() }).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(LIVE).await.unwrap();
    read_answer(&mut first).await.unwrap();
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(LIVE).await.unwrap();
    assert!(timeout(Duration::from_millis(200), read_answer(&mut second)).await.is_err());
    drop(first);
    assert!(read_answer(&mut second).await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn what_is_in_flight_is_finished_and_idle_connections_are_closed() {
    let mut server = start(Limits::default()).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(LIVE).await.unwrap();
    read_answer(&mut idle).await.unwrap();
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    busy.write_all(b"GET /_cairn/health/ready HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.take().unwrap().send(()).unwrap();
    assert!(read_answer(&mut busy).await.unwrap().starts_with("HTTP/1.1 200"));
    assert!(is_closed(&mut idle).await);
    timeout(Duration::from_secs(5), server.running).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}
