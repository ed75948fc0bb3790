//! Task: a function, how its end is known, and how long it may take.

use std::sync::Arc;

use super::Compiler;
use crate::check;
use crate::diagnostic::code;
use crate::document::At;
use crate::expression::Expression;
use crate::fdl;
use crate::program::{Service, Task};

/// Fields of a task step beyond the common ones.
pub(super) const FIELDS: &[&str] = &[
    "resourceArn",
    "pattern",
    "timeoutSeconds",
    "serviceParams",
    "errorMappings",
    "retry",
    "catch",
];

const PATTERNS: [&str; 3] = ["requestResponse", "sync", "waitForCallback"];

impl<'t> Compiler<'_> {
    pub(super) fn task(&mut self, at: &At<'_, 't>) -> Option<Task> {
        let timeout = at
            .get("timeoutSeconds")
            .and_then(|t| check::integer(self.report, &t, 1, fdl::SECONDS_MAX));
        let pattern = at
            .get("pattern")
            .and_then(|p| check::word(self.report, &p, &PATTERNS));
        if let Some(params) = at.get("serviceParams") {
            self.report.warning(
                &params,
                code::IGNORED_FIELD,
                "serviceParams has no effect on a function: its input is the step's".to_owned(),
                None,
            );
        }
        let field = check::required(self.report, at, "a task step", "resourceArn")?;
        let text = check::text(self.report, &field)?;
        if !text.starts_with("acs:fc:") {
            self.unbound(&field, text);
            return None;
        }
        let target = fdl::function(&field, text, self.report, self.resolve)?;
        Some(Task {
            resource: Arc::from(text),
            target,
            wait_for_token: pattern == Some("waitForCallback"),
            timeout_seconds: timeout.map(|s| Expression::Literal(s.into())),
            heartbeat_seconds: None,
            service: Service::Plain,
            credentials: None,
        })
    }

    fn unbound(&mut self, at: &At<'_, 't>, text: &str) {
        let what = if text.starts_with('$') {
            "a resource from the data cannot be looked up when the flow is published".to_owned()
        } else {
            format!("nothing here carries out {:?}", crate::path::clip(text))
        };
        self.report.error_hint(
            at,
            code::BAD_RESOURCE,
            what,
            Some(
                "a task runs a function: acs:fc:REGION:ACCOUNT:functions/NAME[/QUALIFIER]"
                    .to_owned(),
            ),
        );
    }
}
