//! Query strings and percent-encoding, decoded strictly.
//!
//! Refuses what browsers forgive: a broken escape is an error, not a percent sign.

use crate::Error;

/// The pairs of a query string, in order, decoded. `+` is a space.
///
/// `a&b=1` has `a` with an empty value; empty pieces (`a&&b`) are skipped.
/// # Errors
/// `API0104` for a broken escape or bytes that are not UTF-8.
pub fn pairs(query: &str) -> Result<Vec<(String, String)>, Error> {
    query
        .split('&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            Ok((
                decode(name, true).ok_or(Error::BadEncoding("query"))?,
                decode(value, true).ok_or(Error::BadEncoding("query"))?,
            ))
        })
        .collect()
}

/// One path segment, decoded. `+` stays a plus.
/// # Errors
/// `API0104` for a broken escape or bytes that are not UTF-8.
pub fn segment(text: &str) -> Result<String, Error> {
    decode(text, false).ok_or(Error::BadEncoding("path"))
}

/// `None`: a broken escape, or not UTF-8 after decoding.
fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        match b {
            b'%' => out.push(hex(rest.next()?)? << 4 | hex(rest.next()?)?),
            b'+' if plus_is_space => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, want: Option<&[(&str, &str)]>) {
        let got = pairs(query).ok();
        let want = want.map(|w| {
            w.iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect::<Vec<_>>()
        });
        assert_eq!(got, want, "{query}");
    }

    #[test]
    fn queries() {
        check("", Some(&[]));
        check("a=1&b=2", Some(&[("a", "1"), ("b", "2")]));
        check("a=1&a=2", Some(&[("a", "1"), ("a", "2")]));
        check("flag&&x=", Some(&[("flag", ""), ("x", "")]));
        check("a=b=c", Some(&[("a", "b=c")]));
        check(
            "q=caf%C3%A9+au%20lait%2B",
            Some(&[("q", "caf\u{e9} au lait+")]),
        );
        check("q=%", None);
        check("q=%4", None);
        check("q=%zz", None);
        check("q=%+1", None);
        check("q=%ff", None);
    }

    #[test]
    fn segments_keep_the_plus() {
        assert_eq!(segment("a+b%2Fc").as_deref(), Ok("a+b/c"));
        assert_eq!(segment("%c3"), Err(Error::BadEncoding("path")));
    }
}
