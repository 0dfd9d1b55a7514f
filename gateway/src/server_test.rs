use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::testing::Fake;

pub(super) struct Server {
    pub address: SocketAddr,
    pub stop: Option<oneshot::Sender<()>>,
    pub running: JoinHandle<()>,
}

async fn start(limits: Limits) -> Server {
    start_with(limits, None).await
}

pub(super) async fn start_with(limits: Limits, tls: Option<Arc<Tls>>) -> Server {
    let fake = Fake::default();
    // Which is not for everybody.
    fake.add_bucket("b", fake.add_user("anna", false).id);
    let gateway = fake.gateway();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(serve(listener, gateway, Hooks { tls, ..hooks(limits) }, async {
        let _ = stopped.await;
    }));
    Server { address, stop: Some(stop), running }
}

fn hooks(limits: Limits) -> Hooks {
    let ready = || -> BoxFuture<'static, bool> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            true
        })
    };
    Hooks { ready: Arc::new(ready), metrics: None, limits, tls: None }
}

/// Reads one answer: its head, and the body that its length announces.
pub(super) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
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

pub(super) async fn is_closed(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    matches!(timeout(Duration::from_secs(10), stream.read(&mut [0; 1])).await.unwrap(), Ok(0) | Err(_))
}

pub(super) const LIVE: &[u8] = b"GET /_cairn/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

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

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_of_any_size_is_sent_whole_and_its_answer_is_read() {
    let server = start(Limits::default()).await;
    for size in [8 << 20, 64 << 20] {
        for framing in ["content-length: {}", "transfer-encoding: chunked"] {
            for _ in 0..16 {
                let mut stream = TcpStream::connect(server.address).await.unwrap();
                let length = framing.replace("{}", &size.to_string());
                let head = format!("PUT /b/k HTTP/1.1\r\nhost: localhost\r\n{length}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                // As Python's client has it: first all of the body, then a look at the answer.
                for _ in 0..size / (64 << 10) {
                    if length.starts_with('t') {
                        stream.write_all(b"10000\r\n").await.unwrap();
                    }
                    stream.write_all(&[b'x'; 64 << 10]).await.unwrap();
                    if length.starts_with('t') {
                        stream.write_all(b"\r\n").await.unwrap();
                    }
                }
                let answer = read_answer(&mut stream).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
                assert!(answer.contains("connection: close") && answer.ends_with("</Error>"), "{answer}");
            }
        }
    }
}

/// S3's error, with a request id, and then the end.
pub(super) async fn is_refused(stream: &mut (impl AsyncRead + Unpin), status: &str, code: &str) {
    let answer = read_answer(stream).await.unwrap();
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let id = head.lines().find_map(|line| line.strip_prefix("x-amz-request-id: ")).unwrap();
    assert!(body.contains(&format!("<Code>{code}</Code>")), "{answer}");
    assert!(body.contains(&format!("<RequestId>{id}</RequestId>")), "{answer}");
    assert!(head.contains("content-type: application/xml"), "{answer}");
}

fn with_headers(count: usize) -> Vec<u8> {
    let more: String = (0..count).map(|number| format!("x-amz-meta-{number}: v\r\n")).collect();
    format!("GET / HTTP/1.1\r\nhost: localhost\r\n{more}\r\n").into_bytes()
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_in_s3s_form_whoever_refuses_it() {
    let server = start(Limits { head_bytes: 70_000, ..Limits::default() }).await;
    // Ours, then hyper's own bounds: of the size, the headers, the target.
    for (size, status, code) in [
        (80_000, "400", "RequestHeaderSectionTooLarge"),
        (200_000, "400", "RequestHeaderSectionTooLarge"),
        (4_000_000, "400", "RequestHeaderSectionTooLarge"),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n", "x".repeat(size));
        stream.write_all(request.as_bytes()).await.unwrap();
        is_refused(&mut stream, status, code).await;
    }
    for count in [1_001, 1_100] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(&with_headers(count)).await.unwrap();
        is_refused(&mut stream, "400", "RequestHeaderSectionTooLarge").await;
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(66_000));
    stream.write_all(request.as_bytes()).await.unwrap();
    is_refused(&mut stream, "400", "InvalidURI").await;
}

#[tokio::test]
async fn what_is_not_http_is_refused_in_s3s_form_on_a_connection_that_worked_too() {
    let server = start(Limits::default()).await;
    for request in [
        "GET / HTTP/9.9\r\nhost: localhost\r\n\r\n",
        "GET  HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nhost localhost\r\n\r\n",
        "PUT /b/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: ten\r\n\r\n",
        "PUT /b/k HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        for _ in 0..2 {
            stream.write_all(LIVE).await.unwrap();
            assert!(read_answer(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"));
        }
        stream.write_all(request.as_bytes()).await.unwrap();
        is_refused(&mut stream, "400", "BadRequest").await;
        assert!(is_closed(&mut stream).await);
    }
}

#[tokio::test]
async fn an_error_without_a_body_is_not_taken_for_a_refusal_of_hypers() {
    let server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"HEAD /b/k HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 403") && !head.contains("connection: close"), "{head}");
    }
    stream.write_all(LIVE).await.unwrap();
    assert!(read_answer(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn as_many_headers_as_s3_takes_are_taken() {
    let server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&with_headers(900)).await.unwrap();
    assert!(read_answer(&mut stream).await.unwrap().contains("<Code>AccessDenied</Code>"));
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let server = start(Limits { head_timeout: Duration::from_millis(100), ..Limits::default() }).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(is_closed(&mut stream).await);
}

#[tokio::test]
async fn past_the_bound_of_connections_only_health_is_served() {
    for limits in
        [Limits { connections: 2, ..Limits::default() }, Limits { connections_per_address: 2, ..Limits::default() }]
    {
        let server = start(limits).await;
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(LIVE).await.unwrap();
            read_answer(&mut stream).await.unwrap();
            held.push(stream);
        }
        let mut health = TcpStream::connect(server.address).await.unwrap();
        health.write_all(LIVE).await.unwrap();
        assert!(read_answer(&mut health).await.unwrap().starts_with("HTTP/1.1 200"));
        assert!(is_closed(&mut health).await);
        // What only looks like health among it: a key of a bucket, a write, the rest of what is our own.
        for request in [
            "GET /_cairn/healthy HTTP/1.1\r\nhost: localhost",
            "GET /_cairn/health/other HTTP/1.1\r\nhost: localhost",
            "GET /_cairn/health/live HTTP/1.1\r\nhost: bucket.localhost",
            "PUT /_cairn/health/live HTTP/1.1\r\nhost: bucket.localhost\r\ncontent-length: 0",
            "POST /_cairn/health/live HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0",
        ] {
            let mut other = TcpStream::connect(server.address).await.unwrap();
            other.write_all(format!("{request}\r\n\r\n").as_bytes()).await.unwrap();
            is_refused(&mut other, "503", "SlowDown").await;
            assert!(is_closed(&mut other).await);
        }
        // Both are as before, and there is room again when one has gone.
        for stream in &mut held {
            stream.write_all(LIVE).await.unwrap();
            assert!(read_answer(stream).await.unwrap().starts_with("HTTP/1.1 200"));
        }
        held.pop();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let mut next = TcpStream::connect(server.address).await.unwrap();
            next.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            if read_answer(&mut next).await.unwrap().starts_with("HTTP/1.1 403") {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline);
        }
    }
}

