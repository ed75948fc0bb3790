//! Choice rules.
//!
//! Refuses coercion: a comparison of values of other types than its own does not hold.
//! Source: states-language.net, "Choice State".

use std::cmp::Ordering;

use serde_json::{Number, Value};
use stepwell_flow::expression::Expression;
use stepwell_flow::program::{Comparison, Operand, Test};

use super::path::{self, Miss};
use super::{Env, Fault, fdl, jsonata, template};
use crate::time::parse_nanos;

/// Whether the rule holds.
pub(crate) fn holds(env: &Env<'_>, test: &Test) -> Result<bool, Fault> {
    match test {
        Test::Condition(expression) => condition(env, expression),
        Test::And(tests) => {
            for test in tests {
                if !holds(env, test)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Test::Or(tests) => {
            for test in tests {
                if holds(env, test)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Test::Not(test) => Ok(!holds(env, test)?),
        Test::Compare {
            variable,
            operator,
            operand,
        } => {
            let asks = *operator == Comparison::IsPresent;
            let found = match path::read(env, variable) {
                Ok(value) => Some(value),
                Err(Miss::Absent(_)) => None,
                // To ask whether there is a value is no wrong way of reading it.
                Err(_) if asks && path::is_unset(env, variable) => None,
                Err(Miss::Fault(fault)) => return Err(fault),
            };
            let wanted = operand_value(env, operand)?;
            if asks {
                return Ok(wanted.as_bool() == Some(found.is_some()));
            }
            let Some(found) = found else {
                return Err(invalid(&variable.source));
            };
            // A time is read from both sides.
            let bytes = |value: &Value| value.as_str().map_or(0, str::len) as u64;
            env.count(1 + (bytes(&found) + bytes(&wanted)) / 16)?;
            if *operator == Comparison::StringMatches {
                return string_matches(env, &found, &wanted);
            }
            Ok(compare(*operator, &found, &wanted))
        }
    }
}

/// `Condition` of JSONata mode: nothing but a boolean will do.
fn condition(env: &Env<'_>, expression: &Expression) -> Result<bool, Fault> {
    let value = template::evaluate(env, expression, &|path, why| {
        Fault::runtime(format!("Invalid path '{}': {why}", path.source))
    })?;
    match (&*value, expression) {
        (Value::Bool(holds), _) => Ok(*holds),
        (value, Expression::Jsonata(query)) => Err(jsonata::unexpected(query, "boolean", value)),
        (value, Expression::Fdl(_)) => Err(fdl::failed(format!(
            "The condition must be a boolean, not {}.",
            super::kind_name(value)
        ))),
        (value, _) => Err(Fault::runtime(format!(
            "The condition must be a boolean, not {}",
            super::kind_name(value)
        ))),
    }
}

fn operand_value<'e>(
    env: &'e Env<'_>,
    operand: &'e Operand,
) -> Result<std::borrow::Cow<'e, Value>, Fault> {
    match operand {
        Operand::Literal(value) => Ok(std::borrow::Cow::Borrowed(value)),
        Operand::Path(path) => path::read(env, path).map_err(|miss| match miss {
            Miss::Absent(_) => invalid(&path.source),
            Miss::Fault(fault) => fault,
        }),
    }
}

fn invalid(source: &str) -> Fault {
    Fault::runtime(format!(
        "Invalid path '{source}': The choice state's condition path references an invalid value."
    ))
}

fn compare(operator: Comparison, found: &Value, wanted: &Value) -> bool {
    use Comparison as C;
    let asked = |is: bool| wanted.as_bool() == Some(is);
    match operator {
        C::IsNull => asked(found.is_null()),
        // Answered before the value is needed.
        C::IsPresent => asked(true),
        C::IsNumeric => asked(found.is_number()),
        C::IsString => asked(found.is_string()),
        C::IsBoolean => asked(found.is_boolean()),
        C::IsTimestamp => asked(timestamp(found).is_some()),
        C::BooleanEquals => found.is_boolean() && found == wanted,
        // Counts, and was answered before.
        C::StringMatches => false,
        C::StringEquals => string(found, wanted, Ordering::is_eq),
        C::StringLessThan => string(found, wanted, Ordering::is_lt),
        C::StringGreaterThan => string(found, wanted, Ordering::is_gt),
        C::StringLessThanEquals => string(found, wanted, Ordering::is_le),
        C::StringGreaterThanEquals => string(found, wanted, Ordering::is_ge),
        C::NumericEquals => numeric(found, wanted, Ordering::is_eq),
        C::NumericLessThan => numeric(found, wanted, Ordering::is_lt),
        C::NumericGreaterThan => numeric(found, wanted, Ordering::is_gt),
        C::NumericLessThanEquals => numeric(found, wanted, Ordering::is_le),
        C::NumericGreaterThanEquals => numeric(found, wanted, Ordering::is_ge),
        C::TimestampEquals => moment(found, wanted, Ordering::is_eq),
        C::TimestampLessThan => moment(found, wanted, Ordering::is_lt),
        C::TimestampGreaterThan => moment(found, wanted, Ordering::is_gt),
        C::TimestampLessThanEquals => moment(found, wanted, Ordering::is_le),
        C::TimestampGreaterThanEquals => moment(found, wanted, Ordering::is_ge),
    }
}

fn string(a: &Value, b: &Value, holds: fn(Ordering) -> bool) -> bool {
    matches!((a.as_str(), b.as_str()), (Some(a), Some(b)) if holds(a.cmp(b)))
}

fn numeric(a: &Value, b: &Value, holds: fn(Ordering) -> bool) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => order(a, b).is_some_and(holds),
        _ => false,
    }
}

