//! A small S3 client: enough to write, read and list, with every unexpected answer a failure of the test.

use cairn_gateway::auth::Rules;
use cairn_gateway::auth::sign::{Credentials, UNSIGNED_PAYLOAD, Unsigned, payload_hash, sign_headers};
use cairn_storage::types::now_ms;
use http::{HeaderMap, Method, StatusCode};

#[derive(Clone)]
pub struct S3 {
    url: String,
    access_key: String,
    secret_key: String,
    http: reqwest::Client,
}

impl S3 {
    pub fn new(url: String, access_key: &str, secret_key: &str) -> Self {
        Self { url, access_key: access_key.to_owned(), secret_key: secret_key.to_owned(), http: super::http() }
    }

    /// The signed headers of a request.
    fn headers(&self, method: &str, path: &str, query: &str, payload_hash: &str) -> HeaderMap {
        let host = self.url.trim_start_matches("http://");
        let mut headers = HeaderMap::new();
        headers.insert("host", host.parse().expect("a host"));
        let method: Method = method.parse().expect("a method");
        let request = Unsigned { method: &method, raw_path: path, raw_query: query, headers: &headers };
        let credentials = Credentials { access_key: &self.access_key, secret_key: &self.secret_key };
        let signed = sign_headers(&request, payload_hash, credentials, &Rules::s3("us-east-1"), now_ms());
        headers.extend(signed.expect("the keys fit into a header"));
        headers
    }

    /// Sends one request; no retries. `path` and `query` are percent-encoded already.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: Vec<u8>,
    ) -> reqwest::Result<reqwest::Response> {
        self.send_with(method, path, query, &[], body).await
    }

    /// The same with further headers, which are not signed.
    pub async fn send_with(
        &self,
        method: &str,
        path: &str,
        query: &str,
        further: &[(&str, &str)],
        body: Vec<u8>,
    ) -> reqwest::Result<reqwest::Response> {
        let headers = self.headers(method, path, query, &payload_hash(&body));
        let separator = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{separator}{query}", self.url);
        let mut request = self.http.request(method.parse().expect("a method"), url).headers(headers);
        for (name, value) in further {
            request = request.header(*name, *value);
        }
        // Of an empty body reqwest says nothing, and S3 wants the length of every upload.
        request.header("content-length", body.len()).body(body).send().await
    }

    /// The head of an HTTP/1.1 request whose body is not signed, for a test that writes to the socket itself.
    pub fn unsigned_payload_head(&self, method: &str, path: &str, length: u64) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\ncontent-length: {length}\r\n");
        for (name, value) in &self.headers(method, path, "", UNSIGNED_PAYLOAD) {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().expect("text")));
        }
        head + "\r\n"
    }

    pub async fn create_bucket(&self, bucket: &str) {
        let answer = self.send("PUT", &format!("/{bucket}"), "", Vec::new()).await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    }

    pub async fn try_put(&self, bucket: &str, key: &str, bytes: Vec<u8>) -> reqwest::Result<StatusCode> {
        Ok(self.send("PUT", &format!("/{bucket}/{key}"), "", bytes).await?.status())
    }

    pub async fn put(&self, bucket: &str, key: &str, bytes: Vec<u8>) {
        let answer = self.send("PUT", &format!("/{bucket}/{key}"), "", bytes).await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap_or_default());
    }

    pub async fn try_delete(&self, bucket: &str, key: &str) -> reqwest::Result<StatusCode> {
        Ok(self.send("DELETE", &format!("/{bucket}/{key}"), "", Vec::new()).await?.status())
    }

    pub async fn delete(&self, bucket: &str, key: &str) {
        let status = self.try_delete(bucket, key).await.expect("an answer");
        assert_eq!(status, StatusCode::NO_CONTENT);
    }

    /// The object's bytes; `None` where there is no such key.
    pub async fn get(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        self.try_get(bucket, key).await.expect("an answer")
    }

    /// The same, or why there was no answer.
    pub async fn try_get(&self, bucket: &str, key: &str) -> Result<Option<Vec<u8>>, String> {
        let why = |error: reqwest::Error| error.to_string();
        let answer = self.send("GET", &format!("/{bucket}/{key}"), "", Vec::new()).await.map_err(why)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(why)?;
        match status {
            StatusCode::OK => Ok(Some(bytes.into())),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(format!("{bucket}/{key} is answered {status}: {}", String::from_utf8_lossy(&bytes))),
        }
    }

    /// Every key of the bucket, in the order of the answers.
    pub async fn list(&self, bucket: &str) -> Vec<String> {
        self.try_list(bucket).await.expect("an answer")
    }

    /// The same, or why there was no answer.
    pub async fn try_list(&self, bucket: &str) -> Result<Vec<String>, String> {
        let why = |error: reqwest::Error| error.to_string();
        let mut keys = Vec::new();
        let mut query = "list-type=2".to_owned();
        loop {
            let answer = self.send("GET", &format!("/{bucket}"), &query, Vec::new()).await.map_err(why)?;
            let status = answer.status();
            let text = answer.text().await.map_err(why)?;
            if status != StatusCode::OK {
                return Err(format!("a list of {bucket} is answered {status}: {text}"));
            }
            keys.extend(elements(&text, "Key").map(str::to_owned));
            let Some(token) = elements(&text, "NextContinuationToken").next() else { return Ok(keys) };
            query = format!("continuation-token={}&list-type=2", token.replace('=', "%3D").replace('+', "%2B"));
        }
    }
}

/// The texts of the elements of a name; enough for keys without markup in them.
fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let start = rest.find(&open)? + open.len();
        let end = start + rest[start..].find(&close)?;
        let text = &rest[start..end];
        rest = &rest[end..];
        Some(text)
    })
}
