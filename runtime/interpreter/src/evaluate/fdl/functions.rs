//! The built-in functions of CloudFlow.
//!
//! Refuses clocks and true randomness: `uuid` and `randomInt` draw from the execution's seed.
//! Source: alibabacloud.com, help of CloudFlow: "Built-in functions".

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde_json::{Map, Value};
use stepwell_flow::expression::Pattern;
use stepwell_flow::fdl::Function;
use stepwell_types::limits::PAYLOAD_BYTES_MAX;

use super::super::{hash, intrinsic, kind_name};
use super::{Env, Fault, failed};
use crate::random;

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1_000;

/// Calls one function on evaluated arguments.
pub(super) fn call(
    env: &Env<'_>,
    function: Function,
    values: &[Cow<'_, Value>],
) -> Result<Value, Fault> {
    let a = Arguments { function, values };
    Ok(match function {
        Function::ArrayContains => {
            let wanted = a.value(1)?;
            let found = a.array(0)?.iter().any(|v| intrinsic::equal(v, wanted));
            found.into()
        }
        Function::ArrayUnique => return unique(&a),
        Function::ToArray => {
            let mut all = Vec::with_capacity(values.len());
            for value in values {
                all.push(env.copy(value)?);
            }
            all.into()
        }
        Function::Format => return format(&a),
        Function::FromBase64 => STANDARD
            .decode(a.text(0)?)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .map(Value::from)
            .ok_or_else(|| a.fault("the text is not base 64 of UTF-8"))?,
        Function::ToBase64 => STANDARD.encode(a.text(0)?).into(),
        Function::StringToJson => serde_json::from_str(a.text(0)?)
            .map_err(|e| a.fault(format!("the text is not valid JSON: {e}")))?,
        Function::JsonToString => a.value(0)?.to_string().into(),
        Function::Hash => hash::hex(a.text(1)?, a.text(0)?)
            .map(Value::from)
            .ok_or_else(|| a.fault("there is no such algorithm"))?,
        Function::JsonMerge => {
            let mut all = a.object(0)?.clone();
            all.extend(a.object(1)?.iter().map(|(k, v)| (k.clone(), v.clone())));
            all.into()
        }
        Function::Length => match a.value(0)? {
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            Value::String(text) => text.chars().count(),
            other => return Err(a.wrong(0, "an array, an object or a string", other)),
        }
        .into(),
        Function::MapKeys => a.object(0)?.keys().cloned().collect::<Vec<_>>().into(),
        Function::MapValues => a.object(0)?.values().cloned().collect::<Vec<_>>().into(),
        Function::RegexMatchString => return matches(env, &a),
        Function::Split => {
            let (text, separator) = (a.text(0)?, a.text(1)?);
            if separator.is_empty() {
                let letters = text.chars().map(|c| Value::from(c.to_string()));
                letters.collect::<Vec<_>>().into()
            } else {
                let parts = text.split(separator);
                parts.map(Value::from).collect::<Vec<_>>().into()
            }
        }
        Function::Uuid => random::uuid(env.draw()).into(),
        Function::Get => match (a.value(0)?, a.value(1)?) {
            (Value::Object(map), Value::String(key)) => map.get(key),
            (Value::Array(items), Value::Number(n)) => {
                n.as_u64().and_then(|n| items.get(usize::try_from(n).ok()?))
            }
            (collection, _) => {
                return Err(a.wrong(
                    0,
                    "an object with a name, or an array with an index",
                    collection,
                ));
            }
        }
        .cloned()
        .unwrap_or(Value::Null),
        Function::IntAdd => a
            .integer(0)?
            .checked_add(a.integer(1)?)
            .map(Value::from)
            .ok_or_else(|| a.fault("the sum is too large"))?,
        Function::RandomInt => {
            let (least, end) = (a.integer(0)?, a.integer(1)?);
            let span = end.checked_sub(least).filter(|span| *span > 0);
            let span = span.ok_or_else(|| a.fault("the second number must be larger"))?;
            let drawn = u128::from_be_bytes(env.draw()) % span.unsigned_abs() as u128;
            // Less than the span, which fits.
            let drawn = i64::try_from(drawn).unwrap_or(0);
            (least + drawn).into()
        }
    })
}

/// Evaluated arguments, with complaints worded for their function.
struct Arguments<'a, 'v> {
    function: Function,
    values: &'a [Cow<'v, Value>],
}

