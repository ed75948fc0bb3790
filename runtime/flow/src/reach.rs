//! What a definition itself names of what manifests grant, and does not leave to the data: buckets and
//! flows, secrets and what else Tasks reach.
//!
//! Refuses to judge: that is the manifest's, when the flow is published, and again when it runs.

mod named;

use std::sync::Arc;

use serde_json::Value;
use stepwell_types::{Failure, Grants, StepTarget};

use crate::expression::{Expression, Template};
use crate::program::{DataFlow, Distributed, Kind, Program, StandIn, State, Task};
use crate::resource::flow_name;
pub use named::out_of_reach;

/// What states of a flow with this manifest would be refused whatever comes, a line each.
#[must_use]
pub fn ungranted(program: &Program, grants: &Grants) -> Vec<String> {
    let mut lines = Vec::new();
    for state in &program.states {
        let mut note = |allowed: Result<(), Failure>| {
            if let Err(failure) = allowed {
                lines.push(format!("state {}: {}", state.name, failure.cause));
            }
        };
        let buckets = match &state.kind {
            Kind::Task(task) => {
                if let Some(flow) = flow_of(state, task) {
                    note(grants.allow_flow(&flow));
                }
                files_of(state, task)
            }
            Kind::Map(map) => map
                .distributed
                .as_deref()
                .map(buckets_of)
                .unwrap_or_default(),
            _ => Vec::new(),
        };
        for (bucket, write) in buckets {
            note(grants.allow_bucket(bucket, write));
        }
    }
    lines
}

/// The flow that a Task starts, or one of whose executions it sends a signal.
fn flow_of(state: &State, task: &Task) -> Option<Arc<str>> {
    let named = |text: &str| flow_name(text).map(|(name, _)| Arc::from(name));
    if let Some(StandIn::Flow(text)) = &task.stand_in {
        return named(text);
    }
    let given = arguments(state)?;
    match task.target {
        StepTarget::Flow(_) => named(given.text(&["StateMachineArn"])?),
        StepTarget::SendSignal => Some(given.text(&["flow", "Flow"])?.into()),
        _ => None,
    }
}

/// The buckets of objects that a container or a machine gets, and of those that it leaves.
fn files_of<'a>(state: &'a State, task: &Task) -> Vec<(&'a str, bool)> {
    let given = match task.target {
        StepTarget::Container | StepTarget::Machine => arguments(state),
        _ => None,
    };
    let Some(given) = given else {
        return Vec::new();
    };
    let of = |names: &[&str], write: bool| -> Vec<(&'a str, bool)> {
        let all = given.member(names).map(Given::elements).unwrap_or_default();
        let bucket = |one: Given<'a>| Some((one.text(&["bucket", "Bucket"])?, write));
        all.into_iter().filter_map(bucket).collect()
    };
    let mut all = of(&["files", "Files"], false);
    all.extend(of(&["outputs", "Outputs"], true));
    all
}

/// The buckets from which a distributed Map reads and into which it writes.
fn buckets_of(how: &Distributed) -> Vec<(&str, bool)> {
    let reader = how.reader.as_ref().map(|reader| (&reader.arguments, false));
    let writer = how.writer.as_ref().and_then(|w| w.arguments.as_ref());
    let all = reader.into_iter().chain(writer.map(|given| (given, true)));
    let bucket = |(given, write)| Some((Given::Template(given).text(&["Bucket"])?, write));
    all.filter_map(bucket).collect()
}

/// What a Task is given.
fn arguments(state: &State) -> Option<Given<'_>> {
    let given = match &state.data {
        DataFlow::JsonPath(flow) => flow.parameters.as_ref(),
        DataFlow::Jsonata(flow) => flow.arguments.as_ref(),
        DataFlow::CloudFlow(flow) => flow.arguments.as_ref(),
    };
    given.map(Given::Template)
}

