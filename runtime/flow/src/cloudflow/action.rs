//! Task: its Action, its mode, and how long it may take.
//!
//! Refuses Actions that nothing here carries out, with the list of what exists.

use std::sync::Arc;

use serde_json::Value;
use stepwell_types::{ChildMode, StepTarget};

use super::{BEFORE, Compiler};
use crate::check;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::expression::{Expression, Template};
use crate::fdl::{self, Constructors};
use crate::path::clip;
use crate::program::{Service, StandIn, Task};
use crate::suggest;

/// Fields of a Task beyond the common ones.
pub(super) const FIELDS: &[&str] = &["Action", "TaskMode", "Parameters", "Timeout", "Timeout.$"];

const MODES: [&str; 3] = [
    "RequestComplete",
    "WaitForSystemCallback",
    "WaitForCustomCallback",
];
/// Written also `FnF:StartExecution`: the service has both spellings of its name.
const START: &str = "FNF:StartExecution";
const ACTIONS: [&str; 3] = ["FC:InvokeFunction", START, "HTTP:Request"];
const INVOKE: &[&str] = &[
    "resourceArn",
    ARN_FROM_DATA,
    "invocationType",
    "body",
    "body.$",
];
const ARN_FROM_DATA: &str = "resourceArn.$";

impl<'t> Compiler<'_> {
    pub(super) fn task(&mut self, at: &At<'_, 't>, data: &mut Constructors) -> Option<Task> {
        let timeout_seconds = self.timeout(at);
        let mode = at
            .get("TaskMode")
            .and_then(|m| check::word(self.report, &m, &MODES))
            .unwrap_or("RequestComplete");
        let mut wait_for_token = mode == "WaitForCustomCallback";
        let field = check::required(self.report, at, "a Task state", "Action")?;
        let action = check::text(self.report, &field)?;
        let bound = fdl::binding(&field, action, wait_for_token, self.report, self.resolve);
        let mut stand_in = None;
        let action_there = match &bound {
            None => action,
            Some(Some(fdl::Binding::Http)) => "HTTP:Request",
            Some(Some(fdl::Binding::Start)) => START,
            Some(_) => "",
        };
        let target = match (action_there, bound) {
            (_, Some(Some(fdl::Binding::Target(target)))) => {
                data.arguments = self.parameters(at);
                target
            }
            (_, Some(Some(fdl::Binding::StandIn(target, runs)))) => {
                data.arguments = self.parameters(at);
                stand_in = Some(runs);
                target
            }
            (_, Some(None)) => return None,
            ("HTTP:Request", _) => {
                if let Some(field) = at.get("TaskMode")
                    && mode == "WaitForSystemCallback"
                {
                    self.report.error(
                        &field,
                        code::BAD_VALUE,
                        "HTTP:Request has the modes RequestComplete and WaitForCustomCallback"
                            .to_owned(),
                    );
                }
                self.http(at, data, wait_for_token)?;
                if let Some(field) = at.get("Timeout").filter(|_| !wait_for_token) {
                    self.http_timeout(&field, timeout_seconds.as_ref());
                }
                StepTarget::Http
            }
            ("FC:InvokeFunction", _) => {
                let (target, runs) = self.invoke(at, data, mode)?;
                stand_in = runs;
                target
            }
            _ if action_there.eq_ignore_ascii_case(START) => {
                let (target, waits) = self.start(at, data, mode)?;
                wait_for_token = waits;
                target
            }
            _ => self.unbound(&field, action)?,
        };
        if stand_in.is_some() && !wait_for_token && target == StepTarget::Flow(ChildMode::Start) {
            data.result = Some(fdl::answer(ChildMode::Start));
        }
        // What waits is said by the mode, which is a field of its own.
        let said = at.get("TaskMode").filter(|_| wait_for_token);
        let said = said.as_ref().unwrap_or(&field);
        check::express(self.report, self.resolve, said, &target, wait_for_token);
        let here = !wait_for_token && !target.is_outside() && !target.is_between();
        if let Some(field) = at.get("TaskMode")
            && mode == "WaitForSystemCallback"
            && here
            && target != StepTarget::Http
            && (self.resolve.express() || self.report.express_children)
        {
            self.report.note(
                &field,
                code::BEYOND_CLOUDFLOW,
                "CloudFlow has only RequestComplete in an Express execution".to_owned(),
            );
        }
        Some(Task {
            resource: Arc::from(action),
            wait_for_token: wait_for_token || target.is_outside(),
            target,
            timeout_seconds,
            heartbeat_seconds: None,
            service: Service::Plain,
            stand_in,
            credentials: None,
        })
    }

    /// Whether a Task ends by its token: what its Action or function is bound to may make it so.
    pub(super) fn may_wait(&self, at: &At<'_, 't>) -> bool {
        let said = |field: Option<At<'_, 't>>| match field.map(|field| &field.node.tree) {
            Some(Tree::Text(text)) => Some(&**text),
            _ => None,
        };
        let function = at.get("Parameters");
        let function = function.as_ref().and_then(|p| said(p.get("resourceArn")));
        said(at.get("TaskMode")) == Some("WaitForCustomCallback")
            || [said(at.get("Action")), function]
                .iter()
                .flatten()
                .any(|name| self.resolve.binding(name).is_some())
    }

