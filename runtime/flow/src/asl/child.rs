//! What a Task that starts a flow is given, as far as it is literal.
//!
//! Refuses to judge what comes from the data: the interpreter does, when it starts the child.

use super::Compiler;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::resource;
use crate::suggest;

/// Fields of a start. `TraceHeader` has no meaning here and does no harm.
const FIELDS: &[&str] = &["StateMachineArn", "Name", "Input", "TraceHeader"];
const FIELDS_HINT: &str = "a start has the fields StateMachineArn, Name and Input";

impl<'t> Compiler<'t, '_> {
    /// Reports fields that no start has, a start that names no flow, and a flow that is not there.
    pub(super) fn child_parameters(&mut self, at: &At<'_, 't>) {
        let Some(parameters) = at.get("Parameters").or_else(|| at.get("Arguments")) else {
            return;
        };
        let Tree::Object(_) = &parameters.node.tree else {
            return;
        };
        let mut named = false;
        for member in parameters.members() {
            let name = member.name.strip_suffix(".$").unwrap_or(&member.name);
            if !FIELDS.contains(&name) {
                self.report.error_hint(
                    &parameters.member_name(member),
                    code::UNKNOWN_FIELD,
                    format!(
                        "the start of a flow has no field {:?}",
                        crate::path::clip(&member.name)
                    ),
                    suggest::hint(name, FIELDS.iter().copied())
                        .or_else(|| Some(FIELDS_HINT.to_owned())),
                );
            }
            named |= name == "StateMachineArn";
            if &*member.name == "StateMachineArn"
                && let Tree::Text(text) = &member.value.tree
                && !text.starts_with("{%")
            {
                self.child_flow(&parameters.member(member), text);
            }
        }
        if !named {
            self.report.error_hint(
                &parameters,
                code::MISSING_FIELD,
                "the start of a flow needs a StateMachineArn".to_owned(),
                Some(FIELDS_HINT.to_owned()),
            );
        }
    }

    fn child_flow(&mut self, at: &At<'_, 't>, text: &str) {
        let Some((name, version)) = resource::flow_name(text) else {
            let hint = match crate::substitute::unfilled(text) {
                Some(name) => self.resolve.advice().set(name),
                None => {
                    "write the flow's name, NAME:VERSION, or an ARN that ends in stateMachine:NAME"
                        .to_owned()
                }
            };
            self.report.error_hint(
                at,
                code::BAD_RESOURCE,
                format!("{:?} names no flow", crate::path::clip(text)),
                Some(hint),
            );
            return;
        };
        if let Err(unresolved) = self.resolve.flow(name, version) {
            let hint = resource::available(name, &unresolved.available);
            self.report
                .error_hint(at, code::UNKNOWN_FLOW, unresolved.message, hint);
        }
    }
}