impl<'a> Arguments<'a, '_> {
    fn fault(&self, why: impl std::fmt::Display) -> Fault {
        failed(format!(
            "The function '{}' had the following error: {why}",
            self.function.name()
        ))
    }

    fn wrong(&self, i: usize, wanted: &str, found: &Value) -> Fault {
        self.fault(format!(
            "argument {} must be {wanted}, not {}",
            i + 1,
            kind_name(found)
        ))
    }

    fn value(&self, i: usize) -> Result<&'a Value, Fault> {
        self.values
            .get(i)
            .map(AsRef::as_ref)
            .ok_or_else(|| self.fault(format!("argument {} is missing", i + 1)))
    }

    fn text(&self, i: usize) -> Result<&'a str, Fault> {
        let value = self.value(i)?;
        value
            .as_str()
            .ok_or_else(|| self.wrong(i, "a string", value))
    }

    fn array(&self, i: usize) -> Result<&'a Vec<Value>, Fault> {
        let value = self.value(i)?;
        value
            .as_array()
            .ok_or_else(|| self.wrong(i, "an array", value))
    }

    fn object(&self, i: usize) -> Result<&'a Map<String, Value>, Fault> {
        let value = self.value(i)?;
        value
            .as_object()
            .ok_or_else(|| self.wrong(i, "an object", value))
    }

    fn integer(&self, i: usize) -> Result<i64, Fault> {
        let value = self.value(i)?;
        value.as_i64().ok_or_else(|| match value {
            Value::Number(number) => self.fault(format!(
                "argument {} must be a whole number of 64 bits, not {number}",
                i + 1
            )),
            _ => self.wrong(i, "a whole number", value),
        })
    }
}

fn unique(a: &Arguments<'_, '_>) -> Result<Value, Fault> {
    let mut seen = std::collections::HashSet::new();
    let mut all: Vec<Value> = Vec::new();
    for item in a.array(0)? {
        if seen.insert(key(item)) {
            all.push(item.clone());
        }
    }
    Ok(all.into())
}

/// A text that values have in common which are equal: `1` and `1.0` are.
fn key(value: &Value) -> String {
    let float = value
        .as_f64()
        .filter(|n| n.fract() == 0.0 && n.abs() < 1e15);
    match float {
        Some(n) => format!("{n:.0}"),
        None => value.to_string(),
    }
}

/// Each `{}` takes the next argument, a string as it is and anything else as JSON.
fn format(a: &Arguments<'_, '_>) -> Result<Value, Fault> {
    let mut parts = a.text(0)?.split("{}");
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut given = a.values.iter().skip(1);
    for part in parts {
        match given.next().map(AsRef::as_ref) {
            Some(Value::String(value)) => text.push_str(value),
            Some(value) => text.push_str(&value.to_string()),
            None => return Err(a.fault("there are more places {} than arguments")),
        }
        text.push_str(part);
        if text.len() > PAYLOAD_BYTES_MAX {
            return Err(Fault::too_large("The formatted text"));
        }
    }
    if given.next().is_some() {
        return Err(a.fault("there are more arguments than places {}"));
    }
    Ok(text.into())
}

fn matches(env: &Env<'_>, a: &Arguments<'_, '_>) -> Result<Value, Fault> {
    let pattern = a.text(0)?;
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(a.fault(format!(
            "the pattern is longer than {PATTERN_BYTES_MAX} bytes"
        )));
    }
    let text = a.text(1)?;
    // What it costs is found out by reading it.
    env.count(Pattern::reading(pattern))?;
    let cost = Pattern::of(pattern).ok_or_else(|| a.fault("the pattern takes too much memory"))?;
    let pieces = 1 + text.len() as u64 / 16;
    env.count(
        cost.compile
            .saturating_add(pieces.saturating_mul(cost.each)),
    )?;
    match Regex::new(pattern) {
        Ok(regex) => Ok(regex.is_match(text).into()),
        Err(e) => Err(a.fault(format!("the pattern cannot be read: {e}"))),
    }
}
