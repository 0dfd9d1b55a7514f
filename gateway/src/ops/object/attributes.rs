//! What a client says of an object besides its bytes: taken from the headers of a write, given back by a read. Pure.
//!
//! A value is kept byte for byte: each byte of the header is one character, U+0000 to U+00FF, of the kept text. It is
//! given back as it came, but for the user's own metadata in UTF-8, which is given back in the encoded words of RFC 2047.
//! Source: Amazon S3 User Guide, "Working with object metadata". S3 goes on from there to take each byte of UTF-8 for a
//! character, so that who decodes its words has to decode once more; ours hold what was meant.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cairn_storage::meta::record::Attributes;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, HeaderName,
};
use http::{HeaderMap, HeaderValue};

use crate::error::{Code, S3Error};
use crate::request::Params;

/// The most bytes that the names, without their prefix, and the values of the user's metadata may have together.
pub const MAX_USER_METADATA_LEN: usize = 2048;

/// What S3 says of an object of which nobody said it.
pub const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

/// The most bytes of text in an encoded word: 60 characters of Base64, and 12 around them.
const MAX_WORD_LEN: usize = 45;

const USER_PREFIX: &str = "x-amz-meta-";
const WEBSITE_REDIRECT: HeaderName = HeaderName::from_static("x-amz-website-redirect-location");
const MAX_WEBSITE_REDIRECT_LEN: usize = 2048;

/// The attributes that the headers of a PutObject, CopyObject or CreateMultipartUpload name.
///
/// # Errors
/// `MetadataTooLarge`; `InvalidArgument` for a redirect that leads nowhere.
pub fn from_headers(headers: &HeaderMap) -> Result<Attributes, S3Error> {
    Ok(Attributes {
        content_type: text(headers, CONTENT_TYPE),
        cache_control: text(headers, CACHE_CONTROL),
        content_disposition: text(headers, CONTENT_DISPOSITION),
        content_encoding: text(headers, CONTENT_ENCODING).and_then(without_aws_chunked),
        content_language: text(headers, CONTENT_LANGUAGE),
        expires: text(headers, EXPIRES),
        website_redirect: website_redirect(headers)?,
        user: user_metadata(headers)?,
        labels: Vec::new(),
    })
}

/// The redirect alone, which a copy takes from its headers whatever the metadata directive says.
///
/// # Errors
/// As [`from_headers`].
pub fn website_redirect(headers: &HeaderMap) -> Result<Option<String>, S3Error> {
    let Some(redirect) = text(headers, WEBSITE_REDIRECT) else { return Ok(None) };
    if redirect.len() <= MAX_WEBSITE_REDIRECT_LEN
        && ["/", "http://", "https://"].iter().any(|prefix| redirect.starts_with(prefix))
    {
        return Ok(Some(redirect));
    }
    Err(S3Error::with(
        Code::InvalidArgument,
        "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
    ))
}

/// Puts the attributes into the headers of an answer.
pub fn to_headers(attributes: &Attributes, headers: &mut HeaderMap) {
    let content_type = attributes.content_type.as_deref().and_then(as_sent);
    headers.insert(CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static(DEFAULT_CONTENT_TYPE)));
    let others = [
        (CACHE_CONTROL, &attributes.cache_control),
        (CONTENT_DISPOSITION, &attributes.content_disposition),
        (CONTENT_ENCODING, &attributes.content_encoding),
        (CONTENT_LANGUAGE, &attributes.content_language),
        (EXPIRES, &attributes.expires),
        (WEBSITE_REDIRECT, &attributes.website_redirect),
    ];
    for (name, kept) in others {
        if let Some(value) = kept.as_deref().and_then(as_sent) {
            headers.insert(name, value);
        }
    }
    for (name, kept) in &attributes.user {
        let name = HeaderName::try_from(format!("{USER_PREFIX}{name}"));
        if let (Ok(name), Some(value)) = (name, user_value(kept)) {
            headers.insert(name, value);
        }
    }
}

