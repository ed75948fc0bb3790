//! What is said to authors who slip: where it stands, and the way out.

use stepwell_flow::resource::{Bound, ResourceMap};
use stepwell_flow::substitute::unfilled_at;
use stepwell_flow::{AnyModule, compile};

/// The text has a problem of this code at `line:column`, and its message or hint says this.
#[track_caller]
fn check(text: &str, place: &str, code: &str, says: &str) {
    let found = compile(text, &AnyModule).diagnostics;
    let all: Vec<String> = found.iter().map(ToString::to_string).collect();
    let at = |d: &&stepwell_flow::Diagnostic| {
        d.code == code && format!("{}:{}", d.line, d.column) == place
    };
    let said = found
        .iter()
        .filter(at)
        .any(|d| d.to_string().contains(says));
    assert!(said, "{code} at {place}: {says}\n{}", all.join("\n"));
}

/// None of the problems of the text says this.
#[track_caller]
fn silent(text: &str, says: &str) {
    let found = compile(text, &AnyModule).diagnostics;
    let all: Vec<String> = found.iter().map(ToString::to_string).collect();
    let all = all.join("\n");
    assert!(!all.contains(says), "{all}");
}

/// A flow in YAML whose only state has these lines.
fn yaml(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    format!("StartAt: A\nStates:\n  A:\n{lines}    End: true\n")
}

const PASS: &str = "    Type: Pass";

#[test]
fn yaml_in_its_own_words() {
    let flow = |line: &str| yaml(&[PASS, line]);
    let expression = "put an expression in quotes";
    check(
        &flow("    Output: {% $states.input %}"),
        "5:14",
        "FLOW0001",
        expression,
    );
    check(
        &flow("    Output: {a: {% $x %}}"),
        "5:18",
        "FLOW0001",
        expression,
    );
    let mapping = "put a text that holds \": \" in quotes";
    check(&flow("    Comment: this: is"), "5:18", "FLOW0001", mapping);
    check(
        &flow("    Parameters: {a.$: 1}\n    Comment: States.Format('{}: x', $.a)"),
        "6:31",
        "FLOW0001",
        mapping,
    );
    let blank = "a blank comes after the colon";
    check(&yaml(&["    Type:Pass"]), "4:10", "FLOW0001", blank);
    check(
        "StartAt:A\nStates:\n  A: {Type: Succeed}\n",
        "1:9",
        "FLOW0001",
        blank,
    );
    let quotes = "put a text that begins with this character in quotes";
    for text in ["@x", "`x`", "*.foo"] {
        check(
            &flow(&format!("    Comment: {text}")),
            "5:14",
            "FLOW0001",
            quotes,
        );
    }
    let strange = "no space stands in the indentation";
    check(&yaml(&["\u{a0}   Type: Pass"]), "4:1", "FLOW0001", strange);
    check(&flow("   \u{a0}Comment: x"), "5:4", "FLOW0001", strange);
}

#[test]
fn tabs() {
    let tabs = "YAML indents with spaces";
    check(&yaml(&[PASS, "\t  Comment: x"]), "5:1", "FLOW0001", tabs);
    check(
        &yaml(&[PASS, "", "   \tComment: x"]),
        "6:4",
        "FLOW0001",
        tabs,
    );
    check(
        "StartAt: A\nStates:\n\tA:\n\t\tType: Succeed\n",
        "3:1",
        "FLOW0001",
        tabs,
    );
    // A tab that is no fault is none.
    silent("StartAt: A # a\ttab\nStates:\n  A: {Type: Succeed\n", tabs);
}

