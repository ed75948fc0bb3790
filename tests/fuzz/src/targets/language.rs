//! Definitions: whatever the text, diagnostics; whatever compiles, walks.
//!
//! Refuses bytes that are no UTF-8: every edge does.

use stepwell_flow::{AnyModule, compile};

use crate::walk::walk;

/// Words of the language.
pub const WORDS: &[&str] = &[
    "\"StartAt\":",
    "\"States\":",
    "\"Type\":",
    "\"Next\":",
    "\"End\":true",
    "\"Task\"",
    "\"Pass\"",
    "\"Wait\"",
    "\"Choice\"",
    "\"Parallel\"",
    "\"Map\"",
    "\"Fail\"",
    "\"Succeed\"",
    "\"Branches\":[",
    "\"ItemProcessor\":",
    "\"ItemsPath\":",
    "\"ItemSelector\":",
    "\"Parameters\":",
    "\"ResultPath\":",
    "\"ResultSelector\":",
    "\"InputPath\":",
    "\"OutputPath\":",
    "\"Retry\":[",
    "\"Catch\":[",
    "\"ErrorEquals\":[",
    "\"States.ALL\"",
    "\"Choices\":[",
    "\"Variable\":",
    "\"Default\":",
    "\"Resource\":",
    "\"wasm:a\"",
    "\"callback\"",
    "\"http:request\"",
    "\"Assign\":",
    "\"Output\":",
    "\"Arguments\":",
    "\"QueryLanguage\":\"JSONata\"",
    "{% $states.input %}",
    "\"$\"",
    "\"$$\"",
    "\"Seconds\":",
    "\"Timestamp\":",
    "\"MaxConcurrency\":",
    "\"Comment\":",
    "\"And\":[",
    "\"Not\":{",
    "StartAt: ",
    "States:\n",
    "- ",
    "&a ",
    "*a",
    "!!str ",
    "|\n",
    ">-\n",
    "<<: ",
];

/// Words of both CloudFlow languages.
pub const CLOUDFLOW_WORDS: &[&str] = &[
    "Type: StateMachine\n",
    "SpecVersion: v1\n",
    "StartAt: ",
    "States:\n",
    "  - Type: Pass\n",
    "Type: Task",
    "Type: Choice",
    "Type: Map",
    "Type: Parallel",
    "Type: Wait",
    "Type: Fail",
    "Action: FC:InvokeFunction",
    "TaskMode: WaitForCustomCallback",
    "InputConstructor:",
    "OutputConstructor:",
    "GlobalConstructor:",
    "Parameters:",
    "Branches:",
    "ItemsPath: $Input.a",
    "Retry:",
    "Catch:",
    "Errors: [FnF.ALL]",
    "Next: ",
    "End: true",
    "Timeout: 0",
    "Condition: $Input.a == 1",
    "version: v1\n",
    "type: flow\n",
    "name: a\n",
    "steps:\n",
    "  - type: task\n",
    "type: foreach",
    "iterationMapping:\n",
    "collection: $.a",
    "inputMappings:\n",
    "outputMappings:\n",
    "target: a",
    "source: $local",
    "goto: a",
    "resourceArn: acs:fc:::a",
    "pattern: waitForCallback",
    "retry:\n",
    "catch:\n",
    "choices:\n",
    "condition: $.a == 1",
    "default:\n",
    "duration: 1",
    "timestamp: $.t",
];

/// Any definition: JSON, or YAML where it does not begin with a brace.
pub fn text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let checked = compile(text, &AnyModule);
    assert_eq!(
        checked.program.is_none(),
        checked
            .diagnostics
            .iter()
            .any(|d| d.severity == stepwell_flow::Severity::Error),
        "a program if and only if there is no error"
    );
    for diagnostic in &checked.diagnostics {
        assert!(!diagnostic.to_string().is_empty());
    }
    if let Some(program) = checked.program {
        walk(&program, r#"{"a":[1,{"b":"x"}],"n":3,"s":"a*"}"#);
    }
}

/// The same text as YAML, whatever it begins with.
pub fn yaml(data: &[u8]) {
    let mut with = b"# \n".to_vec();
    with.extend_from_slice(data);
    text(&with);
}
