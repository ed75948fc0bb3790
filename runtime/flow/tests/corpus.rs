//! Definitions that nobody here wrote: each either compiles, or is refused for
//! a reason that this file names. Passed over where the corpora are absent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stepwell_flow::expression::{Query, Segment};
use stepwell_flow::program::DataFlow;
use stepwell_flow::{AnyModule, Checked, Severity, compile};

fn corpora() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    if root.is_dir() {
        return Some(root);
    }
    println!("no corpora beside the repository: nothing to check");
    None
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(json_files(&path));
        } else if path.extension().is_some_and(|e| e == "json") {
            all.push(path);
        }
    }
    all.sort();
    all
}

/// Codes of the errors, each once.
fn codes(checked: &Checked) -> Vec<&'static str> {
    let mut codes: Vec<_> = checked
        .diagnostics
        .iter()
        .filter(|d| d.severity == Severity::Error)
        .map(|d| d.code)
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

fn shown(checked: &Checked) -> String {
    let all: Vec<_> = checked
        .diagnostics
        .iter()
        .map(ToString::to_string)
        .collect();
    all.join("\n  ")
}

/// Every recorded definition that Step Functions accepted compiles, unless it
/// uses a part of the language that is not supported yet; those that it refused
/// are refused.
#[test]
fn recorded_definitions() {
    let Some(root) = corpora() else { return };
    let mut counts: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for path in json_files(&root.join("asl")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let case: Value = serde_json::from_str(&text).unwrap();
        let definition = case["definition"].to_string();
        let checked = compile(&definition, &AnyModule);
        let error = case["expected"].to_string();
        let refused = case["kind"] == "create_state_machine_error"
            && error.contains("Invalid State Machine Definition");
        let category = path
            .parent()
            .and_then(Path::file_name)
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let count = counts.entry(category).or_default();
        let codes = codes(&checked);
        if codes == ["FLOW0026"] {
            count[2] += 1;
        } else if checked.program.is_some() != refused {
            count[0] += 1;
        } else {
            count[1] += 1;
            wrong.push(format!("{}\n  {}", path.display(), shown(&checked)));
        }
    }
    println!("category: right, wrong, not supported yet");
    for (category, [right, wrong, later]) in &counts {
        println!("{category}: {right}, {wrong}, {later}");
    }
    let total = counts
        .values()
        .fold([0; 3], |a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]]);
    println!("all: {}, {}, {}", total[0], total[1], total[2]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(total[0] >= 400, "the corpus shrank: {total:?}");
}

/// The validator's own suite: valid ones compile or are not supported yet, and
/// invalid ones are refused, but for those listed.
#[test]
fn validator_suite() {
    let Some(root) = corpora() else { return };
    let accepted = [
        // An unreachable state is a warning here.
        "invalid-unreachable-state.json",
        // Step Functions takes {%10%} and {%  10  %} alike: blanks there mean nothing.
        "invalid-jsonata-surround-syntax-no-spaces.json",
        "invalid-json-surround-syntax-extra-spaces.json",
    ];
    let refused = [
        // No identifier, which a variable's name must be: "top-level".
        "valid-assign.asl.json",
        // CloudFormation substitutions ("${…}", Fn::GetAtt) must be filled in before.
        "valid-cfn-definition-substitutions.json",
        "valid-task-intrisic-function.json",
        // A state in JSONPath within a JSONata flow, which Step Functions refuses.
        "valid-map-with-item-batcher-jsonata.json",
        // Its Credentials have no RoleArn, which Step Functions refuses.
        "valid-task-credentials.json",
    ];
    let (mut right, mut later, mut wrong) = (0, 0, Vec::new());
    for path in json_files(&root.join("asl-validator")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let checked = compile(&std::fs::read_to_string(&path).unwrap(), &AnyModule);
        let codes = codes(&checked);
        let valid = (name.starts_with("valid-") && !refused.contains(&name.as_str()))
            || accepted.contains(&name.as_str());
        if valid && codes == ["FLOW0026"] {
            later += 1;
        } else if checked.program.is_some() == valid {
            right += 1;
        } else {
            wrong.push(format!("{name}\n  {}", shown(&checked)));
        }
    }
    println!(
        "right {right}, not supported yet {later}, wrong {}",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(right >= 60, "the corpus shrank: {right}");
}

/// What a path selects, as the evaluator will.
fn select<'v>(query: &Query, root: &'v Value) -> Vec<&'v Value> {
    match query {
        Query::Whole => vec![root],
        Query::Indefinite(path) => path.query.query(root).all(),
        Query::Definite(segments) => {
            let found = segments
                .iter()
                .try_fold(root, |value, segment| match segment {
                    Segment::Name(name) => value.get(&**name),
                    Segment::Index(index) => {
                        let items = value.as_array()?;
                        let back = usize::try_from(index.unsigned_abs()).ok()?;
                        let at = if *index < 0 {
                            items.len().checked_sub(back)?
                        } else {
                            back
                        };
                        items.get(at)
                    }
                });
            found.into_iter().collect()
        }
    }
}

/// The compliance suite of RFC 9535: every valid selector means here what it
/// means there. (Invalid ones are partly Jayway's spelling, and accepted.)
#[test]
fn jsonpath_suite() {
    let Some(root) = corpora() else { return };
    let text = std::fs::read_to_string(root.join("jsonpath/cts.json")).unwrap();
    let suite: Value = serde_json::from_str(&text).unwrap();
    let (mut same, mut other, mut refused) = (0, Vec::new(), 0);
    for case in suite["tests"].as_array().unwrap() {
        let selector = &case["selector"];
        let flow = json!({"StartAt": "A", "States": {
            "A": {"Type": "Pass", "InputPath": selector, "End": true}}});
        let checked = compile(&flow.to_string(), &AnyModule);
        if case["invalid_selector"] == true {
            refused += usize::from(checked.program.is_none());
            continue;
        }
        let said = shown(&checked);
        let path = checked
            .program
            .as_ref()
            .and_then(|p| match &p.states.first()?.data {
                DataFlow::JsonPath(fields) => fields.input_path.as_ref(),
                DataFlow::Jsonata(_) | DataFlow::CloudFlow(_) => None,
            });
        let got = match path {
            Some(path) => json!(select(&path.query, &case["document"])),
            None => json!(said),
        };
        let results = case.get("results").and_then(Value::as_array);
        // A pattern from the data could cost any amount of time to compile.
        let from_data = said.contains("must be a string in the path itself");
        if from_data && selector.as_str().is_some_and(|s| s.contains("regex")) {
            println!("CANNOT {selector}: a pattern from the data");
            continue;
        }
        if got == case["result"] || results.is_some_and(|all| all.contains(&got)) {
            same += 1;
        } else {
            other.push(format!("{selector} {}: {got}", case["name"]));
        }
    }
    println!(
        "same {same}, other {}, invalid and refused {refused}",
        other.len()
    );
    assert!(other.is_empty(), "{}", other.join("\n"));
    assert!(same >= 452, "the corpus shrank: {same}");
}
