//! What expressions may cost: every one of these would run for minutes, or take the memory
//! of the machine, if nothing counted.

#![allow(clippy::disallowed_methods, reason = "a test times what it calls")]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stepwell_flow::{AnyModule, compile};
use stepwell_interpreter::{Command, Event, NoHistory, Outcome, State, step};
use stepwell_types::{Data, ExecutionId, FlowRef, ShardId, Timestamp};

/// What any one of these may take on a slow, busy machine without optimisation.
const PATIENCE: Duration = Duration::from_secs(20);

fn run(definition: &Value, input: &Value) -> Outcome {
    let checked = compile(&definition.to_string(), &AnyModule);
    let program = checked
        .program
        .unwrap_or_else(|| panic!("{:#?}", checked.diagnostics));
    let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(1), 1));
    let mut event = Event::Started {
        flow: FlowRef {
            name: "flow".into(),
            version: 1,
        },
        name: "run".into(),
        input: Data::from_value(input.clone()),
        seed: [1; 16],
        parent: None,
    };
    loop {
        let mut out = Vec::new();
        let now = Timestamp(1_700_000_000_000);
        step(&program, &mut state, &event, now, &mut NoHistory, &mut out).expect("taken");
        event = match out.pop() {
            Some(Command::Finish(outcome)) => return outcome,
            Some(Command::Continue) => Event::Continued,
            other => panic!("{other:?}"),
        };
    }
}

/// Runs a Pass state of these fields, twice: the end must be the same, and come soon.
#[track_caller]
fn check(fields: &Value, input: &Value, error: &str) {
    let mut state = json!({"Type": "Pass", "End": true});
    let members = fields.as_object().expect("an object").clone();
    state.as_object_mut().expect("an object").extend(members);
    check_state(&state, input, error);
}

#[track_caller]
fn check_state(state: &Value, input: &Value, error: &str) {
    let definition = json!({"StartAt": "A", "States": {"A": state, "Z": {"Type": "Succeed"}}});
    let begin = Instant::now();
    let outcome = run(&definition, input);
    let took = begin.elapsed();
    let shown = state.to_string().chars().take(200).collect::<String>();
    match &outcome {
        Outcome::Failed(failure) => assert_eq!(&*failure.error, error, "{shown}: {failure:?}"),
        other => panic!("{shown}: {other:?}"),
    }
    println!("{took:?} {shown}");
    assert!(took < PATIENCE, "{shown}: took {took:?}");
    assert_eq!(run(&definition, input), outcome, "{shown}: another end");
}

const LIMIT: &str = "Stepwell.ExpressionLimit";

/// Arrays in arrays: 2^depth leaves.
fn tree(depth: u32) -> Value {
    match depth {
        0 => json!(1),
        _ => json!([tree(depth - 1), tree(depth - 1)]),
    }
}

fn chain(depth: u32) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[test]
fn paths_that_select_everything_again_and_again() {
    check(&json!({"InputPath": "$..*..*..*..*"}), &tree(14), LIMIT);
    let chains: Vec<Value> = (0..300).map(|_| chain(100)).collect();
    check(&json!({"InputPath": "$..*..*..*"}), &json!(chains), LIMIT);
    let list: Vec<u32> = (0..3_000).collect();
    check(
        &json!({"InputPath": "$[?($[?(@ == 1)])]"}),
        &json!(list),
        LIMIT,
    );
    check(
        &json!({"Parameters": {"a.$": "$$..*..*..*..*"}}),
        &tree(13),
        LIMIT,
    );
}

#[test]
fn regular_expressions_for_every_value() {
    let list: Vec<String> = (0..30_000).map(|i| "a".repeat(i % 10)).collect();
    let path = r"$[?search(@, '([01]{10}){40}')]";
    check(&json!({"InputPath": path}), &json!(list), LIMIT);
    let path = r"$[?(@ =~ /([01]{10}){40}/i)]";
    check(&json!({"InputPath": path}), &json!(list), LIMIT);
}

#[test]
fn long_lists_in_filters() {
    let list: Vec<u32> = (0..300).collect();
    let path = format!("$[?(@ in {list:?})]");
    let many: Vec<u32> = (0..30_000).collect();
    check(&json!({"InputPath": path}), &json!(many), LIMIT);
}

