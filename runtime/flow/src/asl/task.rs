//! Task: its resource, and how long it may take.

use std::sync::Arc;

use serde_json::Value;
use stepwell_types::StepTarget;

use super::{Compiler, expect};
use crate::diagnostic::code;
use crate::document::At;
use crate::expression::Expression;
use crate::program::Task;
use crate::resource::{self, ResourceKind};
use crate::suggest;

/// Fields of a Task beyond the common ones.
pub(super) const FIELDS: &[&str] = &[
    "Resource",
    "TimeoutSeconds",
    "TimeoutSecondsPath",
    "HeartbeatSeconds",
    "HeartbeatSecondsPath",
    "Credentials",
];
/// As [`FIELDS`], in JSONata mode.
pub(super) const FIELDS_JSONATA: &[&str] = &[
    "Resource",
    "TimeoutSeconds",
    "HeartbeatSeconds",
    "Credentials",
];

/// Most alternatives that a message lists.
const AVAILABLE_SHOWN: usize = 10;

impl<'t> Compiler<'t, '_> {
    pub(super) fn task(&mut self, at: &At<'_, 't>) -> Option<Task> {
        let timeout = self.integer_or_path(at, "TimeoutSeconds", 1, expect::SECONDS_MAX);
        let heartbeat = self.integer_or_path(at, "HeartbeatSeconds", 1, expect::SECONDS_MAX);
        if let (
            Some(Expression::Literal(Value::Number(timeout))),
            Some(Expression::Literal(Value::Number(heartbeat))),
        ) = (&timeout, &heartbeat)
            && heartbeat.as_u64() >= timeout.as_u64()
            && let Some(field) = at.get("HeartbeatSeconds")
        {
            self.report.error(
                &field,
                code::BAD_VALUE,
                format!(
                    "HeartbeatSeconds ({heartbeat}) must be less than TimeoutSeconds ({timeout})"
                ),
            );
        }
        if let Some(field) = at.get("Credentials") {
            self.report.warning(
                &field,
                code::IGNORED_FIELD,
                "Credentials names an AWS role and has no effect here".to_owned(),
                Some("grant what the step may reach when you publish the flow".to_owned()),
            );
        }
        let field = self.required(at, "a Task state", "Resource")?;
        let text = self.text(&field)?;
        let (target, wait_for_token) = self.target_of(&field, text)?;
        if target == StepTarget::Http {
            self.http_parameters(at);
        }
        Some(Task {
            resource: Arc::from(text),
            target,
            wait_for_token,
            timeout_seconds: timeout,
            heartbeat_seconds: heartbeat,
        })
    }

    fn target_of(&mut self, at: &At<'_, 't>, text: &'t str) -> Option<(StepTarget, bool)> {
        let resource = match resource::parse(text) {
            Ok(resource) => resource,
            Err(bad) => {
                let code = if bad.not_yet {
                    code::NOT_SUPPORTED
                } else {
                    code::BAD_RESOURCE
                };
                let hint = if text.starts_with("${") {
                    "fill in template substitutions before the flow is published"
                } else {
                    "a resource is wasm:NAME[@VERSION][#FUNCTION], http:request or callback"
                };
                self.report
                    .error_hint(at, code, bad.message, Some(hint.to_owned()));
                return None;
            }
        };
        let target = match resource.kind {
            ResourceKind::Http => StepTarget::Http,
            ResourceKind::Callback => StepTarget::Callback,
            ResourceKind::Module {
                name,
                version,
                function,
            } => match self.resolve.module(name, version, function) {
                Ok(digest) => StepTarget::Wasm {
                    name: Arc::from(name),
                    digest,
                    function: function.map(Arc::from),
                },
                Err(unresolved) => {
                    let hint = available(name, &unresolved.available);
                    self.report
                        .error_hint(at, code::UNKNOWN_MODULE, unresolved.message, hint);
                    return None;
                }
            },
        };
        Some((target, resource.wait_for_token))
    }
}

/// The nearest of what exists, or the first few.
fn available(name: &str, all: &[String]) -> Option<String> {
    let few = all.iter().take(1_000).map(String::as_str);
    suggest::hint(name, few).or_else(|| match all {
        [] => None,
        all => {
            let shown: Vec<&str> = all
                .iter()
                .take(AVAILABLE_SHOWN)
                .map(String::as_str)
                .collect();
            let more = if all.len() > AVAILABLE_SHOWN {
                ", …"
            } else {
                ""
            };
            Some(format!("there are {}{more}", shown.join(", ")))
        }
    })
}
