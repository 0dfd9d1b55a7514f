//! Ranges: of a read, which are ignored where they are malformed, and of a copied part, which are refused. Pure.
//!
//! Sources: RFC 9110, section 14; Amazon S3 API Reference, GetObject and UploadPartCopy.

use cairn_storage::meta::query::Wanted;

use crate::error::{Code, S3Error};

/// First and last byte, inclusive.
pub type Span = (u64, u64);

/// The one range of a `Range` header. `None` where S3 gives the whole object: several ranges, another unit, a form
/// that is none (with a blank in it, too), a last byte before the first.
pub fn parse_range(text: &str) -> Option<Wanted> {
    let (unit, range) = text.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    match range.split_once('-')? {
        ("", last) => Some(Wanted::Suffix(number(last)?)),
        (first, "") => Some(Wanted::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Wanted::Between(first, last))
        }
    }
}

/// The bytes of an object of `size` bytes that are wanted; `None` where the range holds none of them. For ranges
/// only, not for parts.
pub fn resolve(wanted: Wanted, size: u64) -> Option<Span> {
    let end = size.checked_sub(1)?;
    match wanted {
        Wanted::From(first) => (first <= end).then_some((first, end)),
        Wanted::Between(first, last) => (first <= end && first <= last).then_some((first, last.min(end))),
        Wanted::Suffix(count) => (count > 0).then(|| (size.saturating_sub(count), end)),
        Wanted::All | Wanted::Nothing | Wanted::Part(_) | Wanted::PartHead(_) => Some((0, end)),
    }
}

/// The last bytes of an object that has none: S3 gives all that there is, with a 200. Readers of Parquet, which look at
/// the end of a file first, count on it. Any other range of an empty object is past its end.
pub fn is_end_of_nothing(wanted: Wanted, size: u64) -> bool {
    size == 0 && matches!(wanted, Wanted::Suffix(1..))
}

/// The value of `Content-Range`.
pub fn content_range((first, last): Span, size: u64) -> String {
    format!("bytes {first}-{last}/{size}")
}

/// The range of an `x-amz-copy-source-range`: `bytes=first-last`, both given.
///
/// # Errors
/// `InvalidArgument` for any other form.
pub fn parse_copy_range(text: &str) -> Result<Span, S3Error> {
    let parse = || {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some((first, last))
    };
    parse().ok_or_else(|| {
        S3Error::with(
            Code::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the \
             zero-based offsets of the first and last bytes to copy",
        )
        .detail("ArgumentName", "x-amz-copy-source-range")
        .detail("ArgumentValue", text)
    })
}

/// Checks that a copied range lies within its source.
///
/// # Errors
/// `InvalidArgument` where it does not.
pub fn within((first, last): Span, size: u64) -> Result<Span, S3Error> {
    if last < size {
        return Ok((first, last));
    }
    let problem = format!("Range specified is not valid for source object of size: {size}");
    Err(S3Error::with(Code::InvalidArgument, problem)
        .detail("ArgumentName", "x-amz-copy-source-range")
        .detail("ArgumentValue", format!("bytes={first}-{last}")))
}

/// Digits and nothing else. What is too large for 64 bits is past the end of anything.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_three_forms_of_a_range_are_read() {
        assert_eq!(parse_range("bytes=0-0"), Some(Wanted::Between(0, 0)));
        assert_eq!(parse_range("bytes=4-7"), Some(Wanted::Between(4, 7)));
        assert_eq!(parse_range("bytes=4-"), Some(Wanted::From(4)));
        assert_eq!(parse_range("bytes=-7"), Some(Wanted::Suffix(7)));
        assert_eq!(parse_range("bytes=-0"), Some(Wanted::Suffix(0)));
        assert_eq!(parse_range("Bytes=1-2"), Some(Wanted::Between(1, 2)));
        assert_eq!(parse_range("bytes=0-99999999999999999999999"), Some(Wanted::Between(0, u64::MAX)));
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_ignored() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-2,4-5",
            "lines=1-2",
            "bytes=7-4",
            "1-2",
            "bytes=1",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=-1-2",
            "bytes=0x1-2",
            "bytes= -1",
            "bytes=- 1",
            "bytes= 1-2",
            "bytes=1 -2",
            "bytes=1- 2",
            "bytes=1-\t",
            "bytes =1-2",
        ] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }

    #[test]
    fn nothing_of_an_empty_object_is_in_a_range() {
        for wanted in [Wanted::From(0), Wanted::Between(0, 0), Wanted::Suffix(5)] {
            assert_eq!(resolve(wanted, 0), None);
        }
        assert!(is_end_of_nothing(Wanted::Suffix(5), 0));
        for (wanted, size) in
            [(Wanted::From(0), 0), (Wanted::Between(0, 0), 0), (Wanted::Suffix(0), 0), (Wanted::Suffix(5), 1)]
        {
            assert!(!is_end_of_nothing(wanted, size));
        }
    }

    #[test]
    fn a_copied_range_has_one_form_only() {
        assert_eq!(parse_copy_range("bytes=0-9").ok(), Some((0, 9)));
        for text in [
            "0-2",
            "bytes=0",
            "bytes=hello-world",
            "bytes=0-bar",
            "bytes=hello-",
            "bytes=0-2,3-5",
            "bytes=-5",
            "bytes=5-",
            "bytes=3-2",
        ] {
            assert_eq!(parse_copy_range(text).unwrap_err().code, Code::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn a_copied_range_must_lie_within_its_source() {
        assert_eq!(within((0, 4), 5).ok(), Some((0, 4)));
        assert_eq!(within((4, 4), 5).ok(), Some((4, 4)));
        assert_eq!(within((0, 5), 5).unwrap_err().code, Code::InvalidArgument);
        assert_eq!(within((0, 0), 0).unwrap_err().code, Code::InvalidArgument);
    }

    /// The bytes of a range, one by one.
    fn model(wanted: Wanted, size: u64) -> Vec<u64> {
        (0..size)
            .filter(|at| match wanted {
                Wanted::From(first) => *at >= first,
                Wanted::Between(first, last) => (first..=last).contains(at),
                Wanted::Suffix(count) => *at + count >= size,
                _ => true,
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_range_holds_the_bytes_that_a_model_says(
            first in 0u64..40, last in 0u64..40, form in 0..3, size in 0u64..32,
        ) {
            let text = match form {
                0 => format!("bytes={first}-{last}"),
                1 => format!("bytes={first}-"),
                _ => format!("bytes=-{last}"),
            };
            match parse_range(&text) {
                None => prop_assert!(form == 0 && last < first),
                Some(wanted) => {
                    let span = resolve(wanted, size);
                    let bytes: Vec<u64> = span.map_or_else(Vec::new, |(first, last)| (first..=last).collect());
                    prop_assert_eq!(model(wanted, size), bytes);
                }
            }
        }

        #[test]
        fn no_text_makes_the_parsers_fall_over(text in ".{0,40}") {
            let _ = parse_range(&text);
            let _ = parse_copy_range(&text);
        }
    }
}
