//! The request target and the host: one resource for each signature, however it is spelled.

use http::{HeaderValue, header};

use super::host;
use crate::auth::sign::uri_encode;
use crate::fuzz::head::{Head, decoded, parameters, split};
use crate::operation::{MAX_KEY_LEN, Target};
use crate::request::Params;
use crate::router;

pub fn seeds() -> Vec<Vec<u8>> {
    let seeds = [
        "GET /\nhost: localhost:9000",
        "GET /bucket?list-type=2&prefix=a%2Fb+c&delimiter=/\nhost: 127.0.0.1:9000",
        "PUT /bucket/a//b/../c%20d%C3%A9?partNumber=1&uploadId=abc\nhost: localhost\nx-amz-copy-source: /b/k",
        "DELETE /a%2Fb%252F?versionId=null\nhost: bucket.localhost:9000",
        "POST /?delete\nhost: a.b.s3.example.org",
        "GET http://bucket.localhost/k?acl\nhost: bucket.localhost",
        "GET http://bucket.localhost/k HTTP/1.0",
        "HEAD /_cairn/health/live\nhost: [::1]:9000",
        "OPTIONS *\nhost: localhost",
    ];
    seeds.map(|seed| seed.as_bytes().to_vec()).to_vec()
}

fn parse(host: &str, path: &str, query: Option<&str>) -> Option<Target> {
    let domains = ["localhost", "s3.example.org", "example.org"].map(str::to_owned);
    Target::parse(host, path, query, &domains).ok()
}

/// A request has one host, its target is the decoded path and query and nothing else, is the same when it is spelled as
/// it is signed, and is one operation in whatever order its parameters come.
#[allow(clippy::expect_used, reason = "this is a test")]
pub fn request_target(data: &[u8]) -> bool {
    let Some(head) = Head::read(split(data).0) else { return false };
    let mut parts = head.parts();
    let Ok(host) = host::take(&mut parts) else { return false };
    assert!(head.http_1_0 || !host.is_empty());
    let hosts: Vec<_> = parts.headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(hosts, if host.is_empty() { vec![] } else { vec![host.as_bytes()] });

    let Some(target) = parse(&host, head.path(), parts.uri.query()) else { return false };
    let Target { bucket, key, query, virtual_host } = &target;
    assert!(key.len() <= MAX_KEY_LEN);
    let path = decoded(head.path());
    let spelled = if *virtual_host { format!("/{key}") } else { format!("/{bucket}/{key}") };
    // The slash behind a bucket may be left out, and so may that of no path at all.
    let without_slash = spelled.strip_suffix('/').filter(|_| key.is_empty());
    let spellings = [Some(spelled.as_str()), without_slash, Some("").filter(|_| bucket.is_empty() && key.is_empty())];
    assert!(spellings.into_iter().flatten().any(|spelled| spelled.as_bytes() == path), "{spelled:?} of {path:?}");
    let sent: Vec<_> = query.0.iter().map(|(n, v)| (n.clone().into_bytes(), v.clone().into_bytes())).collect();
    assert_eq!(sent, parameters(head.query()));

    let escaped: Vec<String> = key.split('/').map(uri_encode).collect();
    let escaped_query: Vec<String> =
        query.0.iter().map(|(name, value)| format!("{}={}", uri_encode(name), uri_encode(value))).collect();
    let (escaped, escaped_query) = (escaped.join("/"), escaped_query.join("&"));
    let of_path = format!("/{}/{escaped}", uri_encode(bucket));
    let again = if *virtual_host { (host.as_str(), format!("/{escaped}")) } else { (host.as_str(), of_path.clone()) };
    let of_path = if bucket.is_empty() { again.clone() } else { ("localhost", of_path) };
    for (host, path) in [again, of_path] {
        let path = if bucket.is_empty() { "/" } else { &path };
        let again = parse(host, path, Some(&escaped_query)).expect("what was taken is taken again");
        assert_eq!((&again.bucket, &again.key, &again.query.0), (bucket, key, &query.0));
    }

    let reversed = Target { query: Params(query.0.iter().rev().cloned().collect()), ..target.clone() };
    let route = |target| router::route(&head.method, target, &parts.headers).ok().map(|row| row.operation);
    assert_eq!(route(&target), route(&reversed));
    true
}
