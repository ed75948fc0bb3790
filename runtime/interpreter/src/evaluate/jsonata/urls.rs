//! `$encodeUrl`, `$encodeUrlComponent` and what decodes, as JavaScript's functions of URLs do.
//!
//! The library leaves a blank as it is, escapes what needs none, and decodes what separates
//! the parts of a URL. Refuses half an escape.
//! Source: ECMA-262, `encodeURI`, `encodeURIComponent`, `decodeURI`, `decodeURIComponent`.

use std::rc::Rc;

use jsonata_core::evaluator::{Evaluator, EvaluatorError};
use jsonata_core::value::JValue;
use stepwell_flow::expression::meter::URLS;

use super::functions::{error, set};
use super::meter::Meter;
use super::pictures::library;

/// What separates the parts of a URL: a whole one keeps these.
const SEPARATORS: &str = ";/?:@&=+$,#";
/// What never needs an escape, besides letters and digits.
const MARKS: &str = "-_.!~*'()";

pub(super) fn register(evaluator: &mut Evaluator, meter: &Rc<Meter>) {
    for (name, bounded) in URLS {
        let own = Rc::clone(meter);
        set(evaluator, name, move |args| {
            call(&own, name, &JValue::Undefined, args)
        });
        let own = Rc::clone(meter);
        set(evaluator, bounded, move |args| match args.split_first() {
            Some((context, args)) => call(&own, name, context, args),
            None => Ok(JValue::Undefined),
        });
    }
}

fn call(
    meter: &Meter,
    name: &str,
    context: &JValue,
    args: &[JValue],
) -> Result<JValue, EvaluatorError> {
    let text = match (args, context) {
        ([JValue::String(text)], _) | ([], JValue::String(text)) => text,
        // Its errors are the library's.
        _ => return library(name, context, args.to_vec()),
    };
    meter.count(5 + text.len() as u64 / 4)?;
    let (encodes, kept) = match name {
        "encodeUrl" => (true, SEPARATORS),
        "encodeUrlComponent" => (true, ""),
        "decodeUrl" => (false, SEPARATORS),
        _ => (false, ""),
    };
    if encodes {
        return Ok(JValue::from(encode(text, kept)));
    }
    decode(text, kept).map(JValue::from).ok_or_else(|| {
        error(format!(
            "D3140: Malformed URL passed to ${name}(): {}",
            serde_json::Value::from(&**text)
        ))
    })
}

fn encode(text: &str, kept: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || MARKS.contains(c) || kept.contains(c) {
            out.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            out.push('%');
            for half in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(half), 16).unwrap_or('0');
                out.push(digit.to_ascii_uppercase());
            }
        }
    }
    out
}

/// `None`: an escape is not whole, or its bytes are no character.
fn decode(text: &str, kept: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(rest.get(..at)?);
        rest = rest.get(at..)?;
        let first = escape(rest)?;
        let length = match first {
            ..0x80 => 1,
            0xC0..0xE0 => 2,
            0xE0..0xF0 => 3,
            0xF0..0xF8 => 4,
            _ => return None,
        };
        let escapes = rest.get(..length * 3)?;
        let mut bytes = Vec::with_capacity(length);
        for i in 0..length {
            bytes.push(escape(escapes.get(i * 3..)?)?);
        }
        match std::str::from_utf8(&bytes).ok()? {
            one if kept.contains(one) => out.push_str(escapes),
            one => out.push_str(one),
        }
        rest = rest.get(length * 3..)?;
    }
    out.push_str(rest);
    Some(out)
}

/// The byte that the three characters at the beginning stand for.
fn escape(text: &str) -> Option<u8> {
    let digits = text.strip_prefix('%')?.get(..2)?;
    let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| hex)
}

#[cfg(test)]
mod tests {
    use super::{SEPARATORS, decode, encode};

    #[test]
    fn escapes_are_written() {
        let check = |text: &str, whole: &str, part: &str| {
            assert_eq!(encode(text, SEPARATORS), whole);
            assert_eq!(encode(text, ""), part);
        };
        check("a b", "a%20b", "a%20b");
        check("-_.!~*'()", "-_.!~*'()", "-_.!~*'()");
        check(
            ";/?:@&=+$,#",
            ";/?:@&=+$,#",
            "%3B%2F%3F%3A%40%26%3D%2B%24%2C%23",
        );
        check(
            "[]\"<>\\^`{|}%",
            "%5B%5D%22%3C%3E%5C%5E%60%7B%7C%7D%25",
            "%5B%5D%22%3C%3E%5C%5E%60%7B%7C%7D%25",
        );
        check("é😀\n", "%C3%A9%F0%9F%98%80%0A", "%C3%A9%F0%9F%98%80%0A");
    }

    #[test]
    fn escapes_are_read() {
        let check = |text: &str, whole: Option<&str>, part: Option<&str>| {
            assert_eq!(decode(text, SEPARATORS).as_deref(), whole, "{text}");
            assert_eq!(decode(text, "").as_deref(), part, "{text}");
        };
        check("a%20b", Some("a b"), Some("a b"));
        check("%23%2f", Some("%23%2f"), Some("#/"));
        check("%C3%A9%F0%9f%98%80", Some("é😀"), Some("é😀"));
        check("é", Some("é"), Some("é"));
        for half in [
            "%",
            "%2",
            "%%",
            "%+1",
            "%é",
            "%E9",
            "%C3%28",
            "%C3",
            "%80",
            "%C0%80",
            "%ED%A0%80",
            "%FF",
        ] {
            check(half, None, None);
        }
    }
}
