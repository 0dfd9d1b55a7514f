//! Writes one XML document into one string: no tree, no allocation for each element.

use std::fmt::{self, Write};

use axum::body::Body;
use http::{HeaderValue, Response, header};

use crate::error::S3Error;

/// What every document starts with.
pub const PROLOG: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// The namespace of S3's answers.
pub const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// The media type of S3's answers.
pub const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/xml");

/// An XML document that is being written. Element names are trusted, texts are escaped.
#[derive(Debug)]
pub struct Document {
    out: String,
    open: Vec<&'static str>,
}

impl Document {
    /// An answer of S3: its root element is in S3's namespace.
    pub fn new(root: &'static str) -> Self {
        Self::with_capacity(root, 512)
    }

    /// The same, for about `capacity` bytes of text.
    pub fn with_capacity(root: &'static str, capacity: usize) -> Self {
        let mut document = Self { out: String::with_capacity(capacity), open: Vec::with_capacity(8) };
        document.out.push_str(PROLOG);
        document.open_with(root, &[("xmlns", NAMESPACE)]);
        document
    }

    /// A document whose root element is in another namespace.
    pub fn within(root: &'static str, namespace: &str) -> Self {
        let mut document = Self { out: String::with_capacity(512), open: Vec::with_capacity(8) };
        document.out.push_str(PROLOG);
        document.open_with(root, &[("xmlns", namespace)]);
        document
    }

    /// A document whose root element has no namespace.
    pub fn plain(root: &'static str) -> Self {
        let mut document = Self { out: String::with_capacity(512), open: Vec::with_capacity(8) };
        document.out.push_str(PROLOG);
        document.open(root);
        document
    }

    /// `<name>`; [`Document::close`] ends it.
    pub fn open(&mut self, name: &'static str) -> &mut Self {
        self.open_with(name, &[])
    }

    /// `<name attribute="value">`; [`Document::close`] ends it.
    pub fn open_with(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) -> &mut Self {
        self.out.push('<');
        self.out.push_str(name);
        for (attribute, value) in attributes {
            self.out.push(' ');
            self.out.push_str(attribute);
            self.out.push_str("=\"");
            escape(&mut self.out, value);
            self.out.push('"');
        }
        self.out.push('>');
        self.open.push(name);
        self
    }

    /// Ends the element that was opened last.
    pub fn close(&mut self) -> &mut Self {
        if let Some(name) = self.open.pop() {
            self.end(name);
        }
        self
    }

    /// `<name>value</name>`.
    pub fn text(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.start(name);
        escape(&mut self.out, value);
        self.end(name);
        self
    }

    /// A text of the current element itself.
    pub fn content(&mut self, value: &str) -> &mut Self {
        escape(&mut self.out, value);
        self
    }

    /// `<name>value</name>`, where there is a value; otherwise nothing.
    pub fn text_opt(&mut self, name: &'static str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.text(name, value);
        }
        self
    }

    /// `<name>value</name>` of anything that can be shown.
    pub fn display(&mut self, name: &'static str, value: impl fmt::Display) -> &mut Self {
        self.start(name);
        // Writing into a string does not fail.
        let _ = write!(Escaped(&mut self.out), "{value}");
        self.end(name);
        self
    }

    /// `<name>"etag"</name>`, the quotes being part of the text.
    pub fn etag(&mut self, name: &'static str, etag: impl fmt::Display) -> &mut Self {
        self.start(name);
        self.out.push_str("&quot;");
        let _ = write!(Escaped(&mut self.out), "{etag}");
        self.out.push_str("&quot;");
        self.end(name);
        self
    }

    /// `<name>value</name>`, in this encoding.
    pub fn encoded(&mut self, name: &'static str, value: &str, encoding: Encoding) -> &mut Self {
        self.start(name);
        match encoding {
            Encoding::Plain => escape(&mut self.out, value),
            // What comes out has no character that XML would have to escape.
            Encoding::Url => url_encode(&mut self.out, value),
            Encoding::Least => {
                for piece in value.split_inclusive(is_ambiguous) {
                    let mut chars = piece.chars();
                    let last = chars.next_back().filter(|last| is_ambiguous(*last));
                    escape(&mut self.out, if last.is_some() { chars.as_str() } else { piece });
                    last.into_iter().for_each(|last| url_encode(&mut self.out, last.encode_utf8(&mut [0; 4])));
                }
            }
        }
        self.end(name);
        self
    }

    /// A time: `2006-02-03T16:45:09.000Z`.
    pub fn time(&mut self, name: &'static str, at_ms: u64) -> &mut Self {
        self.start(name);
        super::time::write_iso_8601(&mut self.out, at_ms);
        self.end(name);
        self
    }

    /// The whole document, with all elements ended.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.out
    }

    /// The whole document without its prolog, for an answer whose prolog has been sent already.
    pub fn finish_without_prolog(self) -> String {
        let mut out = self.finish();
        out.drain(..PROLOG.len());
        out
    }

    /// A 200 answer with the document as its body.
    pub fn reply(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.finish()));
        response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
        response
    }

    fn start(&mut self, name: &str) {
        self.out.push('<');
        self.out.push_str(name);
        self.out.push('>');
    }

    fn end(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }
}

