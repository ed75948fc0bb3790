//! Expressions: parsed and evaluated through the smallest flow that holds one.
//!
//! The first line is the input, the rest the expression. Each is evaluated twice:
//! the second answer must be the first. Refuses inputs that are no JSON.

use serde_json::{Value, json};
use stepwell_flow::{AnyModule, compile};

use crate::walk::walk;

/// Words of JSONPath.
pub const PATH_WORDS: &[&str] = &[
    "$",
    "$$",
    "$.",
    "..",
    "[*]",
    "[?(@.",
    "[0]",
    "[-1:]",
    "[1,2]",
    "['a']",
    "==",
    "!=",
    "&&",
    "||",
    "@",
    "length(",
    "count(",
    "match(",
    ".length()",
    ".append('a',$.b)",
    "$.sum(",
    " contains ",
    " in ['a',1]",
    "/a+/i",
    "$.Execution.Input",
    "=~",
    "\\u0041",
    "\\'",
];

/// Words of the intrinsic functions.
pub const INTRINSIC_WORDS: &[&str] = &[
    "States.Format(",
    "States.StringToJson(",
    "States.JsonToString(",
    "States.Array(",
    "States.ArrayPartition(",
    "States.ArrayContains(",
    "States.ArrayRange(",
    "States.ArrayGetItem(",
    "States.ArrayLength(",
    "States.ArrayUnique(",
    "States.Base64Encode(",
    "States.Base64Decode(",
    "States.Hash(",
    "States.JsonMerge(",
    "States.MathRandom(",
    "States.MathAdd(",
    "States.StringSplit(",
    "States.UUID()",
    "'SHA-256'",
    "'{}'",
    "\\'",
    "null",
    "true",
    "$.a",
    "-1",
];

/// Words of CloudFlow's expressions.
pub const CLOUDFLOW_WORDS: &[&str] = &[
    "$Input",
    "$Output",
    "$Global",
    "$Context",
    "$Item",
    "$Input.a",
    "$Context.Current.Error.Code",
    "format(",
    "'{}'",
    "==",
    "!=",
    "<=",
    ">=",
    "&&",
    "||",
    "!",
    "(",
    ")",
    "[0]",
    "['a']",
    "null",
    "true",
    "1.5",
    "-",
    "\\'",
];

/// Words of JSONata.
pub const JSONATA_WORDS: &[&str] = &[
    "$states.input",
    "$states.context",
    "$map(",
    "$filter(",
    "$reduce(",
    "$sort(",
    "$each(",
    "$lookup(",
    "$merge(",
    "$spread(",
    "$string(",
    "$number(",
    "$split(",
    "$join(",
    "$replace(",
    "$match(",
    "$contains(",
    "$substring(",
    "$pad(",
    "$formatNumber(",
    "$formatBase(",
    "$toMillis(",
    "$fromMillis(",
    "$eval(",
    "$partition(",
    "$range(",
    "$hash(",
    "$random()",
    "$uuid()",
    "$parse(",
    "$now()",
    "$millis()",
    "$zip(",
    "$distinct(",
    "$single(",
    "$sift(",
    "$type(",
    "$error(",
    "function($x){",
    "λ($a,$b)<nn:n>{",
    "}",
    ":=",
    "~>",
    "^(>",
    "..",
    "**",
    "*",
    "%",
    "#$i",
    "@$v",
    "? ",
    " : ",
    " and ",
    " or ",
    " in ",
    "/a+/i",
    "|$|{}|",
    "[0]",
    "[-1]",
    "{}",
    "[1..9]",
    "&",
];

/// A JSONPath where each kind of path may stand.
pub fn path(data: &[u8]) {
    with(data, |text| {
        vec![
            json!({"Type": "Pass", "Parameters": {"v.$": text}}),
            json!({"Type": "Pass", "InputPath": text}),
            json!({"Type": "Pass", "ResultPath": text}),
            json!({"Type": "Wait", "SecondsPath": text}),
        ]
    });
}

/// An intrinsic function in a template.
pub fn intrinsic(data: &[u8]) {
    with(data, |text| {
        vec![json!({"Type": "Pass", "Parameters": {"v.$": text}})]
    });
}

/// A JSONata expression: as an output, a variable, a condition, a number of seconds.
pub fn jsonata(data: &[u8]) {
    with(data, |text| {
        let text = format!("{{% {text} %}}");
        let state = |fields: Value| {
            let mut state = json!({"QueryLanguage": "JSONata"});
            if let (Some(state), Value::Object(fields)) = (state.as_object_mut(), fields) {
                state.extend(fields);
            }
            state
        };
        vec![
            state(json!({"Type": "Pass", "Output": {"v": text}, "Assign": {"w": text}})),
            state(json!({"Type": "Wait", "Seconds": text})),
        ]
    });
}

/// A CloudFlow expression in a constructor, and as a condition.
pub fn cloudflow(data: &[u8]) {
    let machine = |state: Value| {
        json!({"Type": "StateMachine", "SpecVersion": "v1", "Name": "f", "StartAt": "A",
        "States": [state, {"Type": "Succeed", "Name": "B"}]})
    };
    evaluated(data, |text| {
        vec![
            machine(
                json!({"Type": "Pass", "Name": "A", "OutputConstructor": {"v.$": text}, "Next": "B"}),
            ),
            machine(
                json!({"Type": "Choice", "Name": "A", "Branches": [{"Condition": text, "Next": "B"}], "Default": "B"}),
            ),
        ]
    });
}

fn with(data: &[u8], states: impl Fn(&str) -> Vec<Value>) {
    evaluated(data, |text| {
        let definition = |mut state: Value| {
            state["End"] = json!(true);
            json!({"StartAt": "A", "States": {"A": state}})
        };
        states(text).into_iter().map(definition).collect()
    });
}

fn evaluated(data: &[u8], definitions: impl Fn(&str) -> Vec<Value>) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (input, expression) = text.split_once('\n').unwrap_or(("{}", text));
    let input = if serde_json::from_str::<Value>(input).is_ok() {
        input
    } else {
        "{}"
    };
    for definition in definitions(expression) {
        if let Some(program) = compile(&definition.to_string(), &AnyModule).program {
            let first = walk(&program, input);
            assert_eq!(first, walk(&program, input), "a second evaluation differs");
        }
    }
}
