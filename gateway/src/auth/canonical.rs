//! The canonical form of a request: the bytes that both sides of a signature hash. Knows no keys.
//!
//! Source: Amazon S3 API Reference, "Signature Calculations for the Authorization Header", Task 1.

use http::HeaderMap;

use super::query;

/// Everything that goes into a canonical request.
pub(super) struct Canonical<'a> {
    pub method: &'a str,
    pub raw_path: &'a str,
    pub normalise_path: bool,
    pub raw_query: &'a str,
    /// A parameter that is not signed: the signature itself, in a presigned request.
    pub skip_parameter: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// Lower case, separated by `;`, in order.
    pub signed_headers: &'a str,
    /// The value of `x-amz-content-sha256`, or what stands in for it.
    pub body_hash: &'a str,
}

/// A canonical request, and what simple clients sign in its place.
pub(super) struct Forms {
    pub canonical: Vec<u8>,
    /// With path and query just as they were sent, where that is another text. Some clients sign this (curl before 8.3,
    /// and who escapes the slashes of a key). It is no weaker: it covers each byte sent, and it is the canonical form of
    /// no other request, because a text that is canonical already is its own canonical form.
    pub as_sent: Option<Vec<u8>>,
}

impl Canonical<'_> {
    /// Both forms, for who verifies.
    pub(super) fn forms(&self) -> Forms {
        let (mut path, mut query) = (Vec::with_capacity(self.raw_path.len() + 16), Vec::new());
        self.write_target(&mut path, &mut query);
        let canonical = self.assemble(&path, &query);
        // A presigned query is not signed as it is sent: the signature is in it.
        let sent_query = if self.skip_parameter.is_none() { self.raw_query.as_bytes() } else { &query };
        let differs = !self.normalise_path && (path != self.raw_path.as_bytes() || query != sent_query);
        Forms { canonical, as_sent: differs.then(|| self.assemble(self.raw_path.as_bytes(), sent_query)) }
    }

    /// The canonical form alone, for who signs.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (mut path, mut query) = (Vec::new(), Vec::new());
        self.write_target(&mut path, &mut query);
        self.assemble(&path, &query)
    }

    fn write_target(&self, path: &mut Vec<u8>, query: &mut Vec<u8>) {
        if self.normalise_path {
            write_path(path, &normalise(self.raw_path));
        } else {
            write_path(path, self.raw_path);
        }
        query::write_canonical(query, self.raw_query, self.skip_parameter);
    }

    fn assemble(&self, path: &[u8], query: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + path.len() + query.len());
        for part in [self.method.as_bytes(), path, query] {
            out.extend_from_slice(part);
            out.push(b'\n');
        }
        for name in self.signed_headers.split(';') {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            // A header that is listed but not there counts as empty: the signatures then differ.
            for (index, value) in self.headers.get_all(name).iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(&mut out, value.as_bytes());
            }
            out.push(b'\n');
        }
        out.push(b'\n');
        out.extend_from_slice(self.signed_headers.as_bytes());
        out.push(b'\n');
        out.extend_from_slice(self.body_hash.as_bytes());
        out
    }
}

/// The path, decoded and encoded once as S3 does: clients differ in what they escape, and all sign this form.
fn write_path(out: &mut Vec<u8>, raw_path: &str) {
    if raw_path.is_empty() {
        out.push(b'/');
    }
    for byte in query::decoded(raw_path.as_bytes()) {
        if byte == b'/' { out.push(byte) } else { query::write_encoded(out, byte) }
    }
}

/// A header's value without white space around it, and with one space for each run of it inside.
fn write_value(out: &mut Vec<u8>, value: &[u8]) {
    let mut words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        out.extend_from_slice(first);
    }
    for word in words {
        out.push(b' ');
        out.extend_from_slice(word);
    }
}

/// Without empty, `.` and `..` segments (RFC 3986, 5.2.4).
fn normalise(raw_path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in raw_path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let end = if raw_path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> String {
        let mut out = Vec::new();
        write_path(&mut out, raw);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_path_is_encoded_once_and_never_normalised() {
        assert_eq!(path(""), "/");
        assert_eq!(path("/b//a/../c/./d"), "/b//a/../c/./d");
        assert_eq!(path("/b/a%20b+c"), "/b/a%20b%2Bc");
        assert_eq!(path("/b/a%2Fb%2fc"), "/b/a/b/c");
        assert_eq!(path("/b/~%7E*'()!"), "/b/~~%2A%27%28%29%21");
        assert_eq!(path("/b/100%"), "/b/100%25");
        assert_eq!(path("/b/%zz%4"), "/b/%25zz%254");
        assert_eq!(path("/b/ü%C3%BC"), "/b/%C3%BC%C3%BC");
    }

    #[test]
    fn a_value_is_trimmed_and_its_spaces_collapsed() {
        for (raw, canonical) in [("", ""), ("  ", ""), ("a", "a"), ("  a \t b   c ", "a b c"), ("\"a   b\"", "\"a b\"")]
        {
            let mut out = Vec::new();
            write_value(&mut out, raw.as_bytes());
            assert_eq!(String::from_utf8(out).unwrap(), canonical);
        }
    }
}