/// A value in a definition: with places that come from the data, or without.
#[derive(Clone, Copy)]
enum Given<'a> {
    Template(&'a Template),
    Value(&'a Value),
}

impl<'a> Given<'a> {
    /// As a value, if nothing in it comes from the data.
    fn plain(self) -> Given<'a> {
        match self {
            Given::Template(
                Template::Literal(value) | Template::Expression(Expression::Literal(value)),
            ) => Given::Value(value),
            other => other,
        }
    }

    /// The first of these members that is there.
    fn member(self, names: &[&str]) -> Option<Given<'a>> {
        let of = |name: &&str| match self.plain() {
            Given::Value(value) => value.get(*name).map(Given::Value),
            Given::Template(Template::Object(members)) => {
                let found = members.iter().find(|(known, _)| **known == **name);
                found.map(|(_, value)| Given::Template(value))
            }
            Given::Template(_) => None,
        };
        names.iter().find_map(of)
    }

    fn elements(self) -> Vec<Given<'a>> {
        match self.plain() {
            Given::Value(value) => {
                let all = value.as_array().into_iter().flatten();
                all.map(Given::Value).collect()
            }
            Given::Template(Template::Array(all)) => all.iter().map(Given::Template).collect(),
            Given::Template(_) => Vec::new(),
        }
    }

    /// The first of these members that is there, if it is a text that does not come from the data.
    fn text(self, names: &[&str]) -> Option<&'a str> {
        self.member(names)?.own_text()
    }

    /// The text that it is itself, if that does not come from the data.
    fn own_text(self) -> Option<&'a str> {
        match self.plain() {
            Given::Value(value) => value.as_str(),
            Given::Template(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::AnyModule;

    fn check(flow: &str, grants: &str, expected: &[&str]) {
        let checked = crate::compile_filled(flow, &Default::default(), &AnyModule).unwrap();
        let program = checked
            .program
            .unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
        let lines = ungranted(&program, &serde_json::from_str(grants).unwrap());
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, part) in lines.iter().zip(expected) {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn starts_and_signals() {
        let task = |resource: &str, parameters: &str| {
            format!(
                r#"{{"StartAt": "T", "States": {{"T": {{"Type": "Task", "Resource": "{resource}", "Parameters": {parameters}, "End": true}}}}}}"#
            )
        };
        let named = r#"{"StateMachineArn": "orders:3", "Input": {}}"#;
        let start = task("flow:start.sync", named);
        let line = "state T: the manifest does not grant the flow \"orders\"";
        check(&start, "{}", &[line]);
        check(&start, r#"{"flows":["orders"]}"#, &[]);
        let arn =
            r#"{"StateMachineArn": "arn:aws:states:r:1:stateMachine:orders", "Input.$": "$"}"#;
        check(
            &task("flow:start", arn),
            r#"{"flows":["other"]}"#,
            &["orders"],
        );
        let from_data = r#"{"StateMachineArn.$": "$.flow"}"#;
        check(&task("flow:start", from_data), "{}", &[]);
        let signal = r#"{"Name": "paid", "Flow": "orders", "ExecutionName.$": "$.name"}"#;
        check(&task("signal:send", signal), "{}", &["orders"]);
        check(&task("signal:send", signal), r#"{"flows":["orders"]}"#, &[]);
        let by_id = r#"{"Name": "paid", "Execution.$": "$.id"}"#;
        check(&task("signal:send", by_id), "{}", &[]);
        let jsonata = r#"{"QueryLanguage": "JSONata", "StartAt": "T", "States": {"T": {"Type": "Task",
            "Resource": "flow:start", "Arguments": {"StateMachineArn": "orders", "Input": "{% $states.input %}"}, "End": true}}}"#;
        check(jsonata, "{}", &["orders"]);
    }

    #[test]
    fn buckets() {
        let map = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "End": true,
            "ItemReader": {"Resource": "arn:aws:states:::s3:listObjectsV2", "Parameters": {"Bucket": "in", "Prefix.$": "$.p"}},
            "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED"}, "StartAt": "T", "States": {"T": {
                "Type": "Task", "Resource": "flow:start", "Parameters": {"StateMachineArn": "orders"}, "End": true}}},
            "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "out"}}}}}"#;
        let all =
            r#"{"buckets":[{"bucket":"in"},{"bucket":"out","write":true}],"flows":["orders"]}"#;
        check(map, all, &[]);
        let read = r#"{"buckets":[{"bucket":"out"}]}"#;
        let missing = [
            "state M: the manifest does not grant the bucket \"in\"; add",
            "the bucket \"out\" for writing; add it under `buckets`",
            "state T: the manifest does not grant the flow",
        ];
        check(map, read, &missing);
        let job = r#"{"StartAt": "J", "States": {"J": {"Type": "Task", "Resource": "container:run", "End": true,
            "Parameters": {"image": "i:1", "files": [{"path": "/a", "bucket": "in", "key.$": "$.k"}, {"path": "/b", "content": ""},
                {"path": "/c", "bucket.$": "$.b", "key": "k"}], "outputs": [{"path": "/out", "bucket": "out"}]}}}}"#;
        check(job, all, &[]);
        check(job, read, &["\"in\"", "\"out\" for writing"]);
    }
}
