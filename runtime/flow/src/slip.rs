//! Texts that read like an expression, where they are none: a constant that its author meant
//! to be evaluated.
//!
//! Refuses to stop a flow for it: such a text is a value like any other, and may be meant so.

use crate::diagnostic::{Report, code};
use crate::document::{At, Pointer, Tree};
use crate::expression::QueryLanguage;
use crate::jsonata::marked;
use crate::path::clip;
use crate::substitute::unfilled;

/// What a text reads like in Amazon States Language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Like {
    /// `$.a`, `$$.b`.
    Path,
    /// `States.Format('{}', $.a)`.
    Call,
    /// `$states.input`, without its marks.
    States,
    /// `{% … %}`.
    Marked,
}

fn like(text: &str) -> Option<Like> {
    let path = ["$.", "$[", "$$."];
    if marked(text).is_some() {
        Some(Like::Marked)
    } else if text == "$" || path.iter().any(|begin| text.starts_with(begin)) {
        Some(Like::Path)
    } else if text.starts_with("$states.") {
        Some(Like::States)
    } else if text.starts_with("States.") && text.ends_with(')') {
        Some(Like::Call)
    } else {
        None
    }
}

/// Warns within a template of this language; `name`: what the template is.
pub(crate) fn in_template(
    at: &At<'_, '_>,
    language: QueryLanguage,
    name: &str,
    report: &mut Report,
) {
    let jsonata = language == QueryLanguage::Jsonata;
    if let Tree::Text(text) = &at.node.tree {
        let hint = match (like(text), jsonata) {
            (Some(Like::Path | Like::Call), false) => {
                "it takes a path in a field whose name ends in .$: {\"name.$\": \"$.x\"}"
            }
            (Some(Like::Path | Like::Call | Like::States), true) => MARKS,
            (Some(Like::Marked), false) => LANGUAGE,
            _ => return,
        };
        return warn(
            at,
            &format!("{name} is a constant here"),
            text,
            hint,
            report,
        );
    }
    inner(at, jsonata, report);
}

const MARKS: &str = "in JSONata an expression stands between marks: \"{% $states.input.x %}\"";
const LANGUAGE: &str =
    "set \"QueryLanguage\": \"JSONata\" in the state or the flow, or write a path";

/// Fields that take a number and in no language an expression.
const NUMBERS: &[&str] = &[
    "BackoffRate",
    "IntervalSeconds",
    "MaxAttempts",
    "MaxDelaySeconds",
];

fn inner(at: &At<'_, '_>, jsonata: bool, report: &mut Report) {
    for member in at.members() {
        let value = at.member(member);
        let Tree::Text(text) = &value.node.tree else {
            inner(&value, jsonata, report);
            continue;
        };
        let dotted = member.name.ends_with(".$");
        match (like(text), jsonata) {
            (Some(Like::Path | Like::Call | Like::States), true) if dotted => {
                let what = "a name that ends in .$ is a name like any other in JSONata";
                warn(&at.member_name(member), what, text, MARKS, report);
            }
            (found, _) if !dotted => element(&value, found, text, jsonata, report),
            _ => {}
        }
    }
    for (i, item) in at.elements().iter().enumerate() {
        let item = at.element(i, item);
        match &item.node.tree {
            Tree::Text(text) => element(&item, like(text), text, jsonata, report),
            _ => inner(&item, jsonata, report),
        }
    }
}

/// Deep in data a path may well be meant as it is: a step's own.
fn element(at: &At<'_, '_>, found: Option<Like>, text: &str, jsonata: bool, report: &mut Report) {
    let hint = match (found, jsonata) {
        (Some(Like::Marked), false) => LANGUAGE,
        (Some(Like::States), true) => MARKS,
        _ => return,
    };
    warn(at, CONSTANT, text, hint, report);
}

const CONSTANT: &str = "this is a constant";

/// Warns of a constant beside which `twin` takes a path, if the field has such a twin.
pub(crate) fn in_text(
    at: &At<'_, '_>,
    text: &str,
    language: QueryLanguage,
    twin: &str,
    report: &mut Report,
) {
    let jsonata = language == QueryLanguage::Jsonata;
    let path = format!("{twin} takes a path");
    let hint = match (like(text), jsonata) {
        (Some(Like::Path | Like::Call), false) => path.as_str(),
        (Some(Like::Marked), false) => LANGUAGE,
        (Some(Like::Path | Like::Call | Like::States), true) => MARKS,
        _ => return,
    };
    warn(at, CONSTANT, text, hint, report);
}

/// Fields with a constant beside which one called `…Path` takes a path.
const TWINS: &[&str] = &[
    "HeartbeatSeconds",
    "MaxConcurrency",
    "MaxInputBytesPerBatch",
    "MaxItems",
    "MaxItemsPerBatch",
    "Seconds",
    "TimeoutSeconds",
    "Timestamp",
    "ToleratedFailureCount",
    "ToleratedFailurePercentage",
];

