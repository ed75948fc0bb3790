//! Where a problem is said to be: inside of strings too, and at the field that causes it.

use std::sync::Arc;

use stepwell_flow::{AnyModule, Diagnostic, Resolve, Unresolved, compile};
use stepwell_types::Digest;

/// What stands in the text from each diagnostic's place on, with its code.
fn places(text: &str, found: &[Diagnostic]) -> Vec<String> {
    let rest = |d: &Diagnostic| -> Option<String> {
        let line = text.lines().nth(d.line as usize - 1)?;
        Some(line.chars().skip(d.column as usize - 1).take(8).collect())
    };
    let show = |d: &Diagnostic| format!("{} {}", d.code, rest(d).unwrap_or_default());
    found.iter().map(show).collect()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let found = compile(text, &AnyModule).diagnostics;
    let said: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(places(text, &found), expected, "{}", said.join("\n"));
}

/// A JSONata flow of one Pass whose `Output` is written like this.
fn output(written: &str) -> String {
    format!(
        "QueryLanguage: JSONata\nStartAt: A\nStates:\n  A:\n    Type: Pass\n    Output: {written}\n    End: true\n"
    )
}

#[test]
fn inside_of_strings() {
    check(&output("'{% 1 + ) %}'"), &["FLOW0032 ) %}'"]);
    check(&output("\"{% 'a\\u00e9\\n' & ) %}\""), &["FLOW0032 ) %}\""]);
    check(&output("'{% ''it'' & ) %}'"), &["FLOW0032 ) %}'"]);
    check(
        &output("|-\n      {% (\n        1 +\n          ) ) %}"),
        &["FLOW0032 ) ) %}"],
    );
    check(
        &output(">-\n      {% 1 +\n\n      [2, ) ] %}"),
        &["FLOW0032 ) ] %}"],
    );
    check(&output("'{% 1 +\n      2 + ) %}'"), &["FLOW0032 ) %}'"]);
    check(&output("\"{% 1 \\\n      + ) %}\""), &["FLOW0032 ) %}\""]);
    let json = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true,
        "Parameters": {"x.$": "States.Format('\u00e9 {}', $.a, 1 2)", "y.$": "$.a\\.b[?("}}}}"#;
    check(json, &["FLOW0018 2)\", \"y.", "FLOW0016 \"}}}}"]);
}

#[test]
fn an_express_flow_is_told_at_the_field() {
    struct Express;
    impl Resolve for Express {
        fn module(&self, n: &str, v: Option<&str>, f: Option<&str>) -> Result<Digest, Unresolved> {
            AnyModule.module(n, v, f)
        }
        fn modules(&self) -> Vec<(Arc<str>, Digest)> {
            AnyModule.modules()
        }
        fn express(&self) -> bool {
            true
        }
    }
    let text = "StartAt: A\nStates:\n  A:\n    Type: Task\n    Resource: callback\n    End: true\n";
    let found = compile(text, &Express).diagnostics;
    assert_eq!(places(text, &found), ["FLOW0036 callback"]);
    let text = "Type: StateMachine\nSpecVersion: v1\nName: a\nStartAt: A\nStates:\n- Type: Task\n  Name: A\n  Action: FC:InvokeFunction\n  TaskMode: WaitForCustomCallback\n  Parameters: {resourceArn: 'acs:fc:r:1:functions/one'}\n  End: true\n";
    let found = compile(text, &Express).diagnostics;
    let places = places(text, &found);
    assert!(
        places.contains(&"FLOW0036 WaitForC".to_owned()),
        "{places:?}"
    );
    // A step's end is waited for here in any mode; CloudFlow has one mode for these.
    let text = text.replace("Custom", "System");
    let checked = compile(&text, &Express);
    let places = self::places(&text, &checked.diagnostics);
    assert!(checked.program.is_some(), "{places:?}");
    assert!(
        places.contains(&"FLOW0104 WaitForS".to_owned()),
        "{places:?}"
    );
    let places = self::places(&text, &compile(&text, &AnyModule).diagnostics);
    assert!(
        !places.contains(&"FLOW0104 WaitForS".to_owned()),
        "{places:?}"
    );
}

/// A JSONPath flow; states as JSON without the braces around.
fn flow(states: &str) -> String {
    format!("{{\"StartAt\": \"A\", \"States\": {{\n{states}\n}}}}")
}