    /// `Parameters`, as what takes them as they are gets them.
    fn parameters(&mut self, at: &At<'_, 't>) -> Option<Template> {
        at.get("Parameters")
            .filter(|p| check::is_object(self.report, p))
            .map(|p| fdl::template(&p, BEFORE, self.report, &mut self.notes))
    }

    /// What nothing here carries out. A service's is named `PRODUCT:Operation`.
    fn unbound(&mut self, at: &At<'_, 't>, action: &str) -> Option<StepTarget> {
        let slip = suggest::hint(action, ACTIONS);
        let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric());
        let service = action.split_once(':');
        let service = service.is_some_and(|(product, operation)| word(product) && word(operation));
        let later = service && slip.is_none();
        let hint = slip.unwrap_or_else(|| {
            let modules = self.resolve.modules();
            let names: Vec<&str> = modules.iter().map(|(name, _)| &**name).collect();
            format!(
                "the Actions are {}; {}, or replace it by an HTTP request or a function that makes the call{}",
                ACTIONS.join(", "),
                self.resolve.advice().bind(),
                crate::resource::listed(&names)
            )
        });
        let what = format!("nothing here carries out the Action {:?}", clip(action));
        fdl::unbound(at, (what, hint), later, self.report, self.resolve)
    }

    /// The module of the function's name, or what it is bound to, with `body` as its input.
    fn invoke(
        &mut self,
        at: &At<'_, 't>,
        data: &mut Constructors,
        mode: &str,
    ) -> Option<(StepTarget, Option<StandIn>)> {
        let owner = "the Parameters of FC:InvokeFunction";
        let parameters = check::required(
            self.report,
            at,
            "the Action FC:InvokeFunction",
            "Parameters",
        )?;
        if !check::is_object(self.report, &parameters) {
            return None;
        }
        check::known_fields(self.report, &parameters, owner, &[INVOKE]);
        data.arguments = Some(self.body(&parameters));
        let kind = parameters
            .get("invocationType")
            .and_then(|k| check::word(self.report, &k, &["Sync", "Async"]));
        if kind == Some("Async")
            && mode != "WaitForCustomCallback"
            && let Some(field) = parameters.get("invocationType")
        {
            let (code, what) = if mode == "RequestComplete" {
                (
                    code::DIFFERS,
                    "an asynchronous call ends here with the function's result, and not when the call is accepted",
                )
            } else {
                (
                    code::ASSUMED,
                    "WaitForSystemCallback with an asynchronous call ends with the function's result",
                )
            };
            if code == code::DIFFERS {
                self.report.warning(&field, code, what.to_owned(), None);
            } else {
                self.notes.once("system", self.report, &field, what);
            }
        }
        self.notes.once(
            "function",
            self.report,
            &parameters,
            "$Output of FC:InvokeFunction is here the function's own result; CloudFlow's documents don't show its form",
        );
        if let Some(field) = parameters.get(ARN_FROM_DATA) {
            self.report.error_hint(
                &field,
                code::NOT_SUPPORTED,
                "a resourceArn cannot come from the data: the function is bound when the flow is published".to_owned(),
                Some("write the function's name, or a Task for each behind a Choice".to_owned()),
            );
            return None;
        }
        let arn = check::required(self.report, &parameters, owner, "resourceArn")?;
        let text = check::text(self.report, &arn)?;
        let token = mode == "WaitForCustomCallback";
        fdl::function(&arn, text, token, self.report, self.resolve)
    }

    fn body(&mut self, parameters: &At<'_, 't>) -> Template {
        if let (Some(_), Some(other)) = (parameters.get("body"), parameters.get("body.$")) {
            self.report.error(
                &other,
                code::DUPLICATE_FIELD,
                "the fields \"body\" and \"body.$\" both set \"body\"".to_owned(),
            );
        }
        if let Some(body) = parameters.get("body") {
            return fdl::template(&body, BEFORE, self.report, &mut self.notes);
        }
        parameters
            .get("body.$")
            .and_then(|body| self.expression(&body, BEFORE))
            .map_or_else(
                || Template::Literal(Value::Object(serde_json::Map::new())),
                Template::Expression,
            )
    }

    /// `Timeout` in seconds, 0 for never, or `Timeout.$`.
    fn timeout(&mut self, at: &At<'_, 't>) -> Option<Expression> {
        let dynamic = at.get("Timeout.$");
        let Some(field) = at.get("Timeout") else {
            return self.expression(&dynamic?, BEFORE);
        };
        if let Some(other) = dynamic {
            self.report.error(
                &other,
                code::EXCLUSIVE_FIELDS,
                "Timeout and Timeout.$ exclude each other".to_owned(),
            );
        }
        // The field table calls it a string, the examples write a number.
        let seconds = match &field.node.tree {
            Tree::Text(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                let range = (0, fdl::SECONDS_MAX);
                check::between(self.report, &field, range, text.parse().ok(), &clip(text))
            }
            _ => check::integer(self.report, &field, 0, fdl::SECONDS_MAX),
        }?;
        if seconds > fdl::TASK_SECONDS_THERE {
            self.report.note(
                &field,
                code::BEYOND_CLOUDFLOW,
                format!(
                    "CloudFlow allows at most {} seconds",
                    fdl::TASK_SECONDS_THERE
                ),
            );
        }
        Some(Expression::Literal(seconds.into()))
    }
}
