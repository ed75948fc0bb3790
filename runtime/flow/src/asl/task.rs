//! Task: its resource, and how long it may take.

use std::sync::Arc;

use stepwell_types::StepTarget;

use super::{Compiler, bridge, expect};
use crate::check;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::program::{Service, Task};
use crate::resource::{self, ResourceKind, available};

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

impl<'t> Compiler<'t, '_> {
    pub(super) fn task(&mut self, at: &At<'_, 't>) -> Option<Task> {
        let timeout = self.integer_or_path(at, "TimeoutSeconds", 1, expect::SECONDS_MAX);
        let heartbeat = self.integer_or_path(at, "HeartbeatSeconds", 1, expect::SECONDS_MAX);
        // As they are written: a number that is wrong by itself is no other number.
        let written = |name: &str| match &at.get(name)?.node.tree {
            Tree::Number(number) => number.as_f64(),
            _ => None,
        };
        if let (Some(timeout), Some(heartbeat)) =
            (written("TimeoutSeconds"), written("HeartbeatSeconds"))
            && heartbeat >= timeout
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
            self.credentials(&field);
            self.report.warning(
                &field,
                code::IGNORED_FIELD,
                "Credentials names an AWS role and has no effect here".to_owned(),
                Some("grant what the step may reach when you publish the flow".to_owned()),
            );
        }
        let field = self.required(at, "a Task state", "Resource")?;
        let text = self.text(&field)?;
        let (target, service, wait_for_token) = self.target_of(at, &field, text)?;
        check::express(self.report, self.resolve, &field, &target, wait_for_token);
        Some(Task {
            resource: Arc::from(text),
            target,
            service,
            wait_for_token,
            timeout_seconds: timeout,
            heartbeat_seconds: heartbeat,
            credentials: self.template(at, "Credentials"),
        })
    }

    /// A role by its ARN, or where to read one.
    fn credentials(&mut self, field: &At<'_, 't>) {
        if !self.is_object(field) {
            return;
        }
        self.known_fields(field, "Credentials", &[&["RoleArn", "RoleArn.$"]]);
        self.one_of(field, "Credentials", &["RoleArn", "RoleArn.$"]);
    }

    fn target_of(
        &mut self,
        at: &At<'_, 't>,
        field: &At<'_, 't>,
        text: &'t str,
    ) -> Option<(StepTarget, Service, bool)> {
        let bound = self.resolve.binding(text);
        let resource = match resource::parse(bound.as_deref().unwrap_or(text)) {
            Ok(resource) => resource,
            Err(bad) => {
                let code = if bad.not_yet {
                    code::NOT_SUPPORTED
                } else {
                    code::BAD_RESOURCE
                };
                let hint = match crate::substitute::placeholder(text) {
                    Some(name) => self.resolve.advice().set(name),
                    None => {
                        let modules = self.resolve.modules();
                        let names: Vec<&str> = modules.iter().map(|(name, _)| &**name).collect();
                        format!(
                            "a resource is wasm:NAME[@VERSION][#FUNCTION], http:request, container:run, vm:run, flow:start, signal:send, signal:wait, callback, activity:NAME, or one of AWS's names that docs/flows.md lists; {}{}",
                            self.resolve.advice().bind(),
                            resource::listed(&names)
                        )
                    }
                };
                self.report.error_hint(field, code, bad.message, Some(hint));
                return None;
            }
        };
        let (target, service) = match resource.kind {
            ResourceKind::Http => {
                self.call_parameters(at, &bridge::HTTP);
                (StepTarget::Http, Service::Plain)
            }
            ResourceKind::Container => {
                self.call_parameters(at, &bridge::CONTAINER);
                (StepTarget::Container, Service::Plain)
            }
            ResourceKind::Machine => {
                self.call_parameters(at, &bridge::MACHINE);
                (StepTarget::Machine, Service::Plain)
            }
            ResourceKind::Flow(mode) => {
                self.child_parameters(at);
                (StepTarget::Flow(mode), Service::Plain)
            }
            ResourceKind::SendSignal => {
                self.call_parameters(at, &bridge::SEND_SIGNAL);
                (StepTarget::SendSignal, Service::Plain)
            }
            ResourceKind::WaitSignal => {
                self.call_parameters(at, &bridge::WAIT_SIGNAL);
                (StepTarget::WaitSignal, Service::Plain)
            }
            ResourceKind::Callback => (StepTarget::Callback, Service::Plain),
            ResourceKind::Activity(name) => {
                let name = Arc::from(name);
                (StepTarget::Activity { name }, Service::Plain)
            }
            ResourceKind::LambdaInvoke => self.lambda_invoke(at)?,
            ResourceKind::HttpInvoke => self.http_invoke(at)?,
            ResourceKind::Module {
                name,
                version,
                function,
            } => {
                let service = if text.starts_with("arn:") {
                    Service::Function
                } else {
                    Service::Plain
                };
                (self.module(field, name, version, function)?, service)
            }
        };
        Some((target, service, resource.wait_for_token))
    }

    /// The module of this name, or what is there instead.
    pub(super) fn module(
        &mut self,
        at: &At<'_, 't>,
        name: &str,
        version: Option<&str>,
        function: Option<&str>,
    ) -> Option<StepTarget> {
        match self.resolve.module(name, version, function) {
            Ok(digest) => Some(StepTarget::Wasm {
                name: Arc::from(name),
                digest,
                function: function.map(Arc::from),
            }),
            Err(unresolved) => {
                let hint = available(name, &unresolved.available);
                self.report
                    .error_hint(at, code::UNKNOWN_MODULE, unresolved.message, hint);
                None
            }
        }
    }
}
