//! Tables of the comparisons that a Choice makes: of kinds of value, of moments, of patterns.
//!
//! Numbers, strings and booleans are compared by the recorded cases.

use serde_json::{Value, json};
use stepwell_flow::{AnyModule, compile};
use stepwell_types::Failure;

#[path = "alone/walked.rs"]
mod alone;

/// Whether a rule holds of an input.
fn holds(rule: &Value, input: &Value) -> Result<bool, Failure> {
    let mut rule = rule.clone();
    rule["Next"] = json!("Yes");
    let flow = json!({"StartAt": "Ask", "States": {
        "Ask": {"Type": "Choice", "Choices": [rule], "Default": "No"},
        "Yes": {"Type": "Pass", "Result": true, "End": true},
        "No": {"Type": "Pass", "Result": false, "End": true}}});
    let checked = compile(&flow.to_string(), &AnyModule);
    let program = checked
        .program
        .unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
    alone::walked(&program, input.clone()).map(|answer| answer == true)
}

#[track_caller]
fn check(rule: &Value, input: &Value, expected: bool) {
    let found = holds(rule, input);
    assert_eq!(found.ok(), Some(expected), "{rule} {input}");
}

#[test]
fn a_value_is_of_one_kind() {
    let kinds = ["IsNull", "IsNumeric", "IsString", "IsBoolean"];
    let check = |value: Value, kind: &str, moment: bool| {
        let input = json!({ "v": value });
        let holds = |operator: &str| match operator {
            "IsPresent" => true,
            "IsTimestamp" => moment,
            other => other == kind,
        };
        for operator in kinds.iter().chain(&["IsPresent", "IsTimestamp"]) {
            for asked in [true, false] {
                let rule = json!({"Variable": "$.v", (*operator): asked});
                check(&rule, &input, holds(operator) == asked);
            }
        }
    };
    check(json!(null), "IsNull", false);
    for number in [json!(0), json!(0.0), json!(1), json!(1.1), json!(-1e300)] {
        check(number, "IsNumeric", false);
    }
    for text in [
        "",
        " ",
        "HelloWorld",
        "true",
        "1",
        "2012-10-09",
        "2012-10-09T19:00:55",
        "2012-10-09 19:00:55Z",
        "2012-10-09t19:00:55z",
        "2012-13-09T19:00:55Z",
    ] {
        check(json!(text), "IsString", false);
    }
    for text in [
        "2012-10-09T19:00:55Z",
        "2012-10-09T19:00:55+01:00",
        "2012-10-09T19:00:55.123456789Z",
    ] {
        check(json!(text), "IsString", true);
    }
    check(json!(true), "IsBoolean", false);
    check(json!(false), "IsBoolean", false);
    for other in [json!([]), json!([""]), json!({}), json!({"A": "B"})] {
        check(other, "none of these", false);
    }
}

#[test]
fn only_presence_can_be_asked_of_what_is_not_there() {
    let input = json!({"a": {"b": null}});
    check(
        &json!({"Variable": "$.a.b", "IsPresent": true}),
        &input,
        true,
    );
    // Of variables too: there is none here.
    for path in ["$x", "$x.b", "$x[0]"] {
        check(&json!({"Variable": path, "IsPresent": true}), &input, false);
        check(&json!({"Variable": path, "IsPresent": false}), &input, true);
        let failure = holds(&json!({"Variable": path, "IsNull": true}), &input);
        let failure = failure.expect_err("the variable has no value");
        assert_eq!(&*failure.error, "States.Runtime");
    }
    for path in ["$.c", "$.a.c", "$.a.b.c", "$.a[0]"] {
        check(&json!({"Variable": path, "IsPresent": true}), &input, false);
        check(&json!({"Variable": path, "IsPresent": false}), &input, true);
        for operator in ["IsNull", "IsString", "BooleanEquals"] {
            let failure = holds(&json!({"Variable": path, (operator): true}), &input);
            let failure = failure.expect_err("the value is not there");
            assert_eq!(&*failure.error, "States.Runtime");
            let cause = format!(
                "An error occurred while executing the state 'Ask' (entered at the event id #2). Invalid path '{path}': The choice state's condition path references an invalid value."
            );
            assert_eq!(&*failure.cause, cause);
        }
    }
}

#[test]
fn moments_are_compared_by_when_they_are() {
    let zero = "2012-10-09T19:00:55Z";
    let table = [
        // Value, then whether it is before, at or after `zero`.
        (json!(zero), [false, true, false]),
        (json!("2012-10-09T19:00:54Z"), [true, false, false]),
        (json!("2012-10-09T19:00:56Z"), [false, false, true]),
        (
            json!("2012-10-09T19:00:55.000000001Z"),
            [false, false, true],
        ),
        (json!("2012-10-09T20:00:55+01:00"), [false, true, false]),
        (json!("2012-10-09T19:00:55+01:00"), [true, false, false]),
        (json!("2012-10-09T19:00:55"), [false; 3]),
        (json!("HelloWorld"), [false; 3]),
        (json!(""), [false; 3]),
        (json!(1_349_809_255), [false; 3]),
        (json!(null), [false; 3]),
        (json!(true), [false; 3]),
        (json!([zero]), [false; 3]),
        (json!({"t": zero}), [false; 3]),
    ];
    for (value, [before, at, after]) in table {
        let input = json!({"v": value, "w": zero});
        for (operator, expected) in [
            ("TimestampEquals", at),
            ("TimestampLessThan", before),
            ("TimestampLessThanEquals", before || at),
            ("TimestampGreaterThan", after),
            ("TimestampGreaterThanEquals", after || at),
        ] {
            let path = format!("{operator}Path");
            check(
                &json!({"Variable": "$.v", (operator): zero}),
                &input,
                expected,
            );
            check(&json!({"Variable": "$.v", (path): "$.w"}), &input, expected);
        }
        // The other way round.
        for (operator, expected) in [
            ("TimestampEqualsPath", at),
            ("TimestampLessThanPath", after),
            ("TimestampGreaterThanEqualsPath", before || at),
        ] {
            check(
                &json!({"Variable": "$.w", (operator): "$.v"}),
                &input,
                expected,
            );
        }
    }
}

#[test]
fn rules_are_joined() {
    let input = json!({"a": 1, "b": "x"});
    let a = |n: i32| json!({"Variable": "$.a", "NumericEquals": n});
    let b = |pattern: &str| json!({"Variable": "$.b", "StringMatches": pattern});
    check(&json!({"And": [a(1), b("*")]}), &input, true);
    check(&json!({"And": [a(1), b("y*")]}), &input, false);
    check(&json!({"Or": [a(2), b("x*")]}), &input, true);
    check(&json!({"Or": [a(2), {"Not": b("*x")}]}), &input, false);
    check(
        &json!({"Not": {"And": [a(1), {"Not": b("x")}]}}),
        &input,
        true,
    );
    // What decides comes first, so that what is not there is never asked.
    let gone = json!({"Variable": "$.c", "NumericEquals": 1});
    check(&json!({"Or": [a(1), gone]}), &input, true);
    check(&json!({"And": [a(2), gone]}), &input, false);
    assert!(holds(&json!({"Or": [a(2), gone]}), &input).is_err());
}
