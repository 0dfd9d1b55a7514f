//! Continuation tokens: where a list goes on, in a form that clients cannot read anything into. A token grants
//! nothing; its checksum only finds what was cut off or made up.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cairn_storage::meta::query::ListFrom;

use crate::error::{Code, S3Error};

const VERSION: u8 = 1;
const AFTER_KEY: u8 = 1;
const AFTER_PREFIX: u8 = 2;
const CHECKSUM_LEN: usize = 8;

/// The token of a place.
pub fn encode(from: &ListFrom) -> String {
    let (kind, text) = match from {
        ListFrom::Start => (AFTER_KEY, ""),
        ListFrom::AfterKey(key) => (AFTER_KEY, key.as_str()),
        ListFrom::AfterPrefix(prefix) => (AFTER_PREFIX, prefix.as_str()),
    };
    let mut bytes = Vec::with_capacity(2 + text.len() + CHECKSUM_LEN);
    bytes.extend_from_slice(&[VERSION, kind]);
    bytes.extend_from_slice(text.as_bytes());
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(&checksum.as_bytes()[..CHECKSUM_LEN]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place of a token; `InvalidArgument` for what is not one of ours.
pub fn decode(token: &str) -> Result<ListFrom, S3Error> {
    parse(token).ok_or_else(|| {
        S3Error::with(Code::InvalidArgument, "The continuation token provided is incorrect")
            .detail("ArgumentName", "continuation-token")
    })
}

fn parse(token: &str) -> Option<ListFrom> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (content, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_LEN)?)?;
    if checksum != &blake3::hash(content).as_bytes()[..CHECKSUM_LEN] {
        return None;
    }
    let ([VERSION, kind], text) = content.split_first_chunk()? else {
        return None;
    };
    let text = std::str::from_utf8(text).ok()?.to_owned();
    match *kind {
        AFTER_KEY if text.is_empty() => Some(ListFrom::Start),
        AFTER_KEY => Some(ListFrom::AfterKey(text)),
        AFTER_PREFIX => Some(ListFrom::AfterPrefix(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_the_place_it_was_made_of() {
        for from in [
            ListFrom::Start,
            ListFrom::AfterKey("a/b é\0".to_owned()),
            ListFrom::AfterPrefix("a/".to_owned()),
            ListFrom::AfterKey("k".repeat(1_024)),
        ] {
            let token = encode(&from);
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{token}");
            assert_eq!(decode(&token).unwrap(), from);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_place_has_a_token_and_nothing_else_does(key in ".{1,200}", noise in ".{0,80}") {
            let from = ListFrom::AfterPrefix(key);
            proptest::prop_assert_eq!(decode(&encode(&from)).unwrap(), from);
            proptest::prop_assert!(decode(&noise).is_err());
        }
    }

    #[test]
    fn a_token_that_was_tampered_with_is_refused() {
        let token = encode(&ListFrom::AfterKey("some key".to_owned()));
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(decode(&changed).unwrap_err().code, Code::InvalidArgument, "{at}");
            assert_eq!(decode(&token[..at]).unwrap_err().code, Code::InvalidArgument, "{at}");
        }
        assert!(decode("whatever").is_err());
        assert!(decode("").is_err());
    }
}
