//! Random expressions of CloudFlow on random data: whatever they are, the execution ends,
//! and a replay ends alike.

use proptest::prelude::*;
use stepwell_flow::{AnyModule, compile};
use stepwell_interpreter::{Event, NoHistory, Outcome, State, step};
use stepwell_types::{Data, ExecutionId, FlowRef, ShardId, Timestamp};

/// Well-formed expressions, most of which have a value for some of the data.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "$Input",
        "$Input.a",
        "$Input.list",
        "$Input.list[*]",
        "$Input['a b']",
        "$Context",
        "$Context.Current.Input.a",
        "$Context.Current.Output",
        "$Context.Execution.Name",
        "$Global",
        "$Global.g",
        "$Output",
        "$Output.a",
        "1",
        "0",
        "2.5",
        "-1",
        "9223372036854775807",
        "\"x\"",
        "`a{}b`",
        "true",
        "false",
        "null",
        "[1, \"x\"]",
        "uuid()",
    ]);
    leaf.prop_map(str::to_owned)
        .prop_recursive(5, 40, 3, |inner| {
            let operator = prop::sample::select(vec![
                "||", "&&", "==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "/", "%",
            ]);
            let function = prop::sample::select(vec![
                "arrayContains",
                "arrayUnique",
                "toArray",
                "format",
                "fromBase64",
                "toBase64",
                "stringToJson",
                "jsonToString",
                "hash",
                "jsonMerge",
                "length",
                "mapKeys",
                "mapValues",
                "regexMatchString",
                "split",
                "get",
                "intAdd",
                "randomInt",
            ]);
            prop_oneof![
                (inner.clone(), operator, inner.clone())
                    .prop_map(|(a, operator, b)| format!("({a} {operator} {b})")),
                inner.clone().prop_map(|e| format!("!{e}")),
                (function, prop::collection::vec(inner, 0..3))
                    .prop_map(|(name, all)| format!("{name}({})", all.join(", "))),
            ]
        })
}

fn data() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "{}",
        r#"{"a": 1, "list": [1, 2.0, "x", null], "a b": true}"#,
        r#"{"a": "text", "list": [[1], [1.0], {"b": []}], "a b": "\u0000é"}"#,
        r#"{"a": {"b": {}}, "list": {}, "a b": -9223372036854775808}"#,
        r#"{"a": 1e300, "list": [], "a b": null}"#,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_expression_ends(e in expression(), input in data()) {
        let quoted = serde_json::Value::String(e);
        let text = format!(
            r#"{{"Type": "StateMachine", "SpecVersion": "v1", "StartAt": "A", "States": [
                {{"Type": "Pass", "Name": "A", "OutputConstructor": {{"a.$": {quoted}}}, "GlobalConstructor": {{"g.$": {quoted}}}, "Next": "B"}},
                {{"Type": "Pass", "Name": "B", "OutputConstructor": {{"b.$": {quoted}}}, "End": true}}]}}"#
        );
        // A number of arguments that a function does not take is refused.
        let Some(program) = compile(&text, &AnyModule).program else {
            return Ok(());
        };
        let end = || {
            let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(5), 9));
            let start = Event::Started {
                flow: FlowRef { name: "flow".into(), version: 1 },
                name: "run".into(),
                input: Data::parse(input).unwrap(),
                seed: [7; 16],
                parent: None,
            };
            step(&program, &mut state, &start, Timestamp(5), &mut NoHistory, &mut Vec::new()).unwrap();
            state.outcome().cloned()
        };
        let first = end();
        prop_assert!(
            matches!(&first, Some(Outcome::Succeeded(_)))
                || matches!(&first, Some(Outcome::Failed(f)) if f.error.starts_with("FnF.")),
            "{:?}",
            first
        );
        prop_assert_eq!(first, end());
    }
}