#[tokio::test]
async fn clients_that_say_nothing_do_not_keep_health_from_answering() {
    let server = start(Limits { connections: 4, lane: 4, ..Limits::default() }).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    for _ in 0..10 {
        let mut health = TcpStream::connect(server.address).await.unwrap();
        health.write_all(LIVE).await.unwrap();
        assert!(read_answer(&mut health).await.unwrap().starts_with("HTTP/1.1 200"));
    }
}

/// A pair of sockets; the first as the server has it.
async fn streams(min_rate: u64, window: Duration) -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let refusal = Box::new(|_| Bytes::new());
    let socket = Box::new(Socket::new(server, min_rate, window));
    (Stream::new(socket, min_rate, Arc::default(), refusal), client)
}

#[tokio::test]
async fn a_client_that_takes_nothing_or_too_little_ends_the_connection() {
    let window = Duration::from_millis(500);
    for (min_rate, takes) in [(0, 0), (1 << 30, 0), (1 << 30, 100)] {
        let (mut stream, mut client) = streams(min_rate, window).await;
        let writing = async {
            loop {
                if let Err(error) = stream.write_all(&[0; 64 << 10]).await {
                    break error;
                }
            }
        };
        let taking = async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let mut taken = vec![0; takes];
                client.read_exact(&mut taken).await.unwrap();
            }
        };
        let error = tokio::select! {
            error = timeout(Duration::from_secs(20), writing) => error.unwrap(),
            () = taking => unreachable!(),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}

