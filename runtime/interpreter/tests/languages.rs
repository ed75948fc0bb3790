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
fn paths_that_lead_nowhere() {
    let wrong = |state: Value, error: &str, cause: &str| {
        let input = json!({"l": [1, 2], "o": {}});
        check_failure(&one("JSONPath", &state), input, error, cause);
    };
    let path = |path: &str, cause: &str| {
        let state = json!({"InputPath": path});
        wrong(
            state,
            "States.Runtime",
            &format!("Invalid path '{path}' : {cause}"),
        );
    };
    path("$.l[5]", "No results for path: $['l'][5]");
    path("$.l[5].x", "No results for path: $['l'][5]['x']");
    path("$.o.a", "No results for path: $['o']['a']");
    path("$.o.a.b", "Missing property in path $['o']['a']");
    path("$.none['a','b']", "No results for path: $['none']");
    path("$.l['a','b']", "No results for path: $['l']");
    for state in [json!({"InputPath": "$.a"}), json!({"OutputPath": "$.a.b"})] {
        let cause = "Unable to apply Path transformation to null or empty input.";
        let flow = one("JSONPath", &state);
        check_failure(&flow, Value::Null, "States.Runtime", cause);
    }
    check(
        &one("JSONPath", &json!({"InputPath": "$"})),
        Value::Null,
        &Value::Null,
    );
    let field = "The JSONPath '$.none' specified for the field 'a.$' could not be found in the input '{\"l\"";
    wrong(
        json!({"Parameters": {"a.$": "$.none"}}),
        "States.Runtime",
        field,
    );
    let call = "The function 'States.Format('{}', $.none)' had the following error: The JsonPath argument for the field '$.none' could not be found in the input '{\"l\"";
    wrong(
        json!({"Parameters": {"a.$": "States.Array(1, States.Format('{}', $.none))"}}),
        "States.IntrinsicFailure",
        call,
    );
    wrong(
        json!({"Type": "Fail", "CausePath": "States.ArrayGetItem($.l, 2)"}),
        "States.IntrinsicFailure",
        "The function 'States.ArrayGetItem($.l, 2)' had the following error: no element at index 2",
    );
}

#[test]
fn names_at_the_end_of_a_path_make_objects() {
    let input = json!({"x": 1, "y": 2, "z": 3, "rows": [{"x": 4}, 5, {"y": 6, "x": 7, "z": 8}]});
    let of = |path: &str, expected: Value| {
        let state = json!({"Parameters": {"a.$": path}});
        check(
            &one("JSONPath", &state),
            input.clone(),
            &json!({"a": expected}),
        );
    };
    of("$['y','x','none']", json!({"y": 2, "x": 1}));
    of("$.rows[2]['x','y']", json!({"x": 7, "y": 6}));
    of("$.rows[*]['x','y']", json!([{"x": 4}, {"x": 7, "y": 6}]));
    of("$.rows[0]['a','b']", json!({}));
    of("$..['y','z']", json!([2, 3, 6, 8]));
    let map = json!({"Type": "Map", "ItemsPath": "$['x','y']", "ItemProcessor": {"StartAt": "P",
        "States": {"P": {"Type": "Pass", "End": true}}}});
    let cause = "must point to array";
    check_failure(&one("JSONPath", &map), input, "States.Runtime", cause);
}

#[test]
fn filters_of_jayway() {
    let rows =
        json!([{"k": "Car", "n": 1}, {"k": "carriage", "n": 2}, {"k": "bus", "n": 3}, {"n": 4}]);
    let of = |filter: &str, expected: Value| {
        let state = json!({"InputPath": format!("$[?({filter})].n")});
        check(&one("JSONPath", &state), rows.clone(), &expected);
    };
    of("@.k =~ /car/i", json!([1]));
    of("@.k =~ /car.*/i", json!([1, 2]));
    of("@.k in ['bus', 'Car']", json!([1, 3]));
    of("@.k nin ['bus', 'Car']", json!([2, 4]));
    of("@.k size 3", json!([1, 3]));
    of("@.k contains 'ar'", json!([1, 2]));
}

