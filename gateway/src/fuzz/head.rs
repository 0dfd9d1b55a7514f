//! The head of a request as text, for targets that need whole requests: what an HTTP parser would let through, and no
//! more.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, request};
use percent_encoding::percent_decode_str;

use crate::auth::RequestHead;

/// A request's head: `METHOD TARGET`, then a line `name: value` for each header.
#[derive(Debug, Clone)]
pub struct Head {
    pub method: Method,
    pub uri: Uri,
    pub http_1_0: bool,
    pub headers: HeaderMap,
}

/// The text before the first zero byte, which no head can hold, and what comes after it.
pub fn split(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}

impl Head {
    /// `None` for what an HTTP parser refuses.
    pub fn read(text: &[u8]) -> Option<Self> {
        let mut lines = text.split(|byte| *byte == b'\n');
        let mut first = lines.next()?.splitn(3, |byte| *byte == b' ');
        let method = Method::from_bytes(first.next()?).ok()?;
        let uri = Uri::try_from(first.next()?).ok()?;
        let http_1_0 = match first.next() {
            None => false,
            Some(b"HTTP/1.0") => true,
            Some(_) => return None,
        };
        let mut headers = HeaderMap::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let value = line[colon + 1..].trim_ascii();
            headers.append(HeaderName::from_bytes(&line[..colon]).ok()?, HeaderValue::from_bytes(value).ok()?);
        }
        Some(Self { method, uri, http_1_0, headers })
    }

    /// The inverse of [`Head::read`].
    pub fn write(&self) -> Vec<u8> {
        let mut out = format!("{} {}", self.method, self.uri).into_bytes();
        if self.http_1_0 {
            out.extend_from_slice(b" HTTP/1.0");
        }
        for (name, value) in &self.headers {
            out.extend([b"\n", name.as_str().as_bytes(), b": ", value.as_bytes()].concat());
        }
        out
    }

    pub fn path(&self) -> &str {
        self.uri.path()
    }

    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// The same head with another query.
    pub fn with_query(&self, query: &str) -> Option<Self> {
        let target = [self.path(), query].join("?");
        Some(Self { uri: Uri::try_from(target).ok()?, ..self.clone() })
    }

    /// As `auth` sees it.
    pub fn as_signed<'a>(&'a self, bucket_of_host: &'a str) -> RequestHead<'a> {
        let (method, headers) = (&self.method, &self.headers);
        RequestHead { method, raw_path: self.path(), raw_query: self.query(), headers, bucket_of_host }
    }

    /// As the middleware gets it.
    pub fn parts(&self) -> request::Parts {
        let version = if self.http_1_0 { Version::HTTP_10 } else { Version::HTTP_11 };
        let mut request = http::Request::new(());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = version;
        *request.headers_mut() = self.headers.clone();
        request.into_parts().0
    }
}

/// What a path means: its bytes.
pub fn decoded(raw_path: &str) -> Vec<u8> {
    percent_decode_str(raw_path).collect()
}

/// What a query means: its parameters, in order.
pub fn parameters(raw_query: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let decode = |text: &str| decoded(&text.replace('+', "%20"));
    let pieces = raw_query.split('&').filter(|piece| !piece.is_empty());
    pieces.map(|piece| piece.split_once('=').unwrap_or((piece, ""))).map(|(n, v)| (decode(n), decode(v))).collect()
}

/// What a header means: its values without white space around them and with one space for each run of it.
pub fn header(headers: &HeaderMap, name: &str) -> Vec<u8> {
    let words = |value: &HeaderValue| {
        let words = value.as_bytes().split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join(&b' ')
    };
    headers.get_all(name).iter().map(words).collect::<Vec<_>>().join(&b',')
}
