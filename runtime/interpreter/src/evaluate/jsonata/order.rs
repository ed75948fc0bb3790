//! The order of texts: that of UTF-16, in which JavaScript holds them. It differs from that of
//! the code points where a character beyond U+FFFF meets one from U+E000 on.
//!
//! Refuses to order what JSONata does not: a text and a number, or anything else.
//! Source: the comparisons of jsonata-js 2.0.6.

use std::cmp::Ordering;
use std::rc::Rc;

use jsonata_core::evaluator::{Evaluator, EvaluatorError};
use jsonata_core::value::JValue;
use stepwell_flow::expression::meter::{ORDER, ORDER_KEY, SORT};

use super::Kit;
use super::functions::{error, set};
use super::meter::{Meter, native};

/// The first character that UTF-16 puts behind those beyond U+FFFF.
const LATE: char = '\u{E000}';
/// Stands before those, so that they come last by their code points too.
const LAST: char = '\u{10FFFF}';

pub(super) fn register(evaluator: &mut Evaluator, kit: &Rc<Kit>) {
    let meter = Rc::clone(&kit.meter);
    set(evaluator, ORDER, move |args| match args {
        [left, right] => compare(&meter, left, right),
        _ => Err(error("an order is that of two values")),
    });
    let meter = Rc::clone(&kit.meter);
    set(evaluator, ORDER_KEY, move |args| {
        let value = args.first().cloned().unwrap_or(JValue::Undefined);
        meter.shallow(&value)?;
        let key = value.as_str().and_then(key);
        Ok(key.map_or(value, JValue::from))
    });
    let kit = Rc::downgrade(kit);
    set(evaluator, SORT, move |args| match (args, kit.upgrade()) {
        ([JValue::Array(items)], _) if items.len() > 1 && alike(items) => {
            let mut items = items.to_vec();
            items.sort_by(|left, right| order(left, right).unwrap_or(Ordering::Equal));
            Ok(JValue::array(items))
        }
        // Its errors are the library's.
        (args, Some(kit)) => native(&kit, "$sort($a0)", args),
        (_, None) => Err(error("the evaluation is over")),
    });
}

/// Less than zero, zero or more, as the first comes before the second, with it or after it.
fn compare(meter: &Meter, left: &JValue, right: &JValue) -> Result<JValue, EvaluatorError> {
    // It costs no more than the smaller of two texts.
    if let (JValue::String(a), JValue::String(b)) = (left, right) {
        meter.shallow(if a.len() < b.len() { left } else { right })?;
    } else {
        meter.count(1)?;
    }
    let comparable = |value: &JValue| {
        matches!(
            value,
            JValue::Undefined | JValue::Number(_) | JValue::String(_)
        )
    };
    if !comparable(left) || !comparable(right) {
        return Err(error("T2010: these values have no order"));
    }
    if matches!(left, JValue::Undefined) || matches!(right, JValue::Undefined) {
        return Ok(JValue::Undefined);
    }
    match order(left, right) {
        Some(order) => Ok(JValue::Number(f64::from(order as i8))),
        None => Err(error("T2009: these values are of two types")),
    }
}

/// Whether they are all numbers or all texts.
fn alike(items: &[JValue]) -> bool {
    items.iter().all(|item| matches!(item, JValue::Number(_)))
        || items.iter().all(|item| matches!(item, JValue::String(_)))
}

/// The order of two numbers or two texts.
fn order(left: &JValue, right: &JValue) -> Option<Ordering> {
    match (left, right) {
        (JValue::Number(a), JValue::Number(b)) => a.partial_cmp(b),
        (JValue::String(a), JValue::String(b)) => Some(texts(a, b)),
        _ => None,
    }
}

/// The order of two texts in UTF-16.
pub(super) fn texts(left: &str, right: &str) -> Ordering {
    let rank = |c: char| match c {
        '\u{10000}'.. => 1,
        LATE.. => 2,
        _ => 0,
    };
    match left.chars().zip(right.chars()).find(|(a, b)| a != b) {
        Some((a, b)) => rank(a).cmp(&rank(b)).then(a.cmp(&b)),
        None => left.len().cmp(&right.len()),
    }
}

/// A text whose order by code points is that of this one in UTF-16; `None`: the same.
fn key(text: &str) -> Option<String> {
    if !text.chars().any(|c| c >= LATE) {
        return None;
    }
    let mut key = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        match c {
            LAST => key.extend([LAST, '\0']),
            LATE..='\u{FFFF}' => key.extend([LAST, c]),
            c => key.push(c),
        }
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::{key, texts};

    #[test]
    fn texts_are_ordered_as_utf16_is() {
        let all = [
            "",
            "a",
            "a\u{FFFD}",
            "ab",
            "b",
            "\u{D7FF}",
            "\u{E000}",
            "\u{FFFF}",
            "\u{FFFF}a",
            "\u{10000}",
            "\u{1F600}",
            "\u{1F600}\u{FF01}",
            "\u{10FFFF}",
            "\u{10FFFF}a",
        ];
        for a in all {
            for b in all {
                let wanted = a.encode_utf16().cmp(b.encode_utf16());
                assert_eq!(texts(a, b), wanted, "{a:?} {b:?}");
                let of = |text: &str| key(text).unwrap_or_else(|| text.to_owned());
                assert_eq!(of(a).cmp(&of(b)), wanted, "{a:?} {b:?}");
            }
        }
    }
}