#[test]
fn base_64_is_read_without_its_padding() {
    for (text, expected) in [
        ("SGk=", "Hi"),
        ("SGk", "Hi"),
        ("SGl=", "Hi"),
        ("SGVsbG8gV29ybGQ", "Hello World"),
        ("", ""),
    ] {
        let state = json!({"Parameters": {"a.$": "States.Base64Decode($.x)"}});
        let expected = json!({"a": expected});
        check(&one("JSONPath", &state), json!({"x": text}), &expected);
    }
    for text in ["S", "SGk==", "SG k=", "SGk-", "/w=="] {
        let state = json!({"Parameters": {"a.$": "States.Base64Decode($.x)"}});
        check_failure(
            &one("JSONPath", &state),
            json!({"x": text}),
            "States.IntrinsicFailure",
            "the text is not base 64 of UTF-8",
        );
    }
}

#[test]
fn no_text_is_no_value() {
    for text in ["", " \n"] {
        let state = json!({"Parameters": {"a.$": "States.StringToJson($.x)"}});
        let expected = json!({"a": null});
        check(&one("JSONPath", &state), json!({"x": text}), &expected);
    }
}

#[test]
fn a_half_is_rounded_up() {
    for (number, whole) in [
        (1.49, 1),
        (1.5, 2),
        (-1.49, -1),
        (-1.5, -1),
        (-1.51, -2),
        (-0.5, 0),
        (0.499_999_999_999_999_94, 0),
    ] {
        let state = json!({"Parameters": {"a.$": "States.MathAdd($.x, 0)"}});
        let expected = json!({"a": whole});
        check(&one("JSONPath", &state), json!({"x": number}), &expected);
    }
}

