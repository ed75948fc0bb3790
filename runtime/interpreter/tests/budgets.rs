//! What expressions of JSONPath mode and of CloudFlow cost: each of these is refused on data
//! that is large for its operations, and goes through on small data.

use serde_json::{Value, json};
use stepwell_flow::{AnyModule, compile};

#[path = "alone/walked.rs"]
mod alone;

use alone::walked;

/// Runs a flow without steps on data of `n` items; the error that it ends with.
fn run(definition: &str, n: usize) -> Result<Value, String> {
    let checked = compile(definition, &AnyModule);
    let said = format!("{definition}\n{:?}", checked.diagnostics);
    let program = checked.program.expect(&said);
    let list: Vec<Value> = (0..n).map(|i| json!({ "x": i, "t": "a" })).collect();
    let input = json!({
            "l": list, "m": list, "o": {"l": list}, "p": {"l": list},
            "s": "01".repeat(8 * n), "t": "01".repeat(8 * n), "n": 1,
    });
    walked(&program, input).map_err(|failure| failure.error.to_string())
}

#[track_caller]
fn check(definition: &str) {
    let small = run(definition, 2);
    assert!(small.is_ok(), "{definition}: {small:?}");
    let large = run(definition, 4_000).map(|_| "a value");
    let limit = Err("Stepwell.ExpressionLimit".to_owned());
    assert_eq!(large, limit, "{definition}");
}

/// One expression, or as many as `n` of them, in the language of `Parameters`.
fn parameters(value: &Value) -> String {
    let flow = json!({"StartAt": "A", "States": {
        "A": {"Type": "Pass", "Parameters": value, "ResultPath": null, "End": true}}});
    flow.to_string()
}

#[test]
fn operands_of_filters_are_counted() {
    for path in [
        "$.l[?($.s == $.t)]",
        "$.l[?($.s != $.t)]",
        "$.l[?($.s < $.t)]",
        "$.l[?($.l == $.m)]",
        "$.l[?($.o == $['p'])]",
        "$.l[?(@.x >= 0 && $.o.l == $.p.l)]",
        "$.l[?length($.s) > 3]",
        "$.l[?match($.s, '[01]+')]",
        "$.l[?search($.s, '2')]",
        "$.l[?(!match(value($.o..none), 'x') && length(value($['s','none'])) > 1)]",
        "$.l[?count($.m[*]) > 3]",
        "$.l[?($.m[?(@.x == 9)])]",
    ] {
        check(&parameters(&json!({ "v.$": path })));
    }
}

#[test]
fn honest_filters_go_through() {
    for path in [
        "$.l[?(@.x == 1)]",
        "$.l[?(@.t == 'a' && @.x > $.n)].x",
        "$.l[?(@.x == $.l[3].x || @.t == $.none)]",
        "$.l[?length(@.t) == 1].t",
        "$.l[?match(@.t, '[a-z]')].t",
        "$['o','p'].l[?(@.x >= 3999)]",
        "$..x",
        "$..l[?(@.x == 7)]",
        "$.l[?(@.x == 1 && $.o.l == $.p.l)]",
        "$[?(@[?(@.x == 3)])].l[3]",
    ] {
        let flow = parameters(&json!({ "v.$": path }));
        let found = run(&flow, 4_000);
        assert!(found.is_ok(), "{path}: {found:?}");
    }
}

/// A pattern that is small when it is compiled may take long to read, each time anew.
#[test]
fn what_patterns_hold_is_counted() {
    let limit = Err("Stepwell.ExpressionLimit".to_owned());
    let pattern = r"(?i)".to_owned() + &r"\\p{Lu}{0}".repeat(88);
    let path = format!("$.l[?search(@.t, '{pattern}')]");
    let of = |n: usize| run(&parameters(&vec![json!({ "v.$": path }); n].into()), 1);
    assert!(of(2).is_ok(), "{:?}", of(2));
    assert_eq!(of(200), limit);
    // From data it is known only when it is evaluated.
    let of = |n: usize| {
        let pattern = r"(?i)".to_owned() + &r"\p{Lu}{0}".repeat(88);
        let call = format!("regexMatchString(`{pattern}`, $Input.s)");
        let calls = vec![call; n].join(", ");
        let flow = json!({"Type": "StateMachine", "SpecVersion": "v1", "Name": "f", "StartAt": "A",
            "States": [{"Type": "Pass", "Name": "A", "End": true,
                "OutputConstructor": {"v.$": format!("length([{calls}])")}}]});
        run(&flow.to_string(), 1)
    };
    assert!(of(2).is_ok(), "{:?}", of(2));
    assert_eq!(of(9), limit);
}

#[test]
fn intrinsic_functions_are_counted() {
    for function in [
        "States.StringSplit($.s, $.t)",
        "States.ArrayContains($.l, $.m)",
        "States.ArrayUnique($.l)",
        "States.JsonToString($.l)",
        "States.JsonMerge($.o, $.p, false)",
        "States.ArrayPartition($.l, 2)",
        "States.Format('{}', $.s)",
    ] {
        let all: Vec<String> = (0..100).map(|_| function.to_owned()).collect();
        let nested = all.iter().map(|f| json!({ "f.$": f }));
        check(&parameters(&nested.collect()));
    }
}

#[test]
fn rules_are_counted() {
    let times = |rule: Value, n: usize| -> String {
        let all = vec![rule; n];
        let flow = json!({"StartAt": "A", "States": {
            "A": {"Type": "Choice", "Choices": [{"Or": all, "Next": "B"}], "Default": "B"},
            "B": {"Type": "Pass", "Result": 1, "End": true}}});
        flow.to_string()
    };
    for rule in [
        json!({"Variable": "$.s", "StringGreaterThanPath": "$.t"}),
        json!({"Variable": "$.n", "TimestampEqualsPath": "$.t"}),
        json!({"Variable": "$.s", "IsTimestamp": true}),
        json!({"Variable": "$.s", "StringMatches": "*1*0*1*2"}),
    ] {
        check(&times(rule, 400));
    }
}

#[test]
fn cloudflow_is_counted() {
    for e in [
        "$Input.s == $Input.t",
        "$Input.l == $Input.m",
        "$Input.o != $Input.p",
        "$Input.s < $Input.t",
        "$Input.l in $Input.p.l",
        "arrayContains($Input.l, 1)",
        "arrayUnique($Input.l)",
        "jsonToString($Input.l)",
        "toBase64($Input.s)",
        "hash($Input.s, \\\"MD5\\\")",
        "split($Input.s, \\\"1\\\")",
        "jsonMerge($Input.o, $Input.p)",
        "regexMatchString(\\\"[01]*1[01]{100}\\\", $Input.s)",
        "$Input.l[?(@.x == 1)]",
    ] {
        let all = vec![e; 120].join(", ");
        let fields: String = (0..5)
            .map(|i| format!("    v{i}.$: \"length([{all}])\"\n"))
            .collect();
        check(&format!(
            "Type: StateMachine\nSpecVersion: v1\nName: f\nStartAt: A\nStates:\n- Type: Pass\n  \
             Name: A\n  End: true\n  OutputConstructor:\n{fields}"
        ));
    }
}
