//! Tables of the intrinsic functions that no recorded case calls.

use serde_json::{Value, json};
use stepwell_flow::{AnyModule, compile};
use stepwell_types::Failure;

#[path = "alone/walked.rs"]
mod alone;

/// What a call yields.
fn called(call: &str, input: &Value) -> Result<Value, Failure> {
    let flow = json!({"StartAt": "A", "States": {
        "A": {"Type": "Pass", "Parameters": {"a.$": call}, "OutputPath": "$.a", "End": true}}});
    let checked = compile(&flow.to_string(), &AnyModule);
    let program = checked
        .program
        .unwrap_or_else(|| panic!("{:?}", checked.diagnostics));
    alone::walked(&program, input.clone())
}

#[track_caller]
fn check(call: &str, input: &Value, expected: &Value) {
    let found = called(call, input);
    assert_eq!(
        found.as_ref().ok(),
        Some(expected),
        "{call} {input}: {found:?}"
    );
}

#[track_caller]
fn check_fails(call: &str, input: &Value, why: &str) {
    let failure = called(call, input).expect_err(call);
    assert_eq!(&*failure.error, "States.IntrinsicFailure", "{call}");
    let cause = format!("The function '{call}' had the following error: {why}");
    assert!(failure.cause.ends_with(&cause), "{call}: {failure:?}");
}

#[test]
fn json_is_read_and_written() {
    for (text, value) in [
        ("null", json!(null)),
        ("-0", json!(0)),
        ("1", json!(1)),
        ("1.1", json!(1.1)),
        (" true ", json!(true)),
        ("\"HelloWorld\"", json!("HelloWorld")),
        ("[1, 2, \"HelloWorld\"]", json!([1, 2, "HelloWorld"])),
        ("{\"b\": 1, \"a\": []}", json!({"b": 1, "a": []})),
        ("", json!(null)),
        (" ", json!(null)),
    ] {
        check("States.StringToJson($.t)", &json!({ "t": text }), &value);
    }
    for (value, text) in [
        (json!(null), "null"),
        (json!(1.1), "1.1"),
        (json!("a \"b\""), r#""a \"b\"""#),
        (json!([1, 2, "HelloWorld"]), r#"[1,2,"HelloWorld"]"#),
        (json!({"b": 1, "a": []}), r#"{"b":1,"a":[]}"#),
    ] {
        check(
            "States.JsonToString($.v)",
            &json!({ "v": value }),
            &json!(text),
        );
    }
    let no_text = "argument 1 must be a string, not null";
    check_fails("States.StringToJson($.t)", &json!({"t": null}), no_text);
}

#[test]
fn objects_are_merged_at_their_first_level() {
    let input = json!({"one": {"a": {"x": 1}, "b": 2}, "two": {"a": {"y": 3}, "c": 4}, "n": 1});
    let merged = json!({"a": {"y": 3}, "b": 2, "c": 4});
    check("States.JsonMerge($.one, $.two, false)", &input, &merged);
    let literal = r#"States.JsonMerge($.one, States.StringToJson('{"b": {"d": 5}}'), false)"#;
    check(literal, &input, &json!({"a": {"x": 1}, "b": {"d": 5}}));
    let escaped =
        r#"States.JsonMerge($.one, States.StringToJson(States.Format('\{"b":{}\}', $.n)), false)"#;
    check(escaped, &input, &json!({"a": {"x": 1}, "b": 1}));
    let no_object = "argument 2 must be an object, not number";
    check_fails("States.JsonMerge($.one, $.n, false)", &input, no_object);
}

#[test]
fn data_is_hashed() {
    let input = json!({"t": "input data", "o": {"a": 1}});
    for (algorithm, digest) in [
        ("MD5", "812f45842bc6d66ee14572ce20db8e86"),
        ("SHA-1", "aaff4a450a104cd177d28d18d74485e8cae074b7"),
        (
            "SHA-256",
            "b4a697a057313163aee33cd8d40c66e9f0f177e00cac2de32475ffff6169c3e3",
        ),
        (
            "SHA-384",
            "d28a7d5cf25a74f11a50a18452b75e04bb3d70c9dd0510d6123aa008c756511b87525bdc835ebb27e1fb9e9374a15562",
        ),
        (
            "SHA-512",
            "6ce4adb348546d4f449c4d25aad9a7c9cb711d9e91982d3f0b29ca2f3f47d4ce2deba23bf2954f0f1d593fc50283731a533d30d425402d4f91316d871303aac4",
        ),
    ] {
        let call = format!("States.Hash($.t, '{algorithm}')");
        check(&call, &input, &json!(digest));
    }
    // Of what is no text the JSON is hashed.
    check(
        "States.Hash($.o, 'MD5')",
        &input,
        &json!("bb6cb5c68df4652941caf652a366f2d8"),
    );
}

#[test]
fn numbers_are_added_and_drawn() {
    for (one, other, sum) in [
        (json!(-9), json!(3), -6),
        (json!(1.49), json!(1.50), 3),
        (json!(1.50), json!(1.51), 4),
        (json!(-1.5), json!(-1.51), -3),
        (json!(0.0), json!(-0.0), 0),
    ] {
        let input = json!({"a": one, "b": other});
        check("States.MathAdd($.a, $.b)", &input, &json!(sum));
    }
    let no_number = "argument 2 must be a number, not string";
    check_fails("States.MathAdd(1, $.b)", &json!({"b": "1"}), no_number);
    for (from, to, drawn_from) in [
        (json!(12.5), json!(44.51), 13..45),
        (json!(9_999), json!(99_999), 9_999..99_999),
        (json!(-99_999), json!(-9_999), -99_999..-9_999),
    ] {
        let input = json!({"from": from, "to": to, "seed": 3});
        let seeded = "States.MathRandom($.from, $.to, $.seed)";
        for call in ["States.MathRandom($.from, $.to)", seeded] {
            let drawn = called(call, &input).ok().and_then(|v| v.as_i64());
            let drawn = drawn.expect("a whole number");
            assert!(drawn_from.contains(&drawn), "{call} {input}: {drawn}");
        }
        let again = called(seeded, &input).expect("a number");
        check(seeded, &input, &again);
    }
    let empty = "the end must be greater than the start";
    check_fails("States.MathRandom(3, 3)", &json!({}), empty);
}

#[test]
fn ids_are_random_and_of_version_4() {
    let call = "States.Array(States.UUID(), States.UUID())";
    let drawn = called(call, &json!({})).expect("two ids");
    let ids: Vec<&str> = drawn
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
    for id in ids {
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(id.as_bytes()[14], b'4', "{id}");
        assert!(b"89ab".contains(&id.as_bytes()[19]), "{id}");
    }
}
