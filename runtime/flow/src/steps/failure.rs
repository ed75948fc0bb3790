//! `retry`, `catch` and `errorMappings` of a task step.

use std::sync::Arc;

use super::step::nothing;
use super::{AFTER, Compiler};
use crate::check;
use crate::document::{At, Tree};
use crate::expression::WritePath;
use crate::fdl;
use crate::program::{Catcher, Retrier};
use crate::scope::Scope;

const RETRY: &[&str] = &[
    "errors",
    "intervalSeconds",
    "maxIntervalSeconds",
    "maxAttempts",
    "multiplier",
];

impl<'t> Compiler<'_> {
    pub(super) fn failure(
        &mut self,
        at: &At<'_, 't>,
        scope: &mut Scope<'t>,
    ) -> (Vec<Retrier>, Vec<Catcher>) {
        (self.retry(at), self.catch(at, scope))
    }

    fn retry(&mut self, at: &At<'_, 't>) -> Vec<Retrier> {
        let mut all = Vec::new();
        let Some(list) = self.rules(at, "retry") else {
            return all;
        };
        let mut wildcard = false;
        for (i, rule) in list.elements().iter().enumerate() {
            let rule = list.element(i, rule);
            if !check::is_object(self.report, &rule) {
                continue;
            }
            check::known_fields(self.report, &rule, "a rule of retry", &[RETRY]);
            let mut number = |name: &str, least, most| {
                let field = rule.get(name)?;
                check::integer(self.report, &field, least, most)
            };
            let interval = number("intervalSeconds", 1, fdl::RETRY_SECONDS_MAX);
            let longest = number("maxIntervalSeconds", 1, fdl::RETRY_SECONDS_MAX);
            let attempts = number("maxAttempts", 0, u64::from(u32::MAX));
            let rate = rule.get("multiplier");
            all.push(Retrier {
                errors: self.errors(&rule, "a rule of retry", &mut wildcard),
                interval_seconds: interval.unwrap_or(1),
                max_attempts: attempts.and_then(|n| u32::try_from(n).ok()).unwrap_or(3),
                backoff_rate: rate.map_or(2.0, |r| fdl::rate(&r, self.report)),
                max_delay_seconds: longest,
                full_jitter: false,
            });
        }
        all
    }

    fn catch(&mut self, at: &At<'_, 't>, scope: &mut Scope<'t>) -> Vec<Catcher> {
        let mut all = Vec::new();
        let Some(list) = self.rules(at, "catch") else {
            if let Some(field) = at.get("errorMappings") {
                self.report.warning(
                    &field,
                    crate::diagnostic::code::IGNORED_FIELD,
                    "errorMappings has no effect without catch".to_owned(),
                    None,
                );
            }
            return all;
        };
        let mut wildcard = false;
        for (i, rule) in list.elements().iter().enumerate() {
            let rule = list.element(i, rule);
            if !check::is_object(self.report, &rule) {
                continue;
            }
            let fields: &[&str] = &["errors", "goto"];
            check::known_fields(self.report, &rule, "a rule of catch", &[fields]);
            let goto = check::required(self.report, &rule, "a rule of catch", "goto");
            let next = goto.map_or(scope.current, |g| self.target(&g, scope));
            // Problems are reported with the first rule: the mappings are the step's.
            let output = if i == 0 {
                self.mappings(at, "errorMappings", AFTER)
            } else {
                self.silently(|c| c.mappings(at, "errorMappings", AFTER))
            };
            all.push(Catcher {
                errors: self.errors(&rule, "a rule of catch", &mut wildcard),
                next,
                result_path: WritePath::Replace,
                assign: None,
                output: Some(output.unwrap_or_else(nothing)),
            });
        }
        all
    }

    fn rules<'c>(&mut self, at: &'c At<'_, 't>, name: &str) -> Option<At<'c, 't>> {
        let list = at.get(name)?;
        if matches!(list.node.tree, Tree::List(_)) {
            return Some(list);
        }
        check::wrong_type(self.report, &list, "an array");
        None
    }

    fn errors(&mut self, rule: &At<'_, 't>, owner: &str, wildcard: &mut bool) -> Vec<Arc<str>> {
        match check::required(self.report, rule, owner, "errors") {
            Some(list) => fdl::errors(&list, self.report, wildcard),
            None => Vec::new(),
        }
    }
}
