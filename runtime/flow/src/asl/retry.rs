//! Retry and Catch.

use std::sync::Arc;

use super::graph::Scope;
use super::{Compiler, expect};
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::expression::{QueryLanguage, WritePath};
use crate::program::{Catcher, Retrier};
use crate::suggest;

const RETRIER_FIELDS: &[&str] = &[
    "BackoffRate",
    "Comment",
    "ErrorEquals",
    "IntervalSeconds",
    "JitterStrategy",
    "MaxAttempts",
    "MaxDelaySeconds",
];
const CATCHER_FIELDS: &[&str] = &["Assign", "Comment", "ErrorEquals", "Next", "ResultPath"];
const CATCHER_FIELDS_JSONATA: &[&str] = &["Assign", "Comment", "ErrorEquals", "Next", "Output"];

/// Longest `MaxDelaySeconds`: a year and a day, as in Step Functions.
const DELAY_SECONDS_MAX: u64 = 31_622_400;

/// The error names with the reserved prefix.
const RESERVED: &[&str] = &[
    "States.ALL",
    "States.BranchFailed",
    "States.DataLimitExceeded",
    "States.ExceedToleratedFailureThreshold",
    "States.HeartbeatTimeout",
    "States.IntrinsicFailure",
    "States.ItemReaderFailed",
    "States.NoChoiceMatched",
    "States.ParameterPathFailure",
    "States.Permissions",
    "States.QueryEvaluationError",
    "States.ResultPathMatchFailure",
    "States.ResultWriterFailed",
    "States.Runtime",
    "States.TaskFailed",
    "States.Timeout",
];

impl<'t> Compiler<'t, '_> {
    pub(super) fn retry(&mut self, at: &At<'_, 't>) -> Vec<Retrier> {
        let mut all = Vec::new();
        let Some(list) = self.rules(at, "Retry") else {
            return all;
        };
        let count = list.elements().len();
        for (i, rule) in list.elements().iter().enumerate() {
            let rule = list.element(i, rule);
            if !self.is_object(&rule) {
                continue;
            }
            self.known_fields(&rule, "a retrier", &[RETRIER_FIELDS]);
            let seconds = |c: &mut Self, name: &str, most| {
                rule.get(name).and_then(|f| c.integer(&f, 1, most))
            };
            let interval_seconds = seconds(self, "IntervalSeconds", expect::SECONDS_MAX);
            let max_delay_seconds = seconds(self, "MaxDelaySeconds", DELAY_SECONDS_MAX);
            let attempts = rule
                .get("MaxAttempts")
                .and_then(|f| self.integer(&f, 0, expect::SECONDS_MAX));
            if attempts == Some(0) {
                self.never_retried(&rule);
            }
            let jitter = rule
                .get("JitterStrategy")
                .and_then(|f| self.word(&f, &["FULL", "NONE"]));
            all.push(Retrier {
                errors: self.error_equals(&rule, "a retrier", i + 1 == count),
                interval_seconds: interval_seconds.unwrap_or(1),
                max_attempts: attempts.and_then(|n| u32::try_from(n).ok()).unwrap_or(3),
                backoff_rate: self.backoff_rate(&rule),
                max_delay_seconds,
                full_jitter: jitter == Some("FULL"),
            });
        }
        all
    }

    /// Warns of fields that say how to retry what is never retried.
    fn never_retried(&mut self, rule: &At<'_, 't>) {
        for member in rule.members() {
            if matches!(
                &*member.name,
                "BackoffRate" | "IntervalSeconds" | "JitterStrategy" | "MaxDelaySeconds"
            ) {
                self.report.warning(
                    &rule.member_name(member),
                    code::IGNORED_FIELD,
                    format!(
                        "{} has no effect: MaxAttempts 0 means that these errors are never retried",
                        member.name
                    ),
                    None,
                );
            }
        }
    }

    fn backoff_rate(&mut self, rule: &At<'_, 't>) -> f64 {
        let Some(field) = rule.get("BackoffRate") else {
            return 2.0;
        };
        let Tree::Number(number) = &field.node.tree else {
            self.wrong_type(&field, "a number");
            return 2.0;
        };
        match number.as_f64() {
            Some(rate) if rate >= 1.0 && rate.is_finite() => rate,
            _ => {
                self.report.error(
                    &field,
                    code::BAD_VALUE,
                    format!("BackoffRate must be at least 1.0, not {number}"),
                );
                2.0
            }
        }
    }

    pub(super) fn catch(&mut self, at: &At<'_, 't>, scope: &mut Scope<'t>) -> Vec<Catcher> {
        let mut all = Vec::new();
        let Some(list) = self.rules(at, "Catch") else {
            return all;
        };
        let count = list.elements().len();
        for (i, rule) in list.elements().iter().enumerate() {
            let rule = list.element(i, rule);
            if !self.is_object(&rule) {
                continue;
            }
            let jsonata = self.language == QueryLanguage::Jsonata;
            let fields = if jsonata {
                CATCHER_FIELDS_JSONATA
            } else {
                CATCHER_FIELDS
            };
            self.known_fields(&rule, "a catcher", &[fields]);
            let next = self.required(&rule, "a catcher", "Next");
            scope.broken |= next.is_none();
            let next = next.map_or(scope.current, |n| self.target(&n, scope, true));
            all.push(Catcher {
                errors: self.error_equals(&rule, "a catcher", i + 1 == count),
                next,
                result_path: match jsonata {
                    false => self.write_path(rule.get("ResultPath")),
                    true => WritePath::Replace,
                },
                assign: self.assign(&rule, &format!("Catch[{i}]/")),
                output: match jsonata {
                    false => None,
                    true => self.template_at(&rule, "Output", &format!("Catch[{i}]/Output")),
                },
            });
        }
        all
    }

    /// The array of rules; an empty one means none.
    fn rules<'c>(&mut self, at: &'c At<'_, 't>, name: &str) -> Option<At<'c, 't>> {
        let list = at.get(name)?;
        if matches!(list.node.tree, Tree::List(_)) {
            return Some(list);
        }
        self.wrong_type(&list, "an array");
        None
    }

    fn error_equals(&mut self, rule: &At<'_, 't>, owner: &str, last: bool) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        let Some(list) = self.required(rule, owner, "ErrorEquals") else {
            return names;
        };
        if !self.is_filled_list(&list) {
            return names;
        }
        for (i, name) in list.elements().iter().enumerate() {
            let place = list.element(i, name);
            if let Some(name) = self.text(&place) {
                self.reserved(&place, name);
                names.push(Arc::from(name));
            }
        }
        if names.iter().any(|n| **n == *"States.ALL") && (names.len() > 1 || !last) {
            self.report.error(
                &list,
                code::BAD_ERROR_EQUALS,
                format!("States.ALL must stand alone, and in the last rule: {owner} after it would never be asked"),
            );
        }
        names
    }

    /// Warns of a name with the reserved prefix that no engine raises.
    fn reserved(&mut self, at: &At<'_, 't>, name: &str) {
        if name.starts_with("States.")
            && !name.starts_with("States.Http.")
            && !RESERVED.contains(&name)
        {
            self.report.warning(
                at,
                code::BAD_ERROR_EQUALS,
                format!("no error is called {:?}", crate::path::clip(name)),
                suggest::hint(name, RESERVED.iter().copied()),
            );
        }
    }
}
