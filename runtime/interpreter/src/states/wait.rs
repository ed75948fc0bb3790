//! Wait: until some seconds have passed or a moment has come.
//!
//! Refuses a clock: the wait is a timer that the driver fires. One that is over
//! already passes at once.

use serde_json::Value;
use stepwell_flow::expression::Expression;
use stepwell_flow::fdl::Fdl;
use stepwell_flow::program::{State as Node, WaitUntil};
use stepwell_types::{EntryId, Timestamp};

use super::through_input_path;
use crate::evaluate::{Env, Fault, excerpt, fdl, jsonata, template};
use crate::state::Phase;
use crate::time;
use crate::turn::Turn;
use crate::{Error, outputs};

/// Longest wait in seconds, about a hundred years (Step Functions' own bound is 99,999,999).
const SECONDS_MAX: u64 = 3_153_600_000;

pub(crate) fn begin(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    until: &WaitUntil,
) -> Result<(), Error> {
    let now = turn.now;
    let at = through_input_path(turn, id, node)
        .and_then(|input| turn.evaluate(id, &input, |env| moment(env, until, now)));
    match at {
        Ok(at) if at <= now => over(turn, id),
        Ok(at) => {
            turn.state.set_phase(id, Phase::Waiting(at));
            Ok(())
        }
        Err(fault) => turn.fault(id, fault),
    }
}

/// The wait is over.
pub(crate) fn over(turn: &mut Turn<'_>, id: EntryId) -> Result<(), Error> {
    let Some(node) = turn.node_of(id)? else {
        return Ok(());
    };
    match outputs::of_input(turn, id, node, None) {
        Ok(outputs) => turn.leave(id, outputs, node.next),
        Err(fault) => turn.fault(id, fault),
    }
}

fn moment(env: &Env<'_>, until: &WaitUntil, now: Timestamp) -> Result<Timestamp, Fault> {
    match until {
        WaitUntil::Seconds(expression) => {
            let value = template::evaluate(env, expression, &absent("SecondsPath"))?;
            // CloudFlow's waits are of a second at least, here as where a number is written.
            let least = u64::from(matches!(expression, Expression::Fdl(_)));
            let seconds = seconds(&value).filter(|n| *n >= least).ok_or_else(|| {
                if let Expression::Jsonata(query) = expression {
                    return jsonata::unexpected(query, "number", &value);
                }
                if let Expression::Fdl(e) = expression {
                    return there("a whole number of seconds from 1", e, &value);
                }
                let why = match value.as_i64() {
                    Some(n) if n < 0 => "references a negative value",
                    None => "cannot be parsed as a long value",
                    Some(_) => "does not reference a valid number of seconds",
                };
                Fault::runtime(format!(
                    "The SecondsPath parameter {why}: {} == {}",
                    source(expression),
                    excerpt(&shown(&value)),
                ))
            })?;
            Ok(now.plus_ms(seconds.saturating_mul(1_000)))
        }
        WaitUntil::Timestamp(expression) => {
            let value = template::evaluate(env, expression, &absent("TimestampPath"))?;
            value.as_str().and_then(time::parse).ok_or_else(|| {
                if let Expression::Jsonata(query) = expression {
                    return jsonata::unexpected(query, "timestamp", &value);
                }
                if let Expression::Fdl(e) = expression {
                    return there("a moment by RFC 3339", e, &value);
                }
                Fault::runtime(format!(
                    "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: {} == {}",
                    source(expression),
                    excerpt(&shown(&value)),
                ))
            })
        }
    }
}

/// In CloudFlow a wait has other fields, and an expression in each.
fn there(wanted: &str, e: &Fdl, value: &Value) -> Fault {
    fdl::failed(format!(
        "A wait takes {wanted}, and {} is {}",
        excerpt(&e.to_string()),
        excerpt(&value.to_string()),
    ))
}

/// A value as causes print it: text without its quotes.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A whole number of seconds in range; doubles without a fraction count.
pub(crate) fn seconds(value: &Value) -> Option<u64> {
    let n = value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|n| n.fract() == 0.0 && *n >= 0.0)
            .map(|n| n as u64)
    })?;
    (n <= SECONDS_MAX).then_some(n)
}

pub(crate) fn absent(
    field: &'static str,
) -> impl Fn(&stepwell_flow::expression::DataPath, &str) -> Fault {
    move |path, _| {
        Fault::runtime(format!(
            "The {field} parameter does not reference an input value: {}",
            path.source
        ))
    }
}

/// An expression as the definition has it, for messages.
pub(crate) fn source(expression: &Expression) -> String {
    match expression {
        Expression::Literal(value) => value.to_string(),
        Expression::Path(path) => path.source.to_string(),
        Expression::Call { source, .. } => source.to_string(),
        Expression::Jsonata(query) => query.source.to_string(),
        Expression::Fdl(e) => e.to_string(),
    }
}
