//! The query of a request: its parameters decoded, and its canonical form. `+` is a space, as S3 reads it.

use std::borrow::Cow;

const HEX_UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// The parameters of a raw query, undecoded and in order; a parameter without `=` has an empty value.
fn raw_pairs(raw_query: &str) -> impl Iterator<Item = (&str, &str)> {
    raw_query.split('&').filter(|piece| !piece.is_empty()).map(|piece| piece.split_once('=').unwrap_or((piece, "")))
}

/// The parameters of a raw query, decoded and in order.
pub(super) fn pairs(raw_query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    raw_pairs(raw_query).map(|(name, value)| (decode(name), decode(value)))
}

/// The same; a parameter without `=` has no value.
pub(super) fn pairs_as_sent(raw_query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Option<Cow<'_, [u8]>>)> {
    raw_query.split('&').filter(|piece| !piece.is_empty()).map(|piece| match piece.split_once('=') {
        Some((name, value)) => (decode(name), Some(decode(value))),
        None => (decode(piece), None),
    })
}

fn decode(raw: &str) -> Cow<'_, [u8]> {
    if raw.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        Cow::Owned(decoded_query(raw.as_bytes()).collect())
    } else {
        Cow::Borrowed(raw.as_bytes())
    }
}

/// Percent-decoded. A `%` without two hexadecimal digits after it stands for itself.
pub(super) fn decoded(raw: &[u8]) -> impl Iterator<Item = u8> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *raw.get(at)?;
        if byte == b'%'
            && let (Some(high), Some(low)) = (hex_digit(raw.get(at + 1)), hex_digit(raw.get(at + 2)))
        {
            at += 3;
            return Some(high << 4 | low);
        }
        at += 1;
        Some(byte)
    })
}

/// Percent-decoded, with `+` for a space. An escaped `+` stays one.
fn decoded_query(raw: &[u8]) -> impl Iterator<Item = u8> {
    // Split first, so that `%2B` is not mistaken for the space that it is not.
    raw.split(|byte| *byte == b'+')
        .enumerate()
        .flat_map(|(index, piece)| (index > 0).then_some(b' ').into_iter().chain(decoded(piece)))
}

fn hex_digit(byte: Option<&u8>) -> Option<u8> {
    match byte? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
        digit @ b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// One byte in S3's `UriEncode`: the unreserved characters of RFC 3986 as they are, all else as `%XX`.
pub(super) fn write_encoded(out: &mut Vec<u8>, byte: u8) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        out.push(byte);
    } else {
        out.extend_from_slice(&[b'%', HEX_UPPER[usize::from(byte >> 4)], HEX_UPPER[usize::from(byte & 15)]]);
    }
}

/// The canonical query: each name and value encoded, sorted by name, then by value.
pub(super) fn write_canonical(out: &mut Vec<u8>, raw_query: &str, skip: Option<&str>) {
    if raw_query.is_empty() {
        return;
    }
    let mut encoded: Vec<(Vec<u8>, Vec<u8>)> = raw_pairs(raw_query)
        .map(|(name, value)| (reencode(name), reencode(value)))
        // The names that are skipped are of unreserved characters only, so encoded is decoded.
        .filter(|(name, _)| skip.is_none_or(|skipped| name != skipped.as_bytes()))
        .collect();
    encoded.sort_unstable();
    for (index, (name, value)) in encoded.iter().enumerate() {
        if index > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

fn reencode(raw: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 8);
    for byte in decoded_query(raw.as_bytes()) {
        write_encoded(&mut out, byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(raw: &str) -> String {
        let mut out = Vec::new();
        write_canonical(&mut out, raw, Some("X-Amz-Signature"));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn parameters_are_sorted_by_their_encoded_name_and_then_value() {
        assert_eq!(canonical("b=2&a=1&a=0&B=3"), "B=3&a=0&a=1&b=2");
        // `=` sorts after `-`: whole pieces must not be compared.
        assert_eq!(canonical("a-b=1&a=2"), "a=2&a-b=1");
        assert_eq!(canonical("lifecycle"), "lifecycle=");
        assert_eq!(canonical("&&x&=y&"), "=y&x=");
    }

    #[test]
    fn parameters_are_decoded_and_encoded_once() {
        assert_eq!(canonical("prefix=a+b%2Bc/d"), "prefix=a%20b%2Bc%2Fd");
        assert_eq!(canonical("k=a=b=c"), "k=a%3Db%3Dc");
        assert_eq!(canonical("k=%e1%88%b4"), "k=%E1%88%B4");
        assert_eq!(canonical("k=%&%zz=%4"), "%25zz=%254&k=%25");
    }

    #[test]
    fn the_signature_is_left_out() {
        assert_eq!(canonical("X-Amz-Signature=abc&a=1"), "a=1");
        assert_eq!(canonical("X%2DAmz-Signature=abc"), "");
    }

    #[test]
    fn pairs_are_decoded_in_order() {
        let all: Vec<_> = pairs("b=1+2&a&c=%2B%").map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        let expected = [("b", "1 2"), ("a", ""), ("c", "+%")];
        assert_eq!(all, expected.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())));
    }
}