#[test]
fn numbers_of_the_data_say_what_is_wrong_with_them() {
    let wrong = |state: &Value, value: Value, cause: &str| {
        let input = json!({"v": value, "items": [1]});
        check_failure(&one("JSONPath", state), input, "States.Runtime", cause);
    };
    let wait = json!({"Type": "Wait", "SecondsPath": "$.v"});
    let negative = "The SecondsPath parameter references a negative value: $.v == -1";
    wrong(&wait, json!(-1), negative);
    for (value, shown) in [
        (json!(1.5), "1.5"),
        (json!(-1.5), "-1.5"),
        (json!("x"), "x"),
    ] {
        let cause =
            format!("The SecondsPath parameter cannot be parsed as a long value: $.v == {shown}");
        wrong(&wait, value, &cause);
    }
    let map = json!({"Type": "Map", "ItemsPath": "$.items", "MaxConcurrencyPath": "$.v",
        "ItemProcessor": {"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}});
    for value in [json!(-1), json!("-1")] {
        let cause = "Expected non-negative integer for MaxConcurrency, but got '-1' instead.";
        wrong(&map, value, cause);
    }
    let tolerates = |field: &str| {
        json!({"Type": "Map", "ItemsPath": "$.items", field: "$.v", "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}})
    };
    let count = tolerates("ToleratedFailureCountPath");
    for (value, shown) in [
        (json!("NoNumber"), "NoNumber"),
        (json!({}), "{}"),
        (json!(1.5), "1.5"),
    ] {
        let cause = format!(
            "The ToleratedFailureCountPath field refers to value \"{shown}\" which is not a valid integer: $.v"
        );
        wrong(&count, value, &cause);
    }
    let cause = "ToleratedFailureCount cannot be negative.";
    wrong(&count, json!(-1), cause);
    let mut batches = tolerates("Comment");
    batches["Comment"] = json!("in batches");
    batches["ItemBatcher"] = json!({"MaxItemsPerBatchPath": "$.v"});
    for (value, shown) in [(json!("x"), "x"), (json!(null), "null"), (json!(-1), "-1")] {
        let cause = format!(
            "The MaxItemsPerBatchPath field refers to value \"{shown}\" which is not a valid integer: $.v"
        );
        wrong(&batches, value, &cause);
    }
    let percentage = tolerates("ToleratedFailurePercentagePath");
    for (value, shown) in [(json!("NoNumber"), "NoNumber"), (json!({}), "{}")] {
        let cause = format!(
            "The ToleratedFailurePercentagePath field refers to value \"{shown}\" which is not a valid float: $.v"
        );
        wrong(&percentage, value, &cause);
    }
    for value in [json!(-1.1), json!(-1), json!(100.1)] {
        let cause = "ToleratedFailurePercentage must be between 0 and 100.";
        wrong(&percentage, value, cause);
    }
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
        "threw an error during evaluation. T2002: The right side of the \"+\" operator must evaluate to a number",
    );
    wrong(
        json!({"Output": "{% $states.input.none = 1 and $length(1) = 1 or 1 < 'a' %}"}),
        "T2009: The values 1 and \"a\" either side of operator \"or\" must be of the same data type",
    );
    wrong(
        json!({"Assign": {"a": "{% $sum($states.input.s) %}"}}),
        "field 'Assign/a' threw an error during evaluation. T0412: Argument 1 of function \"sum\" must be an array of \"numbers\"",
    );
    wrong(json!({"Output": "{% $sum %}"}), "returned a function");
    wrong(
        json!({"Output": "{% $eval('1') %}"}),
        "$eval does not exist",
    );
}

#[test]
fn fields_of_a_map_in_jsonata_say_what_they_take_and_where_they_are() {
    let wrong = |distributed: bool, field: &str, value: Value, cause: &str| {
        let mode = if distributed { "DISTRIBUTED" } else { "INLINE" };
        let mut state = json!({"Type": "Map", "Items": "{% [1] %}", field: value,
            "ItemProcessor": {"ProcessorConfig": {"Mode": mode}, "StartAt": "B",
                "States": {"B": {"Type": "Pass", "End": true}}}});
        if field == "ItemReader" {
            state.as_object_mut().expect("an object").remove("Items");
        }
        let error = "States.QueryEvaluationError";
        check_failure(&one("JSONata", &state), json!({}), error, cause);
    };
    for (distributed, field) in [
        (false, "MaxConcurrency"),
        (true, "MaxConcurrency"),
        (true, "ToleratedFailureCount"),
        (true, "ToleratedFailurePercentage"),
    ] {
        wrong(
            distributed,
            field,
            json!("{% '2' %}"),
            &format!(
                "'{field}' returned an unexpected result type. Expected 'number', but was 'string'"
            ),
        );
    }
    wrong(
        true,
        "ItemBatcher",
        json!({"MaxItemsPerBatch": "{% 0 %}"}),
        "'ItemBatcher/MaxItemsPerBatch' returned a number that the field does not take: 0",
    );
    wrong(
        true,
        "ItemBatcher",
        json!({"MaxItemsPerBatch": 1, "BatchInput": {"a": "{% nothing %}"}}),
        "'ItemBatcher/BatchInput/a' returned nothing",
    );
    let reader = |bucket: &str, most: Value| {
        json!({"Resource": "arn:aws:states:::s3:getObject", "Arguments": {"Bucket": bucket, "Key": "k"},
            "ReaderConfig": {"InputType": "JSON", "MaxItems": most}})
    };
    wrong(
        true,
        "ItemReader",
        reader("{% nothing %}", json!(1)),
        "'ItemReader/Arguments/Bucket' returned nothing",
    );
    wrong(
        true,
        "ItemReader",
        reader("bucket", json!("{% 'x' %}")),
        "'ItemReader/ReaderConfig/MaxItems' returned an unexpected",
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
fn no_failed_map_is_told_of_where_its_output_fails() {
    let inner = json!({"StartAt": "I", "States": {"I": {"Type": "Pass", "End": true}}});
    let state = json!({"Type": "Map", "Items": [1], "ItemProcessor": inner, "Output": "{% $states.result.missing %}"});
    let (outcome, types) = run(&one("JSONata", &state), json!({}));
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    let end: Vec<&str> = types.iter().rev().take(3).map(String::as_str).collect();
    let expected = ["ExecutionFailed", "EvaluationFailed", "MapStateSucceeded"];
    assert_eq!(end, expected, "{types:?}");
}

#[test]
fn choices_assign_and_shape() {
    let definition = |default: bool| {
        let mut choice = json!({"Type": "Choice", "Default": "B", "Assign": {"by": "default"}, "Output": "{% 'd' %}",
            "Choices": [{"Condition": "{% $states.input.n > 1 %}", "Next": "B", "Assign": {"by": "{% 'rule' & $states.input.n %}"}, "Output": {"n": "{% $states.input.n %}"}},
                {"Condition": "{% $states.input.n < 0 %}", "Next": "B"}]});
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
    // What stands beside the rules is of the default way alone.
    check(&definition(true), json!({"n": -1}), &json!([{"n": -1}]));
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
