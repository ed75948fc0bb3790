//! `retry`, `catch` and `errorMappings` of a task step.

use super::step::nothing;
use super::{AFTER, Compiler};
use crate::check;
use crate::document::At;
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
        let owner = "a rule of retry";
        let mut all = Vec::new();
        let Some(list) = at.get("retry") else {
            return all;
        };
        let mut wildcard = false;
        for rule in fdl::rules(self.report, &list, owner, RETRY) {
            let mut number = |name: &str, least, most| {
                let field = rule.get(name)?;
                check::integer(self.report, &field, least, most)
            };
            let interval = number("intervalSeconds", 1, fdl::RETRY_SECONDS_MAX);
            let longest = number("maxIntervalSeconds", 1, fdl::RETRY_SECONDS_MAX);
            let attempts = number("maxAttempts", 0, u64::from(u32::MAX));
            let rate = rule.get("multiplier");
            let rate = rate.map_or(2.0, |r| fdl::rate(&r, self.report));
            all.push(fdl::retrier(
                fdl::errors_of(self.report, &rule, owner, "errors", &mut wildcard),
                interval.unwrap_or(1),
                attempts.unwrap_or(3),
                rate,
                longest,
            ));
        }
        all
    }

    fn catch(&mut self, at: &At<'_, 't>, scope: &mut Scope<'t>) -> Vec<Catcher> {
        let mut all = Vec::new();
        let owner = "a rule of catch";
        let Some(list) = at.get("catch") else {
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
        let rules = fdl::rules(self.report, &list, owner, &["errors", "goto"]);
        for (i, rule) in rules.iter().enumerate() {
            let goto = check::required(self.report, rule, owner, "goto");
            scope.broken |= goto.is_none();
            let next = goto.map_or(scope.current, |g| self.target(&g, scope));
            // Problems are reported with the first rule: the mappings are the step's.
            let output = if i == 0 {
                self.mappings(at, "errorMappings", AFTER)
            } else {
                self.silently(|c| c.mappings(at, "errorMappings", AFTER))
            };
            let errors = fdl::errors_of(self.report, rule, owner, "errors", &mut wildcard);
            all.push(fdl::catcher(
                errors,
                next,
                Some(output.unwrap_or_else(nothing)),
            ));
        }
        all
    }
}