#[test]
fn types() {
    check(
        &yaml(&["    type: Pass"]),
        "4:5",
        "FLOW0008",
        "did you mean \"Type\"?",
    );
    check(
        &yaml(&["    Tpye: Pass"]),
        "4:5",
        "FLOW0008",
        "did you mean \"Type\"?",
    );
    check(
        "Type: StateMachine\nSpecVersion: v1\nName: a\nStartAt: A\nStates:\n- {Name: A, type: Succeed}\n",
        "6:13",
        "FLOW0008",
        "did you mean \"Type\"?",
    );
    check(
        "version: v1\ntype: flow\nname: a\nsteps:\n- {Type: succeed, name: a}\n",
        "5:4",
        "FLOW0008",
        "did you mean \"type\"?",
    );
    // The type of something else is none of a state's.
    check(
        &yaml(&["    Comment: Pass"]),
        "4:5",
        "FLOW0008",
        "needs the field \"Type\"",
    );
    let list = "StartAt: A\nStates:\n- A:\n    Type: Pass\n    End: true\n";
    check(
        list,
        "3:3",
        "FLOW0006",
        "in Amazon States Language States is an object",
    );
    assert_eq!(compile(list, &AnyModule).diagnostics.len(), 1);
}

#[test]
fn constants() {
    let wait = |line: &str| yaml(&["    Type: Wait", line]);
    check(
        &wait("    Seconds: $.s"),
        "5:14",
        "FLOW0006",
        "SecondsPath takes a path",
    );
    check(
        &wait("    Seconds: '{% 1 %}'"),
        "5:14",
        "FLOW0006",
        "\"QueryLanguage\": \"JSONata\"",
    );
    check(
        &wait("    Timestamp: $.t"),
        "5:16",
        "FLOW0019",
        "TimestampPath takes a path",
    );
    check(
        &wait("    Seconds: '5'"),
        "5:14",
        "FLOW0006",
        "without quotes: 5",
    );
    check(
        &wait("    Seconds: ${S}"),
        "5:14",
        "FLOW0006",
        "--set S=VALUE",
    );
    check(
        &wait("    Seconds: '${S}'"),
        "5:14",
        "FLOW0006",
        "take the quotes away",
    );
    let task = |line: &str| yaml(&["    Type: Task", "    Resource: wasm:a", line]);
    check(
        &task("    TimeoutSeconds: $.t"),
        "6:21",
        "FLOW0006",
        "TimeoutSecondsPath takes",
    );
    let end = "StartAt: A\nStates:\n  A:\n    Type: Pass\n    End: yes\n";
    check(end, "5:10", "FLOW0006", "YAML 1.2 knows true and false");
    check(
        "StartAt: 1\nStates: {A: {Type: Succeed}}\n",
        "1:10",
        "FLOW0006",
        "in quotes: \"1\"",
    );
    let choice = |test: &str| {
        format!(
            "StartAt: A\nStates:\n  A:\n    Type: Choice\n    Choices:\n    - {{Variable: $.a, {test}, Next: B}}\n  B: {{Type: Succeed}}\n"
        )
    };
    check(
        &choice("NumericEquals: $.b"),
        "6:38",
        "FLOW0006",
        "NumericEqualsPath takes a path",
    );
    check(
        &choice("StringEquals: $.b"),
        "6:37",
        "FLOW0046",
        "StringEqualsPath takes a path",
    );
    silent(&choice("StringMatches: $.b"), "FLOW0046");
    let own = |state: &str| {
        format!(
            "Type: StateMachine\nSpecVersion: v1\nName: a\nStartAt: A\nStates:\n- {{Name: A, {state}}}\n"
        )
    };
    let dotted = "Seconds.$ takes an expression";
    check(
        &own("Type: Wait, Seconds: $Input.s, End: true"),
        "6:34",
        "FLOW0006",
        dotted,
    );
    let http =
        "Type: Task, Action: HTTP:Request, Parameters: {method: GET, url: $Input.u}, End: true";
    check(&own(http), "6:78", "FLOW0020", "url.$ takes an expression");
    let fail = own("Type: Fail, Code: $Input.c, Detail: x");
    check(&fail, "6:31", "FLOW0046", "takes a text and no expression");
    let old = "version: v1\ntype: flow\nname: a\nsteps:\n- {type: fail, name: a, error: $input.c, cause: $.d}\n";
    check(old, "5:32", "FLOW0046", "takes a text and no expression");
    check(old, "5:49", "FLOW0046", "takes a text and no expression");
}

