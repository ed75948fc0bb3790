//! The names that the engine itself gives to expressions: `$states`, the Context object, and
//! functions; and what is said where an expression names something that is not among them.
//!
//! Refuses to stop a flow for it, but for `$states.result` and `$states.errorOutput` where they
//! are not: Step Functions publishes the others, and fails or reads nothing when it gets there.

use crate::diagnostic::{Report, code};
use crate::document::{At, Tree};
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

/// What the state that is compiled has, for the names that have a value only there.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Here {
    /// It yields a result: a Task, Parallel or Map.
    pub(crate) result: bool,
    /// It ends by its token, or may.
    pub(crate) token: bool,
    /// What is compiled reads the error that a rule of Catch took.
    pub(crate) error: bool,
}

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
        ["Map", "Item"] => Some(&["Index", "Key", "Value", "Source"]),
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
        &format!("${name}"),
        format!("there is no function ${}", clip(name)),
        hint,
        report,
    );
}

/// Warns of a name that JSONata looks for in data at hand where there is none.
pub(crate) fn check_unqualified(at: &At<'_, '_>, name: &str, report: &mut Report) {
    let shown = clip(name);
    let hint = match name {
        "$" | "$$" => "the state's input is $states.input".to_owned(),
        name if STATES.contains(&name) => format!("did you mean \"$states.{shown}\"?"),
        _ => format!("a field of the state's input is $states.input.{shown}"),
    };
    let what = format!("{shown} has no value here: an expression has no data at hand");
    unknown(at, name, what, Some(hint), report);
}

/// Warns of a path below `$states` that meets nothing; `location`: the field of the state.
/// A result or an error where there is none is refused, as Step Functions refuses it.
pub(crate) fn check_states(at: &At<'_, '_>, names: &[&str], location: &str, report: &mut Report) {
    let within = |field: &str| location.strip_prefix(field).is_some_and(ends_name);
    match names {
        ["context", rest @ ..] => check_context(at, "$states.context", rest, report),
        ["result", ..] if !(report.here.result && (within("Output") || within("Assign"))) => {
            let hint = "the result of a Task, Parallel or Map is there in its own Output and Assign, but not in its Catch";
            misplaced(at, "$states.result", hint, report);
        }
        ["errorOutput", ..] if !location.starts_with("Catch[") => {
            let hint = "an error is there in the Output and Assign of a rule of Catch";
            misplaced(at, "$states.errorOutput", hint, report);
        }
        [name, ..] if !STATES.contains(name) => {
            let what = format!("$states has no {:?}", clip(name));
            let hint = nearest(name, STATES, "$states.");
            unknown(at, &format!("$states.{name}"), what, hint, report);
        }
        _ => {}
    }
}

/// Whether a name that is followed by this ends there: `/`, `[` or nothing.
fn ends_name(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['/', '['])
}

/// Refuses what the engine knows, and what has no value at this place.
fn misplaced(at: &At<'_, '_>, name: &str, hint: &str, report: &mut Report) {
    let what = format!("{name} has no value here");
    let hint = Some(hint.to_owned());
    report.error_inside(at, offset(at, name), code::NOT_HERE, what, hint);
}

/// Warns of what the engine knows, and what has no value at this place.
fn absent(at: &At<'_, '_>, name: &str, hint: &str, report: &mut Report) {
    unknown(
        at,
        name,
        format!("{name} has no value here"),
        Some(hint.to_owned()),
        report,
    );
}

/// Warns of a path into the Context object, called `root` here, that meets nothing.
pub(crate) fn check_context(at: &At<'_, '_>, root: &str, names: &[&str], report: &mut Report) {
    if !below(at, root, names, &context, report)
        && names.first() == Some(&"Task")
        && !report.here.token
    {
        let hint =
            "a Task that waits for its token has one: its Resource ends in .waitForTaskToken";
        absent(at, &format!("{root}.Task"), hint, report);
    }
}

