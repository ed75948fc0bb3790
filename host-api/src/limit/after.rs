//! `Retry-After`: when a target wants to be called again.
//!
//! Refuses what is neither seconds nor an HTTP date: then nothing was said.
//! Source: RFC 9110, 10.2.3.

use std::time::{Duration, UNIX_EPOCH};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use stepwell_types::Timestamp;

/// Milliseconds for which a response asks to be left alone; `None`: it does not.
/// At most `max_ms`, whatever it says.
pub(super) fn pause_ms(
    status: StatusCode,
    headers: &HeaderMap,
    now: Timestamp,
    max_ms: u64,
) -> Option<u64> {
    let asks = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if !asks.contains(&status) {
        return None;
    }
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let ms = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are a long time.
        text.parse::<u64>()
            .map_or(u64::MAX, |seconds| seconds.saturating_mul(1_000))
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        let since = date.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let at = Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
        at.since_ms(now)
    };
    Some(ms.min(max_ms))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn seconds_and_dates() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = Timestamp(784_111_777_000);
        let check = |status: u16, text: &str, expected: Option<u64>| {
            let status = StatusCode::from_u16(status).expect("a status");
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).expect("a value"));
            let got = pause_ms(status, &headers, now, 60_000);
            assert_eq!(got, expected, "{status} {text:?}");
        };
        check(429, "7", Some(7_000));
        check(503, " 7 ", Some(7_000));
        check(429, "0", Some(0));
        check(429, "3600", Some(60_000));
        check(429, "99999999999999999999999", Some(60_000));
        check(429, "Sun, 06 Nov 1994 08:49:40 GMT", Some(3_000));
        check(503, "Sunday, 06-Nov-94 08:49:40 GMT", Some(3_000));
        check(503, "Sun Nov  6 08:49:40 1994", Some(3_000));
        check(429, "Sun, 06 Nov 1994 08:49:30 GMT", Some(0));
        check(429, "Fri, 06 Nov 2093 08:49:30 GMT", Some(60_000));
        for odd in ["", "-1", "+1", "1.5", "soon", "1 s", "Sun, 06 Nov 1994"] {
            check(429, odd, None);
        }
        check(500, "7", None);
        check(200, "7", None);
        check(404, "7", None);
        let none = pause_ms(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), now, 1);
        assert_eq!(none, None);
    }
}
