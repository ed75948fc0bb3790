//! Random flows in both CloudFlow languages. Most of them are valid.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::substitute;

/// Expressions that find something in the input, or nothing. `$I` is the input's root.
fn expression() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "$I",
        "$I.a",
        "$I.a.b",
        "$I.b[0]",
        "$I.a[*]",
        "length($I)",
        "get($I, \"c\")",
        "jsonMerge($I, $I)",
        "format(\"<{}>\", $I.a)",
        "toArray($I.a, 1)",
        "stringToJson($I.c)",
        "$I.a in [1, 2]",
        "$I.a == $I.b || $I.a > 2",
        "$I.a + 1",
        "uuid()",
        "randomInt(1, 9)",
    ])
}

/// A flow in the new language.
pub fn new() -> BoxedStrategy<Value> {
    list(2, new_state)
        .prop_map(|states| {
            let mut flow = new_graph(&states);
            flow["Type"] = json!("StateMachine");
            flow["SpecVersion"] = json!("v1");
            flow
        })
        .boxed()
}

/// A flow in the old language.
pub fn old() -> BoxedStrategy<Value> {
    (list(2, old_step), prop::option::of(1..9u32))
        .prop_map(|(steps, limit)| {
            let mut flow = json!({"type": "flow", "version": "v1", "steps": old_steps(&steps)});
            if let Some(limit) = limit {
                flow["timeoutSeconds"] = json!(limit);
            }
            flow
        })
        .boxed()
}

/// Whichever definition it is, as text.
pub fn either() -> BoxedStrategy<String> {
    prop_oneof![new(), old()]
        .prop_map(|flow| flow.to_string())
        .boxed()
}

fn list(depth: u32, one: fn(u32) -> BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop::collection::vec(one(depth), 1..4)
        .prop_map(Value::from)
        .boxed()
}

/// An expression with its root in place.
fn rooted(root: &'static str) -> impl Strategy<Value = String> {
    expression().prop_map(move |e| e.replace("$I", root))
}

fn new_state(depth: u32) -> BoxedStrategy<Value> {
    let function = json!("acs:fc:r:1:functions/f");
    let task =
        (rooted("$Input"), any::<bool>(), 0..6u32).prop_map(move |(body, token, timeout)| {
            json!({"Type": "Task", "Action": "FC:InvokeFunction", "Timeout": timeout,
            "TaskMode": if token { "WaitForCustomCallback" } else { "RequestComplete" },
            "Parameters": {"resourceArn": function, "body.$": body}})
        });
    let simple = prop_oneof![
        3 => task,
        1 => rooted("$Input").prop_map(|e| json!({"Type": "Task", "Action": "HTTP:Request", "Timeout.$": "$Input.a",
            "Parameters": {"url": "http://x/", "method": "POST", "body.$": e}})),
        2 => Just(json!({"Type": "Pass"})),
        1 => Just(json!({"Type": "Wait", "Seconds": 2})),
        1 => rooted("$Input").prop_map(|e| json!({"Type": "Wait", "Seconds.$": e})),
        1 => rooted("$Global").prop_map(|e| json!({"Type": "Choice", "Default": "@first",
            "Branches": [{"Condition": "$Input.a == 1", "Next": "@last"}, {"Condition": e, "Next": "@last"}]})),
        1 => Just(json!({"Type": "Fail", "Code": "Boom", "Detail": "why"})),
        1 => Just(json!({"Type": "Succeed"})),
    ];
    let kind = if depth == 0 {
        simple.boxed()
    } else {
        prop_oneof![
            4 => simple,
            1 => prop::collection::vec(list(depth - 1, new_state), 1..3)
                .prop_map(|b| json!({"Type": "Parallel", "Branches": b})),
            1 => (list(depth - 1, new_state), rooted("$Input"), 1..3u32, any::<bool>()).prop_map(|(g, items, n, shaped)| {
                let mut map = json!({"Type": "Map", "ItemsPath": items, "MaxConcurrency": n, "Processor": g});
                if shaped {
                    map["ItemConstructor"] = json!({"a.$": "$Item", "b.$": "$Input.a"});
                }
                map
            }),
        ]
        .boxed()
    };
    let constructors = (
        prop::option::of(rooted("$Input")),
        prop::option::of(prop_oneof![
            rooted("$Output"),
            rooted("$Input"),
            rooted("$Global")
        ]),
        prop::option::of(prop_oneof![rooted("$Output"), rooted("$Global")]),
    );
    (kind, constructors, any::<bool>())
        .prop_map(|(mut state, (input, output, global), handled)| {
            let name = state["Type"].as_str().unwrap_or_default().to_owned();
            if let Some(e) = input {
                state["InputConstructor"] = json!({"a.$": e, "b": [1, 2]});
            }
            if !["Choice", "Fail"].contains(&name.as_str()) {
                if let Some(e) = output {
                    state["OutputConstructor"] = json!({"a.$": e, "c": "{}"});
                }
                if let Some(e) = global {
                    state["GlobalConstructor"] = json!({"a.$": e});
                }
            }
            if ["Task", "Parallel", "Map"].contains(&name.as_str()) && handled {
                state["Retry"] = json!([{"Errors": ["Boom"], "Description": "d", "MaxAttempts": 2, "IntervalSeconds": 1, "BackoffRate": 2}]);
                state["Catch"] = json!([{"Errors": ["FnF.ALL"], "Description": "d", "Next": "@last",
                    "OutputConstructor": {"a.$": "$Context.Current.Error.Code", "b.$": "$Context.Current.RetryCount"}}]);
            }
            state
        })
        .boxed()
}

