//! Task: its resource, and how long it may take.

use std::sync::Arc;

use stepwell_types::{ChildMode, StepTarget};

use super::{Compiler, bridge, expect};
use crate::check;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::expression::QueryLanguage;
use crate::program::{Service, StandIn, Task};
use crate::resource::{self, ResourceKind, Target, available};
use crate::stand_in::stand_in;

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

/// What a Task's `Resource` comes to.
pub(super) struct Runs {
    pub(super) target: StepTarget,
    pub(super) service: Service,
    pub(super) stand_in: Option<StandIn>,
    pub(super) wait_for_token: bool,
}

/// Whether a `Resource` is the ARN of a function.
fn is_function(text: &str) -> bool {
    text.starts_with("arn:") && resource::function(text).is_ok()
}

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
        let Runs {
            target,
            service,
            stand_in,
            wait_for_token,
        } = self.runs(at, &field, text)?;
        check::express(self.report, self.resolve, &field, &target, wait_for_token);
        Some(Task {
            resource: Arc::from(text),
            target,
            service,
            stand_in,
            wait_for_token,
            timeout_seconds: timeout,
            heartbeat_seconds: heartbeat,
            credentials: self.template(at, "Credentials"),
        })
    }

    /// Whether a Task ends by its token: what stands for its resource may make it so.
    pub(super) fn may_wait(&self, at: &At<'_, 't>) -> bool {
        let field = at.get("Resource");
        let Some(Tree::Text(text)) = field.as_ref().map(|field| &field.node.tree) else {
            return true;
        };
        let waits = |named: &str| resource::parse(named).map_or(true, |r| r.wait_for_token);
        self.resolve.binding(text).is_some() || waits(text)
    }

    /// A role by its ARN, or where to read one.
    fn credentials(&mut self, field: &At<'_, 't>) {
        if !self.is_object(field) {
            return;
        }
        let names: &[&str] = match self.language {
            QueryLanguage::JsonPath => &["RoleArn", "RoleArn.$"],
            QueryLanguage::Jsonata => &["RoleArn"],
        };
        self.known_fields(field, "Credentials", &[names]);
        self.one_of(field, "Credentials", names);
    }

    fn runs(&mut self, at: &At<'_, 't>, field: &At<'_, 't>, text: &'t str) -> Option<Runs> {
        let bound = self.resolve.binding(text);
        // What stands for it waits as it does.
        let token = bound.is_some() && text.ends_with(resource::TOKEN_SUFFIX);
        let named = match &bound {
            None => text,
            Some(Target::Resource(name)) => name,
            Some(target) => return self.stands_in(field, text, target, token),
        };
        let resource = match resource::parse(named) {
            Ok(resource) => resource,
            Err(bad) => {
                let code = if bad.not_yet {
                    code::NOT_SUPPORTED
                } else {
                    code::BAD_RESOURCE
                };
                let bare = text.strip_suffix(resource::TOKEN_SUFFIX);
                let bare = bare.filter(|bare| self.resolve.binding(bare).is_some());
                let hint = match (crate::substitute::unfilled(text), bare) {
                    (Some(name), _) => self.resolve.advice().set(name),
                    (None, Some(bare)) => format!(
                        "{bare:?} is bound, and the name that ends in {} is another: bind it too",
                        resource::TOKEN_SUFFIX
                    ),
                    (None, None) => resource::suggested(text).unwrap_or_else(|| {
                        let modules = self.resolve.modules();
                        let names: Vec<&str> = modules.iter().map(|(name, _)| &**name).collect();
                        format!(
                            "a resource is wasm:NAME[@VERSION][#FUNCTION], http:request, container:run, vm:run, flow:start, signal:send, signal:wait, callback, activity:NAME, or one of AWS's names that docs/flows.md lists; {}{}",
                            self.resolve.advice().bind(),
                            resource::listed(&names)
                        )
                    }),
                };
                let unfilled = crate::substitute::unfilled(text).is_some();
                if !(self.resolve.binds_later() && (bad.not_yet || unfilled)) {
                    self.report.error_hint(field, code, bad.message, Some(hint));
                    return None;
                }
                let message = format!("{}; publishing refuses it", bad.message);
                self.report.warning(field, code, message, Some(hint));
                resource::unbound(text)
            }
        };
        if bound.is_some() && self.lacks_request(at, field, text, named, &resource.kind) {
            return None;
        }
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
            ResourceKind::LambdaInvoke => {
                return self.lambda_invoke(at, token || resource.wait_for_token);
            }
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
        let without = matches!(
            target,
            StepTarget::Flow(ChildMode::Sync | ChildMode::Sync2)
                | StepTarget::SendSignal
                | StepTarget::WaitSignal
        );
        if token && without {
            self.report.error_hint(
                field,
                code::BAD_RESOURCE,
                format!("the task ends by its token, and {named:?}, to which its resource is bound, by itself"),
                Some("bind it to flow:start, http:request, callback, wasm:NAME, { flow = \"NAME\" } or { url = \"https://…\" }".to_owned()),
            );
        }
        Some(Runs {
            target,
            service,
            stand_in: None,
            wait_for_token: token || resource.wait_for_token,
        })
    }

    /// Refuses what takes a request of its own in the place of a function whose Task writes none:
    /// it would get the function's input.
    fn lacks_request(
        &mut self,
        at: &At<'_, 't>,
        field: &At<'_, 't>,
        text: &str,
        named: &str,
        kind: &ResourceKind<'_>,
    ) -> bool {
        let parameters = match self.language {
            QueryLanguage::Jsonata => "Arguments",
            QueryLanguage::JsonPath => "Parameters",
        };
        let takes_data = matches!(
            kind,
            ResourceKind::Module { .. } | ResourceKind::Callback | ResourceKind::Activity(_)
        );
        if takes_data || !is_function(text) || at.get(parameters).is_some() {
            return false;
        }
        self.report.error_hint(
            field,
            code::BAD_RESOURCE,
            format!(
                "{:?} is bound to {named:?}, which is no function: it takes a request of its own, and this Task has no {parameters} with one",
                crate::path::clip(text)
            ),
            Some(resource::FOR_A_FUNCTION.to_owned()),
        );
        true
    }

    /// A flow or an HTTP call in the place of what the `Resource` names.
    fn stands_in(
        &mut self,
        field: &At<'_, 't>,
        text: &str,
        target: &Target,
        token: bool,
    ) -> Option<Runs> {
        let (target, stand_in) = stand_in(field, target, token, self.report, self.resolve)?;
        Some(Runs {
            target,
            service: match is_function(text) {
                true => Service::Function,
                false => Service::Plain,
            },
            stand_in: Some(stand_in),
            wait_for_token: token,
        })
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::resource::{Bound, ResourceMap};
    use crate::{AnyModule, compile};

    /// The message of the only problem; empty: there is none.
    #[track_caller]
    fn check(target: &str, more: &Value, expected: &str) {
        let arn = "arn:aws:lambda:r:1:function:f";
        let map = ResourceMap::new([(arn.to_owned(), target.to_owned())].into());
        let map = map.expect("a map");
        let resolve = Bound {
            inner: &AnyModule,
            map: &map,
        };
        let mut state = json!({"Type": "Task", "Resource": arn, "End": true});
        for (name, value) in more.as_object().into_iter().flatten() {
            state[name] = value.clone();
        }
        let flow = json!({"StartAt": "A", "States": {"A": state}}).to_string();
        let said = compile(&flow, &resolve).diagnostics;
        let said: Vec<&str> = said.iter().map(|d| &*d.message).collect();
        let said = said.join("; ");
        assert_eq!(said.is_empty(), expected.is_empty(), "{target}: {said}");
        assert!(said.contains(expected), "{target}: {said}");
    }

    #[test]
    fn a_function_stands_for_what_takes_its_input() {
        let none = json!({});
        for target in [
            "wasm:a",
            "activity:a",
            "callback",
            r#"{"flow": "a"}"#,
            r#"{"url": "https://a/"}"#,
        ] {
            check(target, &none, "");
        }
        for target in [
            "http:request",
            "flow:start",
            "flow:start.sync",
            "arn:aws:states:::states:startExecution",
            "arn:aws:states:::http:invoke",
            "container:run",
            "vm:run",
            "signal:send",
            "signal:wait",
        ] {
            check(target, &none, "this Task has no Parameters with one");
        }
        let jsonata = json!({"QueryLanguage": "JSONata"});
        check("http:request", &jsonata, "has no Arguments with one");
        // It may write the request, or compute it.
        let url = json!({"Parameters": {"url.$": "$.url"}});
        check("http:request", &url, "");
        check(
            "http:request",
            &json!({"Parameters": {"id": 1}}),
            "no field \"id\"",
        );
        let all = json!({"QueryLanguage": "JSONata", "Arguments": "{% $states.input %}"});
        check("http:request", &all, "");
    }
}
