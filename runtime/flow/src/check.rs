//! Getters that every front end uses: they report a wrong type or value at its place.
//!
//! Refuses to know which field is which.

use serde_json::Number;
use stepwell_types::StepTarget;

use crate::diagnostic::{Report, code};
use crate::document::{At, Tree};
use crate::resource::Resolve;
use crate::slip;
use crate::suggest;

/// Says that a value has the wrong type.
pub(crate) fn wrong_type(report: &mut Report, at: &At<'_, '_>, wanted: &str) {
    let hint = slip::meant(at, wanted, report);
    report.error_hint(
        at,
        code::WRONG_TYPE,
        format!("this must be {wanted}, not {}", at.node.kind()),
        hint,
    );
}

/// Whether it is an object.
pub(crate) fn is_object(report: &mut Report, at: &At<'_, '_>) -> bool {
    let is = matches!(at.node.tree, Tree::Object(_));
    if !is {
        wrong_type(report, at, "an object");
    }
    is
}

/// Whether it is an array with something in it.
pub(crate) fn is_filled_list(report: &mut Report, at: &At<'_, '_>) -> bool {
    let Tree::List(items) = &at.node.tree else {
        wrong_type(report, at, "an array");
        return false;
    };
    if items.is_empty() {
        report.error(
            at,
            code::EMPTY,
            "this array needs at least one entry".to_owned(),
        );
    }
    !items.is_empty()
}

/// A string.
pub(crate) fn text<'t>(report: &mut Report, at: &At<'_, 't>) -> Option<&'t str> {
    match &at.node.tree {
        Tree::Text(text) => Some(text),
        _ => {
            wrong_type(report, at, "a string");
            None
        }
    }
}

/// `true` or `false`.
pub(crate) fn boolean(report: &mut Report, at: &At<'_, '_>) -> Option<bool> {
    match at.node.tree {
        Tree::Bool(b) => Some(b),
        _ => {
            wrong_type(report, at, "true or false");
            None
        }
    }
}

/// A whole number between the two, both included. `3.0` is one.
pub(crate) fn integer(report: &mut Report, at: &At<'_, '_>, least: u64, most: u64) -> Option<u64> {
    let Tree::Number(number) = &at.node.tree else {
        wrong_type(report, at, "a whole number");
        return None;
    };
    let whole = number.as_u64().or_else(|| {
        let float = number.as_f64()?;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be a small whole number"
        )]
        let n = ((0.0..=1e15).contains(&float) && float.fract() == 0.0).then_some(float as u64);
        n
    });
    between(report, at, (least, most), whole, &number.to_string())
}

/// The number, if it is there and between the two, both included; `shown` is how it is written.
pub(crate) fn between(
    report: &mut Report,
    at: &At<'_, '_>,
    (least, most): (u64, u64),
    number: Option<u64>,
    shown: &str,
) -> Option<u64> {
    let found = number.filter(|n| (least..=most).contains(n));
    if found.is_none() {
        let text = format!("this must be a whole number from {least} to {most}, not {shown}");
        report.error(at, code::BAD_VALUE, text);
    }
    found
}

/// A number from 0 to 100, as it is written.
pub(crate) fn percentage(report: &mut Report, at: &At<'_, '_>) -> Option<Number> {
    let Tree::Number(number) = &at.node.tree else {
        wrong_type(report, at, "a number");
        return None;
    };
    if number.as_f64().is_some_and(|n| (0.0..=100.0).contains(&n)) {
        return Some(number.clone());
    }
    let text = format!("this must be a number from 0 to 100, not {number}");
    report.error(at, code::BAD_VALUE, text);
    None
}

/// One of a few words.
pub(crate) fn word<'t>(report: &mut Report, at: &At<'_, 't>, words: &[&str]) -> Option<&'t str> {
    let text = text(report, at)?;
    if words.contains(&text) {
        return Some(text);
    }
    let hint = suggest::hint(text, words.iter().copied());
    report.error_hint(
        at,
        code::BAD_VALUE,
        format!("this must be {}, not {text:?}", words.join(" or ")),
        hint,
    );
    None
}

