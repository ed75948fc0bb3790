//! Tables of what both query languages do with data and variables, state by state.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stepwell_flow::{AnyModule, compile};
use stepwell_interpreter::{Command, Event, HistoryEvent, Outcome, State, codec, step};
use stepwell_types::{Data, ExecutionId, Failure, FlowRef, ShardId, Spent, StepTarget, Timestamp};

/// Runs to the end in virtual time, through the checkpoint's bytes before each event. The step
/// `fail` fails with `Boom` and its input as the cause; every other echoes.
fn run(definition: &Value, input: Value) -> (Outcome, Vec<String>) {
    let checked = compile(&definition.to_string(), &AnyModule);
    let program = checked
        .program
        .unwrap_or_else(|| panic!("{:#?}", checked.diagnostics));
    let mut now = Timestamp(1_700_000_000_000);
    let mut state = State::new(ExecutionId::new(now, ShardId(1), 1));
    let mut history: Vec<(Timestamp, HistoryEvent)> = Vec::new();
    let mut events = vec![Event::Started {
        flow: FlowRef {
            name: "flow".into(),
            version: 1,
        },
        name: "run".into(),
        input: Data::from_value(input),
        seed: [1; 16],
        parent: None,
    }];
    loop {
        let event = events.pop().unwrap_or_else(|| {
            let (at, entry, timer) = state.next_timer().expect("a timer");
            now = at;
            Event::TimerFired { entry, timer }
        });
        let bytes = codec::encode_state(&state, &mut |_| None);
        state = codec::decode_state(&bytes, &|_| Err("none".into())).expect("its own bytes");
        let mut out = Vec::new();
        step(&program, &mut state, &event, now, &mut history, &mut out).expect("taken");
        for command in out {
            match command {
                Command::Finish(outcome) => {
                    let types = history.iter().map(|(_, e)| e.kind.type_name()).collect();
                    return (outcome, types);
                }
                Command::Continue => events.push(Event::Continued),
                Command::Run(run) => {
                    let fails =
                        matches!(&run.target, StepTarget::Wasm { name, .. } if &**name == "fail");
                    let result = if fails {
                        Err(Failure::new("Boom", run.input.text()))
                    } else {
                        Ok(run.input)
                    };
                    events.push(Event::StepEnded {
                        entry: run.entry,
                        attempt: run.attempt,
                        result,
                        spent: Spent::default(),
                    });
                }
                _ => {}
            }
        }
    }
}

#[track_caller]
fn check(definition: &Value, input: Value, expected: &Value) {
    match run(definition, input).0 {
        Outcome::Succeeded(output) => assert_eq!(output.value(), expected, "{definition}"),
        other => panic!("{definition}: {other:?}"),
    }
}

#[track_caller]
fn check_failure(definition: &Value, input: Value, error: &str, cause: &str) {
    match run(definition, input).0 {
        Outcome::Failed(failure) => {
            assert_eq!(&*failure.error, error, "{definition}: {failure:?}");
            assert!(failure.cause.contains(cause), "{definition}: {failure:?}");
        }
        other => panic!("{definition}: {other:?}"),
    }
}

/// One state, called `A`.
fn one(language: &str, state: &Value) -> Value {
    let mut state = state.clone();
    let members = state.as_object_mut().expect("an object");
    members.entry("Type").or_insert(json!("Pass"));
    if !matches!(
        members["Type"].as_str(),
        Some("Fail" | "Succeed" | "Choice")
    ) {
        members.insert("End".into(), json!(true));
    }
    json!({"QueryLanguage": language, "StartAt": "A", "States": {"A": state, "Z": {"Type": "Succeed"}}})
}

/// States in order, each leading to the next.
fn chain(language: &str, states: &[Value]) -> Value {
    let mut all = BTreeMap::new();
    for (i, state) in states.iter().enumerate() {
        let mut state = state.clone();
        let members = state.as_object_mut().expect("an object");
        members.entry("Type").or_insert(json!("Pass"));
        if i + 1 == states.len() {
            members.insert("End".into(), json!(true));
        } else {
            members.insert("Next".into(), json!(format!("S{}", i + 1)));
        }
        all.insert(format!("S{i}"), state);
    }
    json!({"QueryLanguage": language, "StartAt": "S0", "States": all})
}

#[test]
fn values_of_one_assign_are_made_from_those_before() {
    check(
        &chain(
            "JSONPath",
            &[
                json!({"Assign": {"a": 1, "b": 2}}),
                json!({"Assign": {"a.$": "$b", "b.$": "$a"}}),
                json!({"Parameters": {"a.$": "$a", "b.$": "$b"}}),
            ],
        ),
        json!({}),
        &json!({"a": 2, "b": 1}),
    );
    check(
        &chain(
            "JSONata",
            &[
                json!({"Assign": {"a": 1, "b": 2}}),
                json!({"Assign": {"a": "{% $b %}", "b": "{% $a %}"}, "Output": "{% [$a, $b] %}"}),
                json!({"Output": "{% {'before': $states.input, 'a': $a, 'b': $b} %}"}),
            ],
        ),
        json!({}),
        &json!({"before": [1, 2], "a": 2, "b": 1}),
    );
}