/// `StartAt` and `States` of a list of states, with names and ways on.
fn new_graph(states: &Value) -> Value {
    let states = states.as_array().cloned().unwrap_or_default();
    let count = states.len();
    let name = |i: usize| format!("S{i}");
    let mut out = Vec::new();
    for (i, mut state) in states.into_iter().enumerate() {
        state["Name"] = json!(name(i));
        if let Some(Value::Array(branches)) = state.get_mut("Branches")
            && branches.iter().all(Value::is_array)
        {
            *branches = branches.iter().map(new_graph).collect();
        }
        if let Some(inner) = state.get_mut("Processor") {
            *inner = new_graph(inner);
        }
        let kind = state["Type"].as_str().unwrap_or_default().to_owned();
        if !["Choice", "Fail", "Succeed"].contains(&kind.as_str()) {
            if i + 1 < count {
                state["Next"] = json!(name(i + 1));
            } else {
                state["End"] = json!(true);
            }
        }
        out.push(substitute(&state, &name(0), &name(count - 1), "v"));
    }
    // A graph without an end is no valid one.
    out.push(json!({"Type": "Succeed", "Name": "End"}));
    json!({"StartAt": name(0), "States": out})
}

fn old_step(depth: u32) -> BoxedStrategy<Value> {
    let task = (any::<bool>(), any::<bool>()).prop_map(|(token, handled)| {
        let mut task = json!({"type": "task", "resourceArn": "acs:fc:r:1:functions/f", "timeoutSeconds": 5,
            "pattern": if token { "waitForCallback" } else { "requestResponse" }});
        if handled {
            task["retry"] = json!([{"errors": ["Boom"], "maxIntervalSeconds": 2, "maxAttempts": 2}]);
            task["catch"] = json!([{"errors": ["FnF.ALL"], "goto": "@last"}]);
            task["errorMappings"] = json!([{"target": "a", "source": "$local.error"}]);
        }
        task
    });
    let simple = prop_oneof![
        3 => task,
        2 => Just(json!({"type": "pass"})),
        1 => Just(json!({"type": "wait", "duration": 2})),
        1 => Just(json!({"type": "wait", "timestamp": "$.c"})),
        1 => Just(json!({"type": "fail", "error": "Boom"})),
        1 => Just(json!({"type": "succeed"})),
        1 => rooted("$").prop_map(|e| json!({"type": "choice",
            "choices": [{"condition": e, "goto": "@first"}, {"condition": "$.a == 1", "goto": "@last"}]})),
    ];
    let kind = if depth == 0 {
        simple.boxed()
    } else {
        prop_oneof![
            4 => simple,
            1 => prop::collection::vec(list(depth - 1, old_step), 1..3)
                .prop_map(|b| json!({"type": "parallel", "branches": b})),
            1 => (list(depth - 1, old_step), rooted("$")).prop_map(|(steps, items)| json!({"type": "foreach",
                "iterationMapping": {"collection": items, "item": "a", "index": "b"}, "inner": steps})),
            1 => (list(depth - 1, old_step), rooted("$")).prop_map(|(steps, e)| json!({"type": "choice",
                "choices": [{"condition": e, "inner": steps}], "default": {"goto": "@last"}})),
        ]
        .boxed()
    };
    let mappings = (
        prop::option::of(prop_oneof![rooted("$input"), rooted("$local")]),
        prop::option::of(prop_oneof![rooted("$input"), rooted("$local")]),
    );
    (kind, mappings)
        .prop_map(|(mut step, (input, output))| {
            for (name, source) in [("inputMappings", input), ("outputMappings", output)] {
                if let Some(source) = source.filter(|s| s.starts_with('$')) {
                    step[name] =
                        json!([{"target": "a", "source": source}, {"target": "c", "source": "x"}]);
                }
            }
            step
        })
        .boxed()
}

/// A list of steps with names, and what is in them.
fn old_steps(steps: &Value) -> Value {
    let steps = steps.as_array().cloned().unwrap_or_default();
    let count = steps.len();
    let name = |i: usize| format!("s{i}");
    let named = steps.into_iter().enumerate().map(|(i, mut step)| {
        step["name"] = json!(name(i));
        if let Some(Value::Array(branches)) = step.get_mut("branches") {
            *branches = branches
                .iter()
                .map(|b| json!({"steps": old_steps(b)}))
                .collect();
        }
        inner(&mut step);
        if let Some(Value::Array(choices)) = step.get_mut("choices") {
            choices.iter_mut().for_each(inner);
        }
        substitute(&step, &name(0), &name(count - 1), "v")
    });
    named.collect()
}

/// Its steps, if it has some.
fn inner(of: &mut Value) {
    if let Some(object) = of.as_object_mut()
        && let Some(steps) = object.remove("inner")
    {
        let all: Map<String, Value> = [("steps".to_owned(), old_steps(&steps))]
            .into_iter()
            .collect();
        object.extend(all);
    }
}
