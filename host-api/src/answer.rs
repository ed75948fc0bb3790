//! The bytes of a recorded answer: a result as versioned JSON.
//!
//! Refuses anything it did not write itself: damaged bytes are no answer.

use serde::{Deserialize, Serialize};
use stepwell_types::{Data, Failure};

/// First byte of every answer.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
enum Wire {
    Ok(Data),
    Failed(Failure),
}

/// What the journal keeps of an answer.
#[must_use]
pub fn encode(result: &Result<Data, Failure>) -> Vec<u8> {
    let wire = match result {
        Ok(data) => Wire::Ok(data.clone()),
        Err(failure) => Wire::Failed(failure.clone()),
    };
    let mut out = vec![VERSION];
    // Strings and a tag: printing them cannot fail.
    out.extend(serde_json::to_vec(&wire).unwrap_or_default());
    out
}

/// The answer in recorded bytes; `None` when they are damaged or of a newer release.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Result<Data, Failure>> {
    let (version, json) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    match serde_json::from_slice(json).ok()? {
        Wire::Ok(data) => Data::parse(data.text()).ok().map(Ok),
        Wire::Failed(failure) => Some(Err(failure)),
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
            b"\x01",
            b"\x02{\"Ok\":\"1\"}",
            b"\x01{\"Ok\":\"{\"}",
            b"\x01[]",
        ] {
            assert_eq!(decode(bytes), None, "{bytes:?}");
        }
    }
}
