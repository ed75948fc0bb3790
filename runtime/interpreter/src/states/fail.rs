//! Fail: its branch, or the flow, fails here.
//!
//! Refuses Retry and Catch of its own: those of the state around it apply. That of
//! CloudFlow's `Type: StateMachine` ends the whole execution.

use std::borrow::Cow;

use serde_json::Value;
use stepwell_flow::expression::Expression;
use stepwell_flow::program::State as Node;
use stepwell_types::{EntryId, Failure};

use crate::evaluate::{Env, Fault, jsonata, template};
use crate::turn::Turn;
use crate::{Error, Outcome, cloudflow};

pub(crate) fn begin(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    error: Option<&Expression>,
    cause: Option<&Expression>,
) -> Result<(), Error> {
    let raw = super::raw_input(turn, id);
    let failure = turn.evaluate(id, &raw, |env| {
        Ok(Failure::new(
            text(env, error, "ErrorPath")?,
            text(env, cause, "CausePath")?,
        ))
    });
    match failure {
        Ok(failure) if cloudflow::fails_all(node) => {
            turn.end(Outcome::Failed(failure));
            turn.state.core.failed = Some(id);
            Ok(())
        }
        Ok(failure) => turn.fail(id, failure),
        Err(fault) => turn.fault(id, fault),
    }
}

fn text(env: &Env<'_>, expression: Option<&Expression>, field: &str) -> Result<String, Fault> {
    let Some(expression) = expression else {
        return Ok(String::new());
    };
    let value = template::evaluate(env, expression, &|path, _| {
        Fault::runtime(format!(
            "The {field} parameter does not reference an input value: {}",
            path.source
        ))
    })?;
    match value {
        Cow::Borrowed(Value::String(text)) => Ok(text.clone()),
        Cow::Owned(Value::String(text)) => Ok(text),
        other if let Expression::Jsonata(query) = expression => {
            Err(jsonata::unexpected(query, "string", &other))
        }
        other => Err(Fault::runtime(format!(
            "The {field} parameter must reference a string value, not {}",
            crate::evaluate::kind_name(&other)
        ))),
    }
}
