//! Where the library takes more, or gives other values, than JSONata's own implementation.
//!
//! Refuses what that refuses; all else is the library's.
//! Source: the functions of jsonata-js 2.0.6.

use std::rc::Rc;

use jsonata_core::evaluator::{Evaluator, EvaluatorError};
use jsonata_core::value::JValue;
use stepwell_flow::expression::meter::{CHECK_NUMBER, FILLED, FORMAT_BASE, LISTED, ROUND};

use super::Kit;
use super::functions::{error, set};
use super::meter::native;

/// From here on a number does not fit the library's whole numbers: 2^63.
const WHOLE_MAX: f64 = 9_223_372_036_854_775_808.0;
/// From here on doubles no longer tell neighbours apart: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// From here on JavaScript writes a number with an exponent, in base ten.
const PLAIN_MAX: f64 = 1e21;

pub(super) fn register(evaluator: &mut Evaluator, kit: &Rc<Kit>) {
    set(evaluator, CHECK_NUMBER, |args| match args {
        [JValue::String(text)] if !is_number(text) => {
            Err(error(format!("D3030: Cannot convert '{text}' to number")))
        }
        args => Ok(first(args)),
    });
    set(evaluator, LISTED, |args| {
        Ok(match first(args) {
            JValue::Null => JValue::array(vec![JValue::Null]),
            value => value,
        })
    });
    set(evaluator, FILLED, |args| {
        Ok(match first(args) {
            JValue::Array(items) if items.is_empty() => JValue::Undefined,
            value => value,
        })
    });
    let weak = Rc::downgrade(kit);
    set(evaluator, ROUND, move |args| {
        let rounded = match args {
            [JValue::Number(n)] => round(*n, 0),
            [JValue::Number(n), JValue::Number(places)] if places.fract() == 0.0 => {
                round(*n, *places as i32)
            }
            _ => None,
        };
        match (rounded, weak.upgrade()) {
            (Some(n), _) => Ok(JValue::Number(n)),
            // Its errors are the library's.
            (None, Some(kit)) => native(&kit, "$round($a0, $a1)", args),
            (None, None) => Err(error("the evaluation is over")),
        }
    });
    let kit = Rc::downgrade(kit);
    set(evaluator, FORMAT_BASE, move |args| {
        let Some(kit) = kit.upgrade() else {
            return Err(error("the evaluation is over"));
        };
        kit.meter.count(10)?;
        format_base(&kit, args)
    });
}

fn first(args: &[JValue]) -> JValue {
    args.first().cloned().unwrap_or(JValue::Undefined)
}

/// `-?[0-9]+(\.[0-9]+)?([Ee][-+]?[0-9]+)?`, or a number in another base.
fn is_number(text: &str) -> bool {
    if let Some((base, digits)) = text.split_at_checked(2) {
        let base = match base {
            "0x" | "0X" => 16,
            "0o" | "0O" => 8,
            "0b" | "0B" => 2,
            _ => 10,
        };
        if base != 10 {
            return !digits.is_empty() && digits.chars().all(|c| c.is_digit(base));
        }
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent)),
        None => (text, None),
    };
    let number = number.strip_prefix('-').unwrap_or(number);
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let exponent = exponent.map(|e| e.strip_prefix(['-', '+']).unwrap_or(e));
    digits(whole) && fraction.is_none_or(digits) && exponent.is_none_or(digits)
}

/// `$formatBase(number, radix)`: the number is rounded as by `$round`.
fn format_base(kit: &Rc<Kit>, args: &[JValue]) -> Result<JValue, EvaluatorError> {
    let mut args = args.to_vec();
    let radix = args.get(1).cloned();
    if let Some(JValue::Number(n)) = args.first_mut() {
        *n = n.round_ties_even();
        let radix = match radix {
            None | Some(JValue::Undefined) => Some(10),
            Some(JValue::Number(n)) if (2.0..=36.0).contains(&n.round_ties_even()) => {
                Some(n.round_ties_even() as u32)
            }
            _ => None,
        };
        let large = n.abs() >= WHOLE_MAX && n.is_finite();
        if let Some(radix) = radix.filter(|_| large) {
            return Ok(JValue::from(digits(*n, radix)));
        }
    }
    native(kit, "$formatBase($a0, $a1)", &args)
}

/// Rounds to so many places, halves to the even digit: the decimal digits are shifted, so
/// that no multiplication makes a half of what is none. `None`: it is out of range.
fn round(n: f64, places: i32) -> Option<f64> {
    let shifted = shift(n, places)?;
    let below = shifted.floor();
    let rounded = match shifted - below {
        rest if rest < 0.5 => below,
        rest if rest > 0.5 => below + 1.0,
        _ if below % 2.0 == 0.0 => below,
        _ => below + 1.0,
    };
    // JSON has no negative zero.
    shift(rounded, places.checked_neg()?).map(|n| n + 0.0)
}

/// The number ten times as large, so many times, by its decimal digits.
fn shift(n: f64, places: i32) -> Option<f64> {
    let text = format!("{n:e}");
    let (digits, exponent) = text.split_once('e')?;
    let exponent = exponent.parse::<i32>().ok()?.checked_add(places)?;
    let shifted: f64 = format!("{digits}e{exponent}").parse().ok()?;
    shifted.is_finite().then_some(shifted)
}

/// A large whole number in a base, as JavaScript writes it: digits that a double does not
/// hold are zeros.
fn digits(n: f64, radix: u32) -> String {
    if radix == 10 && n.abs() >= PLAIN_MAX {
        return format!("{n:e}").replace('e', "e+");
    }
    if radix == 10 {
        return n.to_string();
    }
    let (mut left, base) = (n.abs(), f64::from(radix));
    let mut digits = Vec::new();
    while left >= EXACT_MAX {
        left /= base;
        digits.push('0');
    }
    while left > 0.0 {
        let rest = left % base;
        digits.push(char::from_digit(rest as u32, radix).unwrap_or('0'));
        left = (left - rest) / base;
    }
    if n < 0.0 {
        digits.push('-');
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::{digits, is_number, round};

    #[test]
    fn halves_of_decimal_digits() {
        for (n, places, expected) in [
            (7.034_999_999_999_999, 2, 7.03),
            (1.255, 2, 1.26),
            (2.675, 2, 2.68),
            (2.5, 0, 2.0),
            (-2.5, 0, -2.0),
            (-3.5, 0, -4.0),
            (1150.0, -2, 1200.0),
            (1e21, 2, 1e21),
            (0.499_999_999_999_999_94, 0, 0.0),
        ] {
            assert_eq!(round(n, places), Some(expected), "{n} {places}");
        }
        assert_eq!(round(1e300, 100), None);
        assert_eq!(round(-0.2, 0).map(f64::is_sign_positive), Some(true));
    }

    #[test]
    fn texts_of_numbers() {
        for text in ["5", "-0.5", "01", "1e5", "1.5E-3", "0x1F", "0b1"] {
            assert!(is_number(text), "{text}");
        }
        for text in [
            "", " 5", "5 ", "+5", ".5", "1.", "1e", "-", "0x", "0xg", "inf", "é",
        ] {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn large_numbers_in_a_base() {
        assert_eq!(digits(1e20, 10), "100000000000000000000");
        assert_eq!(
            digits(-9_223_372_036_854_775_808.0, 16),
            "-8000000000000000"
        );
    }
}
