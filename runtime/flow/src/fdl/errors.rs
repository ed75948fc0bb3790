//! Error names of rules, and the numbers beside them.

use std::sync::Arc;

use crate::check;
use crate::diagnostic::{Report, code};
use crate::document::{At, Tree};
use crate::path::clip;
use crate::suggest;

/// Longest name of a flow or state, in characters.
const NAME_CHARS_MAX: usize = 128;

/// The engine's own error names, as flows of CloudFlow know them, and what rules may call them.
const NAMES: &[&str] = &[
    "FnF.ALL",
    "FnF.BranchFailed",
    "FnF.DataLimitExceeded",
    "FnF.DataNotObject",
    "FnF.ExceedToleratedFailureThreshold",
    "FnF.ExecutionAlreadyExists",
    "FnF.ExpressionFailed",
    "FnF.ItemReaderFailed",
    "FnF.NoChoiceMatched",
    "FnF.Permissions",
    "FnF.ResultWriterFailed",
    "FnF.TaskFailed",
    "FnF.TaskTimeout",
    "FnF.Timeout",
];

/// Checks a state's name.
pub(crate) fn check_state_name(report: &mut Report, at: &At<'_, '_>, name: &str) {
    let length = name.chars().count();
    if length == 0 || length > NAME_CHARS_MAX {
        report.error(
            at,
            code::BAD_NAME,
            format!("a state's name has 1 to {NAME_CHARS_MAX} characters, not {length}"),
        );
    }
}

/// What a flow says of itself: its name, and the comment that is kept. `limit` is what
/// CloudFlow bounds and we don't, said at the flow's type.
pub(crate) fn head<'t>(
    report: &mut Report,
    at: &At<'_, 't>,
    [kind, name, comment]: [&str; 3],
    limit: &str,
    published: Option<&str>,
) -> Option<&'t str> {
    if let Some(field) = at.get(kind) {
        report.note(&field, code::BEYOND_CLOUDFLOW, limit.to_owned());
    }
    if let Some(field) = at.get(name)
        && let Some(text) = check::text(report, &field)
    {
        check_name(report, &field, text);
        if let Some(published) = published.filter(|published| *published != text) {
            report.note(
                &field,
                code::BEYOND_CLOUDFLOW,
                format!(
                    "CloudFlow refuses a {name} other than that of the flow, which is published as {published:?}; here it is of no account"
                ),
            );
        }
    }
    at.get(comment).and_then(|c| check::text(report, &c))
}

/// Checks a flow's name by CloudFlow's rule.
fn check_name(report: &mut Report, at: &At<'_, '_>, name: &str) {
    let fine = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        && name.len() <= NAME_CHARS_MAX;
    if !fine {
        report.error(
            at,
            code::BAD_NAME,
            format!(
                "{:?} is no name: a letter or _, then letters, digits, _ and -, at most {NAME_CHARS_MAX} in all",
                clip(name)
            ),
        );
    }
}

/// The error names of one rule. `wildcard`: whether a rule before it took all errors.
pub(crate) fn errors(list: &At<'_, '_>, report: &mut Report, wildcard: &mut bool) -> Vec<Arc<str>> {
    let mut names = Vec::new();
    if !check::is_filled_list(report, list) {
        return names;
    }
    if *wildcard {
        report.warning(
            list,
            code::BAD_ERROR_EQUALS,
            "a rule before this one takes all errors (FnF.ALL): this one is never asked".to_owned(),
            Some("put the rule for FnF.ALL last".to_owned()),
        );
    }
    for (i, name) in list.elements().iter().enumerate() {
        let place = list.element(i, name);
        let Some(name) = check::text(report, &place) else {
            continue;
        };
        if let Some(rest) = name.strip_prefix("States.") {
            let hint = match rest {
                "ALL" => "CloudFlow's name for all errors is FnF.ALL",
                "Timeout" => "CloudFlow's name is FnF.TaskTimeout",
                _ => "docs/cloudflow.md lists the names",
            };
            report.warning(
                &place,
                code::BAD_ERROR_EQUALS,
                format!("no error of a CloudFlow flow is called {:?}", clip(name)),
                Some(hint.to_owned()),
            );
        }
        if name
            .get(..4)
            .is_some_and(|begin| begin.eq_ignore_ascii_case("FnF."))
            && !NAMES.contains(&name)
            && !name.starts_with("FnF.Http.")
        {
            report.warning(
                &place,
                code::BAD_ERROR_EQUALS,
                format!("no error of the engine is called {:?}", clip(name)),
                suggest::hint(name, NAMES.iter().copied())
                    .or_else(|| Some("docs/cloudflow.md lists the names".to_owned())),
            );
        }
        *wildcard |= name == "FnF.ALL";
        names.push(Arc::from(name));
    }
    names
}

/// By what each wait before a retry grows.
pub(crate) fn rate(at: &At<'_, '_>, report: &mut Report) -> f64 {
    let Tree::Number(number) = &at.node.tree else {
        check::wrong_type(report, at, "a number");
        return 1.0;
    };
    match number.as_f64() {
        Some(rate) if rate >= 1.0 && rate.is_finite() => rate,
        _ => {
            report.error(
                at,
                code::BAD_VALUE,
                format!("this must be at least 1, not {number}"),
            );
            1.0
        }
    }
}
