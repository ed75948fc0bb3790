//! Retry and Catch, and the older `OnErrors` that was both.

use std::sync::Arc;

use super::{Compiler, FAILED};
use crate::check;
use crate::diagnostic::code;
use crate::document::At;
use crate::fdl;
use crate::program::{Catcher, Retrier};
use crate::scope::Scope;

const RETRY: &[&str] = &[
    "Errors",
    "Description",
    "MaxAttempts",
    "IntervalSeconds",
    "BackoffRate",
    "MaxBackoffSeconds",
];
const CATCH: &[&str] = &["Errors", "Description", "OutputConstructor", "Next"];
const ON_ERROR: &[&str] = &[
    "Errors",
    "Description",
    "Retry",
    "OutputConstructor",
    "Next",
];
const ON_ERROR_RETRY: &[&str] = &["MaxAttempts", "FixedBackoff", "Multiplier"];

impl<'t> Compiler<'_> {
    /// Both lists of a state, from whichever fields it has.
    pub(super) fn failure(
        &mut self,
        at: &At<'_, 't>,
        scope: &mut Scope<'t>,
    ) -> (Vec<Retrier>, Vec<Catcher>) {
        if let Some(list) = at.get("OnErrors") {
            for name in ["Retry", "Catch"] {
                if at.get(name).is_some() {
                    self.report.error(
                        &list,
                        code::EXCLUSIVE_FIELDS,
                        format!("{name} and the older OnErrors exclude each other"),
                    );
                }
            }
            return self.on_errors(&list, scope);
        }
        (self.retry(at), self.catch(at, scope))
    }

    fn retry(&mut self, at: &At<'_, 't>) -> Vec<Retrier> {
        let owner = "a rule of Retry";
        let mut all = Vec::new();
        let Some(list) = at.get("Retry") else {
            return all;
        };
        let mut wildcard = false;
        for rule in fdl::rules(self.report, &list, owner, RETRY) {
            let attempts = self.number(&rule, owner, "MaxAttempts", 0, u64::from(u32::MAX));
            let interval = self.number(&rule, owner, "IntervalSeconds", 0, fdl::RETRY_SECONDS_MAX);
            let most = rule
                .get("MaxBackoffSeconds")
                .and_then(|f| check::integer(self.report, &f, 1, fdl::RETRY_SECONDS_MAX));
            let rate = rule.get("BackoffRate");
            let rate = rate.map_or(1.0, |r| fdl::rate(&r, self.report));
            let errors = self.errors(&rule, owner, &mut wildcard);
            all.push(fdl::retrier(errors, interval, attempts, rate, most));
        }
        all
    }

    fn catch(&mut self, at: &At<'_, 't>, scope: &mut Scope<'t>) -> Vec<Catcher> {
        let owner = "a rule of Catch";
        let mut all = Vec::new();
        let Some(list) = at.get("Catch") else {
            return all;
        };
        let mut wildcard = false;
        for rule in fdl::rules(self.report, &list, owner, CATCH) {
            let errors = self.errors(&rule, owner, &mut wildcard);
            all.push(self.catcher(&rule, owner, errors, scope));
        }
        all
    }

    fn catcher(
        &mut self,
        rule: &At<'_, 't>,
        owner: &str,
        errors: Vec<Arc<str>>,
        scope: &mut Scope<'t>,
    ) -> Catcher {
        let next = check::required(self.report, rule, owner, "Next");
        scope.broken |= next.is_none();
        let next = next.map_or(scope.current, |n| self.target(&n, scope, true));
        self.report.here.error = true;
        let output = self.constructor(rule, "OutputConstructor", FAILED);
        self.report.here.error = false;
        if output.is_none() {
            self.notes.once(
                "catch",
                self.report,
                rule,
                "CloudFlow's documents don't say what the next state gets from a failed one without OutputConstructor; here it is {}",
            );
        }
        fdl::catcher(errors, next, output)
    }

    /// The first rule that names an error is the only one: a rule that catches also
    /// keeps later ones from retrying.
    fn on_errors(
        &mut self,
        list: &At<'_, 't>,
        scope: &mut Scope<'t>,
    ) -> (Vec<Retrier>, Vec<Catcher>) {
        let owner = "a rule of OnErrors";
        let (mut retry, mut catch) = (Vec::new(), Vec::new());
        let mut wildcard = false;
        for rule in fdl::rules(self.report, list, owner, ON_ERROR) {
            let errors = self.errors(&rule, owner, &mut wildcard);
            if rule.get("Next").is_some() {
                retry.push(fdl::retrier(errors.clone(), 0, 0, 1.0, None));
                catch.push(self.catcher(&rule, owner, errors, scope));
                continue;
            }
            let Some(again) = check::required(self.report, &rule, owner, "Retry") else {
                continue;
            };
            if !check::is_object(self.report, &again) {
                continue;
            }
            check::known_fields(self.report, &again, "Retry", &[ON_ERROR_RETRY]);
            let attempts = self.number(&again, "Retry", "MaxAttempts", 0, u64::from(u32::MAX));
            let interval = self.number(&again, "Retry", "FixedBackoff", 0, fdl::RETRY_SECONDS_MAX);
            let rate = again.get("Multiplier");
            let rate = rate.map_or(1.0, |r| fdl::rate(&r, self.report));
            retry.push(fdl::retrier(errors, interval, attempts, rate, None));
        }
        if !retry.iter().all(|r| r.max_attempts == 0) && !catch.is_empty() {
            self.report.warning(
                list,
                code::DIFFERS,
                "an error for which a retry is used up is offered to the later rules of OnErrors; in CloudFlow only the first rule that names it counts".to_owned(),
                Some("write Retry and Catch in place of OnErrors".to_owned()),
            );
        }
        (retry, catch)
    }

    /// A required whole number.
    fn number(&mut self, at: &At<'_, 't>, owner: &str, name: &str, least: u64, most: u64) -> u64 {
        let field = check::required(self.report, at, owner, name);
        field
            .and_then(|f| check::integer(self.report, &f, least, most))
            .unwrap_or(least)
    }

    fn errors(&mut self, rule: &At<'_, 't>, owner: &str, wildcard: &mut bool) -> Vec<Arc<str>> {
        fdl::errors_of(self.report, rule, owner, "Errors", wildcard)
    }
}