fn moment(a: &Value, b: &Value, holds: fn(Ordering) -> bool) -> bool {
    matches!((timestamp(a), timestamp(b)), (Some(a), Some(b)) if holds(a.cmp(&b)))
}

fn timestamp(value: &Value) -> Option<i128> {
    parse_nanos(value.as_str()?)
}

/// Numbers by value: whole ones exactly, others as doubles.
pub(crate) fn order(a: &Number, b: &Number) -> Option<Ordering> {
    let whole = |n: &Number| {
        n.as_i64()
            .map(i128::from)
            .or_else(|| n.as_u64().map(i128::from))
    };
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn string_matches(env: &Env<'_>, found: &Value, wanted: &Value) -> Result<bool, Fault> {
    let (Some(text), Some(pattern)) = (found.as_str(), wanted.as_str()) else {
        return Ok(false);
    };
    env.count((text.len() + pattern.len()) as u64 / 4)?;
    let mut left = env.operations();
    let before = left;
    let matches = matches_pattern(text, pattern, &mut left);
    env.count(before - left)?;
    matches.ok_or_else(Fault::limit)
}

/// `*` stands for any run of characters; `\*` is a star, `\\` a backslash.
///
/// On a mismatch only the last star is tried again: at worst every character of the text
/// meets every one of the pattern. `None`: that took more than `left` comparisons.
fn matches_pattern(text: &str, pattern: &str, left: &mut u64) -> Option<bool> {
    #[derive(PartialEq)]
    enum Part {
        Star,
        Char(char),
    }
    let mut parts = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => Part::Star,
            '\\' => Part::Char(chars.next().unwrap_or('\\')),
            c => Part::Char(c),
        });
    }
    let text: Vec<char> = text.chars().collect();
    let (mut t, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        *left = left.checked_sub(1)?;
        match parts.get(p) {
            Some(Part::Star) => {
                star = Some((p, t));
                p += 1;
            }
            Some(Part::Char(c)) if *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    t = from + 1;
                    star = Some((at, from + 1));
                }
                None => return Some(false),
            },
        }
    }
    Some(parts[p..].iter().all(|part| *part == Part::Star))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, pattern: &str, expected: bool) {
        let found = matches_pattern(text, pattern, &mut 1_000_000);
        assert_eq!(found, Some(expected), "{text} {pattern}");
    }

    #[test]
    fn patterns() {
        check("", "", true);
        check("", "*", true);
        check("a", "", false);
        check("log-2024.txt", "log-*.txt", true);
        check("log-2024.txt.gz", "log-*.txt", false);
        check("a*b", r"a\*b", true);
        check("axb", r"a\*b", false);
        check(r"a\b", r"a\\b", true);
        check("aXbXc", "*X*X*", true);
        check("aXbc", "*X*X*", false);
        check("häuser", "h*r", true);
        check(&"a".repeat(5_000), &("*a".repeat(50) + "b"), false);
        let (text, pattern) = ("a".repeat(5_000), format!("*{}b", "a".repeat(2_000)));
        assert_eq!(matches_pattern(&text, &pattern, &mut 1_000_000), None);
    }
}
