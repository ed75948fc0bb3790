//! The bytes of a recorded answer: a version, a tag, and the result's JSON text as it is.
//!
//! Refuses anything it did not write itself: damaged bytes are no answer.

use stepwell_types::{Data, Failure};

/// First byte of every answer.
const VERSION: u8 = 2;
/// Second byte: a result's JSON text follows.
const OK: u8 = 0;
/// Second byte: a failure as JSON follows.
const FAILED: u8 = 1;

/// What the journal keeps of an answer.
#[must_use]
pub fn encode(result: &Result<Data, Failure>) -> Vec<u8> {
    match result {
        Ok(data) => [&[VERSION, OK], data.text().as_bytes()].concat(),
        Err(failure) => {
            // Strings: printing them cannot fail.
            let text = serde_json::to_vec(failure).unwrap_or_default();
            [&[VERSION, FAILED], text.as_slice()].concat()
        }
    }
}

/// The answer in recorded bytes; `None` when they are damaged or of another release.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Result<Data, Failure>> {
    let (VERSION, tagged) = bytes.split_first().map(|(v, rest)| (*v, rest))? else {
        return None;
    };
    match tagged.split_first()? {
        (&OK, text) => Data::parse(std::str::from_utf8(text).ok()?).ok().map(Ok),
        (&FAILED, json) => serde_json::from_slice(json).ok().map(Err),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_comes_back() {
        let check = |result: Result<Data, Failure>| {
            assert_eq!(decode(&encode(&result)), Some(result));
        };
        check(Ok(Data::from_valid_text("{\"a\":18446744073709551615}")));
        check(Err(Failure::new("States.Timeout", "late \"quoted\" \u{1}")));
    }

    #[test]
    fn damaged_bytes_are_no_answer() {
        for bytes in [
            &b""[..],
            b"\x02",
            b"\x01{\"Ok\":\"1\"}",
            b"\x02\x00{",
            b"\x02\x00\xff",
            b"\x02\x01[]",
            b"\x02\x021",
        ] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }
}
