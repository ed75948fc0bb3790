//! RFC 3339 timestamps as flows write them.
//!
//! Refuses to know what time it is.

use stepwell_types::Timestamp;

/// Reads a timestamp such as `2024-08-18T17:33:00.123Z` or `…+02:00`.
///
/// Capital `T` and a zone are required, as Step Functions does. Fractions finer
/// than a millisecond are dropped. `None` if it is no timestamp.
/// Source: states-language.net, "Timestamps".
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let zoned = text.ends_with('Z')
        || (text.len() > 6 && matches!(bytes.get(text.len() - 6), Some(b'+' | b'-')));
    if bytes.get(10) != Some(&b'T') || !zoned || !text.is_ascii() || text.contains(['[', ' ']) {
        return None;
    }
    if bytes.get(13) != Some(&b':') || bytes.get(16) != Some(&b':') {
        return None;
    }
    let parsed: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(parsed.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_rfc_3339_with_a_zone() {
        let check = |text: &str, ms: Option<i64>| {
            assert_eq!(parse(text).map(|t| t.0), ms, "{text}");
        };
        check("1970-01-01T00:00:01Z", Some(1000));
        check("1970-01-01T00:00:00.1234567Z", Some(123));
        check("1970-01-01T02:00:00+02:00", Some(0));
        check("1969-12-31T23:59:59-00:00", Some(-1000));
        check("2016-03-14T01:59:00", None);
        check("2016-03-14 01:59:00Z", None);
        check("2016-03-14t01:59:00Z", None);
        check("2016-03-14T01:59:00z", None);
        check("2016-13-14T01:59:00Z", None);
        check("2016-02-30T01:59:00Z", None);
        check("2016-03-14T25:59:00Z", None);
        check("2016-03-14T01:59Z", None);
        check("2016-03-14", None);
        check("", None);
        check("é", None);
    }
}
