//! Expressions of both CloudFlow languages.
//!
//! Refuses what has no one meaning: a path that leads nowhere, a comparison of unlike
//! kinds, an operand that is no boolean. Bounded by the bytes and operations of [`Env`].

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Number, Value};
use stepwell_flow::expression::{Query, Segment};
use stepwell_flow::fdl::{Fdl, Operator, Place, Root};

use super::path::{self, absent, walk};
use super::{Env, Fault, intrinsic, kind_name, size};

mod context;
mod functions;

/// The error of an expression that has no value.
pub(crate) const FAILED: &str = "FnF.ExpressionFailed";

pub(crate) fn failed(message: impl Into<String>) -> Fault {
    Fault::new(FAILED, message)
}

/// The value of an expression.
pub(crate) fn evaluate<'e>(env: &'e Env<'_>, e: &'e Fdl) -> Result<Cow<'e, Value>, Fault> {
    env.count(1)?;
    let owned = |value: Value| Ok(Cow::Owned(value));
    match e {
        Fdl::Literal(value) => Ok(Cow::Borrowed(value)),
        Fdl::Path(place) => read(env, place),
        Fdl::List(items) => {
            let mut all = Vec::with_capacity(items.len());
            for item in items {
                all.push(copied(env, evaluate(env, item)?)?);
            }
            owned(all.into())
        }
        Fdl::Field(name, value) => {
            let value = copied(env, evaluate(env, value)?)?;
            owned(Map::from_iter([(name.to_string(), value)]).into())
        }
        Fdl::First(list, most) => {
            let most = usize::try_from(*most).unwrap_or(usize::MAX);
            match evaluate(env, list)? {
                Cow::Borrowed(Value::Array(items)) if items.len() > most => {
                    let kept = items.iter().take(most).map(|item| env.copy(item));
                    owned(kept.collect::<Result<Vec<_>, _>>()?.into())
                }
                Cow::Owned(Value::Array(mut items)) => {
                    items.truncate(most);
                    owned(items.into())
                }
                // What is no list is the Map's to refuse.
                other => Ok(other),
            }
        }
        Fdl::Not(e) => owned((!truth(evaluate(env, e)?.as_ref(), "!")?).into()),
        Fdl::Negate(e) => {
            let zero = Value::from(0);
            owned(arithmetic(
                Operator::Subtract,
                &zero,
                evaluate(env, e)?.as_ref(),
            )?)
        }
        Fdl::Binary { operator, operands } => {
            let left = evaluate(env, &operands.0)?;
            // The right side is not asked when the left one decides.
            match operator {
                Operator::And => {
                    let holds =
                        truth(&left, "&&")? && truth(evaluate(env, &operands.1)?.as_ref(), "&&")?;
                    return owned(holds.into());
                }
                Operator::Or => {
                    let holds =
                        truth(&left, "||")? || truth(evaluate(env, &operands.1)?.as_ref(), "||")?;
                    return owned(holds.into());
                }
                _ => {}
            }
            let right = evaluate(env, &operands.1)?;
            env.count(match operator {
                Operator::In => weight(&right, u64::MAX),
                _ => lesser(&left, &right),
            })?;
            owned(binary(*operator, &left, &right)?)
        }
        Fdl::Call {
            function,
            arguments,
        } => {
            let mut values = Vec::with_capacity(arguments.len());
            for argument in arguments {
                values.push(evaluate(env, argument)?);
            }
            env.count(values.iter().map(|v| weight(v, u64::MAX)).sum())?;
            let result = functions::call(env, *function, &values)?;
            env.spend(size(&result))?;
            owned(result)
        }
    }
}

/// Operations that going once through a value is worth; stops beyond `max`.
fn weight(value: &Value, max: u64) -> u64 {
    let (mut values, mut bytes) = (0u64, 0u64);
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => values += 1,
            Value::String(text) => bytes += text.len() as u64,
            Value::Array(items) => {
                values += 1;
                open.extend(items);
            }
            Value::Object(map) => {
                values += 1;
                bytes += map.keys().map(|name| name.len() as u64).sum::<u64>();
                open.extend(map.values());
            }
        }
        if (values / 4 + bytes / 16) > max {
            break;
        }
    }
    values / 4 + bytes / 16
}

/// The weight of the smaller of two values, or up to twice as much: a comparison ends with
/// it, and no more than that is looked at to know it.
fn lesser(left: &Value, right: &Value) -> u64 {
    let mut max = 16;
    loop {
        let least = weight(left, max).min(weight(right, max));
        if least <= max {
            return least.saturating_mul(2);
        }
        max *= 4;
    }
}

fn copied(env: &Env<'_>, value: Cow<'_, Value>) -> Result<Value, Fault> {
    match value {
        Cow::Borrowed(value) => env.copy(value),
        Cow::Owned(value) => Ok(value),
    }
}

