//! A flow or an HTTP call in the place of a function or service from elsewhere, as the
//! resource map says.
//!
//! Refuses to know what the function or service takes: the front ends do.

use std::sync::Arc;

use stepwell_types::{ChildMode, StepTarget};

use crate::diagnostic::{Report, code};
use crate::document::At;
use crate::program::StandIn;
use crate::resource::{self, Resolve, Target};

/// What runs. `token`: the task ends by its token, and so waits for no flow. `None`: one of our
/// resources, which stands for itself.
pub(crate) fn stand_in(
    at: &At<'_, '_>,
    target: &Target,
    token: bool,
    report: &mut Report,
    resolve: &dyn Resolve,
) -> Option<(StepTarget, StandIn)> {
    let target = match target {
        Target::Resource(_) => return None,
        Target::Call(call) => return Some((StepTarget::Http, StandIn::Call(call.clone()))),
        Target::Flow(target) => target,
    };
    // That it names one was seen when the map was read.
    if let Some((name, version)) = resource::flow_name(&target.flow)
        && let Err(unresolved) = resolve.flow(name, version)
    {
        let hint = resource::available(name, &unresolved.available);
        report.error_hint(at, code::UNKNOWN_FLOW, unresolved.message, hint);
    }
    let mode = match token || !target.wait {
        true => ChildMode::Start,
        false => ChildMode::Sync2,
    };
    let flow = StandIn::Flow(Arc::from(target.flow.as_str()));
    Some((StepTarget::Flow(mode), flow))
}
