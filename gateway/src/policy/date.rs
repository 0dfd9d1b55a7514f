//! Dates of the condition operators: the W3C's profile of ISO 8601, and seconds since 1970.

use time::{Date, Month};

/// Milliseconds since 1970. `2024`, `2024-05`, `2024-05-06`, `2024-05-06T07:08Z`, `2024-05-06T07:08:09.5+02:00`, or
/// seconds since 1970. Four digits are a year.
pub(super) fn parse_ms(text: &str) -> Option<i64> {
    if text.len() > 4 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<i64>().ok()?.checked_mul(1_000);
    }
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |month| digits(month, 2))?;
    let day = parts.next().map_or(Some(1), |day| digits(day, 2))?;
    if parts.next().is_some() || (time.is_some() && date.len() != 10) {
        return None;
    }
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    let midnight_ms = date.midnight().assume_utc().unix_timestamp() * 1_000;
    Some(midnight_ms + time.map_or(Some(0), time_of_day_ms)?)
}

/// `07:08Z`, `07:08:09Z`, `07:08:09.5+02:00`. Milliseconds since midnight in UTC.
fn time_of_day_ms(text: &str) -> Option<i64> {
    let zone = text.find(['Z', '+', '-'])?;
    let (time, zone) = text.split_at(zone);
    let offset_minutes = match zone.split_at(1) {
        ("Z", "") => 0,
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let minutes = below(hours, 24)? * 60 + below(minutes, 60)?;
            if sign == "-" { -minutes } else { minutes }
        }
    };
    let (hours, rest) = time.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "00"));
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let ms = format!("{fraction:0<3}").get(..3)?.parse::<i64>().ok()?;
    let minutes = below(hours, 24)? * 60 + below(minutes, 60)? - offset_minutes;
    Some((minutes * 60 + below(seconds, 60)?) * 1_000 + ms)
}

fn below(text: &str, bound: i64) -> Option<i64> {
    digits(text, 2).filter(|number| *number < bound)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_w3c_profile_and_epoch_seconds() {
        let table = [
            ("1970", Some(0)),
            ("1970-02", Some(31 * 86_400_000)),
            ("1970-01-02", Some(86_400_000)),
            ("2020-01-01T00:00:01Z", Some(1_577_836_801_000)),
            ("2020-01-01T01:00:01+01:00", Some(1_577_836_801_000)),
            ("2019-12-31T23:30-00:30", Some(1_577_836_800_000)),
            ("2020-01-01T00:00:00.25Z", Some(1_577_836_800_250)),
            ("2020-01-01T00:00:00.123456Z", Some(1_577_836_800_123)),
            ("1577836801", Some(1_577_836_801_000)),
            ("1969-12-31T23:59:59Z", Some(-1_000)),
            ("", None),
            ("20", None),
            ("2020-1-1", None),
            ("2020-13-01", None),
            ("2021-02-29", None),
            ("2020-01-01T00:00:00", None),
            ("2020-01T00:00Z", None),
            ("2020-01-01T24:00Z", None),
            ("2020-01-01T00:00:60Z", None),
            ("2020-01-01T00:00:00.Z", None),
            ("2020-01-01T00:00:00Zulu", None),
            ("2020-01-01-01", None),
            ("99999999999999999999", None),
            ("9223372036854775807", None),
            ("éééé", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_ms(text), expected, "{text}");
        }
    }
}