/// Lets the `response-*` parameters of a GET or HEAD have their way.
///
/// # Errors
/// `InvalidArgument` for a value that cannot be in a header: that is ISO-8859-1 without control characters.
pub fn override_headers(query: &Params, headers: &mut HeaderMap) -> Result<(), S3Error> {
    let overrides = [
        ("response-content-type", CONTENT_TYPE),
        ("response-cache-control", CACHE_CONTROL),
        ("response-content-disposition", CONTENT_DISPOSITION),
        ("response-content-encoding", CONTENT_ENCODING),
        ("response-content-language", CONTENT_LANGUAGE),
        ("response-expires", EXPIRES),
    ];
    for (parameter, name) in overrides {
        let Some(text) = query.get(parameter) else { continue };
        let value = latin_1(text).and_then(|bytes| HeaderValue::from_bytes(&bytes).ok()).ok_or_else(|| {
            S3Error::with(Code::InvalidArgument, "Header value cannot be represented using ISO-8859-1.")
                .detail("ArgumentName", parameter)
                .detail("ArgumentValue", text)
        })?;
        headers.insert(name, value);
    }
    Ok(())
}

/// The header value of a kept text, byte for byte; `None` where it can be none, which only text from elsewhere could be.
pub fn as_sent(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(&latin_1(text)?).ok()
}

/// The same of the user's own metadata, whose UTF-8 goes back as encoded words (User Guide, "Working with object
/// metadata").
fn user_value(text: &str) -> Option<HeaderValue> {
    match String::from_utf8(latin_1(text)?) {
        Ok(text) if !text.is_ascii() => HeaderValue::try_from(encoded_words(&text)).ok(),
        _ => as_sent(text),
    }
}

/// The bytes of a text in ISO-8859-1; `None` where it has other characters.
fn latin_1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

/// A text as the encoded words of RFC 2047, section 2: none longer than 75 characters, none with a part of a character.
/// Who decodes them drops the blanks between them.
fn encoded_words(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end =
            (0..=MAX_WORD_LEN.min(rest.len())).rev().find(|end| rest.is_char_boundary(*end)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        words.push(format!("=?UTF-8?B?{}?=", BASE64.encode(word)));
        rest = after;
    }
    words.join(" ")
}

/// The bytes of a header value as a text to keep.
fn kept_text(value: &HeaderValue) -> String {
    value.as_bytes().iter().map(|byte| char::from(*byte)).collect()
}

/// All values of a header, which HTTP allows to join; `None` where it is not there or empty.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let mut joined = String::new();
    for value in headers.get_all(name) {
        if !joined.is_empty() {
            joined.push_str(", ");
        }
        joined.push_str(kept_text(value).trim());
    }
    (!joined.is_empty()).then_some(joined)
}

/// `aws-chunked` is of the request, not of the object.
fn without_aws_chunked(encodings: String) -> Option<String> {
    let is_ours = |encoding: &str| encoding.trim().eq_ignore_ascii_case("aws-chunked");
    if !encodings.split(',').any(is_ours) {
        return Some(encodings);
    }
    let others: Vec<_> = encodings.split(',').filter(|encoding| !is_ours(encoding)).map(str::trim).collect();
    (!others.is_empty()).then(|| others.join(", "))
}