#[test]
fn variables_that_no_way_sets() {
    let a = r#""A": {"Type": "Pass", "Assign": {"x": 1}, "Next": "B"},"#;
    // Set before, read after.
    check(
        &flow(&format!(
            "{a}\n{}",
            r#""B": {"Type": "Pass", "Parameters": {"v.$": "$x"}, "End": true}"#
        )),
        &[],
    );
    // Never set; a state does not see its own.
    check(
        &flow(
            r#""A": {"Type": "Pass", "Parameters": {"v.$": "States.Array(1, $y.z)"}, "Assign": {"y": 1}, "End": true}"#,
        ),
        &["FLOW0042 $y.z)\"},"],
    );
    // On one of two ways, and by a catcher.
    let choice = r#""A": {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": true, "Assign": {"x": 1}, "Next": "B"}], "Default": "B"},"#;
    let b = r#""B": {"Type": "Pass", "OutputPath": "$x", "End": true}"#;
    check(&flow(&format!("{choice}\n{b}")), &["FLOW0043 $x\", \"En"]);
    let task = r#""A": {"Type": "Task", "Resource": "wasm:a", "Assign": {"x": 1}, "Next": "B", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "B"}]},"#;
    check(&flow(&format!("{task}\n{b}")), &["FLOW0043 $x\", \"En"]);
    let both = task.replace(
        "\"Next\": \"B\"}]",
        "\"Assign\": {\"x.$\": \"$.Error\"}, \"Next\": \"B\"}]",
    );
    check(&flow(&format!("{both}\n{b}")), &[]);
    // To ask is no wrong way of reading.
    let asks = r#""A": {"Type": "Choice", "Choices": [{"Variable": "$x", "IsPresent": true, "Next": "B"}], "Default": "B"}, "B": {"Type": "Succeed"}"#;
    check(&flow(asks), &[]);
    // Nor is to read behind the question.
    let behind = |rule: &str, onward: [&str; 2], expected: &[&str]| {
        let [next, default] = onward;
        let b = format!(
            r#""B": {{"Type": "Choice", "Choices": [{{{rule}, "Next": "{next}"}}], "Default": "{default}"}},
            "C": {{"Type": "Pass", "OutputPath": "$x", "End": true}}, "D": {{"Type": "Succeed"}}"#
        );
        check(&flow(&format!("{choice}\n{b}")), expected);
    };
    let there = r#"{"Variable": "$x.y", "IsPresent": true}"#;
    let absent = r#""Variable": "$x", "IsPresent": false"#;
    let one = r#"{"Variable": "$x", "NumericEquals": 1}"#;
    let and = |a, b| format!(r#""And": [{a}, {b}]"#);
    behind(&and(there, one), ["C", "D"], &[]);
    behind(&and(one, there), ["C", "D"], &["FLOW0043 $x\", \"Nu"]);
    behind(&format!(r#""Not": {{{absent}}}"#), ["C", "D"], &[]);
    behind(absent, ["D", "C"], &[]);
    behind(absent, ["C", "D"], &["FLOW0043 $x\", \"En"]);
    let or = format!(r#""Or": [{{{absent}}}, {{"Variable": "$.b", "IsNull": true}}]"#);
    behind(&or, ["D", "C"], &[]);
    behind(&or, ["C", "D"], &["FLOW0043 $x\", \"En"]);
    // A loop sets it for its next round only.
    let round = r#""A": {"Type": "Pass", "Parameters": {"v.$": "$n"}, "Next": "B"},
        "B": {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": true, "Assign": {"n": 2}, "Next": "A"}], "Default": "C"}, "C": {"Type": "Succeed"}"#;
    check(&flow(round), &["FLOW0043 $n\"}, \"N"]);
}

#[test]
fn a_choice_may_read_what_its_rules_have_asked_for() {
    let check = |rules: &str, expected: &[&str]| {
        let states = format!(
            r#""A": {{"Type": "Choice", "Choices": [{{"Variable": "$.a", "IsPresent": true, "Assign": {{"x": 1}}, "Next": "B"}}], "Default": "B"}},
            "B": {{"Type": "Choice", "Choices": [{rules}], "Default": "C"}}, "C": {{"Type": "Succeed"}}"#
        );
        self::check(&flow(&states), expected);
    };
    let adds = r#""Assign": {"x.$": "States.MathAdd($x, 1)"}, "Next": "C""#;
    let counts = |asks: &str| format!(r#"{{"Variable": "$x", "IsPresent": {asks}, {adds}}}"#);
    check(&counts("true"), &[]);
    check(&counts("false"), &["FLOW0043 $x, 1)\"}"]);
    let absent = r#"{"Variable": "$x", "IsPresent": false, "Next": "C"}"#;
    let one = r#"{"Variable": "$x", "NumericEquals": 1, "Next": "C"}"#;
    check(&format!("{absent}, {one}"), &[]);
    check(&format!("{one}, {absent}"), &["FLOW0043 $x\", \"Nu"]);
}

#[test]
fn variables_and_graphs_within() {
    let outer = |config: &str, reads: &str| {
        flow(&format!(
            r#""A": {{"Type": "Pass", "Assign": {{"x": 1}}, "Next": "M"}},
            "M": {{"Type": "Map", "End": true, "ItemProcessor": {{{config} "StartAt": "I", "States": {{"I": {{"Type": "Pass",
            "Parameters": {{"v.$": "{reads}"}}, "End": true}}}}}}}}"#
        ))
    };
    check(&outer("", "$x"), &[]);
    check(&outer("", "$z"), &["FLOW0042 $z\"}, \"E"]);
    // What is set within is not seen outside.
    let lost = r#""A": {"Type": "Parallel", "Branches": [{"StartAt": "I", "States": {"I": {"Type": "Pass", "Assign": {"x": 1}, "End": true}}}], "Next": "B"},
        "B": {"Type": "Pass", "OutputPath": "$x", "End": true}"#;
    check(&flow(lost), &["FLOW0042 $x\", \"En"]);
    check(
        &output("'{% $x + ($y := 1; $y) + $sum([1]) %}'"),
        &["FLOW0042 $x + ($y"],
    );
    check(&output("'{% $exists($x) ? 1 : 2 %}'"), &[]);
    check(&output("'{% $exists($x) ? $x + 1 : 2 %}'"), &[]);
    let said = compile(&output("'{% $state.input %}'"), &AnyModule).diagnostics;
    assert!(
        said[0]
            .hint
            .as_deref()
            .unwrap_or_default()
            .contains("\"$states\""),
        "{}",
        said[0]
    );
}

#[test]
fn states_from_which_no_end_is_reached() {
    let text = r#""A": {"Type": "Choice", "Choices": [{"Variable": "$.a", "IsPresent": true, "Next": "B"}], "Default": "D"},
        "B": {"Type": "Pass", "Next": "C"}, "C": {"Type": "Wait", "Seconds": 1, "Next": "B"},
        "D": {"Type": "Succeed"}"#;
    check(&flow(text), &["FLOW0044 \"B\": {\"T"]);
    let cloudflow = "Type: StateMachine\nSpecVersion: v1\nName: a\nStartAt: A\nStates:\n- {Type: Pass, Name: A, Next: A}\n- {Type: Succeed, Name: B}\n";
    check(
        cloudflow,
        &["FLOW0104 StateMac", "FLOW0044 A, Next:", "FLOW0012 B}"],
    );
}

#[test]
fn a_retrier_that_never_retries() {
    let text = flow(
        r#""A": {"Type": "Task", "Resource": "wasm:a", "End": true, "Retry": [{"ErrorEquals": ["X"], "MaxAttempts": 0, "BackoffRate": 2}]}"#,
    );
    check(&text, &["FLOW0029 \"Backoff"]);
}

/// The cost of following variables is bounded: many names on many ways.
#[test]
fn many_variables_on_many_ways() {
    use std::fmt::Write as _;
    let mut text = String::from("{\"StartAt\": \"s0\", \"States\": {");
    for i in 0..1_400 {
        let _ = write!(
            text,
            r#""s{i}": {{"Type": "Pass", "Assign": {{"v{i}": 1, "w{i}.$": "$v{}"}}, "Next": "s{}"}},"#,
            i / 2,
            i + 1
        );
    }
    text.push_str(r#""s1400": {"Type": "Succeed"}}}"#);
    assert!(compile(&text, &AnyModule).program.is_some());
}

#[test]
fn one_slip_is_one_problem() {
    let choice = |choices: &str| {
        flow(&format!(
            r#""A": {{"Type": "Choice", {choices}}}, "B": {{"Type": "Succeed"}}"#
        ))
    };
    // Rules that cannot be read lead somewhere that is not known.
    check(&choice(r#""Choices": []"#), &["FLOW0023 []}, \"B\""]);
    check(&choice(r#""Choices": "x""#), &["FLOW0006 \"x\"}, \"B"]);
    check(&choice(r#""Choices": [null]"#), &["FLOW0006 null]}, "]);
    check(
        &choice(r#""Choices": [{"Variable": "$.a", "IsNull": true}]"#),
        &["FLOW0008 {\"Variab"],
    );
    // A name that is nearly a comparison is one.
    check(
        &choice(r#""Choices": [{"Variable": "$.a", "StringEqual": "x", "Next": "B"}]"#),
        &["FLOW0007 \"StringE"],
    );
    check(
        &choice(r#""Choices": [{"Variable": "$.a", "IsNullPath": "$.b", "Next": "B"}]"#),
        &["FLOW0007 \"IsNullP"],
    );
    check(
        &choice(r#""Choices": [{"Variable": "$.a", "Nothing": "x", "Next": "B"}]"#),
        &["FLOW0022 {\"Variab", "FLOW0007 \"Nothing"],
    );
    // A catcher without its Next.
    check(
        &flow(
            r#""A": {"Type": "Task", "Resource": "wasm:a", "End": true, "Catch": [{"ErrorEquals": ["X"]}]}, "B": {"Type": "Succeed"}"#,
        ),
        &["FLOW0008 {\"ErrorE"],
    );
}

#[test]
fn fields_of_the_other_language_are_the_only_problem() {
    let jsonata = |state: &str| {
        flow(&format!(
            r#""A": {{"QueryLanguage": "JSONata", {state}}}, "B": {{"Type": "Succeed"}}"#
        ))
    };
    check(
        &jsonata(
            r#""Type": "Choice", "Choices": [{"Variable": "$.a", "StringEquals": "x", "Next": "B"}]"#,
        ),
        &["FLOW0034 \"Variabl", "FLOW0034 \"StringE"],
    );
    check(
        &jsonata(r#""Type": "Wait", "SecondsPath": "$.a", "Next": "B""#),
        &["FLOW0034 \"Seconds"],
    );
    check(
        &jsonata(r#""Type": "Fail", "Error": "e", "ErrorPath": "$.a""#),
        &["FLOW0034 \"ErrorPa", "FLOW0012 \"B\": {\"T"],
    );
    let map = |fields: &str| {
        format!(
            r#""Type": "Map", "Next": "B", {fields}, "ItemProcessor": {{"ProcessorConfig": {{"Mode": "DISTRIBUTED"}}, "StartAt": "I", "States": {{"I": {{"Type": "Succeed"}}}}}}"#
        )
    };
    check(
        &jsonata(&map(
            r#""ItemBatcher": {"MaxItemsPerBatchPath": "$.a"}, "ToleratedFailureCount": 1, "ToleratedFailureCountPath": "$.a""#,
        )),
        &["FLOW0034 \"MaxItem", "FLOW0034 \"Tolerat"],
    );
    let reader = |arguments: &str, config: &str| {
        map(&format!(
            r#""ItemReader": {{"Resource": "arn:aws:states:::s3:getObject", "{arguments}": {{"Bucket": "b", "Key": "k"}}, "ReaderConfig": {{"InputType": "JSON"{config}}}}}"#
        ))
    };
    check(
        &jsonata(&reader("Arguments", r#", "MaxItemsPath": "$.a""#)),
        &["FLOW0034 \"MaxItem"],
    );
    check(&jsonata(&reader("Parameters", "")), &["FLOW0034 \"Paramet"]);
    check(
        &flow(&format!(
            r#""A": {{{}}}, "B": {{"Type": "Succeed"}}"#,
            reader("Arguments", "")
        )),
        &["FLOW0034 \"Argumen"],
    );
    // What is wrong with a label is said once.
    check(
        &flow(&format!(
            r#""A": {{{}}}, "B": {{"Type": "Succeed"}}"#,
            map("\"Label\": 1")
        )),
        &["FLOW0006 1, \"Item"],
    );
}

#[test]
fn parameters_of_services() {
    let task = |resource: &str, parameters: &str| {
        flow(&format!(
            r#""A": {{"Type": "Task", "Resource": "arn:aws:states:::{resource}", "End": true, "Parameters": {parameters}}}"#
        ))
    };
    check(&task("lambda:invoke", "\"f\""), &["FLOW0006 \"f\"}"]);
    check(&task("http:invoke", "[]"), &["FLOW0006 []}"]);
    let http = |transform: &str| {
        task(
            "http:invoke",
            &format!(
                r#"{{"ApiEndpoint": "https://a/", "Method": "POST", "Transform": {transform}}}"#
            ),
        )
    };
    check(
        &http(
            r#"{"RequestBodyEncoding": "URL_ENCODED", "RequestEncodingOptions": {"ArrayFormat": "REPEAT"}}"#,
        ),
        &[],
    );
    check(&http(r#"{"RequestBodyEncoding.$": "$.e"}"#), &[]);
    check(
        &http(
            r#"{"RequestBodyEncoding": "FORM", "RequestEncodingOptions": {"ArrayFormat": "repeat"}}"#,
        ),
        &["FLOW0020 \"FORM\", ", "FLOW0020 \"repeat\""],
    );
}

#[test]
fn cloudflow_says_a_slip_once() {
    let head = "Type: StateMachine\nSpecVersion: v1\nStartAt: A\nStates:\n";
    let errors = |text: &str| {
        let found = compile(text, &AnyModule).diagnostics;
        let notes = ["FLOW0103", "FLOW0104"];
        let found: Vec<Diagnostic> = found
            .into_iter()
            .filter(|d| !notes.contains(&d.code))
            .collect();
        places(text, &found)
    };
    // A name that no state has may be that of the state without one.
    let unnamed = format!("{head}- Type: Pass\n  Next: B\n- {{Type: Succeed, Name: B}}\n");
    assert_eq!(errors(&unnamed), ["FLOW0008 Type: Pa"]);
    let two = unnamed.replace("Next: B", "Next: C");
    assert_eq!(errors(&two), ["FLOW0008 Type: Pa", "FLOW0011 C"]);
    let steps = "version: v1\ntype: flow\nsteps:\n- {type: choice, name: a, choices: [{condition: $.a == 1, goto: b}]}\n- type: pass\n";
    assert_eq!(errors(steps), ["FLOW0008 type: pa"]);
    let choice = format!(
        "{head}- {{Type: Choice, Name: A, Branches: [], Default: A}}\n- {{Type: Succeed, Name: B}}\n"
    );
    assert_eq!(errors(&choice), ["FLOW0023 [], Defa"]);
    let mode = format!(
        "{head}- Type: Task\n  Name: A\n  Action: HTTP:Request\n  TaskMode: WaitForSystemCallback\n  Parameters: {{url: 'https://a/', method: GET}}\n  End: true\n"
    );
    assert_eq!(errors(&mode), ["FLOW0020 WaitForS"]);
    let list = r#"{"StartAt": "A", "States": [{"Type": "Succeed"}]}"#;
    assert_eq!(errors(list), ["FLOW0006 [{\"Type\""]);
}

#[test]
fn a_role_by_a_path_is_of_jsonpath() {
    let task = |more: &str| {
        flow(&format!(
            r#""A": {{"Type": "Task", "Resource": "wasm:a", "End": true, {more}}}"#
        ))
    };
    let ignored = "FLOW0029 {\"RoleAr";
    check(&task(r#""Credentials": {"RoleArn.$": "$.x"}"#), &[ignored]);
    let jsonata = r#""QueryLanguage": "JSONata", "Credentials""#;
    check(
        &task(&format!(
            r#"{jsonata}: {{"RoleArn": "{{% $states.input.x %}}"}}"#
        )),
        &[ignored],
    );
    let found = compile(
        &task(&format!(r#"{jsonata}: {{"RoleArn.$": "$.x"}}"#)),
        &AnyModule,
    );
    let codes: Vec<&str> = found.diagnostics.iter().map(|d| d.code).collect();
    assert!(codes.contains(&"FLOW0007"), "{codes:?}");
    assert!(found.program.is_none());
}

#[test]
fn a_number_that_no_language_computes() {
    let text = flow(
        r#""A": {"Type": "Task", "QueryLanguage": "JSONata", "Resource": "wasm:a", "End": true,
            "Retry": [{"ErrorEquals": ["X"], "MaxAttempts": "{% 3 %}"}]}"#,
    );
    let said = compile(&text, &AnyModule).diagnostics;
    let hint = said.first().and_then(|d| d.hint.as_deref());
    assert!(
        hint.is_some_and(|h| h.contains("no expression")),
        "{said:?}"
    );
}
