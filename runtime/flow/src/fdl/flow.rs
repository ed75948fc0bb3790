//! The start of another flow: how CloudFlow names one, and what of its result a task sees.
//!
//! Refuses to judge a name from the data: the interpreter does, when it starts the child.

use stepwell_types::ChildMode;

use super::{part, rearranged};
use crate::diagnostic::{Report, code};
use crate::document::At;
use crate::expression::Template;
use crate::path::clip;
use crate::resource::{self, Resolve};

const FORM: &str = "a flow is named NAME, or acs:fnf:REGION:ACCOUNT:flow/NAME";

/// The flow that a text names, checked, as the interpreter takes it: `NAME` or `NAME:VERSION`.
pub(crate) fn flow(
    at: &At<'_, '_>,
    text: &str,
    version: Option<u32>,
    report: &mut Report,
    resolve: &dyn Resolve,
) -> Option<String> {
    let name = match text.strip_prefix("acs:fnf:") {
        Some(rest) => rest
            .splitn(3, ':')
            .nth(2)
            .and_then(|r| r.strip_prefix("flow/")),
        None => Some(text),
    };
    let name = name.filter(|name| resource::flow_name(name) == Some((*name, None)));
    let Some(name) = name else {
        report.error_hint(
            at,
            code::BAD_RESOURCE,
            format!("{:?} names no flow", clip(text)),
            Some(FORM.to_owned()),
        );
        return None;
    };
    if let Err(unresolved) = resolve.flow(name, version) {
        let hint = resource::available(name, &unresolved.available);
        report.error_hint(at, code::UNKNOWN_FLOW, unresolved.message, hint);
    }
    Some(match version {
        Some(version) => format!("{name}:{version}"),
        None => name.to_owned(),
    })
}

/// What a task that starts a flow sees as its result.
pub(crate) fn answer(mode: ChildMode) -> Template {
    match mode {
        ChildMode::Start => rearranged([
            ("ExecutionId".into(), "$.ExecutionArn".to_owned()),
            ("StartedTime".into(), "$.StartDate".to_owned()),
        ]),
        ChildMode::Sync | ChildMode::Sync2 => part("$.Output"),
    }
}
