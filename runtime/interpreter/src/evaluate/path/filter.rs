//! Whether a filter holds, in the sense of RFC 9535 or of the Jayway library.
//!
//! Refuses to guess: what cannot be compared is neither equal nor in any order.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use regex::Regex;
use serde_json::{Number, Value};
use stepwell_flow::expression::Pattern;
use stepwell_flow::query::{Comparison, Inner, ListOperator, Matcher, Operand, Test};

use super::super::choice::order;
use super::super::{Env, Fault};
use super::function;
use super::steps::{Walk, members, weight};

/// What an operand is, if it is anything.
type Found<'v> = Option<Cow<'v, Value>>;

impl<'v> Walk<'_, 'v> {
    /// Whether the test holds for the value `at`.
    pub(super) fn holds(&self, test: &'v Test, jayway: bool, at: &'v Value) -> Result<bool, Fault> {
        self.env.count(1)?;
        Ok(match test {
            Test::Any(tests) => {
                for test in tests {
                    if self.holds(test, jayway, at)? {
                        return Ok(true);
                    }
                }
                false
            }
            Test::All(tests) => {
                for test in tests {
                    if !self.holds(test, jayway, at)? {
                        return Ok(false);
                    }
                }
                true
            }
            Test::Not(test) => !self.holds(test, jayway, at)?,
            Test::Exists(path) => !self.found(path, at)?.is_empty(),
            Test::Compare(left, comparison, right) => {
                let left = self.operand(left, at)?;
                let right = self.operand(right, at)?;
                compare(
                    self.env,
                    jayway,
                    left.as_deref(),
                    *comparison,
                    right.as_deref(),
                )?
            }
            Test::Matches(text, matcher) => {
                let text = self.operand(text, at)?;
                self.matches(text.as_deref(), matcher)?
            }
            Test::Lists(left, operator, right) => self.lists(left, *operator, right, jayway, at)?,
        })
    }

    /// What a path in a filter selects.
    fn found(&self, path: &'v Inner, at: &'v Value) -> Result<Vec<&'v Value>, Fault> {
        self.steps(if path.absolute { self.root } else { at }, &path.steps)
    }

    pub(super) fn operand(&self, operand: &'v Operand, at: &'v Value) -> Result<Found<'v>, Fault> {
        self.env.count(1)?;
        Ok(match operand {
            Operand::Literal(value) => Some(Cow::Borrowed(value)),
            Operand::Path(path) => return self.value(path, at),
            Operand::Length(of) => {
                let of = self.operand(of, at)?;
                let length = of.map(|value| length(self.env, &value)).transpose()?;
                length.flatten().map(|n| Cow::Owned(n.into()))
            }
            Operand::Count(path) => Some(Cow::Owned(self.found(path, at)?.len().into())),
            Operand::Only(path) => match self.found(path, at)?.as_slice() {
                [only] => Some(Cow::Borrowed(*only)),
                _ => None,
            },
        })
    }

    /// The value of a path: that of a function at its end, what the path finds, or a list of
    /// all that a path finds that may find several.
    fn value(&self, path: &'v Inner, at: &'v Value) -> Result<Found<'v>, Fault> {
        let found = self.found(path, at)?;
        if !path.is_single() {
            let copies = found.into_iter().map(|value| self.env.copy(value));
            let list = Value::Array(copies.collect::<Result<_, _>>()?);
            return match &path.function {
                None => Ok(Some(Cow::Owned(list))),
                Some(function) => {
                    let value = function::apply(self, function, &list, at)?;
                    Ok(value.ok().map(Cow::Owned))
                }
            };
        }
        match (found.first(), &path.function) {
            (None, _) => Ok(None),
            (Some(value), None) => Ok(Some(Cow::Borrowed(*value))),
            (Some(value), Some(function)) => {
                let value = function::apply(self, function, value, at)?;
                Ok(value.ok().map(Cow::Owned))
            }
        }
    }

    fn matches(&self, value: Option<&Value>, matcher: &'v Matcher) -> Result<bool, Fault> {
        let text = match value {
            Some(Value::String(text)) => Cow::Borrowed(text.as_str()),
            _ if !matcher.texts => return Ok(false),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Cow::Owned(value.to_string()),
            _ => Cow::Borrowed(""),
        };
        let each = matcher.cost.each.saturating_mul(1 + weight(&text));
        self.env.count(each)?;
        let regex = self.built(matcher)?;
        Ok(regex.is_some_and(|regex| regex.is_match(&text)))
    }

    fn built(&self, matcher: &'v Matcher) -> Result<Option<Rc<Regex>>, Fault> {
        if let Some(built) = self.built.borrow().get(&*matcher.pattern) {
            return Ok(built.clone());
        }
        self.env.count(matcher.cost.compile)?;
        let built = Pattern::build(&matcher.pattern).map(Rc::new);
        let mut known = self.built.borrow_mut();
        known.insert(&matcher.pattern, built.clone());
        Ok(built)
    }

    fn lists(
        &self,
        left: &'v Operand,
        operator: ListOperator,
        right: &'v Operand,
        jayway: bool,
        at: &'v Value,
    ) -> Result<bool, Fault> {
        let left = self.operand(left, at)?;
        let right = self.operand(right, at)?;
        let (left, right) = (left.as_deref(), right.as_deref());
        let equal = |a: &Value, b: &Value| equal(self.env, jayway, a, b);
        let among = |value: &Value, list: &[Value]| -> Result<bool, Fault> {
            for one in list {
                if equal(value, one)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        // Whether all of the first are among the second, or with `false` none is.
        let every = |values: &[Value], list: &[Value], wanted: bool| -> Result<bool, Fault> {
            for value in values {
                if among(value, list)? != wanted {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let array = |value: Option<&'_ Value>| value.and_then(Value::as_array).is_some();
        let (a, b) = (items(left), items(right));
        Ok(match operator {
            ListOperator::In => match left {
                Some(value) => among(value, b)?,
                None => false,
            },
            ListOperator::Nin => match left {
                Some(value) => !among(value, b)?,
                None => true,
            },
            ListOperator::AnyOf => !every(a, b, false)?,
            ListOperator::NoneOf => array(left) && every(a, b, false)?,
            ListOperator::SubsetOf => array(left) && array(right) && every(a, b, true)?,
            ListOperator::All => array(left) && array(right) && every(b, a, true)?,
            ListOperator::Contains => match (left, right) {
                (Some(Value::String(text)), Some(Value::String(part))) => {
                    self.env.count(weight(text))?;
                    text.contains(part.as_str())
                }
                (Some(Value::Array(items)), Some(value)) => {
                    let mut found = false;
                    for item in items {
                        found = found || equal(item, value)?;
                    }
                    found
                }
                _ => false,
            },
            ListOperator::Size => {
                let wanted = right.and_then(Value::as_u64);
                wanted.is_some() && self.length(left)? == wanted
            }
            ListOperator::Empty => {
                let empty = self.length(left)?.map(|length| length == 0);
                empty.is_some() && empty == right.and_then(Value::as_bool)
            }
        })
    }

    fn length(&self, value: Option<&Value>) -> Result<Option<u64>, Fault> {
        match value {
            Some(value) => length(self.env, value),
            None => Ok(None),
        }
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    let list = value.and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// Of a text its characters, of an array or object its members.
fn length(env: &Env<'_>, value: &Value) -> Result<Option<u64>, Fault> {
    if let Value::String(text) = value {
        env.count(weight(text))?;
        return Ok(Some(text.chars().count() as u64));
    }
    Ok(members(value).map(|n| n as u64))
}

fn compare(
    env: &Env<'_>,
    jayway: bool,
    left: Option<&Value>,
    comparison: Comparison,
    right: Option<&Value>,
) -> Result<bool, Fault> {
    let same = |loose: bool| match (left, right) {
        (Some(left), Some(right)) => equal(env, loose, left, right),
        // What is missing is equal to what is missing in RFC 9535 alone.
        (None, None) => Ok(!jayway),
        _ => Ok(false),
    };
    let ordered = |wanted: fn(Ordering) -> bool| match (left, right) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => Ok(order(a, b).is_some_and(wanted)),
        (Some(Value::String(a)), Some(Value::String(b))) => {
            env.count(weight(a).min(weight(b)))?;
            Ok(wanted(a.cmp(b)))
        }
        _ => Ok(false),
    };
    Ok(match comparison {
        Comparison::Equal => same(jayway)?,
        Comparison::Unequal => !same(jayway)?,
        Comparison::Same => same(false)?,
        Comparison::Different => !same(false)?,
        Comparison::Less => ordered(Ordering::is_lt)?,
        Comparison::Greater => ordered(Ordering::is_gt)?,
        // In RFC 9535 these hold for all that is equal.
        Comparison::LessOrEqual => ordered(Ordering::is_le)? || (!jayway && same(false)?),
        Comparison::GreaterOrEqual => ordered(Ordering::is_ge)? || (!jayway && same(false)?),
    })
}

/// Whether two values are equal. `loose`: a number equals the text of the same number, as the
/// Jayway library has it.
fn equal(env: &Env<'_>, loose: bool, left: &Value, right: &Value) -> Result<bool, Fault> {
    env.count(1)?;
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => Ok(order(a, b) == Some(Ordering::Equal)),
        (Value::String(a), Value::String(b)) => {
            env.count(weight(a).min(weight(b)))?;
            Ok(a == b)
        }
        (Value::Number(number), Value::String(text)) if loose => {
            Ok(numeral(text).is_some_and(|n| order(number, &n) == Some(Ordering::Equal)))
        }
        (Value::String(text), Value::Number(number)) if loose => Ok(*text == number.to_string()),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (a, b) in a.iter().zip(b) {
                if !equal(env, false, a, b)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            for (name, a) in a {
                env.count(weight(name))?;
                match b.get(name) {
                    Some(b) if equal(env, false, a, b)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        (Value::Array(_) | Value::Object(_), _) => Ok(false),
        (left, right) => Ok(left == right),
    }
}

/// The number that a text is, if it is one and nothing else.
fn numeral(text: &str) -> Option<Number> {
    let digits = text
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    // Longer ones would not fit into a number here.
    if !digits || text.len() > 400 {
        return None;
    }
    let whole = text.parse::<i64>().ok().map(Number::from);
    whole.or_else(|| Number::from_f64(text.parse().ok()?))
}
