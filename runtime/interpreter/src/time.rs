//! RFC 3339 text from and to milliseconds, as strictly as Step Functions reads it.
//!
//! Refuses time zones by name, a space in place of `T`, a missing offset and leap seconds.

use stepwell_types::Timestamp;

/// Longest text of a moment: seconds with nine digits behind the point, and an offset.
const MOMENT_BYTES_MAX: usize = 35;

/// Nanoseconds since 1970 of an RFC 3339 date-time with upper-case `T` and `Z`
/// or a numeric offset; `None` when the text is anything else.
pub(crate) fn parse_nanos(text: &str) -> Option<i128> {
    let b = text.as_bytes();
    let date = b.get(..19)?;
    if date[4] != b'-'
        || date[7] != b'-'
        || date[10] != b'T'
        || date[13] != b':'
        || date[16] != b':'
    {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        date.get(from..to)?.iter().try_fold(0i64, |n, c| {
            c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = b.get(19..)?;
    let mut nanos: i64 = 0;
    if rest.first() == Some(&b'.') {
        let digits = rest[1..].iter().take_while(|c| c.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        for i in 0..9 {
            let digit = if i < digits {
                i64::from(rest[1 + i] - b'0')
            } else {
                0
            };
            nanos = nanos * 10 + digit;
        }
        rest = rest.get(1 + digits..)?;
    }
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
        - offset_seconds(rest)?;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

/// The moment that a Wait waits for, in milliseconds, fractions of one rounded up. Read as
/// Java's `ISO_OFFSET_DATE_TIME` does: letters in either case, seconds that may be left out,
/// and no more than nine digits of a fraction.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    if text.len() > MOMENT_BYTES_MAX {
        return None;
    }
    let mut text = text.to_ascii_uppercase();
    if matches!(text.as_bytes().get(16), Some(b'Z' | b'+' | b'-')) {
        text.insert_str(16, ":00");
    }
    let fraction = text.bytes().skip(20).take_while(u8::is_ascii_digit).count();
    if text.as_bytes().get(19) == Some(&b'.') && fraction > 9 {
        return None;
    }
    let nanos = parse_nanos(&text)?;
    let ms = nanos.div_euclid(1_000_000) + i128::from(nanos.rem_euclid(1_000_000) != 0);
    i64::try_from(ms).ok().map(Timestamp)
}

/// `2024-05-06T07:08:09.123Z`: always UTC, always three digits.
pub(crate) fn print(at: Timestamp) -> String {
    let ms = at.0.rem_euclid(1_000);
    let seconds = at.0.div_euclid(1_000);
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60
    )
}

/// `Tue, 24 Nov 2026 17:35:00 GMT`. Source: RFC 9110, section 5.6.7.
pub(crate) fn http_date(at: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = at.0.div_euclid(1_000);
    let days = seconds.div_euclid(86_400);
    let (year, month, day) = civil_from_days(days);
    let pick = |names: &[&'static str], n: i64| {
        let n = usize::try_from(n).unwrap_or(0);
        names.get(n).copied().unwrap_or_default()
    };
    let of_day = seconds.rem_euclid(86_400);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        pick(&DAYS, days.rem_euclid(7)),
        pick(&MONTHS, month - 1),
        of_day / 3_600,
        of_day / 60 % 60,
        of_day % 60
    )
}

fn offset_seconds(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|c| c.is_ascii_digit()) =>
        {
            let two = |a: &u8, b: &u8| i64::from(a - b'0') * 10 + i64::from(b - b'0');
            let (hours, minutes) = (two(h1, h2), two(m1, m2));
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3_600 + minutes * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, counted in eras of 400 years.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, ms: Option<i64>) {
        assert_eq!(parse(text).map(|t| t.0), ms, "{text}");
    }

    #[test]
    fn reads_what_step_functions_reads() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("2016-03-14T01:59:00Z", Some(1_457_920_740_000));
        check("2016-03-14T01:59:00.5+01:30", Some(1_457_915_340_500));
        check("2016-03-14T01:59:00.000000001Z", Some(1_457_920_740_001));
        check("2000-02-29T23:59:59-00:00", Some(951_868_799_000));
        check("2016-03-14t01:59:00z", Some(1_457_920_740_000));
        check("2016-03-14T01:59Z", Some(1_457_920_740_000));
        check("2016-03-14T01:59+01:30", Some(1_457_915_340_000));
        check(
            "2016-03-14T01:59:00.123456789+00:00",
            Some(1_457_920_740_124),
        );
        check("0001-01-01T00:00:00Z", Some(-62_135_596_800_000));
        for bad in [
            "",
            "2016-13-05T21:29:29Z",
            "05-12-2016T21:29:29Z",
            "2016-12-05T25:29:29Z",
            "2016-12-05 21:29:29Z",
            "2016-12-05T21:29:29",
            "2015-02-29T00:00:00Z",
            "2016-12-05T21:29:60Z",
            "2016-12-05T21:29:29.Z",
            "2016-12-05T21:29:29.1234567890Z",
            "2016-12-05T21Z",
            "2016-12-05T21:29",
            "2016-12-05T21:2€Z",
            "2016-12-05T21:29:29+1:00",
            "2016-12-0€T21:29:29Z",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn prints_a_date_for_http() {
        let check = |ms: i64, expected: &str| assert_eq!(super::http_date(Timestamp(ms)), expected);
        check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
        check(784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn prints_what_it_reads() {
        for ms in [
            0,
            1,
            951_868_799_123,
            -62_135_596_800_000,
            253_402_300_799_999,
        ] {
            check(&print(Timestamp(ms)), Some(ms));
        }
        assert_eq!(
            print(Timestamp(1_457_920_740_007)),
            "2016-03-14T01:59:00.007Z"
        );
    }
}
