//! The intrinsic functions of JSONPath mode.
//!
//! Refuses clocks and true randomness: `UUID` and `MathRandom` draw from the execution's seed.
//! Source: states-language.net, appendix B; the limits are Step Functions'.

use std::borrow::Cow;

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, Engine as _};
use serde_json::{Number, Value};
use stepwell_flow::expression::Intrinsic;
use stepwell_types::limits::PAYLOAD_BYTES_MAX;

use super::{Env, Fault, hash, kind_name, size};
use crate::random;

/// Longest text that `Base64Encode`, `Base64Decode` and `Hash` take, in characters.
const TEXT_CHARS_MAX: usize = 10_000;
/// Most elements that `ArrayRange` makes.
const RANGE_MAX: i64 = 1_000;

/// Reads base 64 as Java's libraries do, in which Step Functions is written: the padding may be
/// left out, and bits that are over do not count.
const DECODER: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

type Values<'a> = Vec<Cow<'a, Value>>;

/// Calls one function on evaluated arguments.
pub(crate) fn call(
    env: &Env<'_>,
    function: Intrinsic,
    source: &str,
    values: Values<'_>,
) -> Result<Value, Fault> {
    let a = Arguments {
        source,
        values: &values,
    };
    env.count(cost(function, &values))?;
    match function {
        Intrinsic::Format => format(&a),
        // As Step Functions' library reads it: no text is no value.
        Intrinsic::StringToJson if a.text(0)?.trim().is_empty() => Ok(Value::Null),
        // As that reads it too: whole, and so without a sign.
        Intrinsic::StringToJson if a.text(0)?.trim() == "-0" => Ok(0.into()),
        Intrinsic::StringToJson => serde_json::from_str(a.text(0)?)
            .map_err(|e| a.fault(format!("the text is not valid JSON: {e}"))),
        Intrinsic::JsonToString => Ok(a.value(0)?.to_string().into()),
        Intrinsic::Array => values
            .iter()
            .map(|value| env.copy(value))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array),
        Intrinsic::ArrayPartition => array_partition(&a),
        Intrinsic::ArrayContains => {
            let wanted = a.value(1)?;
            Ok(a.array(0)?.iter().any(|v| equal(v, wanted)).into())
        }
        Intrinsic::ArrayRange => {
            let range = array_range(&a)?;
            env.count(range.as_array().map_or(0, Vec::len) as u64 / 4)?;
            Ok(range)
        }
        Intrinsic::ArrayGetItem => {
            let index = a.integer(1)?;
            usize::try_from(index)
                .ok()
                .and_then(|i| a.array(0).ok()?.get(i))
                .cloned()
                .ok_or_else(|| a.fault(format!("no element at index {index}")))
        }
        Intrinsic::ArrayLength => Ok(a.array(0)?.len().into()),
        Intrinsic::ArrayUnique => array_unique(&a),
        Intrinsic::Base64Encode => Ok(STANDARD.encode(a.short_text(0)?).into()),
        Intrinsic::Base64Decode => DECODER
            .decode(a.short_text(0)?)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(Value::from)
            .ok_or_else(|| a.fault("the text is not base 64 of UTF-8")),
        Intrinsic::Hash => hash_of(&a),
        Intrinsic::JsonMerge => json_merge(&a),
        Intrinsic::MathRandom => math_random(env, &a),
        Intrinsic::MathAdd => a
            .integer(0)?
            .checked_add(a.integer(1)?)
            .map(Value::from)
            .ok_or_else(|| a.fault("the sum is too large")),
        Intrinsic::StringSplit => string_split(&a),
        Intrinsic::Uuid => Ok(random::uuid(env.draw()).into()),
    }
}

/// Operations: the values that the function looks at or copies, and their text.
fn cost(function: Intrinsic, values: &[Cow<'_, Value>]) -> u64 {
    let bytes = match function {
        // These look at no more than one element.
        Intrinsic::ArrayGetItem
        | Intrinsic::ArrayLength
        | Intrinsic::ArrayRange
        | Intrinsic::MathAdd
        | Intrinsic::MathRandom
        | Intrinsic::Uuid => 0,
        // Every character of the first meets every one of the second.
        Intrinsic::StringSplit => {
            let length = |i: usize| values.get(i).and_then(|v| v.as_str()).map_or(0, str::len);
            length(0).saturating_mul(length(1).max(1))
        }
        _ => values.iter().map(|value| size(value)).sum(),
    };
    1 + bytes as u64 / 4
}

/// Evaluated arguments, with complaints worded for their function.
struct Arguments<'a> {
    /// The call as written.
    source: &'a str,
    values: &'a [Cow<'a, Value>],
}