#[test]
fn long_patterns_on_long_texts() {
    let rule = json!({"Variable": "$.text", "StringMatches": format!("*{}b", "a".repeat(20_000)), "Next": "Z"});
    let choice = json!({"Type": "Choice", "Choices": [rule], "Default": "Z"});
    check_state(&choice, &json!({"text": "a".repeat(200_000)}), LIMIT);
}

#[test]
fn intrinsics_over_large_data_many_times() {
    let list: Vec<u32> = (0..100_000).collect();
    for call in [
        "States.ArrayContains($.list, -1)",
        "States.Hash(States.ArrayLength(States.ArrayUnique($.list)), 'MD5')",
        "States.ArrayLength(States.ArrayPartition($.list, 7))",
        "States.ArrayLength(States.StringSplit(States.JsonToString($.list), ',;:.-'))",
    ] {
        let fields: serde_json::Map<String, Value> =
            (0..200).map(|i| (format!("f{i}.$"), json!(call))).collect();
        check(
            &json!({"Parameters": fields}),
            &json!({"list": list}),
            LIMIT,
        );
    }
}

#[test]
fn the_context_object_counts_as_copied() {
    let fields: serde_json::Map<String, Value> =
        (0..40).map(|i| (format!("f{i}.$"), json!("$$"))).collect();
    let input = json!({"text": "x".repeat(2 << 20)});
    check(
        &json!({"Parameters": fields}),
        &input,
        "States.DataLimitExceeded",
    );
}

/// Runs an expression as the `Output` of a Pass state.
#[track_caller]
fn jsonata(expression: &str, input: &Value, error: &str) {
    let fields = json!({"QueryLanguage": "JSONata", "Output": format!("{{% {expression} %}}")});
    check(&fields, input, error);
}

/// What it costs to word an error is no more than it had, and no less than nothing.
#[test]
fn an_error_that_is_worded_by_a_second_look() {
    let error = "States.QueryEvaluationError";
    jsonata("$states/input.a", &json!({ "a": 1 }), error);
}

#[test]
fn jsonata_that_does_not_end() {
    jsonata("($f := function($n){$f($n + 1)}; $f(0))", &json!({}), LIMIT);
    jsonata(
        "($f := function($n){1 + $f($n + 1)}; $f(0))",
        &json!({}),
        LIMIT,
    );
    jsonata(
        "($f := function($n){$n > 0 ? $f($n - 1) + $f($n - 1) : 1}; $f(60))",
        &json!({}),
        LIMIT,
    );
    jsonata(
        "$map([1..2000], function($a){$map([1..2000], function($b){$a * $b})})",
        &json!({}),
        LIMIT,
    );
    jsonata("[1..10000000]", &json!({}), LIMIT);
    jsonata(
        "$sort([1..300000], function($a, $b){$a < $b})",
        &json!({}),
        LIMIT,
    );
}

#[test]
fn jsonata_patterns_that_track_back() {
    // What the patterns look for is there, in another place: else nothing is tried.
    let input = json!({"s": format!("{}!xbc", "a".repeat(60)), "long": "ab".repeat(50_000)});
    for expression in [
        r"$contains($states.input.s, /^(?:(a)\1?)+!c/)",
        r"$match($states.input.s, /^(?:(a)\1?)+!c/)",
        r"$split($states.input.s, /^(?:(a)\1?)+!c/)",
        r"($m := /^(?:(a)\1?)+!c/; $replace($states.input.s, $m, 'x'))",
        r"($m := /^(?:(a)\1?)+!c/; $m($states.input.s))",
        "$match($states.input.long, /(?<=a)b/)",
        "($m := /(?<!c)b/; $map([1..3000], function($n){$m($states.input.long)}))",
    ] {
        jsonata(expression, &input, LIMIT);
    }
}

#[test]
fn jsonata_that_loops_without_a_function() {
    let list: Vec<Value> = (0..2_000).map(|i| json!({"a": i})).collect();
    let input = json!({"list": list});
    for expression in [
        "$states.input.list[$count($states.input.list[a > 5]) > 1]",
        "$states.input.list.($states.input.list.(a))",
        "$states.input.list.{'x': $states.input.list.a}",
        "$states.input.list^($count($states.input.list[a > 5]))",
        "$states.input.list[$states.input.list = $states.input.list]",
    ] {
        jsonata(expression, &input, LIMIT);
    }
}