/// The kind that a state (or step: `owner`) says it is, in the field `name`.
pub(crate) fn kind<'t>(
    report: &mut Report,
    at: &At<'_, 't>,
    (owner, name): (&str, &str),
    kinds: &[&str],
) -> Option<&'t str> {
    let Some(field) = at.get(name) else {
        let near = at.members().iter().find(|m| {
            let value = match &m.value.tree {
                Tree::Text(text) => Some(&**text),
                _ => None,
            };
            let kind = value.is_some_and(|v| kinds.iter().any(|k| k.eq_ignore_ascii_case(v)));
            m.name.eq_ignore_ascii_case(name)
                || (kind && suggest::nearest(&m.name, [name]).is_some())
        });
        match near {
            // Nothing else is looked at without it: said at the field that is meant.
            Some(near) => report.error_hint(
                &at.member_name(near),
                code::MISSING_FIELD,
                format!(
                    "a {owner} needs the field {name:?}, and has {:?}",
                    crate::path::clip(&near.name)
                ),
                Some(format!("did you mean {name:?}?")),
            ),
            None => {
                required(report, at, &format!("a {owner}"), name);
            }
        }
        return None;
    };
    let kind = text(report, &field)?;
    if kinds.contains(&kind) {
        return Some(kind);
    }
    let hint = suggest::hint(kind, kinds.iter().copied())
        .or_else(|| Some(format!("the {owner} types are {}", kinds.join(", "))));
    report.error_hint(
        &field,
        code::UNKNOWN_TYPE,
        format!("there is no {owner} type {:?}", crate::path::clip(kind)),
        hint,
    );
    None
}

/// The field of this name; its absence is reported.
pub(crate) fn required<'c, 't>(
    report: &mut Report,
    at: &'c At<'_, 't>,
    owner: &str,
    name: &str,
) -> Option<At<'c, 't>> {
    let found = at.get(name);
    if found.is_none() {
        report.error(
            at,
            code::MISSING_FIELD,
            format!("{owner} needs the field {name:?}"),
        );
    }
    found
}

/// Reports a field that means nothing there. `owner` is for the message: `a Task state`.
pub(crate) fn unknown_field(
    report: &mut Report,
    place: &At<'_, '_>,
    owner: &str,
    name: &str,
    known: &[&[&str]],
) {
    let candidates = known.iter().flat_map(|list| list.iter().copied());
    let hint = if report.wants_hints() {
        suggest::hint(name, candidates)
    } else {
        None
    };
    report.error_hint(
        place,
        code::UNKNOWN_FIELD,
        format!("{owner} has no field {:?}", crate::path::clip(name)),
        hint,
    );
}

/// Reports every field that is not in one of `known`.
pub(crate) fn known_fields(report: &mut Report, at: &At<'_, '_>, owner: &str, known: &[&[&str]]) {
    for member in at.members() {
        if !known.iter().any(|list| list.contains(&&*member.name)) {
            unknown_field(report, &at.member_name(member), owner, &member.name, known);
        }
    }
}

/// Reports, at the field that names it, a step that an express execution cannot run.
pub(crate) fn express(
    report: &mut Report,
    resolve: &dyn Resolve,
    at: &At<'_, '_>,
    target: &StepTarget,
    wait_for_token: bool,
) {
    if wait_for_token || target.is_outside() || target.is_between() {
        standard(report, resolve, at);
    }
}

/// Reports what is for standard executions only, where one is not: in an express flow, and in
/// a distributed Map whose children are express ones.
pub(crate) fn standard(report: &mut Report, resolve: &dyn Resolve, at: &At<'_, '_>) {
    let hint = match (resolve.express(), report.express_children) {
        (true, _) => "publish the flow as a standard one, or do without it",
        (false, true) => "set \"ExecutionType\": \"STANDARD\" for the Map around it",
        (false, false) => return,
    };
    report.error_hint(
        at,
        code::NOT_IN_EXPRESS,
        "this needs what an express execution has not: task tokens, activities, children, signals and distributed Maps are for standard ones".to_owned(),
        Some(hint.to_owned()),
    );
}