/// S3's error document.
pub fn error(error: &S3Error, resource: &str, request_id: &str, host_id: &str) -> Document {
    let mut document = Document::plain("Error");
    document.text("Code", error.code.as_str()).text("Message", error.message());
    for (name, value) in &error.details {
        document.text(name, value);
    }
    document.text("Resource", resource).text("RequestId", request_id).text("HostId", host_id);
    document
}

/// Appends `value` percent-encoded for `encoding-type=url`: letters, digits and `-_.*/` stay. S3 writes `+` for a
/// space; `%20` is read alike by clients that take `+` for a space and by those that do not.
pub fn url_encode(out: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in value.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
}

/// How the names in a list are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Plain,
    /// Percent-encoded, as `encoding-type=url` asks for.
    Url,
    /// The same for who decodes it, of a list that has what XML cannot carry though nobody asked for an encoding. For
    /// who does not, the other names are what they are.
    Least,
}

/// What [`Encoding::Least`] encodes: what XML does not have, and what a decoder would take for something else.
fn is_ambiguous(character: char) -> bool {
    matches!(character, '%' | '+') || !is_of_xml(character)
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

/// Whether XML 1.0 has these characters at all, as themselves or as references (its section 2.2).
pub fn can_carry(text: &str) -> bool {
    text.chars().all(is_of_xml)
}

fn is_of_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Appends `text` so that a parser gives back the same. For a character that XML 1.0 does not have there is the
/// replacement character: S3 writes a reference such as `&#x1;`, which parsers refuse with the whole document (API
/// Reference, ListObjectsV2, `encoding-type`). Lists that hold such keys are encoded and lose nothing.
fn escape(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(needs_escape) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('&') => out.push_str("&amp;"),
            Some('<') => out.push_str("&lt;"),
            Some('>') => out.push_str("&gt;"),
            Some('"') => out.push_str("&quot;"),
            Some(control) if is_of_xml(control) => {
                let _ = write!(out, "&#x{:x};", u32::from(control));
            }
            Some(_) => out.push(char::REPLACEMENT_CHARACTER),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

fn needs_escape(character: char) -> bool {
    matches!(character, '&' | '<' | '>' | '"' | '\0'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn the_least_encoding_leaves_what_is_unambiguous() {
        let mut document = Document::plain("R");
        document.encoded("K", "a b/é&%41+\u{1}\u{ffff}c", Encoding::Least);
        assert_eq!(document.finish(), format!("{PROLOG}<R><K>a b/é&amp;%2541%2B%01%EF%BF%BFc</K></R>"));
    }

    #[test]
    fn texts_are_escaped_and_elements_end_in_order() {
        let mut document = Document::plain("Root");
        document.open("Inner").text("Key", "a<b>&\"c\"\r\u{1}\u{ffff}é").close().etag("ETag", "abc").display("Size", 7);
        assert_eq!(
            document.finish(),
            format!(
                "{PROLOG}<Root><Inner><Key>a&lt;b&gt;&amp;&quot;c&quot;&#xd;\u{fffd}\u{fffd}é</Key></Inner>\
                 <ETag>&quot;abc&quot;</ETag><Size>7</Size></Root>"
            )
        );
    }

    #[test]
    fn what_is_left_open_is_closed_at_the_end() {
        let mut document = Document::new("A");
        document.open("B").open("C");
        assert_eq!(document.finish_without_prolog(), format!("<A xmlns=\"{NAMESPACE}\"><B><C></C></B></A>"));
    }

    #[test]
    fn keys_are_percent_encoded_on_request_only() {
        let mut document = Document::plain("R");
        document.encoded("K", "a b+c/é<&\n*~", Encoding::Url).encoded("K", "a b", Encoding::Plain);
        assert_eq!(document.finish(), format!("{PROLOG}<R><K>a%20b%2Bc/%C3%A9%3C%26%0A*%7E</K><K>a b</K></R>"));
    }

    #[test]
    fn an_error_shows_code_message_details_and_request() {
        let shown = error(&S3Error::new(Code::NoSuchKey).detail("Key", "a&b"), "/bucket/a&b", "ID", "HOST").finish();
        assert_eq!(
            shown,
            format!(
                "{PROLOG}<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message>\
                 <Key>a&amp;b</Key><Resource>/bucket/a&amp;b</Resource><RequestId>ID</RequestId>\
                 <HostId>HOST</HostId></Error>"
            )
        );
    }
}
