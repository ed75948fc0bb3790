//! `FNF:StartExecution`: another flow is started, and perhaps awaited.
//!
//! Refuses any callback token but the task's own: whose it is, only that task may say.

use std::sync::Arc;

use serde_json::Value;
use stepwell_types::{ChildMode, StepTarget};

use super::{BEFORE, Compiler};
use crate::check;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::expression::Template;
use crate::fdl::{self, Constructors};

const FIELDS: &[&str] = &[
    "FlowName",
    "FlowName.$",
    "ExecutionName",
    "ExecutionName.$",
    "Input",
    "Input.$",
    "Qualifier",
    "CallbackFnFTaskToken",
    "CallbackFnFTaskToken.$",
];
const OWNER: &str = "the Parameters of FNF:StartExecution";
const TOKEN: &str = "$Context.Current.TaskToken";

impl<'t> Compiler<'_> {
    /// What runs, and whether the task waits for its token.
    pub(super) fn start(
        &mut self,
        at: &At<'_, 't>,
        data: &mut Constructors,
        mode: &str,
    ) -> Option<(StepTarget, bool)> {
        let owner = "the Action FNF:StartExecution";
        let parameters = check::required(self.report, at, owner, "Parameters")?;
        if !check::is_object(self.report, &parameters) {
            return None;
        }
        check::known_fields(self.report, &parameters, OWNER, &[FIELDS]);
        let called_back = self.own_token(&parameters, mode);
        let (child, wait_for_token) = match mode {
            "RequestComplete" => (ChildMode::Start, false),
            "WaitForCustomCallback" if !called_back => (ChildMode::Start, true),
            _ => (ChildMode::Sync2, false),
        };
        let dynamic = parameters.get("FlowName.$").is_some();
        let flow = if dynamic {
            None
        } else {
            let field = check::required(self.report, &parameters, OWNER, "FlowName")?;
            let text = check::text(self.report, &field)?;
            let version = self.version(&parameters);
            Some(fdl::flow(&field, text, version, self.report, self.resolve)?)
        };
        if let Some(field) = parameters.get("Qualifier").filter(|_| dynamic) {
            self.report.error(
                &field,
                code::EXCLUSIVE_FIELDS,
                "a Qualifier belongs to a FlowName, not to FlowName.$".to_owned(),
            );
        }
        let given = fdl::template(&parameters, BEFORE, self.report, &mut self.notes);
        let renamed = |(name, value): (Box<str>, Template)| {
            let name = match &*name {
                "FlowName" => "StateMachineArn",
                "ExecutionName" => "Name",
                "Input" => "Input",
                _ => return None,
            };
            let value = match (&flow, name) {
                (Some(flow), "StateMachineArn") => Template::Literal(Value::from(flow.as_str())),
                _ => value,
            };
            Some((Box::from(name), value))
        };
        let fields = fdl::fields(given).into_iter().filter_map(renamed);
        data.arguments = Some(Template::Object(fields.collect()));
        if !wait_for_token {
            data.result = Some(fdl::answer(child));
        }
        self.notes.once(
            "start",
            self.report,
            &parameters,
            "$Output of FNF:StartExecution is here the output of the flow that was awaited, or {ExecutionId, StartedTime} of one that was only started, and FnF.TaskFailed is the error of one that failed; CloudFlow's documents don't show them",
        );
        Some((StepTarget::Flow(child), wait_for_token))
    }

    /// Whether the child's end calls the task's own token, which is to wait for that end.
    fn own_token(&mut self, parameters: &At<'_, 't>, mode: &str) -> bool {
        let constant = parameters.get("CallbackFnFTaskToken");
        let Some(field) = parameters.get("CallbackFnFTaskToken.$").or(constant) else {
            return false;
        };
        let own = matches!(&field.node.tree, Tree::Text(text) if **text == *TOKEN);
        if !own || mode != "WaitForCustomCallback" {
            self.report.error_hint(
                &field,
                code::BAD_VALUE,
                "a flow that is started can call back the token of the task that starts it, and no other".to_owned(),
                Some(format!("TaskMode: WaitForCustomCallback and CallbackFnFTaskToken.$: {TOKEN}, or TaskMode: WaitForSystemCallback, wait for the flow's end")),
            );
        }
        true
    }

    /// `Qualifier`: a version; `LATEST` or none: the newest.
    fn version(&mut self, parameters: &At<'_, 't>) -> Option<u32> {
        let field = parameters.get("Qualifier")?;
        let text = match &field.node.tree {
            Tree::Text(text) => Arc::from(&**text),
            _ => Arc::<str>::from(field.node.value().to_string()),
        };
        if &*text == "LATEST" {
            return None;
        }
        let version = text.parse().ok().filter(|v| *v > 0);
        if version.is_none() {
            self.report.error_hint(
                &field,
                code::BAD_VALUE,
                format!("{:?} is no version", crate::path::clip(&text)),
                Some(
                    "a Qualifier is a version's number or LATEST; aliases are not there".to_owned(),
                ),
            );
        }
        version
    }
}