#[test]
fn branches_see_what_is_around_them_and_keep_their_own() {
    let branch = |n: u32| {
        json!({"StartAt": format!("P{n}"), "States": {
            (format!("P{n}")): {"Type": "Pass", "Assign": {"own": n}, "Next": format!("Q{n}")},
            (format!("Q{n}")): {"Type": "Pass", "Output": "{% [$around, $own] %}", "End": true}}})
    };
    check(
        &chain(
            "JSONata",
            &[
                json!({"Assign": {"around": 7}}),
                json!({"Type": "Parallel", "Branches": [branch(1), branch(2)], "Assign": {"all": "{% $states.result %}"}}),
                json!({"Output": "{% {'all': $all, 'own': $exists($own)} %}"}),
            ],
        ),
        json!({}),
        &json!({"all": [[7, 1], [7, 2]], "own": false}),
    );
    check(
        &chain(
            "JSONPath",
            &[
                json!({"Assign": {"list": [1, 2], "plus": 10}}),
                json!({"Type": "Map", "ItemsPath": "$list", "ResultSelector": {"r.$": "$"}, "Assign": {"got.$": "$.r"},
                "ItemProcessor": {"StartAt": "P", "States": {
                    "P": {"Type": "Pass", "Assign": {"x.$": "States.MathAdd($, $plus)"}, "Next": "Q"},
                    "Q": {"Type": "Pass", "InputPath": "$x", "End": true}}}}),
                json!({"InputPath": "$got[1]"}),
            ],
        ),
        json!({}),
        &json!(12),
    );
}

#[test]
fn a_variable_without_a_value_fails_the_state() {
    let path = one("JSONPath", &json!({"InputPath": "$none.a"}));
    check_failure(
        &path,
        json!({}),
        "States.Runtime",
        "The variable '$none' has not been assigned",
    );
    let query = one("JSONata", &json!({"Output": {"x": ["{% $none %}"]}}));
    let cause = "The JSONata expression '$none' specified for the field 'Output/x[0]' returned nothing (undefined).";
    check_failure(&query, json!({}), "States.QueryEvaluationError", cause);
}

#[test]
fn fields_of_jsonata_say_what_they_take() {
    let wrong = |state: Value, cause: &str| {
        let error = "States.QueryEvaluationError";
        check_failure(&one("JSONata", &state), json!({"s": "x"}), error, cause);
    };
    let task = |field: &str| json!({"Type": "Task", "Resource": "wasm:echo", field: "{% $states.input.s %}"});
    let was = "Expected 'number', but was 'string' for value: \"x\"";
    wrong(
        json!({"Type": "Wait", "Seconds": "{% $states.input.s %}"}),
        was,
    );
    wrong(task("TimeoutSeconds"), was);
    wrong(task("HeartbeatSeconds"), was);
    wrong(
        json!({"Type": "Wait", "Timestamp": "{% $states.input.s %}"}),
        "Expected 'timestamp'",
    );
    wrong(
        json!({"Type": "Fail", "Error": "{% 1 %}"}),
        "Expected 'string', but was 'number'",
    );
    wrong(
        json!({"Type": "Choice", "Choices": [{"Condition": "{% 'yes' %}", "Next": "Z"}]}),
        "Expected 'boolean', but was 'string' for value: \"yes\"",
    );
    wrong(
        json!({"Output": "{% 1 + 'a' %}"}),
        "threw an error during evaluation. T2002",
    );
    wrong(json!({"Output": "{% $sum %}"}), "returned a function");
    wrong(
        json!({"Output": "{% $eval('1') %}"}),
        "$eval does not exist",
    );
}

#[test]
fn results_and_errors_are_in_states() {
    check(
        &one(
            "JSONata",
            &json!({"Type": "Task", "Resource": "wasm:echo", "Arguments": {"n": "{% $states.input.n + 1 %}"},
            "Output": {"was": "{% $states.input.n %}", "is": "{% $states.result.n %}"}}),
        ),
        json!({"n": 1}),
        &json!({"was": 1, "is": 2}),
    );
    let catch = json!([{"ErrorEquals": ["Boom"], "Next": "S1", "Assign": {"cause": "{% $parse($states.errorOutput.Cause).n %}"},
        "Output": "{% $states.errorOutput.Error & $string($states.input.n) %}"}]);
    check(
        &chain(
            "JSONata",
            &[
                json!({"Type": "Task", "Resource": "wasm:fail", "Catch": catch}),
                json!({"Output": "{% [$states.input, $cause] %}"}),
            ],
        ),
        json!({"n": 4}),
        &json!(["Boom4", 4]),
    );
    let catch = json!([{"ErrorEquals": ["States.ALL"], "Next": "S1", "ResultPath": "$.error", "Assign": {"name.$": "$.Error"}}]);
    check(
        &chain(
            "JSONPath",
            &[
                json!({"Type": "Task", "Resource": "wasm:fail", "Catch": catch}),
                json!({"Parameters": {"name.$": "$name", "same.$": "$.error.Error"}}),
            ],
        ),
        json!({}),
        &json!({"name": "Boom", "same": "Boom"}),
    );
}

