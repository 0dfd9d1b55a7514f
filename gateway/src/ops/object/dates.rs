//! Reads HTTP's dates, of which S3 compares whole seconds only. Pure; `xml::http_date` writes them.
//!
//! Source: RFC 9110, section 5.6.7.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use crate::xml::trim;

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the form that is in use.
const IMF_FIXDATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// `Sunday, 06-Nov-1994 08:49:37 GMT`: the obsolete form of RFC 850 after its year has been made whole.
const RFC_850_WITH_CENTURY: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:long], [day]-[month repr:short]-[year] [hour]:[minute]:[second] GMT");

/// `Sun Nov  6 08:49:37 1994`, obsolete.
const ASCTIME: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]");

/// The seconds since the Unix epoch of a date in one of HTTP's three forms; `None` where it is none of them.
pub fn parse_http_date(text: &str) -> Option<i64> {
    let text = trim(text);
    let date = PrimitiveDateTime::parse(text, IMF_FIXDATE)
        .or_else(|_| PrimitiveDateTime::parse(text, ASCTIME))
        .ok()
        .or_else(|| parse_rfc_850(text))?;
    Some(date.assume_utc().unix_timestamp())
}

/// The same, or an ISO 8601 date, as the XML of DeleteObjects has them.
pub fn parse_any_date(text: &str) -> Option<i64> {
    parse_http_date(text).or_else(|| Some(OffsetDateTime::parse(trim(text), &Rfc3339).ok()?.unix_timestamp()))
}

/// Two digits of a year are of this century up to 69, as POSIX has it.
fn parse_rfc_850(text: &str) -> Option<PrimitiveDateTime> {
    let year: u8 = text.split('-').nth(2)?.get(..2)?.parse().ok()?;
    let century = if year < 70 { "20" } else { "19" };
    let (head, tail) = text.rsplit_once('-')?;
    let full = format!("{head}-{century}{tail}");
    PrimitiveDateTime::parse(&full, RFC_850_WITH_CENTURY).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_the_rfc_are_the_same_second() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(parse_http_date(text), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for seconds in [0, 784_111_777, 1_767_225_599, 4_102_444_800] {
            let text = crate::xml::http_date(seconds * 1000 + 999);
            assert_eq!(parse_http_date(text.to_str().unwrap()), i64::try_from(seconds).ok(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in ["", "yesterday", "Sun, 32 Nov 1994 08:49:37 GMT", "784111777", "1994-11-06T08:49:37Z"] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn iso_dates_are_read_where_xml_has_them() {
        assert_eq!(parse_any_date("1994-11-06T08:49:37Z"), Some(784_111_777));
        assert_eq!(parse_any_date("1994-11-06T08:49:37.250Z"), Some(784_111_777));
        assert_eq!(parse_any_date("1994-11-06T09:49:37+01:00"), Some(784_111_777));
        assert_eq!(parse_any_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse_any_date("soon"), None);
    }
}
