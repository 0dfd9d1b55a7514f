//! A walk over the table: who may not do something is told so for every row, before a byte of a body was read.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::auth::sign::{Credentials, UNSIGNED_PAYLOAD, Unsigned, sign_headers};
use crate::server::{Limits, serve};
use crate::table::{Level, Mark, ROWS, Row};
use crate::testing::Fake;

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    Nobody,
    WrongSignature,
    UnknownKey,
    /// A user to whom the bucket does not belong.
    Other,
}

/// A bucket `annas`, and the user `ben`.
async fn world() -> SocketAddr {
    let fake = Fake::default();
    let anna = fake.add_user("anna", false);
    fake.add_user("ben", false);
    fake.add_bucket("annas", anna.id);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hooks =
        Hooks { ready: Arc::new(|| Box::pin(async { true })), metrics: None, limits: Limits::default(), tls: None };
    tokio::spawn(serve(listener, fake.gateway(), hooks, std::future::pending()));
    address
}

/// The request of a row: method, path, query and the header that tells it apart.
fn request(row: &Row) -> (http::Method, &'static str, String, Option<&'static str>) {
    let path = match row.level {
        Level::Service => "/",
        Level::Bucket => "/annas",
        Level::Object => "/annas/key",
    };
    let mut query = Vec::new();
    if !row.subresource.is_empty() {
        query.push(format!("{}=1", row.subresource));
    }
    query.extend(row.required.map(|name| format!("{name}=1")));
    let mut header = None;
    match row.mark {
        Mark::Nothing => {}
        Mark::Header(name) => header = Some(name),
        Mark::Parameter(name) => query.push(format!("{name}=1")),
        Mark::Value(name, value) => query.push(format!("{name}={value}")),
    }
    query.sort();
    (row.method.parse().unwrap(), path, query.join("&"), header)
}

/// The status of the answer to a head whose body never comes.
async fn ask(address: SocketAddr, row: &Row, sender: Sender) -> u16 {
    let (method, path, query, header) = request(row);
    let mut headers = http::HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("localhost:9000"));
    if let Some(name) = header {
        headers.insert(name, HeaderValue::from_static("annas/other"));
    }
    let credentials = match sender {
        Sender::Nobody => None,
        Sender::WrongSignature => Some(("KEYanna", "not the secret of anna")),
        Sender::UnknownKey => Some(("KEYcarl", "secret of carl")),
        Sender::Other => Some(("KEYben", "secret of ben")),
    };
    if let Some((access_key, secret_key)) = credentials {
        let unsigned = Unsigned { method: &method, raw_path: path, raw_query: &query, headers: &headers };
        let credentials = Credentials { access_key, secret_key };
        let rules = Rules::s3("us-east-1");
        let now = cairn_storage::types::now_ms();
        headers.extend(sign_headers(&unsigned, UNSIGNED_PAYLOAD, credentials, &rules, now).unwrap());
    }
    let mark = if query.is_empty() { "" } else { "?" };
    let mut head = format!("{method} {path}{mark}{query} HTTP/1.1\r\n");
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    // Whoever waits for a body waits for ever.
    head.push_str("content-length: 100000\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test]
async fn who_may_not_is_denied_for_every_row_before_a_body_is_read() {
    let address = world().await;
    for row in ROWS {
        for sender in [Sender::Nobody, Sender::WrongSignature, Sender::UnknownKey, Sender::Other] {
            // What every user may do; a bucket of this name is made for nobody else, which is told later.
            let every_users = matches!(row.operation, Operation::ListBuckets | Operation::CreateBucket);
            if sender == Sender::Other && (every_users || !row.is_built()) {
                continue;
            }
            assert_eq!(ask(address, row, sender).await, 403, "{:?} {sender:?}", row.operation);
        }
    }
}

#[tokio::test]
async fn what_is_not_built_is_said_to_those_who_are_known_only() {
    let address = world().await;
    for row in ROWS.iter().filter(|row| !row.is_built()) {
        assert_eq!(ask(address, row, Sender::Other).await, 501, "{:?}", row.operation);
    }
}