#[test]
fn a_failing_output_can_be_retried_and_caught() {
    let definition = chain(
        "JSONata",
        &[
            json!({"Type": "Task", "Resource": "wasm:echo", "Output": "{% $states.result.missing %}",
            "Retry": [{"ErrorEquals": ["States.QueryEvaluationError"], "MaxAttempts": 1}],
            "Catch": [{"ErrorEquals": ["States.QueryEvaluationError"], "Next": "S1", "Output": "{% $states.errorOutput.Error %}"}]}),
            json!({}),
        ],
    );
    let (outcome, types) = run(&definition, json!({}));
    let caught = Data::from_value(json!("States.QueryEvaluationError"));
    assert_eq!(outcome, Outcome::Succeeded(caught));
    let failed = types.iter().filter(|t| *t == "EvaluationFailed").count();
    assert_eq!(failed, 2, "{types:?}");
}

#[test]
fn choices_assign_and_shape() {
    let definition = |default: bool| {
        let mut choice = json!({"Type": "Choice", "Default": "B", "Assign": {"by": "default"}, "Output": "{% 'd' %}",
            "Choices": [{"Condition": "{% $states.input.n > 1 %}", "Next": "B", "Assign": {"by": "{% 'rule' & $states.input.n %}"}, "Output": {"n": "{% $states.input.n %}"}}]});
        if !default {
            choice.as_object_mut().expect("an object").remove("Default");
        }
        json!({"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": choice,
            "B": {"Type": "Pass", "Output": "{% [$by, $states.input] %}", "End": true}}})
    };
    check(
        &definition(true),
        json!({"n": 2}),
        &json!(["rule2", {"n": 2}]),
    );
    check(&definition(true), json!({"n": 1}), &json!(["default", "d"]));
    check_failure(
        &definition(false),
        json!({"n": 1}),
        "States.NoChoiceMatched",
        "",
    );
}

#[test]
fn a_state_may_have_its_own_language() {
    let mut definition = chain(
        "JSONPath",
        &[
            json!({"Parameters": {"a.$": "$.n"}, "Assign": {"v.$": "$.a"}}),
            json!({"QueryLanguage": "JSONata", "Output": "{% $states.input.a * 10 + $v %}"}),
            json!({"ResultPath": "$.x", "Parameters": {"v.$": "$v"}, "InputPath": "$"}),
        ],
    );
    definition["States"]["S2"] = json!({"Type": "Pass", "InputPath": "$", "End": true});
    check(&definition, json!({"n": 3}), &json!(33));
}

#[test]
fn numbers_that_pass_through_stay_as_they_are() {
    let big = json!({"id": 9_007_199_254_740_993_u64, "f": 1.0});
    check(
        &one("JSONata", &json!({"Output": "{% $states.input %}"})),
        big.clone(),
        &big,
    );
    check(
        &one(
            "JSONata",
            &json!({"Output": {"id": "{% $states.input.id %}"}}),
        ),
        big,
        &json!({"id": 9_007_199_254_740_993_u64}),
    );
    check(
        &one("JSONata", &json!({"Output": "{% 10 / 4 %}"})),
        json!({}),
        &json!(2.5),
    );
    check(
        &one("JSONata", &json!({"Output": "{% 4 / 2 %}"})),
        json!({}),
        &json!(2),
    );
}

#[test]
fn variables_have_a_limit() {
    let grow = json!({"QueryLanguage": "JSONata", "StartAt": "A", "States": {
        "A": {"Type": "Pass", "Assign": {"t": "{% $states.input.t %}"}, "Next": "B"},
        "B": {"Type": "Pass", "Assign": {"u": "{% $t %}"}, "End": true}}});
    let input = json!({"t": "x".repeat(6 << 20)});
    check_failure(
        &grow,
        input,
        "States.DataLimitExceeded",
        "The variables exceed",
    );
}

/// Neither the Map's input nor the execution's is made anew for each item.
#[test]
fn a_selector_in_jsonata_is_linear_in_the_items() {
    let definition = |n: usize| {
        let map = json!({"Type": "Map", "Items": "{% $states.input.list %}", "End": true,
            "ItemSelector": {"x": "{% $states.context.Map.Item.Value.n + $states.input.plus + $count($states.input.list) %}"},
            "ItemProcessor": {"StartAt": "P", "States": {"P": {"Type": "Pass", "Output": "{% $states.input.x %}", "End": true}}}});
        let list: Vec<Value> = (0..n).map(|i| json!({"n": i})).collect();
        let flow = json!({"QueryLanguage": "JSONata", "StartAt": "M", "States": {"M": map}});
        (flow, json!({"list": list, "plus": 1}))
    };
    let (flow, input) = definition(3);
    check(&flow, input, &json!([4, 5, 6]));
    // Seconds if the list of 3,000 were made anew for each of 3,000 items, and again for each turn.
    let (flow, input) = definition(3_000);
    match run(&flow, input).0 {
        Outcome::Succeeded(output) => {
            assert_eq!(output.value().as_array().map(Vec::len), Some(3_000));
        }
        other => panic!("{other:?}"),
    }
}
