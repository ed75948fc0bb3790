//! The document readers against `serde_json`: the same texts are JSON, and mean
//! the same; and JSON that is read as YAML means the same as well.

use proptest::prelude::*;
use serde_json::{Number, Value, json};
use stepwell_flow::program::Kind;
use stepwell_flow::{AnyModule, compile};

/// What a Pass state's `Result` became.
fn result(definition: &str) -> Result<Value, String> {
    let checked = compile(definition, &AnyModule);
    let said: Vec<_> = checked
        .diagnostics
        .iter()
        .map(ToString::to_string)
        .collect();
    let program = checked.program.ok_or_else(|| said.join("\n"))?;
    match program.states.into_iter().next().map(|s| s.kind) {
        Some(Kind::Pass {
            result: Some(value),
        }) => Ok(value),
        other => Err(format!("{other:?}")),
    }
}

fn flow(value: &Value) -> Value {
    json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": value, "End": true}}})
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("finite", |f| Number::from_f64(f).map(Value::Number)),
        any::<String>().prop_map(Value::String),
        "[ -~]{0,12}".prop_map(Value::String),
        prop::sample::select(vec![
            "~", "null", "yes", "1e3", "0x1F", "- a", "a: b", "#", "\u{85}", "\u{feff}"
        ])
        .prop_map(|s| Value::String(s.to_owned())),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            prop::collection::vec(("[ -~é]{0,8}", inner), 0..6)
                .prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
}

/// JSON text, damaged at one place.
fn damaged() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "", ",", "\"", "\\", "\\u", "\\ud83c", "\\udd97", "0", "-", ".", "e", "+", "1e400", "nul",
        "true", "{", "}", "[", "]", ":", "/", "\t", "\n", "\u{b}", "\u{a0}", "'", "\u{0}", "01",
        "1.", ".5", "-0",
    ]);
    (values(), any::<prop::sample::Index>(), 0usize..3, piece).prop_map(
        |(value, at, cut, piece)| {
            let text: Vec<char> = flow(&value).to_string().chars().collect();
            let at = at.index(text.len());
            let head = text.iter().take(at);
            let tail = text.iter().skip(at + cut);
            head.chain(piece.chars().collect::<Vec<_>>().iter())
                .chain(tail)
                .collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_means_what_it_means_elsewhere(value in values()) {
        prop_assert_eq!(result(&flow(&value).to_string()), Ok(value.clone()));
        let pretty = serde_json::to_string_pretty(&flow(&value)).unwrap_or_default();
        prop_assert_eq!(result(&pretty), Ok(value));
    }

    #[test]
    fn json_read_as_yaml_means_the_same(value in values()) {
        let text = format!("--- \n{}", flow(&value));
        prop_assert_eq!(result(&text), Ok(value));
    }

    #[test]
    fn the_same_texts_are_json(text in damaged()) {
        prop_assume!(text.starts_with(['{', '[']));
        let elsewhere = serde_json::from_str::<Value>(&text);
        let checked = compile(&text, &AnyModule);
        let refused = checked.diagnostics.iter().find(|d| d.code == "FLOW0001");
        prop_assert_eq!(elsewhere.is_err(), refused.is_some(), "{:?} / {:?}", elsewhere, refused);
        if let (Err(e), Some(d)) = (elsewhere, refused) {
            // Both see the end of the same line; columns are counted differently.
            prop_assert!(d.line as usize <= text.lines().count() + 1, "{} {}", d, e);
        }
    }
}
