//! Functions as values within JSONata: which are the library's own, and what compiling and
//! trying regular expressions costs, as the pattern of a function and as functions themselves.
//!
//! Refuses to match: that is the library's.

use std::rc::Rc;

use jsonata_core::ast::AstNode;
use jsonata_core::evaluator::{Context, Evaluator, EvaluatorError, StoredLambda};
use jsonata_core::value::JValue;
use stepwell_flow::expression::meter;

use super::functions::{error, set};
use super::meter::Meter;

/// What the library's own `next` is bound to within ours.
const NATIVE: &str = "regex native";
/// What our `next` hands on besides: the cost of its pattern.
const COSTS: [&str; 3] = ["regex compile", "regex each", "regex rescans"];

pub(super) fn register(evaluator: &mut Evaluator, meter: &Rc<Meter>) {
    let own = Rc::clone(meter);
    set(evaluator, meter::SUBJECT, move |args| {
        let value = args.first().cloned().unwrap_or(JValue::Undefined);
        own.subject(&value)?;
        Ok(value)
    });
    for (name, all) in [(meter::PATTERN, false), (meter::PATTERN_ALL, true)] {
        let own = Rc::clone(meter);
        set(evaluator, name, move |args| pattern(&own, args, all));
    }
    let own = Rc::clone(meter);
    set(evaluator, meter::REGEX, move |args| first(&own, args));
    let own = Rc::clone(meter);
    set(evaluator, meter::REGEX_NEXT, move |args| next(&own, args));
    set(evaluator, meter::GIVEN, |args| {
        let given = args.first().is_some_and(|arg| !arg.is_undefined());
        Ok(JValue::Bool(given))
    });
    set(evaluator, meter::BUILT_IN, |args| {
        Ok(JValue::Bool(matches!(
            args.first(),
            Some(JValue::Builtin { .. })
        )))
    });
}

/// Gives a pattern back in the library's form, once its cost on the last subject is counted.
fn pattern(meter: &Meter, args: &[JValue], all: bool) -> Result<JValue, EvaluatorError> {
    let length = meter.subject_length();
    let Some((pattern, known)) = args.split_first() else {
        return Ok(JValue::Undefined);
    };
    if let Some((regex, cost)) = unwrap(pattern) {
        meter.tried(length, &cost, all)?;
        return Ok(regex);
    }
    if matches!(pattern, JValue::Regex { .. }) {
        meter.tried(length, known, all)?;
    }
    Ok(pattern.clone())
}

/// The regular expression that a function of ours stands for, and its cost.
fn unwrap(value: &JValue) -> Option<(JValue, Vec<JValue>)> {
    let JValue::Lambda(stored) = value else {
        return None;
    };
    let AstNode::Function { name, args, .. } = &stored.body else {
        return None;
    };
    let [AstNode::String(pattern), AstNode::String(flags), costs @ ..] = &args[..] else {
        return None;
    };
    let costs = costs.iter().map_while(|cost| match cost {
        AstNode::Number(n) => Some(JValue::Number(*n)),
        _ => None,
    });
    let regex = JValue::regex(pattern.as_str(), flags.as_str());
    (name == meter::REGEX).then(|| (regex, costs.collect()))
}

/// The first match: pattern, flags, its three costs, a text, where to begin.
fn first(meter: &Meter, args: &[JValue]) -> Result<JValue, EvaluatorError> {
    let [JValue::String(pattern), JValue::String(flags), rest @ ..] = args else {
        return Err(error("a regular expression is called by its source"));
    };
    let (cost, given) = rest.split_at(rest.len().min(COSTS.len()));
    meter.shallow(given.first().unwrap_or(&JValue::Undefined))?;
    meter.tried(length(given), cost, false)?;
    let given: Vec<JValue> = match given {
        // Nothing is where to begin.
        [text, JValue::Undefined] => vec![text.clone()],
        given => given.to_vec(),
    };
    let regex = JValue::regex(&**pattern, &**flags);
    let found = call(regex, &given)?;
    Ok(counting(found, cost))
}

/// The match after one: the library's own function for it, and the cost of the pattern.
fn next(meter: &Meter, args: &[JValue]) -> Result<JValue, EvaluatorError> {
    let Some((native @ JValue::Lambda(stored), cost)) = args.split_first() else {
        return Err(error("next() is called by its match"));
    };
    let texts: Vec<JValue> = stored.captured_env.values().cloned().collect();
    meter.tried(length(&texts), cost, false)?;
    let found = call(native.clone(), &[])?;
    Ok(counting(found, cost))
}

/// The longest of some texts, in bytes.
fn length(values: &[JValue]) -> u64 {
    let texts = values.iter().filter_map(JValue::as_str);
    texts.map(str::len).max().unwrap_or(0) as u64
}

/// A match whose `next()` counts.
fn counting(found: JValue, cost: &[JValue]) -> JValue {
    let JValue::Object(fields) = &found else {
        return found;
    };
    let Some(JValue::Lambda(native)) = fields.get("next") else {
        return found;
    };
    let variable = |name: &str| AstNode::Variable(name.to_owned());
    let mut next = StoredLambda::clone(native);
    next.captured_env = COSTS
        .iter()
        .zip(cost)
        .map(|(name, cost)| ((*name).to_owned(), cost.clone()))
        .collect();
    next.captured_env
        .insert(NATIVE.to_owned(), JValue::Lambda(Rc::clone(native)));
    next.body = AstNode::Function {
        name: meter::REGEX_NEXT.to_owned(),
        args: std::iter::once(NATIVE).chain(COSTS).map(variable).collect(),
        is_builtin: true,
    };
    let mut fields: indexmap::IndexMap<String, JValue> =
        fields.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    fields.insert("next".to_owned(), JValue::Lambda(Rc::new(next)));
    JValue::object(fields)
}

/// Calls a function of the library's.
fn call(function: JValue, args: &[JValue]) -> Result<JValue, EvaluatorError> {
    let mut context = Context::new();
    context.bind("f".to_owned(), function);
    let names: Vec<String> = (0..args.len()).map(|i| format!("a{i}")).collect();
    for (name, arg) in names.iter().zip(args) {
        context.bind(name.clone(), arg.clone());
    }
    let tree = AstNode::Function {
        name: "f".to_owned(),
        args: names.into_iter().map(AstNode::Variable).collect(),
        is_builtin: true,
    };
    Evaluator::with_context(context).evaluate(&tree, &JValue::Undefined)
}
