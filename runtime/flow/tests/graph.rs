//! Pictures of programs: what is in them, that nothing of a flow becomes markup, and that
//! every recorded definition can be drawn.

use serde_json::json;
use stepwell_flow::{AnyModule, Program, compile, graph};

fn program(definition: &str) -> Program {
    let checked = compile(definition, &AnyModule);
    checked
        .program
        .unwrap_or_else(|| panic!("{:?}", checked.diagnostics))
}

fn sample() -> Program {
    let flow = json!({"StartAt": "Decide", "States": {
        "Decide": {"Type": "Choice", "Default": "No",
            "Choices": [{"Variable": "$.n", "NumericGreaterThan": 3, "Next": "Both"}]},
        "Both": {"Type": "Parallel", "Next": "Decide",
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "No"}],
            "Branches": [
                {"StartAt": "A <b>\"&", "States": {"A <b>\"&": {"Type": "Task", "Resource": "wasm:a", "End": true}}},
                {"StartAt": "B", "States": {"B": {"Type": "Wait", "Seconds": 1, "End": true}}}]},
        "No": {"Type": "Fail", "Error": "No"}}});
    program(&flow.to_string())
}

#[test]
fn mermaid_as_reviewed() {
    expect_test::expect_file!["graph/sample.mmd"].assert_eq(&graph::mermaid(&sample()));
}

#[test]
fn dot_as_reviewed() {
    expect_test::expect_file!["graph/sample.dot"].assert_eq(&graph::dot(&sample()));
}

#[test]
fn svg_as_reviewed() {
    let svg = graph::svg(&sample());
    assert!(!svg.contains("<b>"), "{svg}");
    expect_test::expect_file!["graph/sample.svg"].assert_eq(&svg);
}

/// A condition of CloudFlow is shown as it would be written, and a name never as a list's mark.
#[test]
fn conditions_and_marks() {
    let text = r#"{"Type": "StateMachine", "SpecVersion": "v1", "StartAt": "1. first", "States": [
        {"Type": "Choice", "Name": "1. first", "Default": "- dash",
            "Branches": [{"Condition": "$Input.n>=3&&!$Input.done", "Next": "a-b.c"}]},
        {"Type": "Pass", "Name": "- dash", "End": true},
        {"Type": "Pass", "Name": "a-b.c", "End": true}]}"#;
    let mermaid = graph::mermaid(&program(text));
    let has = |part: &str| assert!(mermaid.contains(part), "{part}\n{mermaid}");
    has("{\"1#46; first\"}");
    has("[\"#45; dash<br/>Pass\"]");
    has("[\"a-b.c<br/>Pass\"]");
    has("|\"$Input.n #62;= 3 #38;#38; #33;$Input.done\"|");
}

/// Between two pairs of dollars Mermaid looks for mathematics.
#[test]
fn no_mathematics() {
    let text = r#"{"StartAt": "$$x$$", "States": {"$$x$$": {"Type": "Choice", "Default": "B", "Choices": [
        {"Variable": "$$.State.Name", "StringEqualsPath": "$$.Execution.Name", "Next": "B"}]}, "B": {"Type": "Succeed"}}}"#;
    let mermaid = graph::mermaid(&program(text));
    assert!(!mermaid.contains("$$"), "{mermaid}");
    let label = "|\"$#36;.State.Name = $#36;.Execution.Name\"|";
    assert!(mermaid.contains(label), "{mermaid}");
}

/// The box around a name of wide letters is as much wider.
#[test]
fn wide_letters_have_room() {
    let width = |name: &str| {
        let states = json!({name: {"Type": "Pass", "End": true}});
        let svg = graph::svg(&program(
            &json!({"StartAt": name, "States": states}).to_string(),
        ));
        let node = svg.split_once("<rect class=\"n\"").expect("a node").1;
        let rest = node.split_once(" width=\"").expect("its width").1;
        let number = rest.split('"').next().and_then(|n| n.parse::<f64>().ok());
        number.expect("a number")
    };
    let letters = |count| "m".repeat(count);
    assert_eq!(
        width("注文の支払いを確認").to_bits(),
        width(&letters(18)).to_bits()
    );
    assert_eq!(
        width("Prüfung der Anschrift").to_bits(),
        width(&letters(21)).to_bits()
    );
}

/// A long chain and a wide choice neither overflow the stack nor take long.
#[test]
fn large_flows_are_drawn() {
    let count = 3_000;
    let mut states = serde_json::Map::new();
    let rules: Vec<_> = (0..count)
        .map(|i| json!({"Variable": "$.n", "NumericEquals": i, "Next": format!("S{i}")}))
        .collect();
    states.insert("C".into(), json!({"Type": "Choice", "Choices": rules}));
    for i in 0..count {
        let next = format!("S{}", (i + 1) % count);
        states.insert(format!("S{i}"), json!({"Type": "Pass", "Next": next}));
    }
    states.insert("S0".into(), json!({"Type": "Succeed"}));
    let flow = json!({"StartAt": "C", "States": states});
    let svg = graph::svg(&program(&flow.to_string()));
    assert_eq!(svg.matches("<rect class=\"n\"").count(), count);
}

#[test]
fn every_recorded_definition_is_drawn() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/asl");
    let mut drawn = 0;
    for folder in std::fs::read_dir(root).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(folder.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let Ok(text) = std::fs::read_to_string(file.path()) else {
                continue;
            };
            let Ok(case) = serde_json::from_str::<serde_json::Value>(&text) else {
                continue;
            };
            if let Some(program) = compile(&case["definition"].to_string(), &AnyModule).program {
                let all = [
                    graph::svg(&program),
                    graph::dot(&program),
                    graph::mermaid(&program),
                ];
                for state in &program.states {
                    let id = state.name.chars().next().map(|_| &state.name);
                    assert!(id.is_some() && all.iter().all(|t| !t.contains("NaN")));
                }
                drawn += 1;
            }
        }
    }
    println!("{drawn} definitions drawn");
}

/// The labels of ways that leave one state together stand apart.
#[test]
fn labels_do_not_cover_each_other() {
    let text = r#"{"StartAt":"A","States":{"A":{"Type":"Choice","Choices":[
        {"Variable":"$.total","NumericGreaterThan":1000,"Next":"B"},
        {"Variable":"$.kind","StringEquals":"gift","Next":"C"}],"Default":"D"},
        "B":{"Type":"Pass","Next":"C"},"C":{"Type":"Pass","Next":"D"},"D":{"Type":"Succeed"}}}"#;
    let program = stepwell_flow::compile(text, &stepwell_flow::AnyModule);
    let svg = stepwell_flow::graph::svg(&program.program.unwrap());
    let number = |line: &str, name: &str| -> f64 {
        let rest = line.split_once(&format!(" {name}=\"")).unwrap().1;
        rest.split('"').next().unwrap().parse().unwrap()
    };
    let labels: Vec<_> = svg
        .lines()
        .filter(|line| line.starts_with("<text class=\"l\""))
        .map(|line| {
            let text = line.split(['>', '<']).nth(2).unwrap();
            (
                number(line, "x"),
                number(line, "y"),
                text.len() as f64 * 6.0,
                text,
            )
        })
        .collect();
    assert_eq!(labels.len(), 3, "{svg}");
    for (i, a) in labels.iter().enumerate() {
        for b in labels.iter().skip(i + 1) {
            let apart = (a.0 - b.0).abs() >= (a.2 + b.2) / 2.0 || (a.1 - b.1).abs() >= 12.0;
            assert!(apart, "{a:?} {b:?}");
        }
    }
}
