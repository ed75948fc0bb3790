//! Texts that read like an expression, where they are none: a constant that its author meant
//! to be evaluated.
//!
//! Refuses to stop a flow for it: such a text is a value like any other, and may be meant so.

use crate::diagnostic::{Report, code};
use crate::document::{At, Tree};
use crate::expression::QueryLanguage;
use crate::jsonata::marked;
use crate::path::clip;

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

/// Warns within a constructor of CloudFlow.
pub(crate) fn in_constructor(at: &At<'_, '_>, report: &mut Report) {
    let roots = ["$Input", "$Output", "$Context", "$Global", "$Item"];
    if let Tree::Text(text) = &at.node.tree {
        let rest = roots.iter().find_map(|root| text.strip_prefix(root));
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '['])) {
            let hint = "a field whose name ends in .$ takes an expression";
            warn(at, CONSTANT, text, hint, report);
        }
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
