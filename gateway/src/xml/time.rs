//! Times as S3 writes them: ISO 8601 with milliseconds of zero in XML, RFC 1123 in headers.

use http::HeaderValue;
use time::OffsetDateTime;

/// `2006-02-03T16:45:09.000Z`: S3 shows whole seconds.
pub fn iso_8601(at_ms: u64) -> String {
    let mut out = String::with_capacity(24);
    write_iso_8601(&mut out, at_ms);
    out
}

/// `Fri, 03 Feb 2006 16:45:09 GMT`, as in `Last-Modified`.
pub fn http_date(at_ms: u64) -> HeaderValue {
    let at = date(at_ms);
    let weekday = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        weekday[usize::from(at.weekday().number_days_from_monday())],
        at.day(),
        month[usize::from(u8::from(at.month())) - 1],
        at.year(),
        at.hour(),
        at.minute(),
        at.second()
    );
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

pub(super) fn write_iso_8601(out: &mut String, at_ms: u64) {
    let at = date(at_ms);
    // By hand, because a list has a thousand of them.
    let year = at.year().unsigned_abs();
    push_two(out, year / 100);
    push_two(out, year % 100);
    for (separator, number) in
        [('-', u8::from(at.month())), ('-', at.day()), ('T', at.hour()), (':', at.minute()), (':', at.second())]
    {
        out.push(separator);
        push_two(out, u32::from(number));
    }
    out.push_str(".000Z");
}

fn push_two(out: &mut String, number: u32) {
    for digit in [number / 10 % 10, number % 10] {
        out.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

/// A time past the year 9999 is shown as the epoch: no clock gives one.
fn date(at_ms: u64) -> OffsetDateTime {
    i64::try_from(at_ms / 1000)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_by_the_second() {
        assert_eq!(iso_8601(1_138_985_109_999), "2006-02-03T16:45:09.000Z");
        assert_eq!(http_date(1_138_985_109_999), "Fri, 03 Feb 2006 16:45:09 GMT");
        assert_eq!(iso_8601(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(iso_8601(u64::MAX), "1970-01-01T00:00:00.000Z");
    }
}