#[test]
fn jsonata_looks_into_a_list_for_every_item() {
    let list: Vec<Value> = (0..10_000).map(|i| json!({"a": i})).collect();
    let input = json!({"list": list});
    jsonata(
        "$states.input.list[a in $states.input.list.a]",
        &input,
        LIMIT,
    );
}

#[test]
fn jsonata_that_grows() {
    for expression in [
        "$reduce([1..60], function($a, $b){$a & $a}, 'x')",
        "$length($reduce([1..60], function($a, $b){$append($a, $a)}, [1]))",
        "$reduce([1..6000], $append, [1..6000])",
        "$count($reduce([1..60], function($a, $b){[$a, $a]}, 1))",
        "$string($reduce([1..60], function($a, $b){{'a': $a, 'b': $a}}, 1))",
        "$count($reduce([1..60], function($a, $b){[$a, $a]}, 1).**)",
        "$reduce([1..60], function($a, $b){$zip($a, $a)}, [1, 2])",
        "$length($pad('x', 100000000))",
        "$length('x' ~> $pad(-100000000))",
        "($p := $pad; $length($p('x', 100000000)))",
        "$map(['x'], function($s){$length($pad($s, 100000000))})",
        "$length($join($split($pad('', 4000, 'a'), ''), $pad('', 1000000, 'b')))",
        "$length($replace($pad('', 20000, 'a'), 'a', $pad('', 20000, 'b')))",
        "$length($replace($pad('', 20000, 'a'), /a/, $pad('', 20000, 'b')))",
    ] {
        jsonata(expression, &json!({}), LIMIT);
    }
}

#[test]
fn jsonata_pictures_that_ask_for_much() {
    let wide = "[f,99999999999999]";
    let input = json!({"wide": wide, "year": "[Y,99999]", "long": "0".repeat(2_000), "n": 1e15});
    for expression in [
        "$fromMillis(0, '[f,99999999999999]')",
        "$now('[f,99999999999999]')",
        "$now('[f,1-99999999999999]')",
        "$now('[f,+99999999999999]')",
        "$states.input.n.$fromMillis('[f,999999999]')",
        "0 ~> $fromMillis($states.input.wide)",
        "$each({'[f,99999999999999]': 0}, $fromMillis)",
        "($f := $fromMillis(0, ?); $f($states.input.wide))",
        "($f := $now; $f($states.input.wide))",
        "$fromMillis(0, $states.input.year)",
        "$fromMillis(0, '[Y0000000000000000000000000000000000000000000000000000000000000000000]')",
        "$fromMillis(0, '[é]')",
        "$fromMillis(0, '[,1]')",
        "$toMillis('1', '[Y,1-99999]')",
        "$toMillis($states.input.long, '[Y]')",
        "$formatInteger(1e15, 'I')",
        "$states.input.n.$formatInteger('i')",
        "$formatInteger(1e15, 'i;o')",
        "$formatInteger(1, $states.input.long)",
        "$formatNumber(1, $states.input.long)",
        "$formatNumber(1, '0.0', {'decimal-separator': '·'})",
    ] {
        jsonata(expression, &input, "States.QueryEvaluationError");
    }
    for (expression, expected) in [
        ("$fromMillis(0, '[Y,4-4]-[M01] [f,3]')", "1970-01 000"),
        ("$states.input.n.$fromMillis('[Y]')", "33658"),
        ("$formatInteger(1994, 'I')", "MCMXCIV"),
        ("$formatInteger(12, 'w')", "twelve"),
        (
            "$states.input.n.$formatNumber('#,##0.00')",
            "1,000,000,000,000,000.00",
        ),
        // What a text leaves out is the event's, not the clock's.
        (
            "$fromMillis($toMillis('13:45', '[H]:[m]'))",
            "2023-11-14T13:45:00.000Z",
        ),
        (
            "$fromMillis($toMillis('05-06', '[M]-[D]'))",
            "2023-05-06T00:00:00.000Z",
        ),
    ] {
        let definition = json!({"QueryLanguage": "JSONata", "StartAt": "A", "States": {
            "A": {"Type": "Pass", "Output": format!("{{% {expression} %}}"), "End": true}}});
        let wanted = Outcome::Succeeded(Data::from_value(json!(expected)));
        assert_eq!(run(&definition, &input), wanted, "{expression}");
    }
}