/// What is wrong with a call, which is quoted as it is written.
pub(super) fn fault(source: &str, why: impl std::fmt::Display) -> Fault {
    Fault::intrinsic(format!(
        "The function '{source}' had the following error: {why}"
    ))
}

impl<'a> Arguments<'a> {
    fn fault(&self, why: impl std::fmt::Display) -> Fault {
        fault(self.source, why)
    }

    fn value(&self, i: usize) -> Result<&'a Value, Fault> {
        self.values
            .get(i)
            .map(AsRef::as_ref)
            .ok_or_else(|| self.fault(format!("argument {} is missing", i + 1)))
    }

    fn wrong(&self, i: usize, wanted: &str, found: &Value) -> Fault {
        self.fault(format!(
            "argument {} must be {wanted}, not {}",
            i + 1,
            kind_name(found)
        ))
    }

    fn text(&self, i: usize) -> Result<&'a str, Fault> {
        let value = self.value(i)?;
        value
            .as_str()
            .ok_or_else(|| self.wrong(i, "a string", value))
    }

    fn short_text(&self, i: usize) -> Result<&'a str, Fault> {
        let text = self.text(i)?;
        if text.chars().count() > TEXT_CHARS_MAX {
            return Err(self.fault(format!(
                "the text is longer than {TEXT_CHARS_MAX} characters"
            )));
        }
        Ok(text)
    }

    fn array(&self, i: usize) -> Result<&'a Vec<Value>, Fault> {
        let value = self.value(i)?;
        value
            .as_array()
            .ok_or_else(|| self.wrong(i, "an array", value))
    }

    /// A whole number; others are rounded to the nearest, as Step Functions does.
    fn integer(&self, i: usize) -> Result<i64, Fault> {
        let value = self.value(i)?;
        let number = value
            .as_number()
            .ok_or_else(|| self.wrong(i, "a number", value))?;
        rounded(number).ok_or_else(|| self.fault(format!("argument {} is out of range", i + 1)))
    }
}

fn rounded(number: &Number) -> Option<i64> {
    if let Some(n) = number.as_i64() {
        return Some(n);
    }
    let n = number.as_f64()?;
    let below = n.floor();
    // As Java rounds, in which Step Functions is written: a half goes up, of -1.5 to -1.
    let n = if n - below < 0.5 { below } else { below + 1.0 };
    // 2^53: beyond it doubles no longer tell neighbours apart.
    (n.abs() <= 9_007_199_254_740_992.0).then_some(n as i64)
}

/// `{}` takes the next argument; `\{`, `\}` and `\\` stand for themselves.
fn format(a: &Arguments<'_>) -> Result<Value, Fault> {
    let mut out = String::new();
    let mut next = 1;
    let mut chars = a.text(0)?.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('{' | '}' | '\\')) => out.extend(chars.next()),
            ('{', Some('}')) => {
                chars.next();
                display(a.value(next)?, &mut out);
                next += 1;
                if out.len() > PAYLOAD_BYTES_MAX {
                    return Err(Fault::too_large("The formatted text"));
                }
            }
            (c, _) => out.push(c),
        }
    }
    if next < a.values.len() {
        return Err(a.fault("there are more arguments than {} in the template"));
    }
    Ok(out.into())
}

