//! What a state hands on when it is left: its output, and the variables that it assigns.
//!
//! Both are made from the values as they were on entering: nothing here sees a variable
//! that the same state assigns. Refuses to move between states.
//! Source: states-language.net, "Input and Output Processing" and "Variables".

use std::sync::Arc;

use serde_json::{Value, json};
use stepwell_flow::expression::Template;
use stepwell_flow::program::{Catcher, ChoiceRule, DataFlow, State as Node};
use stepwell_types::{Data, EntryId, Failure};

use crate::cloudflow;
use crate::evaluate::{Fault, Given, flow};
use crate::state::Variables;
use crate::states::{raw_input, through_input_path};
use crate::turn::Turn;

/// Most bytes of all variables that one place of a flow sees, names counted too.
const VARIABLES_BYTES_MAX: usize = 10 << 20;

/// Output and assigned variables.
pub(crate) struct Outputs {
    pub output: Data,
    /// Only those that this state sets.
    pub assigned: Arc<Variables>,
    /// What the next state, or the end of the graph, gets; `None`: the output.
    pub onward: Option<Data>,
}

impl Outputs {
    pub fn new(output: Data, assigned: Arc<Variables>) -> Outputs {
        Outputs {
            output,
            assigned,
            onward: None,
        }
    }
}

/// Of a state that has a result: Task, Parallel, Map; Pass in JSONPath mode.
pub(crate) fn of_result(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    result: &Data,
) -> Result<Outputs, Fault> {
    let raw = raw_input(turn, id);
    match &node.data {
        DataFlow::JsonPath(fields) => {
            let selected = turn.evaluate(id, result, |env| {
                flow::shape(env, fields.result_selector.as_ref())
            })?;
            let assigned = assigned(turn, id, &selected, node.assign.as_ref())?;
            let merged = flow::merge(&raw, selected, &fields.result_path)?;
            let output = turn.evaluate(id, &merged, |env| {
                flow::through(env, fields.output_path.as_ref())
            })?;
            Ok(Outputs::new(output, assigned))
        }
        DataFlow::CloudFlow(own) => cloudflow::outputs(turn, id, node, own, result),
        DataFlow::Jsonata(fields) => {
            let given = Given {
                data: &raw,
                result: Some(result),
                error: None,
            };
            let output = output(turn, id, given, fields.output.as_ref(), result)?;
            let assigned = assigned(turn, id, given, node.assign.as_ref())?;
            Ok(Outputs::new(output, assigned))
        }
    }
}

/// Of a state that has none: Wait, Succeed, Choice; Pass in JSONata mode.
///
/// `rule`: the rule of a Choice that was taken. What it does not say is not taken from the
/// state: Output and Assign beside the rules are of the default way.
pub(crate) fn of_input(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    rule: Option<&ChoiceRule>,
) -> Result<Outputs, Fault> {
    let assign = rule.map_or(node.assign.as_ref(), |rule| rule.assign.as_ref());
    match &node.data {
        DataFlow::JsonPath(fields) => {
            let input = through_input_path(turn, id, node)?;
            let assigned = assigned(turn, id, &input, assign)?;
            let output = turn.evaluate(id, &input, |env| {
                flow::through(env, fields.output_path.as_ref())
            })?;
            Ok(Outputs::new(output, assigned))
        }
        DataFlow::CloudFlow(own) => {
            let input = through_input_path(turn, id, node)?;
            cloudflow::outputs(turn, id, node, own, &input)
        }
        DataFlow::Jsonata(fields) => {
            let raw = raw_input(turn, id);
            let template = rule.map_or(fields.output.as_ref(), |rule| rule.output.as_ref());
            let output = output(turn, id, (&raw).into(), template, &raw)?;
            let assigned = assigned(turn, id, &raw, assign)?;
            Ok(Outputs::new(output, assigned))
        }
    }
}

/// Of a failure that a catcher takes.
pub(crate) fn of_caught(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    rule: &Catcher,
    failure: &Failure,
) -> Result<Outputs, Fault> {
    let raw = raw_input(turn, id);
    let caught = Data::from_value(json!({
        "Error": &*failure.error, "Cause": &*failure.cause,
    }));
    match &node.data {
        DataFlow::JsonPath(_) => {
            let assigned = assigned(turn, id, &caught, rule.assign.as_ref())?;
            let output = flow::merge(&raw, caught, &rule.result_path)?;
            Ok(Outputs::new(output, assigned))
        }
        DataFlow::CloudFlow(own) => cloudflow::caught(turn, id, own, rule, failure),
        DataFlow::Jsonata(_) => {
            let given = Given {
                data: &raw,
                result: None,
                error: Some(&caught),
            };
            let output = output(turn, id, given, rule.output.as_ref(), &caught)?;
            let assigned = assigned(turn, id, given, rule.assign.as_ref())?;
            Ok(Outputs::new(output, assigned))
        }
    }
}

fn output(
    turn: &mut Turn<'_>,
    id: EntryId,
    given: Given<'_>,
    template: Option<&Template>,
    otherwise: &Data,
) -> Result<Data, Fault> {
    match template {
        None => Ok(otherwise.clone()),
        template => turn.evaluate(id, given, |env| flow::shape(env, template)),
    }
}

/// Evaluates an `Assign`, and checks that what it sets has room.
fn assigned<'g>(
    turn: &mut Turn<'_>,
    id: EntryId,
    given: impl Into<Given<'g>>,
    assign: Option<&Template>,
) -> Result<Arc<Variables>, Fault> {
    let Some(assign) = assign else {
        return Ok(Arc::default());
    };
    let value = turn.evaluate(id, given, |env| flow::shape(env, Some(assign)))?;
    let Value::Object(fields) = value.value() else {
        return Ok(Arc::default());
    };
    let mut set = Variables::new();
    for (name, value) in fields {
        set.insert(name.as_str().into(), Data::from_value(value.clone()));
    }
    let old = turn.state.core.entries.get(&id).map(|e| &e.variables);
    let kept = old.into_iter().flat_map(|old| old.iter());
    let kept = kept.filter(|(name, _)| !set.contains_key(*name));
    let bytes: usize = kept
        .chain(&set)
        .map(|(name, value)| name.len() + value.len_bytes())
        .sum();
    if bytes > VARIABLES_BYTES_MAX {
        return Err(Fault::new(
            "States.DataLimitExceeded",
            format!("The variables exceed the limit of {VARIABLES_BYTES_MAX} bytes in all."),
        ));
    }
    Ok(Arc::new(set))
}

/// The variables after a state: the old ones, but for those that it sets.
pub(crate) fn after(old: Arc<Variables>, assigned: &Arc<Variables>) -> Arc<Variables> {
    if assigned.is_empty() {
        return old;
    }
    let mut all = Variables::clone(&old);
    all.extend(assigned.iter().map(|(n, v)| (Arc::clone(n), v.clone())));
    Arc::new(all)
}
