//! The two forms of a date that a signature may use. Knows no clock.

use time::format_description::well_known::Rfc2822;
use time::{Date, Month, OffsetDateTime, Time};

/// A moment, to the second, that can be written as signatures write it. Never before 1970 nor after 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(OffsetDateTime);

impl Moment {
    /// `20130524T000000Z`; nothing else.
    pub(super) fn from_iso_basic(text: &str) -> Option<Self> {
        let bytes: &[u8; 16] = text.as_bytes().try_into().ok()?;
        if bytes[8] != b'T' || bytes[15] != b'Z' {
            return None;
        }
        let date = day(bytes.first_chunk()?)?;
        let time = Time::from_hms(two(bytes, 9)?, two(bytes, 11)?, two(bytes, 13)?).ok()?;
        Self::checked(date.with_time(time).assume_utc())
    }

    /// `20130524T000000Z`, or what an HTTP `Date` may hold: `Fri, 24 May 2013 00:00:00 GMT` (or `-0000`).
    pub(super) fn from_any(text: &str) -> Option<Self> {
        Self::from_iso_basic(text).or_else(|| {
            let parsed = OffsetDateTime::parse(text, &Rfc2822).ok()?;
            Self::checked(parsed.checked_to_offset(time::UtcOffset::UTC)?)
        })
    }

    /// Rounded down to the second. `None` past the year 9999.
    pub(super) fn from_ms(unix_ms: u64) -> Option<Self> {
        Self::checked(OffsetDateTime::from_unix_timestamp(i64::try_from(unix_ms / 1000).ok()?).ok()?)
    }

    fn checked(moment: OffsetDateTime) -> Option<Self> {
        (moment.unix_timestamp() >= 0 && moment.year() <= 9999).then_some(Self(moment))
    }

    /// Milliseconds since 1970.
    pub(super) fn ms(self) -> u64 {
        u64::try_from(self.0.unix_timestamp()).unwrap_or(0) * 1000
    }

    /// `20130524T000000Z`
    pub(super) fn iso_basic(self) -> String {
        let at = self.0;
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", at.hour(), at.minute(), at.second())
    }

    /// `2013-05-24T00:00:00Z`, the form of S3's error details.
    pub(super) fn iso_extended(self) -> String {
        let at = self.0;
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", at.hour(), at.minute(), at.second())
    }
}

/// Whether a text is a day such as `20130524`.
pub(super) fn is_day(text: &str) -> bool {
    text.as_bytes().try_into().ok().and_then(day).is_some()
}

fn day(bytes: &[u8; 8]) -> Option<Date> {
    let year = i32::from(two(bytes, 0)?) * 100 + i32::from(two(bytes, 2)?);
    Date::from_calendar_date(year, Month::try_from(two(bytes, 4)?).ok()?, two(bytes, 6)?).ok()
}

fn two(bytes: &[u8], at: usize) -> Option<u8> {
    let [tens, ones]: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    (tens.is_ascii_digit() && ones.is_ascii_digit()).then(|| (tens - b'0') * 10 + (ones - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_moment() {
        let moment = Moment::from_any("20130524T000000Z").unwrap();
        for text in ["Fri, 24 May 2013 00:00:00 GMT", "Fri, 24 May 2013 00:00:00 -0000", "24 May 2013 02:00:00 +0200"] {
            assert_eq!(Moment::from_any(text), Some(moment), "{text}");
        }
        assert_eq!(moment.ms(), 1_369_353_600_000);
        assert_eq!(moment.iso_basic(), "20130524T000000Z");
        assert_eq!(moment.iso_extended(), "2013-05-24T00:00:00Z");
        assert_eq!(Moment::from_ms(1_369_353_600_999), Some(moment));
    }

    #[test]
    fn what_is_not_a_date_is_none() {
        for text in [
            "",
            "Bad Date",
            "20130524",
            "20130524T000000",
            "20130524T0000000Z",
            "2013052aT000000Z",
            "20131324T000000Z",
            "20130230T000000Z",
            "20130524T250000Z",
            "+0130524T000000Z",
            "Tue, 07 Jul 1950 21:53:04 GMT",
            "19500707T215304Z",
            "ééééTééZ",
        ] {
            assert_eq!(Moment::from_any(text), None, "{text}");
        }
        assert_eq!(Moment::from_ms(u64::MAX), None);
    }

    #[test]
    fn a_day_is_eight_digits_of_the_calendar() {
        assert!(is_day("20130524") && is_day("20240229"));
        assert!(!is_day("20230229") && !is_day("2013052") && !is_day("2013-5-24") && !is_day("201305é"));
    }
}