fn user_metadata(headers: &HeaderMap) -> Result<Vec<(String, String)>, S3Error> {
    let mut user = Vec::new();
    let mut size = 0;
    for name in headers.keys() {
        let Some(short) = name.as_str().strip_prefix(USER_PREFIX).filter(|short| !short.is_empty()) else { continue };
        let values: Vec<_> = headers.get_all(name).iter().map(kept_text).collect();
        let value = values.join(",");
        // Each character is one byte of the header.
        size += short.len() + value.chars().count();
        user.push((short.to_owned(), value));
    }
    if size > MAX_USER_METADATA_LEN {
        return Err(S3Error::from(Code::MetadataTooLarge)
            .detail("Size", size.to_string())
            .detail("MaxSizeAllowed", MAX_USER_METADATA_LEN.to_string()));
    }
    // The order of a map of headers is nobody's; that of a record should be the same each time.
    user.sort();
    Ok(user)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn what_is_said_is_given_back() {
        let given = headers(&[
            ("content-type", b"audio/ogg"),
            ("cache-control", b"public, max-age=14400"),
            ("content-disposition", b"attachment; filename=\"a\""),
            ("content-encoding", b"gzip"),
            ("content-language", b"eo"),
            ("expires", b"Thu, 01 Dec 2094 16:00:00 GMT"),
            ("x-amz-website-redirect-location", b"/elsewhere"),
            ("x-amz-meta-mtime", b"1500000000.5"),
            ("x-amz-meta-empty", b""),
        ]);
        let mut answer = HeaderMap::new();
        to_headers(&from_headers(&given).unwrap(), &mut answer);
        assert_eq!(answer, given);
    }

    #[test]
    fn nothing_said_is_an_octet_stream() {
        let attributes = from_headers(&headers(&[("content-type", b""), ("cache-control", b"")])).unwrap();
        assert_eq!(attributes, Attributes::default());
        let mut answer = HeaderMap::new();
        to_headers(&attributes, &mut answer);
        assert_eq!(answer.len(), 1);
        assert_eq!(answer[CONTENT_TYPE], DEFAULT_CONTENT_TYPE);
    }

    #[test]
    fn aws_chunked_is_taken_out_of_the_encodings() {
        let encoding =
            |values: &[u8]| from_headers(&headers(&[("content-encoding", values)])).unwrap().content_encoding;
        assert_eq!(encoding(b"gzip").as_deref(), Some("gzip"));
        assert_eq!(encoding(b"deflate, gzip").as_deref(), Some("deflate, gzip"));
        assert_eq!(encoding(b"deflate,gzip").as_deref(), Some("deflate,gzip"));
        assert_eq!(encoding(b"gzip, aws-chunked").as_deref(), Some("gzip"));
        assert_eq!(encoding(b"aws-chunked, gzip").as_deref(), Some("gzip"));
        assert_eq!(encoding(b"aws-chunked,deflate,gzip").as_deref(), Some("deflate, gzip"));
        assert_eq!(encoding(b"aws-chunked"), None);
        assert_eq!(encoding(b"aws-chunked, aws-chunked"), None);
    }

    #[test]
    fn values_of_the_same_name_are_joined() {
        let given = headers(&[("x-amz-meta-a", b"1"), ("x-amz-meta-a", b"2")]);
        assert_eq!(from_headers(&given).unwrap().user, [("a".to_owned(), "1,2".to_owned())]);
    }

    #[test]
    fn two_kilobytes_of_metadata_are_the_limit() {
        let fits = vec![b'x'; MAX_USER_METADATA_LEN - 3];
        assert!(from_headers(&headers(&[("x-amz-meta-abc", &fits)])).is_ok());
        let over = vec![b'x'; MAX_USER_METADATA_LEN - 2];
        let error = from_headers(&headers(&[("x-amz-meta-abc", &over)])).unwrap_err();
        assert_eq!(error.code, Code::MetadataTooLarge);
        let half = vec![0xe9; MAX_USER_METADATA_LEN / 2 - 1];
        assert!(from_headers(&headers(&[("x-amz-meta-a", &half), ("x-amz-meta-b", &half)])).is_ok());
        assert!(from_headers(&headers(&[("x-amz-meta-a", &half), ("x-amz-meta-bc", &half)])).is_err());
    }

    #[test]
    fn a_redirect_leads_somewhere() {
        let redirect = |value: &[u8]| website_redirect(&headers(&[("x-amz-website-redirect-location", value)]));
        assert_eq!(redirect(b"https://example.org/x").unwrap().as_deref(), Some("https://example.org/x"));
        assert!(redirect(b"elsewhere").is_err());
        assert_eq!(redirect(b"").unwrap(), None);
    }

    #[test]
    fn overrides_replace_and_add() {
        let query =
            Params(vec![("response-content-type".into(), "foo/bar".into()), ("response-expires".into(), "123".into())]);
        let mut answer = HeaderMap::new();
        to_headers(&Attributes::default(), &mut answer);
        override_headers(&query, &mut answer).unwrap();
        assert_eq!(answer[CONTENT_TYPE], "foo/bar");
        assert_eq!(answer[EXPIRES], "123");
        let mut over = |value: &str| {
            let query = Params(vec![("response-content-disposition".into(), value.into())]);
            override_headers(&query, &mut answer).map_err(|error| error.code)?;
            Ok(answer[CONTENT_DISPOSITION].as_bytes().to_vec())
        };
        assert_eq!(over("filename=caf\u{e9}"), Ok(b"filename=caf\xe9".to_vec()));
        for bad in ["a\r\nX-Evil: 1", "filename=\u{65e5}\u{672c}", "\u{20ac}", "\u{100}", "\u{1f600}"] {
            assert_eq!(over(bad), Err(Code::InvalidArgument), "{bad}");
        }
    }

    #[test]
    fn utf_8_is_given_back_in_encoded_words() {
        let given = headers(&[
            ("x-amz-meta-a", "ÄMÄZÕÑ S3".as_bytes()),
            ("x-amz-meta-b", b"AMAZONS3"),
            ("x-amz-meta-c", b"caf\xe9"),
            ("content-disposition", "attachment; filename=\"\u{65e5}\"".as_bytes()),
        ]);
        let mut answer = HeaderMap::new();
        to_headers(&from_headers(&given).unwrap(), &mut answer);
        assert_eq!(answer["x-amz-meta-a"], "=?UTF-8?B?w4RNw4Raw5XDkSBTMw==?=");
        assert_eq!(answer["x-amz-meta-b"], "AMAZONS3");
        assert_eq!(answer["x-amz-meta-c"].as_bytes(), b"caf\xe9");
        // What a browser reads means what it meant.
        assert_eq!(answer[CONTENT_DISPOSITION].as_bytes(), "attachment; filename=\"\u{65e5}\"".as_bytes());
    }

    /// What encoded words say, for short words only.
    fn decode(words: &str) -> String {
        let words = words.split(' ').map(|word| {
            assert!(word.len() <= 75, "{word}");
            let inner = word.strip_prefix("=?UTF-8?B?").and_then(|rest| rest.strip_suffix("?=")).unwrap();
            String::from_utf8(BASE64.decode(inner).unwrap()).unwrap()
        });
        words.collect()
    }

    proptest! {
        #[test]
        fn every_text_comes_back_in_words_that_are_short_enough(value in "\\PC{0,99}é\\PC{0,99}") {
            let mut answer = HeaderMap::new();
            to_headers(&from_headers(&headers(&[("x-amz-meta-a", value.as_bytes())])).unwrap(), &mut answer);
            prop_assert_eq!(decode(answer["x-amz-meta-a"].to_str().unwrap()), value);
        }

        #[test]
        fn every_other_value_that_a_header_can_have_comes_back_byte_for_byte(
            value in proptest::collection::vec(prop_oneof![0x20u8..0x7f, 0x80u8..=0xff], 0..100)
        ) {
            prop_assume!(value.is_ascii() || std::str::from_utf8(&value).is_err());
            let given = headers(&[("x-amz-meta-a", &value)]);
            let mut answer = HeaderMap::new();
            to_headers(&from_headers(&given).unwrap(), &mut answer);
            prop_assert_eq!(answer["x-amz-meta-a"].as_bytes(), &value[..]);
        }
    }
}
