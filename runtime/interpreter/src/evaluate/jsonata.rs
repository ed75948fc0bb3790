//! JSONata: evaluates an expression on `$states` and the variables.
//!
//! Refuses clocks and true randomness: `$now`, `$millis`, `$random`, `$uuid` and
//! `$shuffle` take their values from the event and the execution's seed. The library's
//! values are `Rc`: they are made, used and turned into JSON within one call.
//! Source: docs.jsonata.org; states-language.net, "JSONata".

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{
    Context, Evaluator, EvaluatorError, EvaluatorOptions, error_code_prefix,
};
use jsonata_core::value::JValue;
use serde_json::{Map, Number, Value};
use stepwell_flow::expression::meter::{BOUNDED, PICTURES, URLS};
use stepwell_flow::expression::{Jsonata, Needs};
use stepwell_types::limits::{JSON_DEPTH_MAX, PAYLOAD_BYTES_MAX};

use stepwell_types::{Data, Timestamp};

use super::{Env, Fault, excerpt, kind_name, size, text_size};

mod functions;
mod matcher;
mod meter;
mod notes;
mod order;
mod pictures;
mod strict;
mod urls;
mod words;

use functions::Draws;
use matcher::Patterns;
use meter::Meter;
use notes::Notes;

/// Deepest nesting of an evaluation, in levels of the library (about three a call).
const DEPTH_MAX: usize = 3_000;
/// Documents that are kept in the library's form during one turn.
const LIBRARY_MAX: usize = 16;
/// Longest sequence that an evaluation may build.
const SEQUENCE_MAX: usize = 1_000_000;

/// The value of an expression; nothing at all is an error, as in Step Functions.
pub(crate) fn evaluate(env: &Env<'_>, query: &Jsonata) -> Result<Value, Fault> {
    env.count(1)?;
    if let Some(found) = direct(env, query) {
        return env.copy(found);
    }
    let mut context = Context::new();
    bind(env, &query.needs, &mut context)?;
    let started = env.context.core.started.as_ref();
    let seed = started.map_or([0; 16], |s| s.seed);
    let made = env.draws.get();
    let draws = Draws::new(seed, made);
    let given = env.operations();
    let meter = Meter::new(given);
    let kit = Kit::new(env.now, &draws, &meter);
    let result = run(&query.tree, context, &JValue::Undefined, &kit);
    env.draws.set(draws.made());
    let result = result.map_err(|error| {
        let again = || {
            let mut context = Context::new();
            bind(env, &query.needs, &mut context).ok().map(|()| context)
        };
        let draws = Draws::new(seed, made);
        worded(query, &error, &JValue::Undefined, &kit, &draws, again)
    });
    // To word an error may have cost more, which is counted already.
    env.count(given.saturating_sub(meter.left()))?;
    if meter.exceeded() {
        return Err(Fault::limit());
    }
    match result {
        // The library's own limits: a sequence, the depth of calls.
        Err((code, _)) if matches!(&*code, "D2015" | "D1011" | "U1001") => Err(Fault::limit()),
        Ok(JValue::Undefined) => Err(fault(query, "returned nothing (undefined).")),
        Ok(value) => {
            let mut bytes = 0;
            let json = to_json(&value, JSON_DEPTH_MAX, &mut bytes);
            if bytes > PAYLOAD_BYTES_MAX {
                return Err(Fault::too_large("The state's data"));
            }
            env.spend(bytes)?;
            json.map_err(|why| fault(query, why))
        }
        Err((_, said)) => Err(fault(
            query,
            &format!("threw an error during evaluation. {said}"),
        )),
    }
}

/// An error's code, and its text in JSONata's own words. For what the library leaves out, the
/// expression is evaluated once more, with what is left of its operations, and notes what it
/// does.
fn worded(
    query: &Jsonata,
    error: &EvaluatorError,
    root: &JValue,
    kit: &Rc<Kit>,
    draws: &Draws,
    context: impl FnOnce() -> Option<Context>,
) -> (String, String) {
    if let Some(said) = words::without_code(error.message()) {
        return said;
    }
    let message = words::coded(error.message());
    let code = error_code_prefix(message).unwrap_or_default();
    let again = || {
        if !words::lacking(code) || kit.meter.exceeded() {
            return None;
        }
        let (tree, context) = (query.noting()?, context()?);
        let meter = Meter::new(kit.meter.left());
        let noting = Kit::noting(kit.now, draws, &meter);
        let same = run(tree, context, root, &noting)
            .is_err_and(|again| again.message() == error.message());
        // What it took is counted; it ends nothing that has not ended.
        let taken = kit.meter.left() - meter.left();
        kit.meter.count(taken).ok()?;
        noting.notes.clone().filter(|_| same)
    };
    let notes = again();
    let said = words::words(message, notes.as_deref());
    (code.to_owned(), said.into_owned())
}

