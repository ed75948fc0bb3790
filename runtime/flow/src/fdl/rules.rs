//! What both languages' lists of rules for failures have in common.

use std::sync::Arc;

use crate::check;
use crate::diagnostic::Report;
use crate::document::{At, Tree};
use crate::expression::Template;
use crate::program::{Catcher, Retrier, StateIdx};
use crate::{expression::WritePath, fdl};

/// A list's rules, as far as they are objects; unknown fields of them are reported.
pub(crate) fn rules<'c, 't>(
    report: &mut Report,
    list: &'c At<'_, 't>,
    owner: &str,
    known: &[&str],
) -> Vec<At<'c, 't>> {
    if !matches!(list.node.tree, Tree::List(_)) {
        check::wrong_type(report, list, "an array");
        return Vec::new();
    }
    let mut all = Vec::with_capacity(list.elements().len());
    for (i, rule) in list.elements().iter().enumerate() {
        let rule = list.element(i, rule);
        if check::is_object(report, &rule) {
            check::known_fields(report, &rule, owner, &[known]);
            all.push(rule);
        }
    }
    all
}

/// The error names of a rule, from its field `name`.
pub(crate) fn errors_of(
    report: &mut Report,
    rule: &At<'_, '_>,
    owner: &str,
    name: &str,
    wildcard: &mut bool,
) -> Vec<Arc<str>> {
    match check::required(report, rule, owner, name) {
        Some(list) => fdl::errors(&list, report, wildcard),
        None => Vec::new(),
    }
}

/// A rule that retries so; no CloudFlow language has jitter.
pub(crate) fn retrier(
    errors: Vec<Arc<str>>,
    interval_seconds: u64,
    max_attempts: u64,
    backoff_rate: f64,
    max_delay_seconds: Option<u64>,
) -> Retrier {
    Retrier {
        errors,
        interval_seconds,
        max_attempts: u32::try_from(max_attempts).unwrap_or(u32::MAX),
        backoff_rate,
        max_delay_seconds,
        full_jitter: false,
    }
}

/// A rule that leads on.
pub(crate) fn catcher(errors: Vec<Arc<str>>, next: StateIdx, output: Option<Template>) -> Catcher {
    Catcher {
        errors,
        next,
        result_path: WritePath::Replace,
        assign: None,
        output,
    }
}