/// Text as it is; arrays and objects in the form in which Step Functions prints them, `{a=1, b=[]}`.
fn display(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                display(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (i, (key, item)) in map.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                out.push_str(key);
                out.push('=');
                display(item, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn array_partition(a: &Arguments<'_>) -> Result<Value, Fault> {
    let size = a.integer(1)?;
    match usize::try_from(size) {
        Ok(size) if size > 0 => {
            let chunks = a.array(0)?.chunks(size);
            Ok(Value::Array(
                chunks.map(|c| Value::Array(c.to_vec())).collect(),
            ))
        }
        _ => Err(a.fault("the chunk size must be a positive number")),
    }
}

fn array_range(a: &Arguments<'_>) -> Result<Value, Fault> {
    let (first, last, step) = (a.integer(0)?, a.integer(1)?, a.integer(2)?);
    if step == 0 {
        return Err(a.fault("the increment must not be zero"));
    }
    let span = i128::from(last) - i128::from(first);
    let steps = span.div_euclid(i128::from(step));
    if span != 0 && (span > 0) != (step > 0) {
        return Ok(Value::Array(Vec::new()));
    }
    if steps >= i128::from(RANGE_MAX) {
        return Err(a.fault(format!("the range has more than {RANGE_MAX} elements")));
    }
    let mut out = Vec::new();
    let mut at = i128::from(first);
    while if step > 0 {
        at <= i128::from(last)
    } else {
        at >= i128::from(last)
    } {
        out.push(i64::try_from(at).map_or(Value::Null, Value::from));
        at += i128::from(step);
    }
    Ok(Value::Array(out))
}

fn array_unique(a: &Arguments<'_>) -> Result<Value, Fault> {
    let mut seen = std::collections::HashSet::new();
    let mut out = Vec::new();
    for item in a.array(0)? {
        if seen.insert(canonical(item)) {
            out.push(item.clone());
        }
    }
    Ok(Value::Array(out))
}

/// Equal values have equal texts: keys in order, numbers by value.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            let fields: Vec<_> = fields
                .into_iter()
                .map(|(key, v)| Value::from(key.as_str()).to_string() + ":" + &canonical(v))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (None, Some(n)) if n.fract() == 0.0 && n.abs() < 9e15 => (n as i64).to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            super::choice::order(a, b).is_some_and(std::cmp::Ordering::is_eq)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| equal(v, w)))
        }
        (a, b) => a == b,
    }
}

fn hash_of(a: &Arguments<'_>) -> Result<Value, Fault> {
    let value = a.value(0)?;
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(a.fault(format!(
            "the data is longer than {TEXT_CHARS_MAX} characters"
        )));
    }
    let algorithm = a.text(1)?;
    hash::hex(algorithm, &text)
        .map(Value::from)
        .ok_or_else(|| a.fault(format!("there is no algorithm '{algorithm}'")))
}

fn json_merge(a: &Arguments<'_>) -> Result<Value, Fault> {
    let object = |i| {
        let value = a.value(i)?;
        value
            .as_object()
            .ok_or_else(|| a.wrong(i, "an object", value))
    };
    let (first, second) = (object(0)?, object(1)?);
    match a.value(2)? {
        Value::Bool(false) => {}
        Value::Bool(true) => return Err(a.fault("deep merging is not supported: pass false")),
        other => return Err(a.wrong(2, "a boolean", other)),
    }
    let mut merged = first.clone();
    for (key, value) in second {
        merged.insert(key.clone(), value.clone());
    }
    Ok(Value::Object(merged))
}

/// From the first number up to, but without, the second.
fn math_random(env: &Env<'_>, a: &Arguments<'_>) -> Result<Value, Fault> {
    let (from, to) = (a.integer(0)?, a.integer(1)?);
    let width = i128::from(to) - i128::from(from);
    if width <= 0 {
        return Err(a.fault("the end must be greater than the start"));
    }
    let bits = if a.values.len() > 2 {
        let seed = a.integer(2)?;
        random::draw_u64(&[0; 16], "MathRandom", 0, seed.cast_unsigned())
    } else {
        (u128::from_be_bytes(env.draw()) >> 64) as u64
    };
    // The high half of a 64 by 64 bit product: even to within 2^-11 of a step.
    let offset = (u128::from(bits) * width.unsigned_abs()) >> 64;
    let drawn = i128::from(from) + offset.cast_signed();
    i64::try_from(drawn)
        .map(Value::from)
        .map_err(|_| a.fault("the numbers are out of range"))
}

/// Any character of the second text separates; empty pieces are dropped.
fn string_split(a: &Arguments<'_>) -> Result<Value, Fault> {
    let (text, separators) = (a.text(0)?, a.text(1)?);
    if separators.is_empty() {
        return Ok(Value::Array(vec![text.into()]));
    }
    let pieces = text
        .split(|c| separators.contains(c))
        .filter(|p| !p.is_empty());
    Ok(Value::Array(pieces.map(Value::from).collect()))
}
