//! The names that the engine itself gives to expressions: `$states`, the Context object, and
//! functions; and what is said where an expression names something that is not among them.
//!
//! Refuses to stop a flow for it: Step Functions publishes such a flow, and fails it or reads
//! nothing when it gets there.

use crate::diagnostic::{Report, code};
use crate::document::At;
use crate::path::clip;
use crate::suggest;

/// Members of `$states`.
pub(crate) const STATES: &[&str] = &["input", "result", "errorOutput", "context"];

/// JSONata's functions, and those that Step Functions added.
/// Source: docs.jsonata.org, and "Transforming data with JSONata in Step Functions".
pub(crate) const FUNCTIONS: &[&str] = &[
    "abs",
    "append",
    "assert",
    "average",
    "base64decode",
    "base64encode",
    "boolean",
    "ceil",
    "clone",
    "contains",
    "count",
    "decodeUrl",
    "decodeUrlComponent",
    "distinct",
    "each",
    "encodeUrl",
    "encodeUrlComponent",
    "error",
    "exists",
    "filter",
    "floor",
    "formatBase",
    "formatInteger",
    "formatNumber",
    "fromMillis",
    "hash",
    "join",
    "keys",
    "length",
    "lookup",
    "lowercase",
    "map",
    "match",
    "max",
    "merge",
    "millis",
    "min",
    "not",
    "now",
    "number",
    "pad",
    "parse",
    "parseInteger",
    "partition",
    "power",
    "random",
    "range",
    "reduce",
    "replace",
    "reverse",
    "round",
    "shuffle",
    "sift",
    "single",
    "sort",
    "split",
    "spread",
    "sqrt",
    "string",
    "substring",
    "substringAfter",
    "substringBefore",
    "sum",
    "toMillis",
    "trim",
    "type",
    "uppercase",
    "uuid",
    "zip",
];

/// What the Context object has below a place; `None` where it holds the user's own data.
fn context(place: &[&str]) -> Option<&'static [&'static str]> {
    match place {
        [] => Some(&["Execution", "State", "StateMachine", "Task", "Map"]),
        ["Execution"] => Some(&[
            "Id",
            "Input",
            "Name",
            "RoleArn",
            "StartTime",
            "RedriveCount",
            "RedriveTime",
        ]),
        ["State"] => Some(&["Name", "EnteredTime", "RetryCount"]),
        ["StateMachine"] => Some(&["Id", "Name"]),
        ["Task"] => Some(&["Token"]),
        ["Map"] => Some(&["Item"]),
        ["Map", "Item"] => Some(&["Index", "Value"]),
        _ => None,
    }
}

/// Warns of a function that there is not.
pub(crate) fn check_function(at: &At<'_, '_>, name: &str, report: &mut Report) {
    if FUNCTIONS.contains(&name) {
        return;
    }
    let hint = if name == "eval" {
        Some("flows have no $eval; $parse reads JSON from a text".to_owned())
    } else {
        nearest(name, FUNCTIONS, "$")
    };
    unknown(
        at,
        format!("there is no function ${}", clip(name)),
        hint,
        report,
    );
}

/// Warns of a path below `$states` that meets nothing.
pub(crate) fn check_states(at: &At<'_, '_>, names: &[&str], report: &mut Report) {
    match names {
        ["context", rest @ ..] => check_context(at, "$states.context", rest, report),
        [name, ..] if !STATES.contains(name) => {
            let what = format!("$states has no {:?}", clip(name));
            unknown(at, what, nearest(name, STATES, "$states."), report);
        }
        _ => {}
    }
}

/// Warns of a path into the Context object, called `root` here, that meets nothing.
pub(crate) fn check_context(at: &At<'_, '_>, root: &str, names: &[&str], report: &mut Report) {
    for (i, name) in names.iter().enumerate() {
        let (place, _) = names.split_at(i);
        let Some(known) = context(place) else { return };
        if !known.contains(name) {
            let mut before = root.to_owned();
            for name in place {
                before.push('.');
                before.push_str(name);
            }
            let hint = nearest(name, known, &format!("{before}."));
            let what = format!("{before} has no {:?}", clip(name));
            return unknown(at, what, hint, report);
        }
    }
}

fn nearest(name: &str, known: &[&str], before: &str) -> Option<String> {
    match suggest::nearest(name, known.iter().copied()) {
        Some(near) => Some(format!("did you mean \"{before}{near}\"?")),
        None if known.len() < 10 => Some(format!("it has {}", known.join(", "))),
        None => None,
    }
}

fn unknown(at: &At<'_, '_>, what: String, hint: Option<String>, report: &mut Report) {
    report.warning(at, code::UNKNOWN_NAME, what, hint);
}
