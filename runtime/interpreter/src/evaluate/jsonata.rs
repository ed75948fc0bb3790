//! JSONata: evaluates an expression on `$states` and the variables.
//!
//! Refuses clocks and true randomness: `$now`, `$millis`, `$random`, `$uuid` and
//! `$shuffle` take their values from the event and the execution's seed. The library's
//! values are `Rc`: they are made, used and turned into JSON within one call.
//! Source: docs.jsonata.org; states-language.net, "JSONata".

use std::cell::Cell;
use std::rc::Rc;

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Context, Evaluator, EvaluatorOptions};
use jsonata_core::value::JValue;
use serde_json::{Map, Number, Value};
use stepwell_flow::expression::{Jsonata, Needs};
use stepwell_types::Data;
use stepwell_types::limits::JSON_DEPTH_MAX;

use super::{Env, Fault, excerpt, kind_name};

mod functions;

/// Deepest nesting of an evaluation, in levels of the library (about three a call).
const DEPTH_MAX: usize = 3_000;
/// Longest sequence that an evaluation may build.
const SEQUENCE_MAX: usize = 1_000_000;

/// The value of an expression; nothing at all is an error, as in Step Functions.
pub(crate) fn evaluate(env: &Env<'_>, query: &Jsonata) -> Result<Value, Fault> {
    if let Some(found) = direct(env, query) {
        return env.copy(found);
    }
    let draws = Rc::new(Cell::new(env.draws.get()));
    let mut context = Context::new();
    bind(env, &query.needs, &mut context);
    let options = EvaluatorOptions {
        max_stack_depth: Some(DEPTH_MAX),
        max_sequence_length: Some(SEQUENCE_MAX),
        ..EvaluatorOptions::default()
    };
    let mut evaluator = Evaluator::with_options(context, options);
    functions::register(&mut evaluator, env, &draws);
    let result = evaluator.evaluate(&query.tree, &JValue::Undefined);
    env.draws.set(draws.get());
    match result {
        Ok(JValue::Undefined) => Err(fault(query, "returned nothing (undefined).")),
        Ok(value) => {
            let mut left = 0;
            let value =
                to_json(&value, JSON_DEPTH_MAX, &mut left).map_err(|why| fault(query, why))?;
            env.spend(left)?;
            Ok(value)
        }
        Err(error) => Err(fault(
            query,
            &format!("threw an error during evaluation. {}", error.message()),
        )),
    }
}

/// An expression yielded a value of another type than its field takes.
pub(crate) fn unexpected(query: &Jsonata, wanted: &str, value: &Value) -> Fault {
    fault(
        query,
        &format!(
            "returned an unexpected result type. Expected '{wanted}', but was '{}' for value: {}",
            kind_name(value),
            excerpt(&value.to_string())
        ),
    )
}

fn fault(query: &Jsonata, why: &str) -> Fault {
    Fault::query(
        Some(&query.location),
        format!(
            "The JSONata expression '{}' specified for the field '{}' {why}",
            query.source, query.location
        ),
    )
}

/// A plain path of names below `$states` or a variable, which needs no evaluator:
/// what it finds is copied as it is, with its numbers as they were written.
fn direct<'e>(env: &'e Env<'_>, query: &Jsonata) -> Option<&'e Value> {
    let root;
    let names = match &query.tree {
        AstNode::Variable(name) => {
            root = &**name;
            &[][..]
        }
        AstNode::Path { steps } => {
            let (first, rest) = steps.split_first()?;
            let AstNode::Variable(name) = &first.node else {
                return None;
            };
            root = &**name;
            rest
        }
        _ => return None,
    };
    let plain = |step: &jsonata_core::ast::PathStep| {
        step.stages.is_empty()
            && step.focus.is_none()
            && step.index_var.is_none()
            && step.ancestor_label.is_none()
            && !step.is_tuple
    };
    let names = names
        .iter()
        .map(|step| match &step.node {
            AstNode::Name(name) if plain(step) => Some(name.as_str()),
            _ => None,
        })
        .collect::<Option<Vec<&str>>>()?;
    let (data, names) = if root == "states" {
        let (member, rest) = names.split_first()?;
        let data = match *member {
            "input" => env.given.data,
            "result" => env.given.result?,
            "errorOutput" => env.given.error?,
            _ => return None,
        };
        (data, rest)
    } else {
        (env.variables?.get(root)?, &names[..])
    };
    // Arrays on the way are mapped over: that is the library's.
    let mut at = data.value();
    for name in names {
        at = at.as_object()?.get(*name)?;
    }
    Some(at)
}

/// Binds `$states` and the variables, as far as the expression names them.
fn bind(env: &Env<'_>, needs: &Needs, context: &mut Context) {
    let mut states = indexmap::IndexMap::new();
    let mut add = |name: &str, data: Option<&Data>, needed: bool| {
        if let (Some(data), true) = (data, needed) {
            states.insert(name.to_owned(), from_json(data));
        }
    };
    add("input", Some(env.given.data), needs.input);
    add("result", env.given.result, needs.result);
    add("errorOutput", env.given.error, needs.error);
    if needs.context {
        let value = env.context.build(needs.payloads);
        states.insert("context".to_owned(), JValue::from(value));
    }
    context.bind("states".to_owned(), JValue::object(states));
    for name in &needs.variables {
        if let Some(data) = env.variables.and_then(|v| v.get(&**name)) {
            context.bind(name.to_string(), from_json(data));
        }
    }
}

fn from_json(data: &Data) -> JValue {
    // Data is valid JSON, nested no deeper than the parser goes.
    JValue::from_json_str(data.text()).unwrap_or(JValue::Null)
}

/// The library's value as JSON; `bytes` counts roughly what it takes.
fn to_json(value: &JValue, levels: usize, bytes: &mut usize) -> Result<Value, &'static str> {
    if levels == 0 {
        return Err("returned a value that is nested too deep.");
    }
    Ok(match value {
        JValue::Null => Value::Null,
        JValue::Bool(b) => Value::Bool(*b),
        JValue::Number(n) => number(*n)?,
        JValue::String(text) => {
            *bytes += text.len() + 2;
            Value::String(text.to_string())
        }
        JValue::Array(items) => {
            let mut list = Vec::with_capacity(items.len());
            for item in items.iter() {
                *bytes += 1;
                // JSON has no undefined element: JavaScript writes null.
                list.push(match item {
                    JValue::Undefined => Value::Null,
                    item => to_json(item, levels - 1, bytes)?,
                });
            }
            Value::Array(list)
        }
        JValue::Object(map) => {
            let mut fields = Map::with_capacity(map.len());
            for (name, item) in map.iter() {
                *bytes += name.len() + 4;
                if !matches!(item, JValue::Undefined) {
                    fields.insert(name.clone(), to_json(item, levels - 1, bytes)?);
                }
            }
            Value::Object(fields)
        }
        _ => return Err("returned a function, which is no JSON value."),
    })
}

/// Whole numbers without a fraction, as JavaScript prints them.
fn number(n: f64) -> Result<Value, &'static str> {
    // 2^53: beyond it doubles no longer tell neighbours apart.
    if n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0 {
        #[allow(clippy::cast_possible_truncation, reason = "whole, and within 53 bits")]
        return Ok(Value::from(n as i64));
    }
    Number::from_f64(n)
        .map(Value::Number)
        .ok_or("returned a number that JSON cannot hold.")
}