/// What an evaluation gives its expressions to call.
struct Kit {
    now: Timestamp,
    draws: Draws,
    meter: Rc<Meter>,
    /// Regular expressions that track back, compiled.
    patterns: Patterns,
    /// What it was doing, for an expression that has failed.
    notes: Option<Rc<Notes>>,
}

impl Kit {
    fn new(now: Timestamp, draws: &Draws, meter: &Rc<Meter>) -> Rc<Kit> {
        Rc::new(Kit {
            now,
            draws: draws.clone(),
            meter: Rc::clone(meter),
            patterns: Patterns::default(),
            notes: None,
        })
    }

    fn noting(now: Timestamp, draws: &Draws, meter: &Rc<Meter>) -> Rc<Kit> {
        Rc::new(Kit {
            now,
            draws: draws.clone(),
            meter: Rc::clone(meter),
            patterns: Patterns::default(),
            notes: Some(Rc::default()),
        })
    }

    fn equip(self: &Rc<Kit>, evaluator: &mut Evaluator) {
        functions::register(evaluator, self.now, &self.draws, &self.meter);
        pictures::register(evaluator, &self.meter, self.now);
        urls::register(evaluator, &self.meter);
        meter::register(evaluator, self);
        matcher::register(evaluator, self);
        strict::register(evaluator, self);
        order::register(evaluator, self);
        if let Some(kept) = &self.notes {
            notes::register(evaluator, kept);
        }
    }
}

/// Evaluates with the functions of Step Functions, within the meter's count.
fn run(
    tree: &AstNode,
    context: Context,
    root: &JValue,
    kit: &Rc<Kit>,
) -> Result<JValue, EvaluatorError> {
    let options = EvaluatorOptions {
        max_stack_depth: Some(DEPTH_MAX),
        max_sequence_length: Some(SEQUENCE_MAX),
        ..EvaluatorOptions::default()
    };
    let mut evaluator = Evaluator::with_options(context, options);
    kit.equip(&mut evaluator);
    // A bug of the library on some data must cost that state, not the execution.
    catch_unwind(AssertUnwindSafe(|| evaluator.evaluate(tree, root)))
        .unwrap_or_else(|_| Err(functions::error("the JSONata library failed on this data")))
}

/// Evaluates an expression on its own, with `root` as `$` and the members of `bindings` as
/// variables, as JSONata's own suite does; `None`: undefined. For tests and benches.
///
/// # Errors
/// The code and the words of JSONata's own implementation; `Stepwell.ExpressionLimit` beyond `operations`.
pub fn alone(
    query: &Jsonata,
    root: Option<&Data>,
    bindings: &Data,
    operations: u64,
) -> Result<Option<Value>, (String, String)> {
    let read = |data: &Data| JValue::from_json_str(data.text()).unwrap_or(JValue::Null);
    let root = root.map_or(JValue::Undefined, read);
    let bound = || {
        let mut context = Context::new();
        if let JValue::Object(map) = read(bindings) {
            for (name, value) in map.iter() {
                bind_variable(&mut context, name, value.clone());
            }
        }
        context
    };
    let (draws, meter) = (Draws::new([7; 16], 0), Meter::new(operations));
    let now = Timestamp(1_700_000_000_000);
    let kit = Kit::new(now, &draws, &meter);
    let result = run(&query.tree, bound(), &root, &kit);
    if meter.exceeded() {
        return Err((super::LIMIT_ERROR.to_owned(), String::new()));
    }
    match result {
        Ok(JValue::Undefined) => Ok(None),
        Ok(value) => to_json(&value, JSON_DEPTH_MAX, &mut 0)
            .map(Some)
            .map_err(|why| (String::new(), why.to_owned())),
        Err(error) => {
            let draws = Draws::new([7; 16], 0);
            Err(worded(query, &error, &root, &kit, &draws, || Some(bound())))
        }
    }
}