#[test]
fn placeholders() {
    let json = r#"{"StartAt":"A","States":{"A":{"Type":"Wait","Seconds":${Secs},"End":true}}}"#;
    check(json, "1:55", "FLOW0001", "--set Secs=VALUE");
    let flow = "StartAt: A\nStates:\n  A: {Type: Wait, Seconds: ${Secs}, End: true}\n";
    check(flow, "3:29", "FLOW0001", "--set Secs=VALUE");
    assert_eq!(unfilled_at(flow, 3, 29), Some(("Secs", 28)));
    assert_eq!(unfilled_at(flow, 3, 30), None);
    assert_eq!(unfilled_at(flow, 0, 0), None);
    assert_eq!(unfilled_at(flow, 9, 1), None);
    let start = r#"{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::states:startExecution",
"Parameters":{"StateMachineArn":"${Flow}"},"End":true}}}"#;
    check(start, "2:33", "FLOW0024", "--set Flow=VALUE");
    let call = r#"{"StartAt":"A","States":{"A":{"Type":"Task","Resource":"arn:aws:states:::http:invoke",
"Parameters":{"Method":"GET","ApiEndpoint":"${Url}/x"},"End":true}}}"#;
    check(call, "2:44", "FLOW0020", "--set Url=VALUE");
}

#[test]
fn names_of_errors() {
    let flow = |name: &str| {
        format!(
            "Type: StateMachine\nSpecVersion: v1\nName: a\nStartAt: A\nStates:\n- Name: A\n  Type: Task\n  Action: FC:InvokeFunction\n  Parameters: {{resourceArn: 'acs:fc:r:1:functions/a'}}\n  Catch: [{{Errors: [{name}], Next: B}}]\n  End: true\n- {{Name: B, Type: Succeed}}\n"
        )
    };
    check(
        &flow("FnF.All"),
        "10:21",
        "FLOW0021",
        "did you mean \"FnF.ALL\"?",
    );
    check(
        &flow("fnf.ALL"),
        "10:21",
        "FLOW0021",
        "did you mean \"FnF.ALL\"?",
    );
    check(
        &flow("FnF.TaskTimeOut"),
        "10:21",
        "FLOW0021",
        "did you mean \"FnF.TaskTimeout\"?",
    );
    check(
        &flow("FnF.Whatever"),
        "10:21",
        "FLOW0021",
        "docs/cloudflow.md",
    );
    for good in [
        "FnF.ALL",
        "FnF.Timeout",
        "FnF.Http.StatusCode.404",
        "Own.Error",
        "FC.Unknown",
    ] {
        silent(&flow(good), "FLOW0021");
    }
}

#[test]
fn names_in_jsonata_have_their_place() {
    let flow = |output: &str| format!("QueryLanguage: JSONata\n{}", yaml(&[PASS, output]));
    check(
        &flow("    Output: \"{% 1 + $uppercas('x') %}\""),
        "6:21",
        "FLOW0045",
        "$uppercase",
    );
    let lines = "    Output: |-\n      {% (\n        1 +\n        $states.inputs.a) %}";
    check(&flow(lines), "9:9", "FLOW0045", "$states.input");
    check(
        &flow("    Output: \"{% $states.result %}\""),
        "6:17",
        "FLOW0037",
        "no value here",
    );
    let context = "    Output: \"{% $states.context.Execution.Nme %}\"";
    check(
        &flow(context),
        "6:17",
        "FLOW0045",
        "$states.context.Execution.Name",
    );
    let block = flow("    Output: |\n      {% $states.input %}");
    check(&block, "7:7", "FLOW0032", "`|-`");
    check(
        &flow("    Output: '{% 1 == 1 %}'"),
        "6:20",
        "FLOW0032",
        "equality is =",
    );
}

#[test]
fn a_name_twice_is_said_once() {
    let flow = "Type: StateMachine\nSpecVersion: v1\nName: a\nStartAt: A\nStates:\n- {Name: A, Type: Succeed}\n- {Name: A, Type: Succeed}\n";
    check(flow, "7:10", "FLOW0014", "first at line 6");
    silent(flow, "FLOW0012");
    let old = "version: v1\ntype: flow\nname: a\nsteps:\n- {type: pass, name: a}\n- {type: pass, name: a}\n";
    check(old, "6:22", "FLOW0014", "first at line 5");
}

