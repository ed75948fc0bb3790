//! Payload templates and single expressions.
//!
//! Refuses an output that copies more than one payload's worth of data.

use std::borrow::Cow;

use serde_json::{Map, Value};
use stepwell_flow::expression::{DataPath, Expression, Template};

use super::path::{self, Miss};
use super::{Env, Fault, fdl, intrinsic, jsonata, size};

/// Evaluates `Parameters`, `ItemSelector` or `ResultSelector`.
pub(crate) fn fill(env: &Env<'_>, template: &Template) -> Result<Value, Fault> {
    below(env, template, "")
}

fn below(env: &Env<'_>, template: &Template, field: &str) -> Result<Value, Fault> {
    env.count(1)?;
    match template {
        Template::Literal(value) => env.copy(value),
        Template::Expression(expression) => owned(
            env,
            evaluate(env, expression, &|path, _| missing_field(env, path, field))?,
        ),
        Template::Object(fields) => {
            env.spend(2)?;
            let mut out = Map::with_capacity(fields.len());
            for (name, value) in fields {
                env.spend(name.len() + 4)?;
                out.insert(name.to_string(), below(env, value, name)?);
            }
            Ok(Value::Object(out))
        }
        Template::Array(items) => items
            .iter()
            .map(|item| below(env, item, field))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array),
    }
}

/// Evaluates one expression; `missing` words a path that leads nowhere.
pub(crate) fn evaluate<'e>(
    env: &'e Env<'_>,
    expression: &'e Expression,
    missing: &dyn Fn(&DataPath, &str) -> Fault,
) -> Result<Cow<'e, Value>, Fault> {
    match expression {
        Expression::Literal(value) => Ok(Cow::Borrowed(value)),
        Expression::Path(path) => path::read(env, path).map_err(|miss| match miss {
            Miss::Absent(why) => missing(path, &why),
            Miss::Fault(fault) => fault,
        }),
        Expression::Call {
            function,
            arguments,
            source,
        } => {
            let missing = |path: &DataPath, _: &str| missing_argument(env, path, source);
            let mut values = Vec::with_capacity(arguments.len());
            for argument in arguments {
                values.push(evaluate(env, argument, &missing)?);
            }
            let result = intrinsic::call(env, *function, source, values)?;
            env.spend(size(&result))?;
            Ok(Cow::Owned(result))
        }
        Expression::Jsonata(query) => jsonata::evaluate(env, query).map(Cow::Owned),
        Expression::Fdl(e) => fdl::evaluate(env, e),
    }
}

fn owned(env: &Env<'_>, value: Cow<'_, Value>) -> Result<Value, Fault> {
    match value {
        Cow::Borrowed(value) => env.copy(value),
        Cow::Owned(value) => Ok(value),
    }
}

/// The specification's Appendix A calls it `States.ParameterPathFailure`; the service that flows come
/// from reports it as the others of paths that lead nowhere.
fn missing_field(env: &Env<'_>, path: &DataPath, field: &str) -> Fault {
    Fault::new(
        "States.Runtime",
        format!(
            "The JSONPath '{}' specified for the field '{field}.$' could not be found in the input '{}'",
            path.source,
            super::excerpt(env.data.text()),
        ),
    )
}

fn missing_argument(env: &Env<'_>, path: &DataPath, call: &str) -> Fault {
    let why = format!(
        "The JsonPath argument for the field '{}' could not be found in the input '{}'",
        path.source,
        super::excerpt(env.data.text()),
    );
    intrinsic::fault(call, why)
}
