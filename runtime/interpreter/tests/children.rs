//! What is told of an execution that another one, or a Map's result file, asks about.

use serde_json::{Value, json};
use stepwell_flow::{AnyModule, compile};
use stepwell_interpreter::State;
use stepwell_interpreter::child::{Ended, ended};
use stepwell_types::{Timestamp, Wants};

#[path = "alone/walked.rs"]
#[allow(dead_code, reason = "the suites of expressions use the rest")]
mod alone;

fn run(state: &Value) -> State {
    let flow = json!({"StartAt": "A", "States": {"A": state}});
    let program = compile(&flow.to_string(), &AnyModule)
        .program
        .expect("a flow");
    alone::gone(&program, json!({}), Timestamp(1_700_000_000_001))
}

fn told(state: &State, wants: Wants) -> Value {
    let at = Timestamp(1_700_000_000_500);
    match ended(Ended { state, at, wants }) {
        Ok(data) => data.value().clone(),
        Err(failure) => serde_json::from_str(&failure.cause).expect("a description"),
    }
}

#[test]
fn children_are_described_as_the_service_describes_them() {
    let well = run(&json!({"Type": "Succeed"}));
    let failed = run(&json!({"Type": "Fail", "Error": "E", "Cause": "c"}));
    let check = |state: &State, wants: Wants, expected: Value| {
        let told = told(state, wants);
        for (name, value) in expected.as_object().expect("members") {
            assert_eq!(&told[name], value, "{name} of {told}");
        }
        let names: Vec<_> = told.as_object().expect("an object").keys().collect();
        assert!(names.is_sorted(), "{names:?}");
    };
    let why = "Execution is SUCCEEDED and cannot be redriven";
    check(
        &well,
        Wants::Json,
        json!({"Status": "SUCCEEDED", "RedriveCount": 0, "RedriveStatus": "NOT_REDRIVABLE",
            "RedriveStatusReason": why, "StartDate": 1_700_000_000_001_i64,
            "StopDate": 1_700_000_000_500_i64, "Output": {}}),
    );
    check(
        &well,
        Wants::Record,
        json!({"RedriveStatusReason": why, "StartDate": "2023-11-14T22:13:20.001Z",
            "StopDate": "2023-11-14T22:13:20.500Z", "Output": "{}"}),
    );
    check(
        &failed,
        Wants::Text,
        json!({"Status": "FAILED", "Error": "E", "Cause": "c", "RedriveCount": 0,
            "RedriveStatus": "REDRIVABLE", "RedriveStatusReason": null}),
    );
    check(
        &failed,
        Wants::Compact,
        json!({"RedriveStatus": "REDRIVABLE_BY_MAP_RUN", "StopDate": "2023-11-14T22:13:20.500Z"}),
    );
}
