//! What the resource map binds a name to, for Tasks of either CloudFlow language.
//!
//! Refuses AWS's own services as targets: their input has a form of its own.

use std::sync::Arc;

use stepwell_types::StepTarget;

use crate::diagnostic::{Report, code};
use crate::document::At;
use crate::program::StandIn;
use crate::resource::{self, Resolve, ResourceKind, Target};
use crate::stand_in::stand_in;

/// What runs in place of a name from elsewhere.
#[derive(Debug)]
pub(crate) enum Binding {
    /// This, which takes the task's input as it is.
    Target(StepTarget),
    /// This, which gets what the task has for the name's own service.
    StandIn(StepTarget, StandIn),
    /// An HTTP call.
    Http,
    /// The start of a flow.
    Start,
}

/// What stands for this name; `None`: nothing, and it means itself. `Some(None)`: it was
/// reported why that cannot be. `token`: the task ends by its token.
pub(crate) fn binding(
    at: &At<'_, '_>,
    name: &str,
    token: bool,
    report: &mut Report,
    resolve: &dyn Resolve,
) -> Option<Option<Binding>> {
    Some(match resolve.binding(name)? {
        Target::Resource(bound) => target(at, &bound, report, resolve),
        other => stand_in(at, &other, token, report, resolve)
            .map(|(target, stand_in)| Binding::StandIn(target, stand_in)),
    })
}

fn target(
    at: &At<'_, '_>,
    bound: &str,
    report: &mut Report,
    resolve: &dyn Resolve,
) -> Option<Binding> {
    let kind = resource::parse(bound).ok().map(|resource| resource.kind);
    let target = match kind {
        Some(ResourceKind::Http) => return Some(Binding::Http),
        Some(ResourceKind::Flow(_)) => return Some(Binding::Start),
        Some(ResourceKind::Callback) => StepTarget::Callback,
        Some(ResourceKind::Container) => StepTarget::Container,
        Some(ResourceKind::Machine) => StepTarget::Machine,
        Some(ResourceKind::SendSignal) => StepTarget::SendSignal,
        Some(ResourceKind::WaitSignal) => StepTarget::WaitSignal,
        Some(ResourceKind::Activity(name)) => StepTarget::Activity { name: name.into() },
        Some(ResourceKind::Module {
            name,
            version,
            function,
        }) => match resolve.module(name, version, function) {
            Ok(digest) => StepTarget::Wasm {
                name: Arc::from(name),
                digest,
                function: function.map(Arc::from),
            },
            Err(unresolved) => {
                let hint = resource::available(name, &unresolved.available);
                report.error_hint(at, code::UNKNOWN_MODULE, unresolved.message, hint);
                return None;
            }
        },
        _ => {
            report.error_hint(
                at,
                code::BAD_RESOURCE,
                format!("the resource map binds it to {bound:?}, which no task of CloudFlow takes"),
                Some(
                    "bind it to wasm:NAME, http:request, container:run, vm:run, flow:start, signal:send, signal:wait, activity:NAME, callback, { flow = \"NAME\" } or { url = \"https://…\" }"
                        .to_owned(),
                ),
            );
            return None;
        }
    };
    Some(Binding::Target(target))
}

#[cfg(test)]
mod tests {
    use crate::program::Kind;
    use crate::resource::{Bound, ResourceMap};
    use crate::{AnyModule, Severity, compile};

    /// What the first task runs, whether it waits for its token, or the first error's code.
    #[track_caller]
    fn check(definition: &str, expected: &str) {
        let bindings = [
            ("OSS:GetObject", "wasm:oss@1"),
            ("ECS:*", "activity:people"),
            ("Own:Call", "http:request"),
            ("Own:Flow", "flow:start"),
            ("Own:Bad", "arn:aws:states:::lambda:invoke"),
            ("acs:fc:*:functions/charge", "wasm:payments"),
            ("acs:mns:*", "activity:queue"),
            ("acs:fc:*:functions/web", "http:request"),
            ("Own:Pay", r#"{"flow": "pay"}"#),
            ("Own:Tell", r#"{"flow": "pay", "wait": false}"#),
            (
                "acs:fc:*:functions/mail",
                r#"{"url": "https://mail.example/"}"#,
            ),
            ("acs:mns:*:/topics/*", r#"{"url": "https://mns.example/"}"#),
        ];
        let bindings = bindings.map(|(n, t)| (n.to_owned(), t.to_owned()));
        let map = ResourceMap::new(bindings.into()).expect("a map");
        let resolve = Bound {
            inner: &AnyModule,
            map: &map,
        };
        let checked = compile(definition, &resolve);
        let got = match checked.program {
            Some(program) => match &program.states[0].kind {
                Kind::Task(task) => {
                    let target = format!("{:?}", task.target);
                    let target = target.split(", digest").next().unwrap_or_default();
                    format!("{target} {}", task.wait_for_token)
                }
                _ => "no task".to_owned(),
            },
            None => {
                let mut errors = checked.diagnostics.iter();
                let first = errors.find(|d| d.severity == Severity::Error);
                first.map_or("nothing", |d| d.code).to_owned()
            }
        };
        assert_eq!(got, expected, "{definition}");
    }

    #[test]
    fn actions() {
        let new = |action: &str, parameters: &str, expected: &str| {
            check(
                &format!(
                    "Type: StateMachine\nSpecVersion: v1\nStartAt: A\nStates:\n  - {{Type: Task, Name: A, Action: '{action}', Parameters: {parameters}, End: true}}"
                ),
                expected,
            );
        };
        new("OSS:GetObject", "{any: 1}", "Wasm { name: \"oss\" false");
        new(
            "ECS:StartInstance",
            "{id.$: $Input.id}",
            "Activity { name: \"people\" } true",
        );
        new("Own:Call", "{url: 'http://x/', method: GET}", "Http false");
        new("Own:Flow", "{FlowName: f}", "Flow(Start) false");
        new("Own:Bad", "{}", "FLOW0024");
        new("Else:Where", "{}", "FLOW0024");
        let function = |arn: &str, expected: &str| {
            let parameters = format!("{{resourceArn: '{arn}'}}");
            new("FC:InvokeFunction", &parameters, expected);
        };
        function(
            "acs:fc:r:1:functions/charge",
            "Wasm { name: \"payments\" false",
        );
        function("acs:fc:r:1:functions/other", "Wasm { name: \"other\" false");
        function("acs:mns:::/queues/q", "Activity { name: \"queue\" } true");
        function("acs:fc:r:1:functions/web", "FLOW0024");
        function("acs:fc:r:1:functions/mail", "Http false");
        new("Own:Pay", "{any.$: $Input.a}", "Flow(Sync2) false");
        new("Own:Tell", "{}", "Flow(Start) false");
        new(
            "Own:Pay', TaskMode: 'WaitForCustomCallback",
            "{}",
            "Flow(Start) true",
        );
    }

    #[test]
    fn resource_arns() {
        let old = |arn: &str, expected: &str| {
            check(
                &format!(
                    "type: flow\nversion: v1\nsteps: [{{type: task, name: a, resourceArn: '{arn}'}}]"
                ),
                expected,
            );
        };
        old(
            "acs:mns:::/queues/q/messages",
            "Activity { name: \"queue\" } true",
        );
        old(
            "acs:fc:r:1:functions/charge",
            "Wasm { name: \"payments\" false",
        );
        old("acs:fnf:::flow/f", "Flow(Start) false");
        old("acs:mns:::/topics/t/messages", "Http false");
        old("acs:ess:::x", "FLOW0024");
    }
}