#[tokio::test]
async fn a_client_that_takes_its_answer_in_time_keeps_its_connection() {
    let (mut stream, mut client) = streams(1 << 20, Duration::from_millis(500)).await;
    let writing = tokio::spawn(async move {
        stream.write_all(&vec![0; 16 << 20]).await.unwrap();
    });
    let mut left = 16 << 20;
    while left > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut piece = vec![0; left.min(256 << 10)];
        left -= client.read_exact(&mut piece).await.unwrap();
    }
    writing.await.unwrap();
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

#[tokio::test]
async fn what_follows_a_body_that_was_refused_unread_is_not_taken_for_a_request() {
    let server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut request = b"PUT /b/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2097152\r\n\r\n".to_vec();
    // The body is requests itself, and one more follows it.
    request.extend(LIVE.iter().copied().cycle().take(2 << 20));
    request.extend(LIVE);
    stream.write_all(&request).await.unwrap();
    let mut answers = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut answers)).await.unwrap().unwrap();
    assert!(answers.starts_with("HTTP/1.1 403") && answers.ends_with("</Error>"), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1").count(), 1, "{answers}");
}

#[tokio::test]
async fn a_body_of_two_lengths_is_refused() {
    let server = start(Limits::default()).await;
    for lengths in ["content-length: 5\r\ncontent-length: 6", "transfer-encoding: chunked, gzip"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("PUT /b/k HTTP/1.1\r\nhost: localhost\r\n{lengths}\r\n\r\n0\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        is_refused(&mut stream, "400", "BadRequest").await;
    }
}

/// Of these HTTP says what holds: it is chunked. A proxy before us may have gone by the other one, and the bytes after it
/// be another's request: nothing more is read (RFC 9112, section 6.1).
#[tokio::test]
async fn nothing_is_read_after_a_chunked_body_that_has_a_length_too() {
    let server = start(Limits::default()).await;
    let (chunked, length) = ("transfer-encoding: chunked\r\n", "content-length: 50\r\n");
    for lengths in [[chunked, length], [length, chunked]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("PUT /b/k HTTP/1.1\r\nhost: localhost\r\n{}\r\n0\r\n\r\n", lengths.concat());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(LIVE).await.unwrap();
        assert!(read_answer(&mut stream).await.unwrap().starts_with("HTTP/1.1 40"));
        assert!(is_closed(&mut stream).await);
    }
}

#[tokio::test]
async fn a_head_with_a_body_is_answered_without_one_and_the_connection_goes_on() {
    let server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"HEAD /b/k HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
    stream.write_all(LIVE).await.unwrap();
    let mut both = String::new();
    while !both.ends_with("live\n") {
        both.push(char::from(timeout(Duration::from_secs(10), stream.read_u8()).await.unwrap().unwrap()));
    }
    let (first, second) = both.split_once("\r\n\r\n").unwrap();
    assert!(first.starts_with("HTTP/1.1 403") && second.starts_with("HTTP/1.1 200"), "{both}");
}

#[tokio::test]
async fn a_client_of_http_1_0_that_expects_100_is_answered_once() {
    let server = start(Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = b"PUT /b/k HTTP/1.0\r\nhost: localhost\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.split(' ').nth(1) == Some("403") && answer.ends_with("</Error>"), "{answer}");
}

#[tokio::test]
async fn each_request_of_a_connection_says_who_its_peer_is() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpSocket::new_v4().unwrap();
    client.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut client = client.connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = accept(&listener).await;
    let limits = Limits::default();
    let service = Service::new(Fake::default().gateway(), hooks(limits));
    let (said, mut heard) = mpsc::unbounded_channel();
    let answer = move |request: http::Request<Incoming>| {
        said.send(request.extensions().get::<Peer>().copied()).unwrap();
        let service = service.clone();
        async move { service.answer(request).await }
    };
    let refusal = Box::new(|_| Bytes::new());
    let graceful = GracefulShutdown::new();
    let watcher = graceful.watcher();
    let opened = Opened { stream: Box::new(stream), secure: true };
    tokio::spawn(speak(opened, peer, refusal, answer, limits, watcher, Manner::Full));
    for _ in 0..3 {
        client.write_all(LIVE).await.unwrap();
        let answer = read_answer(&mut client).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(heard.recv().await.unwrap(), Some(Peer { address: "127.0.0.2".parse().unwrap(), secure: true }));
    }
}
