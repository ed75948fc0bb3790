//! Task: a function or another flow, how its end is known, and how long it may take.

use std::sync::Arc;

use serde_json::Value;
use stepwell_types::{ChildMode, StepTarget};

use super::{Compiler, WITHIN};
use crate::check;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::expression::{Expression, Query, Template};
use crate::fdl::{self, Constructors, Fdl, Place, Root};
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
    pub(super) fn task(&mut self, at: &At<'_, 't>, data: &mut Constructors) -> Option<Task> {
        let timeout = at
            .get("timeoutSeconds")
            .and_then(|t| check::integer(self.report, &t, 1, fdl::SECONDS_MAX));
        let pattern = at
            .get("pattern")
            .and_then(|p| check::word(self.report, &p, &PATTERNS));
        let field = check::required(self.report, at, "a task step", "resourceArn")?;
        let text = check::text(self.report, &field)?;
        let bound = self.resolve.binding(text).is_some();
        if text.starts_with("acs:fnf:") && !bound {
            return self.start(at, &field, text, data, pattern, timeout);
        }
        let function = text.starts_with("acs:fc:");
        match at.get("serviceParams") {
            Some(params) if bound || !function => data.arguments = self.service_params(&params),
            Some(params) => self.report.warning(
                &params,
                code::IGNORED_FIELD,
                "serviceParams has no effect on a function: its input is the step's".to_owned(),
                None,
            ),
            None => {}
        }
        let token = pattern == Some("waitForCallback");
        let (target, stand_in) = if bound || function {
            fdl::function(&field, text, token, self.report, self.resolve)?
        } else {
            (self.unbound(&field, text)?, None)
        };
        if stand_in.is_some() && !token && target == StepTarget::Flow(ChildMode::Start) {
            data.result = Some(fdl::answer(ChildMode::Start));
        }
        self.express(at, &field, &target, pattern);
        Some(Task {
            resource: Arc::from(text),
            wait_for_token: token || target.is_outside(),
            target,
            stand_in,
            timeout_seconds: timeout.map(|s| Expression::Literal(s.into())),
            heartbeat_seconds: None,
            service: Service::Plain,
            credentials: None,
        })
    }

    /// Whether a task ends by its token: what its resource is bound to may make it so.
    pub(super) fn may_wait(&self, at: &At<'_, 't>) -> bool {
        let said = |name: &str| match &at.get(name)?.node.tree {
            Tree::Text(text) => Some(&**text),
            _ => None,
        };
        let bound = said("resourceArn").is_some_and(|arn| self.resolve.binding(arn).is_some());
        bound || said("pattern") == Some("waitForCallback")
    }

    /// What a service that is bound to something here gets: a constant or a source each.
    fn service_params(&mut self, at: &At<'_, 't>) -> Option<Template> {
        if !check::is_object(self.report, at) {
            return None;
        }
        let members = at.members().iter();
        let fields = members.map(|m| (m.name.clone(), self.source(&at.member(m), WITHIN)));
        Some(Template::Object(fields.collect()))
    }

    /// Reports what an express execution cannot run, at the field that says so.
    fn express(
        &mut self,
        at: &At<'_, 't>,
        field: &At<'_, 't>,
        target: &StepTarget,
        pattern: Option<&str>,
    ) {
        let waits = pattern == Some("waitForCallback");
        let mode = at.get("pattern").filter(|_| waits);
        let said = mode.as_ref().unwrap_or(field);
        check::express(self.report, self.resolve, said, target, waits);
    }

    /// Another flow, which gets the step's input, or what `serviceParams` makes of it.
    fn start(
        &mut self,
        at: &At<'_, 't>,
        field: &At<'_, 't>,
        text: &str,
        data: &mut Constructors,
        pattern: Option<&str>,
        timeout: Option<u64>,
    ) -> Option<Task> {
        let mode = match pattern {
            Some("sync") => ChildMode::Sync2,
            _ => ChildMode::Start,
        };
        let flow = fdl::flow(field, text, None, self.report, self.resolve)?;
        let mut arguments = vec![(
            "StateMachineArn".into(),
            Template::Literal(Value::from(flow)),
        )];
        let params = at.get("serviceParams");
        let params = params.filter(|p| check::is_object(self.report, p));
        if let Some(params) = &params {
            let owner = "the serviceParams of a flow";
            check::known_fields(self.report, params, owner, &[&["Input", "ExecutionName"]]);
        }
        let param = |name| params.as_ref().and_then(|p| p.get(name));
        if let Some(name) = param("ExecutionName") {
            arguments.push(("Name".into(), self.source(&name, WITHIN)));
        }
        let input = match param("Input") {
            Some(input) => self.source(&input, WITHIN),
            None => Template::Expression(Expression::Fdl(Fdl::Path(Place {
                source: "$".into(),
                root: Root::Input,
                query: Query::Whole,
            }))),
        };
        arguments.push(("Input".into(), input));
        data.arguments = Some(Template::Object(arguments));
        let wait_for_token = pattern == Some("waitForCallback");
        if !wait_for_token {
            data.result = Some(fdl::answer(mode));
        }
        self.notes.once(
            "start",
            self.report,
            field,
            "$local of a task that starts a flow is here that flow's output with the pattern sync, and {ExecutionId, StartedTime} with requestResponse; FnF.TaskFailed is the error of one that failed. CloudFlow's documents don't show them",
        );
        self.express(at, field, &StepTarget::Flow(mode), pattern);
        Some(Task {
            // As in the new language: the history tells both alike.
            resource: "FNF:StartExecution".into(),
            target: StepTarget::Flow(mode),
            stand_in: None,
            wait_for_token,
            timeout_seconds: timeout.map(|s| Expression::Literal(s.into())),
            heartbeat_seconds: None,
            service: Service::Plain,
            credentials: None,
        })
    }

    fn unbound(&mut self, at: &At<'_, 't>, text: &str) -> Option<StepTarget> {
        let what = if text.starts_with('$') {
            "a resource from the data cannot be looked up when the flow is published".to_owned()
        } else {
            format!("nothing here carries out {:?}", crate::path::clip(text))
        };
        let hint = format!(
            "a task runs a function, acs:fc:REGION:ACCOUNT:functions/NAME[/QUALIFIER], or a flow, acs:fnf:REGION:ACCOUNT:flow/NAME; {}",
            self.resolve.advice().bind()
        );
        let later = text.starts_with("acs:");
        fdl::unbound(at, (what, hint), later, self.report, self.resolve)
    }
}