/// An expression yielded a value of another type than its field takes, or one out of its bounds.
pub(crate) fn unexpected(query: &Jsonata, wanted: &str, value: &Value) -> Fault {
    let kind = kind_name(value);
    let text = value.to_string();
    let shown = excerpt(&text);
    let why = if kind == wanted {
        format!("returned a {kind} that the field does not take: {shown}")
    } else {
        format!(
            "returned an unexpected result type. Expected '{wanted}', but was '{kind}' for value: {shown}"
        )
    };
    fault(query, &why)
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
    let (root, names) = query.plain.as_ref()?.split_first()?;
    let (data, names) = if **root == *"states" {
        let (member, rest) = names.split_first()?;
        let data = match &**member {
            "input" => env.given.data,
            "result" => env.given.result?,
            "errorOutput" => env.given.error?,
            _ => return None,
        };
        (data, rest)
    } else {
        (env.variables?.get(&**root)?, names)
    };
    // Arrays on the way are mapped over: that is the library's.
    let mut at = data.value();
    for name in names {
        at = at.as_object()?.get(&**name)?;
    }
    Some(at)
}

/// Binds `$states` and the variables, as far as the expression names them.
fn bind(env: &Env<'_>, needs: &Needs, context: &mut Context) -> Result<(), Fault> {
    let mut states = indexmap::IndexMap::new();
    for (name, data, needed) in [
        ("input", Some(env.given.data), needs.input),
        ("result", env.given.result, needs.result),
        ("errorOutput", env.given.error, needs.error),
    ] {
        if let (Some(data), true) = (data, needed) {
            states.insert(name.to_owned(), from_json(env, data)?);
        }
    }
    if needs.context {
        let value = env.context.build(needs.execution_input, needs.item);
        env.count(size(&value) as u64 / 16)?;
        states.insert("context".to_owned(), JValue::from(value));
    }
    context.bind("states".to_owned(), JValue::object(states));
    for name in &needs.variables {
        if let Some(data) = env.variables.and_then(|v| v.get(&**name)) {
            bind_variable(context, name, from_json(env, data)?);
        }
    }
    Ok(())
}

/// Binds a variable. One that is named like a function hides the bounded form of it too.
fn bind_variable(context: &mut Context, name: &str, value: JValue) {
    for (plain, bounded) in BOUNDED.iter().chain(&PICTURES).chain(&URLS) {
        if *plain == name {
            context.bind((*bounded).to_owned(), value.clone());
        }
    }
    context.bind(name.to_owned(), value);
}

/// Data in the library's form: made once for all expressions of one place.
fn from_json(env: &Env<'_>, data: &Data) -> Result<JValue, Fault> {
    if let Some((_, known)) = env.library.borrow().get(&data.address()) {
        return Ok(known.clone());
    }
    env.count(data.len_bytes() as u64 / 16)?;
    // Data is valid JSON, nested no deeper than the parser goes.
    let value = JValue::from_json_str(data.text()).unwrap_or(JValue::Null);
    let mut library = env.library.borrow_mut();
    if library.len() >= LIBRARY_MAX {
        library.clear();
    }
    library.insert(data.address(), (data.clone(), value.clone()));
    Ok(value)
}

/// The library's value as JSON; `bytes` counts what it takes, or a little more.
fn to_json(value: &JValue, levels: usize, bytes: &mut usize) -> Result<Value, &'static str> {
    if levels == 0 {
        return Err("returned a value that is nested too deep.");
    }
    *bytes += 5;
    // What is shared in there is written out each time.
    if *bytes > PAYLOAD_BYTES_MAX {
        return Err("returned a value that is too large.");
    }
    Ok(match value {
        JValue::Null => Value::Null,
        JValue::Bool(b) => Value::Bool(*b),
        JValue::Number(n) => {
            let value = number(*n)?;
            *bytes += size(&value);
            value
        }
        JValue::String(text) => {
            *bytes += text_size(text);
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
                *bytes += text_size(name) + 2;
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