#[test]
fn a_binding_without_the_suffix_is_another_name() {
    let base = "arn:aws:states:::sns:publish";
    let map = ResourceMap::new([(base.to_owned(), "wasm:sns".to_owned())].into()).expect("a map");
    let resolve = Bound {
        inner: &AnyModule,
        map: &map,
    };
    let flow = format!(
        r#"{{"StartAt":"A","States":{{"A":{{"Type":"Task","Resource":"{base}.waitForTaskToken","TimeoutSeconds":1,"End":true}}}}}}"#
    );
    let found = compile(&flow, &resolve).diagnostics;
    let said = found.first().expect("a problem").to_string();
    assert!(said.contains("sns:publish.waitForTaskToken\""), "{said}");
    assert!(said.contains("bind it too"), "{said}");
}

#[test]
fn a_flow_that_is_called_otherwise() {
    struct Published;
    impl stepwell_flow::Resolve for Published {
        fn module(
            &self,
            name: &str,
            version: Option<&str>,
            function: Option<&str>,
        ) -> Result<stepwell_types::Digest, stepwell_flow::Unresolved> {
            AnyModule.module(name, version, function)
        }
        fn name(&self) -> Option<&str> {
            Some("orders")
        }
    }
    let new = "Type: StateMachine\nSpecVersion: v1\nName: orders\nStartAt: A\nStates: [{Name: A, Type: Succeed}]\n";
    let old = "version: v1\ntype: flow\nname: orders\nsteps: [{type: succeed, name: a}]\n";
    for flow in [new, old] {
        let said = |text: &str| {
            let found = compile(text, &Published).diagnostics;
            found
                .iter()
                .any(|d| d.message.contains("published as \"orders\""))
        };
        assert!(!said(flow), "{flow}");
        assert!(said(&flow.replace(": orders", ": pay")), "{flow}");
    }
}

/// A function at the end of a path: each language's own way to write it is said, and no other's.
#[test]
fn functions_of_paths() {
    let asl = r#"{"StartAt":"A","States":{"A":{"Type":"Pass","InputPath":"$.a.frobnicate()","End":true}}}"#;
    check(asl, "1:72", "FLOW0016", "States.ArrayLength($.list)");
    let cloudflow = |path: &str| {
        format!(
            "Type: StateMachine\nSpecVersion: v1\nName: a\nStartAt: A\nStates:\n- {{Name: A, Type: Pass, End: true, OutputConstructor: {{a.$: '{path}'}}}}\n"
        )
    };
    for path in [
        "$Input.a.frobnicate()",
        "$Input.a.lenght()",
        "$Input.a.length()",
    ] {
        let text = cloudflow(path);
        let found = compile(&text, &AnyModule).diagnostics;
        let all: Vec<String> = found.iter().map(ToString::to_string).collect();
        let all = all.join("\n");
        assert!(all.contains("length($Input.list)"), "{path}: {all}");
        assert!(!all.contains("States."), "{path}: {all}");
    }
    silent(&cloudflow("$Input.a[?(@.b.frobnicate() > 1)]"), "States.");
    silent(&cloudflow("$Input.a[?(@.b.length() > 1)]"), "FLOW0101");
}

/// A distributed Map goes through an object's fields, an inline one through arrays alone.
#[test]
fn objects_as_items() {
    let map = |mode: &str, items: &str| {
        format!(
            r#"{{"QueryLanguage":"JSONata","StartAt":"M","States":{{"M":{{"Type":"Map","Items":{items},"End":true,"ItemSelector":{{"k":"{{% $states.context.Map.Item.Key %}}"}},"ItemProcessor":{{"ProcessorConfig":{{"Mode":"{mode}"}},"StartAt":"X","States":{{"X":{{"Type":"Pass","End":true}}}}}}}}}}}}"#
        )
    };
    silent(&map("DISTRIBUTED", r#"{"a":1}"#), "FLOW");
    let inline = map("INLINE", r#"{"a":1}"#);
    check(&inline, "1:78", "FLOW0006", "must be an array, or a string");
    let neither = map("DISTRIBUTED", "7");
    check(&neither, "1:78", "FLOW0006", "an array or object");
}
