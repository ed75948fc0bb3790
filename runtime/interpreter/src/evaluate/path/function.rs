//! Functions at the end of a path, as the Jayway library computes them.
//!
//! Refuses an aggregate of no numbers: there the library fails, and the path leads nowhere.

use serde_json::{Number, Value};
use stepwell_flow::expression::Query;
use stepwell_flow::query::{Called, Function, FunctionKind as Kind, Operand};

use super::super::{Env, Fault, text_size};
use super::steps::{Walk, members};
use super::{Miss, position, single};

/// What a function yields, or why nothing.
type Yielded = Result<Value, String>;

/// Evaluates a path with a function at its end.
pub(super) fn call(env: &Env<'_>, root: &Value, called: &Called) -> Result<Value, Miss> {
    let walk = Walk::new(env, root);
    let function = &called.function;
    let ask = |value: &Value| -> Result<Value, Miss> {
        apply(&walk, function, value, root)
            .map_err(Miss::Fault)?
            .map_err(Miss::Absent)
    };
    if let Some(all) = called.of_all() {
        let found = walk.steps(root, &all.steps).map_err(Miss::Fault)?;
        if function.kind == Kind::Length {
            return Ok(inside(&found).into());
        }
        let copies = found.into_iter().map(|value| env.copy(value));
        let list = copies.collect::<Result<_, _>>().map_err(Miss::Fault)?;
        return ask(&Value::Array(list));
    }
    match &called.query {
        Query::Whole => ask(root),
        Query::Definite(segments) => ask(single(root, segments)?),
        Query::Indefinite(several) => {
            let found = walk.steps(root, &several.steps).map_err(Miss::Fault)?;
            let each = found.into_iter().map(ask);
            each.collect::<Result<_, _>>().map(Value::Array)
        }
        Query::Called(before) => ask(&call(env, root, before)?),
    }
}

/// How many values are right in these.
fn inside(found: &[&Value]) -> usize {
    found.iter().filter_map(|value| members(value)).sum()
}

/// Asks a function of a value; paths among its arguments begin at `at`.
pub(super) fn apply<'v>(
    walk: &Walk<'_, 'v>,
    function: &'v Function,
    value: &Value,
    at: &'v Value,
) -> Result<Yielded, Fault> {
    let env = walk.env;
    env.count(1)?;
    Ok(match function.kind {
        Kind::Length => match function.arguments.first() {
            Some(Operand::Path(path)) => {
                let from = if path.absolute { walk.root } else { at };
                Ok(inside(&walk.steps(from, &path.steps)?).into())
            }
            _ => Ok(members(value).map_or(Value::Null, Value::from)),
        },
        Kind::Sum | Kind::Min | Kind::Max | Kind::Average | Kind::Deviation => {
            aggregate(function.kind, &numbers(walk, function, value, at)?)
        }
        Kind::Concat => {
            let mut text = String::new();
            each(walk, function, value, at, &mut |part| {
                if let Value::String(part) = part {
                    env.spend(text_size(part))?;
                    text.push_str(part);
                }
                Ok(())
            })?;
            Ok(text.into())
        }
        Kind::Keys => match value {
            Value::Object(map) => {
                let names = map.keys().map(|name| -> Result<Value, Fault> {
                    env.spend(text_size(name) + 1)?;
                    Ok(Value::from(name.as_str()))
                });
                Ok(Value::Array(names.collect::<Result<_, _>>()?))
            }
            _ => Ok(Value::Null),
        },
        Kind::Append => {
            let mut longer = env.copy(value)?;
            if let Value::Array(items) = &mut longer {
                for argument in &function.arguments {
                    if let Some(more) = walk.operand(argument, at)? {
                        items.push(env.copy(&more)?);
                    }
                }
            }
            Ok(longer)
        }
        Kind::First => element(env, value, 0)?,
        Kind::Last => element(env, value, -1)?,
        Kind::Index => {
            let index = match function.arguments.first() {
                Some(Operand::Literal(index)) => index.as_i64(),
                _ => None,
            };
            element(env, value, index.unwrap_or(0))?
        }
    })
}

/// What an aggregate says that has nothing to compute with, in the library's words.
fn nothing() -> String {
    "Aggregation function attempted to calculate value using empty array".to_owned()
}

fn element(env: &Env<'_>, value: &Value, index: i64) -> Result<Yielded, Fault> {
    let Some(items) = value.as_array().filter(|items| !items.is_empty()) else {
        return Ok(Err(nothing()));
    };
    match position(index, items.len()).and_then(|at| items.get(at)) {
        Some(item) => env.copy(item).map(Ok),
        None => Ok(Err(format!(
            "Target index:{index} larger than object count:{}",
            items.len()
        ))),
    }
}

/// Calls `seen` with the elements of an array, then with the arguments; of arguments that are
/// arrays with their elements.
fn each<'v>(
    walk: &Walk<'_, 'v>,
    function: &'v Function,
    value: &Value,
    at: &'v Value,
    seen: &mut dyn FnMut(&Value) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut all = |items: &[Value]| {
        walk.env.count(items.len() as u64)?;
        items.iter().try_for_each(&mut *seen)
    };
    if let Value::Array(items) = value {
        all(items)?;
    }
    for argument in &function.arguments {
        match walk.operand(argument, at)?.as_deref() {
            Some(Value::Array(items)) => all(items)?,
            Some(one) => all(std::slice::from_ref(one))?,
            None => {}
        }
    }
    Ok(())
}

fn numbers<'v>(
    walk: &Walk<'_, 'v>,
    function: &'v Function,
    value: &Value,
    at: &'v Value,
) -> Result<Vec<f64>, Fault> {
    let mut all = Vec::new();
    each(walk, function, value, at, &mut |one| {
        all.extend(one.as_number().and_then(Number::as_f64));
        Ok(())
    })?;
    Ok(all)
}

fn aggregate(kind: Kind, numbers: &[f64]) -> Yielded {
    if numbers.is_empty() {
        return Err(nothing());
    }
    let count = numbers.len() as f64;
    let sum: f64 = numbers.iter().sum();
    let result = match kind {
        Kind::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
        Kind::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        Kind::Average => sum / count,
        Kind::Deviation => {
            let squares: f64 = numbers.iter().map(|n| n * n).sum();
            let variance = squares / count - sum * sum / count / count;
            // Rounding may take it below nothing; what is out of range is no number.
            match variance.is_finite() {
                true => variance.max(0.0).sqrt(),
                false => f64::NAN,
            }
        }
        _ => sum,
    };
    let number = Number::from_f64(result).map(Value::Number);
    number.ok_or_else(|| "the result is no number".to_owned())
}