/// Warns of a path into `$Context`, or into the old language's `$context`, that meets nothing.
/// `output`: the state has one already.
pub(crate) fn check_cloudflow(
    at: &At<'_, '_>,
    old: bool,
    output: bool,
    names: &[&str],
    report: &mut Report,
) {
    let here = report.here;
    let missing = match names {
        ["Current", "TaskToken", ..] if !old && !here.token => Some((
            "$Context.Current.TaskToken",
            "a Task with TaskMode: WaitForCustomCallback has one",
        )),
        ["Current", "Error", ..] if !old && !here.error => Some((
            "$Context.Current.Error",
            "an error is there in the OutputConstructor of a rule of Catch",
        )),
        ["Current", "Output", ..] if !old && !output => Some((
            "$Context.Current.Output",
            "an output is there in OutputConstructor and GlobalConstructor",
        )),
        ["task", "token", ..] if old && !here.token => Some((
            "$context.task.token",
            "a task with pattern: waitForCallback has one",
        )),
        _ => None,
    };
    let wrong = match old {
        true => below(at, "$context", names, &old_context, report),
        false => below(at, "$Context", names, &new_context, report),
    };
    if let Some((name, hint)) = missing.filter(|_| !wrong) {
        absent(at, name, hint, report);
    }
}

/// What `$Context` has below a place.
/// Source: alibabacloud.com, help of CloudFlow: "Inputs and outputs".
fn new_context(place: &[&str]) -> Option<&'static [&'static str]> {
    match place {
        [] => Some(&["Execution", "Current"]),
        ["Execution"] => Some(&["Name", "Input", "RoleArn"]),
        ["Current"] => Some(&[
            "Name",
            "Input",
            "Output",
            "Error",
            "RetryCount",
            "TaskToken",
        ]),
        ["Current", "Error"] => Some(&["Code", "Detail"]),
        _ => None,
    }
}

/// What the old language's `$context` has below a place.
fn old_context(place: &[&str]) -> Option<&'static [&'static str]> {
    match place {
        [] => Some(&["flow", "execution", "step", "task"]),
        ["flow" | "execution" | "step"] => Some(&["name"]),
        ["task"] => Some(&["token"]),
        _ => None,
    }
}

/// Warns of the first name of a path that its place does not have. `false`: there is none.
fn below(
    at: &At<'_, '_>,
    root: &str,
    names: &[&str],
    has: &dyn Fn(&[&str]) -> Option<&'static [&'static str]>,
    report: &mut Report,
) -> bool {
    for (i, name) in names.iter().enumerate() {
        let (place, _) = names.split_at(i);
        let Some(known) = has(place) else {
            return false;
        };
        if !known.contains(name) {
            let mut before = root.to_owned();
            for name in place {
                before.push('.');
                before.push_str(name);
            }
            let hint = nearest(name, known, &format!("{before}."));
            let what = format!("{before} has no {:?}", clip(name));
            unknown(at, &format!("{before}.{name}"), what, hint, report);
            return true;
        }
    }
    false
}

fn nearest(name: &str, known: &[&str], before: &str) -> Option<String> {
    match suggest::nearest(name, known.iter().copied()) {
        Some(near) => Some(format!("did you mean \"{before}{near}\"?")),
        None if known.len() < 10 => Some(format!("it has {}", known.join(", "))),
        None => None,
    }
}

/// Warns where `name` stands in the string.
fn unknown(at: &At<'_, '_>, name: &str, what: String, hint: Option<String>, report: &mut Report) {
    report.warning_inside(at, offset(at, name), code::UNKNOWN_NAME, what, hint);
}

/// The character of the string at which `name` stands.
fn offset(at: &At<'_, '_>, name: &str) -> Option<usize> {
    match &at.node.tree {
        Tree::Text(text) => place(text, name),
        _ => None,
    }
}

/// The character at which `name` stands in a text as whole words.
fn place(text: &str, name: &str) -> Option<usize> {
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).find_map(|(at, _)| {
        let after = text.get(at + name.len()..)?;
        let before = text.get(..at)?;
        let whole = !after.starts_with(goes_on) && !before.ends_with('$');
        whole.then(|| before.chars().count())
    })
}