fn read<'e>(env: &'e Env<'_>, place: &Place) -> Result<Cow<'e, Value>, Fault> {
    let variable = |name: &str| {
        let found = env.variables.and_then(|all| all.get(name));
        found.map(|data| Cow::Borrowed(data.value()))
    };
    let root = match place.root {
        Root::Context => return context::read(env, &place.query).map_err(|m| miss(place, m)),
        Root::OldContext => {
            return context::read_old(env, &place.query).map_err(|m| miss(place, m));
        }
        Root::Input => Some(Cow::Borrowed(env.data.value())),
        Root::Output => env.given.result.map(|data| Cow::Borrowed(data.value())),
        Root::ScopeInput => variable(crate::cloudflow::SCOPE_INPUT),
        Root::ScopeLocal => variable(crate::cloudflow::SCOPE_LOCAL),
        Root::Global => Some(match &env.context.core.global {
            Some(global) => Cow::Borrowed(global.value()),
            None => Cow::Owned(Value::Object(Map::new())),
        }),
        Root::Item => env.context.item.map(|(_, item)| Cow::Borrowed(item)),
        Root::Index => env.context.item.map(|(index, _)| Cow::Owned(index.into())),
    };
    let Some(root) = root else {
        return Err(failed(format!("'{}' has no value here", place.source)));
    };
    below(env, root, &place.query).map_err(|m| miss(place, m))
}

/// Why a path yielded nothing.
enum Miss {
    Absent(String),
    Fault(Fault),
}

fn miss(place: &Place, miss: Miss) -> Fault {
    match miss {
        Miss::Absent(why) => failed(format!("Invalid path '{}' : {why}", place.source)),
        Miss::Fault(fault) => fault,
    }
}

/// Follows a query from a value that was read already.
fn below<'e>(env: &Env<'_>, root: Cow<'e, Value>, query: &Query) -> Result<Cow<'e, Value>, Miss> {
    match query {
        Query::Whole => Ok(root),
        Query::Definite(segments) => follow(root, segments),
        Query::Indefinite(_) | Query::Called(_) => {
            let found = path::below(env, &root, query).map_err(|m| match m {
                path::Miss::Absent(why) => Miss::Absent(why),
                path::Miss::Fault(fault) => Miss::Fault(fault),
            })?;
            Ok(Cow::Owned(found.into_owned()))
        }
    }
}

fn follow<'e>(root: Cow<'e, Value>, segments: &[Segment]) -> Result<Cow<'e, Value>, Miss> {
    let missing = |i| Miss::Absent(absent(segments, i));
    match root {
        Cow::Borrowed(value) => walk(value, segments).map(Cow::Borrowed).map_err(missing),
        Cow::Owned(value) => walk(&value, segments)
            .map(|v| Cow::Owned(v.clone()))
            .map_err(missing),
    }
}

fn truth(value: &Value, operator: &str) -> Result<bool, Fault> {
    value.as_bool().ok_or_else(|| {
        failed(format!(
            "{operator} needs booleans, not {}",
            kind_name(value)
        ))
    })
}

fn binary(operator: Operator, left: &Value, right: &Value) -> Result<Value, Fault> {
    Ok(match operator {
        Operator::Equal => intrinsic::equal(left, right).into(),
        Operator::Unequal => (!intrinsic::equal(left, right)).into(),
        Operator::Less => order(left, right)?.is_lt().into(),
        Operator::LessOrEqual => order(left, right)?.is_le().into(),
        Operator::Greater => order(left, right)?.is_gt().into(),
        Operator::GreaterOrEqual => order(left, right)?.is_ge().into(),
        Operator::In => match right {
            Value::Array(items) => items.iter().any(|i| intrinsic::equal(i, left)).into(),
            other => {
                return Err(failed(format!(
                    "in needs an array, not {}",
                    kind_name(other)
                )));
            }
        },
        Operator::And | Operator::Or => return Err(failed("a logical operator is misplaced")),
        operator => return arithmetic(operator, left, right),
    })
}

/// Numbers and strings are compared, each with its own kind.
fn order(left: &Value, right: &Value) -> Result<Ordering, Fault> {
    let found = match (left, right) {
        (Value::Number(a), Value::Number(b)) => super::choice::order(a, b),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    found.ok_or_else(|| {
        failed(format!(
            "{} and {} cannot be compared",
            kind_name(left),
            kind_name(right)
        ))
    })
}

fn arithmetic(operator: Operator, left: &Value, right: &Value) -> Result<Value, Fault> {
    let (Value::Number(a), Value::Number(b)) = (left, right) else {
        return Err(failed(format!(
            "numbers can be reckoned with, not {} and {}",
            kind_name(left),
            kind_name(right)
        )));
    };
    if matches!(operator, Operator::Divide | Operator::Remainder) && b.as_f64() == Some(0.0) {
        return Err(failed("a division by zero"));
    }
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        let whole = match operator {
            Operator::Add => a.checked_add(b),
            Operator::Subtract => a.checked_sub(b),
            Operator::Multiply => a.checked_mul(b),
            Operator::Remainder => a.checked_rem(b),
            // Whole only when nothing is left over.
            _ if a.checked_rem(b) == Some(0) => a.checked_div(b),
            _ => None,
        };
        match (whole, operator) {
            (Some(whole), _) => return Ok(whole.into()),
            // As intAdd does: a float near it would be another number.
            (None, Operator::Add | Operator::Subtract | Operator::Multiply) => {
                return Err(failed("the result is too large for a whole number"));
            }
            _ => {}
        }
    }
    let (a, b) = (
        a.as_f64().unwrap_or(f64::NAN),
        b.as_f64().unwrap_or(f64::NAN),
    );
    let result = match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        Operator::Remainder => a % b,
        _ => a / b,
    };
    Number::from_f64(result)
        .map(Value::Number)
        .ok_or_else(|| failed("the result is no number"))
}