/// Fields of CloudFlow with a constant beside which one called `….$` takes an expression.
const DOTTED: &[&str] = &["Seconds", "Timeout", "url", "method"];

/// Whether the field has a twin for a path: of a comparison too.
fn has_twin(name: &str) -> bool {
    let kind = ["Boolean", "Numeric", "String", "Timestamp"];
    let comparison = kind.iter().find_map(|kind| name.strip_prefix(kind));
    TWINS.contains(&name)
        || comparison.is_some_and(|rest| {
            ["Equals", "LessThan", "GreaterThan"]
                .iter()
                .any(|begin| rest.starts_with(begin))
        })
}

/// What the author of a value may have meant, where something else stands that must be `wanted`.
pub(crate) fn meant(at: &At<'_, '_>, wanted: &str, report: &Report) -> Option<String> {
    let text = match &at.node.tree {
        Tree::Text(text) => &**text,
        Tree::Number(_) | Tree::Bool(_) if wanted == "a string" => {
            return Some(format!("put it in quotes: \"{}\"", at.node.value()));
        }
        _ => return None,
    };
    if let Some(name) = unfilled(text) {
        let set = report.advice.set(name);
        return Some(match report.is_quoted(at) {
            true => format!("{set}; and take the quotes away, in which any value is a text"),
            false => set,
        });
    }
    expression(at, text, report.cloudflow).or_else(|| {
        let yes = matches!(
            text.to_ascii_lowercase().as_str(),
            "yes" | "no" | "on" | "off" | "y" | "n"
        );
        if wanted == "true or false" && yes && !report.is_quoted(at) {
            return Some(format!(
                "YAML 1.2 knows true and false: {text} is a text like any other"
            ));
        }
        let quoted =
            report.is_quoted(at) && (wanted.contains("number") || wanted == "true or false");
        let constant = text.parse::<f64>().is_ok() || matches!(text, "true" | "false");
        (quoted && constant).then(|| format!("write it without quotes: {text}"))
    })
}

/// How to write the expression for which a text is taken in the place of a constant.
pub(crate) fn expression(at: &At<'_, '_>, text: &str, cloudflow: bool) -> Option<String> {
    let Pointer::Name(_, name) = at.pointer else {
        return None;
    };
    if cloudflow {
        let twin = is_of_cloudflow(text) && DOTTED.contains(&name);
        return twin.then(|| format!("{name}.$ takes an expression"));
    }
    match like(text)? {
        Like::Marked if NUMBERS.contains(&name) => {
            Some("this field takes a number and no expression, in either language".to_owned())
        }
        Like::Marked => Some(LANGUAGE.to_owned()),
        Like::States => Some(MARKS.to_owned()),
        Like::Path | Like::Call if has_twin(name) => Some(format!(
            "{name}Path takes a path; in JSONata an expression stands between marks: \"{{% $states.input.x %}}\""
        )),
        Like::Path | Like::Call => None,
    }
}

/// Whether a text begins like an expression of the newer CloudFlow language.
fn is_of_cloudflow(text: &str) -> bool {
    let roots = ["$Input", "$Output", "$Context", "$Global", "$Item"];
    let rest = roots.iter().find_map(|root| text.strip_prefix(root));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Warns of an expression in a field of CloudFlow that takes constants only.
pub(crate) fn in_constant(at: &At<'_, '_>, text: &str, report: &mut Report) {
    let old = ["$.", "$input.", "$local.", "$context."];
    if is_of_cloudflow(text) || old.iter().any(|begin| text.starts_with(begin)) {
        let hint = "this field takes a text and no expression, nor has it a form that does";
        warn(at, CONSTANT, text, hint, report);
    }
}

/// Warns within a constructor of CloudFlow.
pub(crate) fn in_constructor(at: &At<'_, '_>, report: &mut Report) {
    if let Tree::Text(text) = &at.node.tree
        && is_of_cloudflow(text)
    {
        let hint = "a field whose name ends in .$ takes an expression";
        warn(at, CONSTANT, text, hint, report);
    }
    for member in at.members().iter().filter(|m| !m.name.ends_with(".$")) {
        in_constructor(&at.member(member), report);
    }
    for (i, item) in at.elements().iter().enumerate() {
        in_constructor(&at.element(i, item), report);
    }
}

fn warn(at: &At<'_, '_>, what: &str, text: &str, hint: &str, report: &mut Report) {
    report.warning(
        at,
        code::NO_EXPRESSION,
        format!("{what}: {:?} is not evaluated", clip(text)),
        Some(hint.to_owned()),
    );
}