#[test]
fn outputs_are_as_small_as_they_are_printed() {
    // Each control character is six bytes of JSON, each of these numbers 23.
    let fields: serde_json::Map<String, Value> = (0..6)
        .map(|i| (format!("f{i}.$"), json!("$.data")))
        .collect();
    for data in [
        json!("\u{1}".repeat(1_000_000)),
        json!(vec![-1.234_567_890_123_456_7e-300; 250_000]),
    ] {
        check(
            &json!({"Parameters": fields}),
            &json!({ "data": data }),
            "States.DataLimitExceeded",
        );
        jsonata(
            "[$states.input.data, [$states.input.data, $states.input.data], [$states.input.data, $states.input.data, $states.input.data]]",
            &json!({ "data": data }),
            "States.DataLimitExceeded",
        );
    }
}

#[test]
fn jsonata_walks_that_repeat() {
    let deep = (0..90).fold(json!(1), |inner, _| json!({ "a": inner }));
    let chains = vec![deep; 100];
    jsonata("$count($states.input.**.**.**)", &json!(chains), LIMIT);
    jsonata(
        "$count($states.input.**.$states.input.**)",
        &json!(chains),
        LIMIT,
    );
}

#[test]
fn a_limit_can_be_caught() {
    let inner = json!({"StartAt": "P", "States": {
        "P": {"Type": "Pass", "InputPath": "$..*..*..*..*", "End": true}}});
    let parallel = json!({"Type": "Parallel", "Branches": [inner], "End": true,
        "Catch": [{"ErrorEquals": [LIMIT], "ResultPath": null, "Next": "Z"}]});
    let definition = json!({"StartAt": "A", "States": {"A": parallel, "Z": {"Type": "Pass", "Result": "caught", "End": true}}});
    assert_eq!(
        run(&definition, &tree(14)),
        Outcome::Succeeded(Data::from_value(json!("caught")))
    );
}

/// What people write on large data goes through.
#[test]
fn ordinary_work_has_room() {
    let rows: Vec<Value> = (0..20_000)
        .map(|i| json!({"id": i, "kind": format!("k{}", i % 7), "price": i}))
        .collect();
    let input = json!({"rows": rows});
    for expression in [
        "$sum($states.input.rows[kind = 'k3'].price)",
        "$count($states.input.rows.{'id': id, 'double': price * 2})",
        "$reduce($states.input.rows.price, function($a, $b){$a + $b})",
        "$count($map($states.input.rows, function($r){$uppercase($r.kind) & $string($r.id)}))",
        "$count($distinct($states.input.rows.kind))",
        "$count($filter($states.input.rows, function($r){$contains($r.kind, /3/)}))",
        "$count($states.input.rows^(>price))",
        "$keys($states.input.rows{kind: $sum(price)})[0]",
        "$length($join($states.input.rows.kind, ','))",
    ] {
        let definition = json!({"QueryLanguage": "JSONata", "StartAt": "A", "States": {
            "A": {"Type": "Pass", "Output": format!("{{% {expression} %}}"), "End": true}}});
        let outcome = run(&definition, &input);
        assert!(
            matches!(outcome, Outcome::Succeeded(_)),
            "{expression}: {outcome:?}"
        );
    }
    for path in [
        "$..price",
        "$.rows[?(@.kind == 'k3')].id",
        "$.rows[?(@.price > 10 && @.price < 50)]",
        "$.rows[*]['id','kind']",
    ] {
        let definition = json!({"StartAt": "A", "States": {
            "A": {"Type": "Pass", "InputPath": path, "End": true}}});
        let outcome = run(&definition, &input);
        assert!(
            matches!(outcome, Outcome::Succeeded(_)),
            "{path}: {outcome:?}"
        );
    }
}
