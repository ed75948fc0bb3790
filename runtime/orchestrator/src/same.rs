//! Whether a start by name has the input of the start before it: what says the same in other bytes is the
//! same input.
//!
//! Refuses to read numbers: a flow may tell `1.0` from `1`, and no float holds them all.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use stepwell_store::Reader;
use stepwell_types::{Data, Digest};

use crate::Error;
use crate::history::first_input;
use crate::rows::NameRow;

/// Bytes of the inputs that are compared by what they say: as many as Step Functions lets one have.
/// Longer ones are compared byte for byte, as a loop does nothing else meanwhile.
const BYTES_MAX: usize = 256 << 10;
/// How often two such inputs are read: each level of nesting reads what is in it once more. Long ones
/// that are nested deep are compared byte for byte too.
const READS_MAX: usize = 16;

type Members<'t> = BTreeMap<String, &'t RawValue>;

/// Whether the execution that has a name was started with this input. Its first log row is read only
/// where the bytes differ.
/// # Errors
/// `RUN0012`.
pub(crate) fn started_with(
    reader: &dyn Reader,
    row: &NameRow,
    input: &Data,
) -> Result<bool, Error> {
    if row.input == Digest::of(input.text().as_bytes()) {
        return Ok(true);
    }
    if input.len_bytes() > BYTES_MAX {
        return Ok(false);
    }
    let first = first_input(reader, row.execution)?;
    Ok(first.is_some_and(|first| same_input(&first, input)))
}

/// Whether two inputs say the same: blanks, the order of members and escapes in strings say nothing.
/// Numbers are compared as they are written.
pub(crate) fn same_input(one: &Data, other: &Data) -> bool {
    let (one, other) = (one.text(), other.text());
    let mut left = 2 * BYTES_MAX * READS_MAX;
    one == other || (one.len().max(other.len()) <= BYTES_MAX && same(one, other, &mut left))
}

/// `left`: how many bytes may still be read.
fn same(one: &str, other: &str, left: &mut usize) -> bool {
    let (one, other) = (one.trim_ascii(), other.trim_ascii());
    if one == other {
        return true;
    }
    let Some(rest) = left.checked_sub(one.len() + other.len()) else {
        return false;
    };
    *left = rest;
    match (one.as_bytes().first(), other.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => {
            let (one, other) = (read::<Members<'_>>(one), read::<Members<'_>>(other));
            one.zip(other).is_some_and(|(one, other)| {
                let mut pairs = one.iter().zip(&other);
                one.len() == other.len()
                    && pairs
                        .all(|((a, one), (b, other))| a == b && same(one.get(), other.get(), left))
            })
        }
        (Some(b'['), Some(b'[')) => {
            let (one, other) = (read::<Vec<&RawValue>>(one), read::<Vec<&RawValue>>(other));
            one.zip(other).is_some_and(|(one, other)| {
                let mut pairs = one.iter().zip(&other);
                one.len() == other.len()
                    && pairs.all(|(one, other)| same(one.get(), other.get(), left))
            })
        }
        (Some(b'"'), Some(b'"')) => {
            let (one, other) = (read::<String>(one), read::<String>(other));
            one.is_some() && one == other
        }
        _ => false,
    }
}

fn read<'t, T: Deserialize<'t>>(text: &'t str) -> Option<T> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(one: &str, other: &str, want: bool) {
        let data = |text| Data::parse(text).expect("JSON");
        let (one, other) = (data(one), data(other));
        assert_eq!(same_input(&one, &other), want, "{one:?} {other:?}");
        assert_eq!(same_input(&other, &one), want, "{other:?} {one:?}");
    }

    #[test]
    fn inputs_are_the_same_that_say_the_same() {
        check("[1]", " [ 1 ]\n", true);
        check(
            r#"{"a": [1, {"b": null, "c": "é"}], "d": {}}"#,
            r#"{"d":{},"a":[1,{"c":"\u00e9","b":null}]}"#,
            true,
        );
        check(r#"{"a": 1, "a": 2}"#, r#"{"a":2}"#, true);
        check(r#""a\/b""#, r#""a/b""#, true);
        for (one, other) in [
            ("[1, 2]", "[2, 1]"),
            ("[1]", "[1, 1]"),
            (r#"{"a": 1}"#, r#"{"a": 1, "b": 1}"#),
            (r#"{"a": 1}"#, r#"{"b": 1}"#),
            (r#"{"a": " "}"#, r#"{"a": ""}"#),
            ("1", r#""1""#),
            ("[]", "{}"),
            ("null", "false"),
            ("[1.0]", "[1]"),
            ("[12345678901234567890123]", "[ 12345678901234567890124]"),
        ] {
            check(one, other, false);
        }
    }

    #[test]
    fn long_inputs_are_compared_byte_for_byte() {
        let long = format!("[{:?}]", "x".repeat(BYTES_MAX));
        check(&long, &long, true);
        check(&long, &long.replace('[', "[ "), false);
    }

    #[test]
    fn long_inputs_that_are_nested_deep_are_compared_byte_for_byte() {
        let nested = |depth: usize, blank: &str| {
            let text = "x".repeat(BYTES_MAX / 2);
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!("{open}{blank}\"{text}\"{close}")
        };
        check(&nested(8, ""), &nested(8, " "), true);
        check(&nested(100, ""), &nested(100, " "), false);
    }
}
