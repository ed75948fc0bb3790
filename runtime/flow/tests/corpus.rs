//! Definitions and paths that nobody here wrote: each means here what it means there, or is
//! listed with the reason why not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use serde_json::{Value, json};
use stepwell_flow::expression::{Query, Segment};
use stepwell_flow::program::DataFlow;
use stepwell_flow::resource::Target;
use stepwell_flow::{AnyModule, Checked, Resolve, Severity, Unresolved, compile};
use stepwell_types::Digest;

fn tests(folder: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests");
    root.join(folder)
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

fn shown(checked: &Checked) -> String {
    let all: Vec<_> = checked
        .diagnostics
        .iter()
        .map(ToString::to_string)
        .collect();
    all.join("\n  ")
}

/// Every recorded definition that Step Functions accepted compiles, and those that it
/// refused are refused.
#[test]
fn recorded_definitions() {
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for path in json_files(&tests("cases/asl")) {
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
        if checked.program.is_some() != refused {
            count[0] += 1;
        } else {
            count[1] += 1;
            wrong.push(format!("{}\n  {}", path.display(), shown(&checked)));
        }
    }
    println!("category: right, wrong");
    for (category, [right, wrong]) in &counts {
        println!("{category}: {right}, {wrong}");
    }
    let right: usize = counts.values().map(|c| c[0]).sum();
    println!("all: {right}, {}", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(right, 569, "cases");
}

/// Names that say "invalid" of definitions that Step Functions takes.
const TAKEN: &[(&str, &str)] = &[
    (
        "invalid-unreachable-state.json",
        "the specification does not forbid a state that nothing leads to: a warning here",
    ),
    (
        "invalid-jsonata-surround-syntax-no-spaces.json",
        "{%10%} is an expression: blanks within the marks mean nothing",
    ),
    (
        "invalid-json-surround-syntax-extra-spaces.json",
        "{%  10  %} is an expression: blanks within the marks mean nothing",
    ),
];

/// Names that say "valid" of definitions that Step Functions refuses.
const REFUSED: &[(&str, &str)] = &[
    (
        "valid-assign.asl.json",
        "\"top-level\" is no identifier, which a variable's name must be",
    ),
    (
        "valid-cfn-definition-substitutions.json",
        "CloudFormation fills in ${…} before Step Functions sees it",
    ),
    (
        "valid-task-intrisic-function.json",
        "CloudFormation puts a text where Fn::GetAtt stands before Step Functions sees it",
    ),
    (
        "valid-map-with-item-batcher-jsonata.json",
        "a state in JSONPath within a flow in JSONata",
    ),
    ("valid-task-credentials.json", "Credentials need a RoleArn"),
];

/// AWS services that definitions of the suite name and that nothing here stands for: bound
/// to a step, as `--resources` binds them.
const BOUND: &[&str] = &[
    "arn:aws:states:::batch:submitJob.sync",
    "arn:aws:states:::dynamodb:putItem",
    "arn:aws:states:::sns:publish",
    "arn:aws:states:::sqs:sendMessage",
    "arn:aws:swf:us-east-1:123456789012:task:X",
];

/// Any module, and those of [`BOUND`].
struct Bindings;

impl Resolve for Bindings {
    fn module(
        &self,
        name: &str,
        version: Option<&str>,
        function: Option<&str>,
    ) -> Result<Digest, Unresolved> {
        AnyModule.module(name, version, function)
    }

    fn flow(&self, name: &str, version: Option<u32>) -> Result<(), Unresolved> {
        AnyModule.flow(name, version)
    }

    fn binding(&self, resource: &str) -> Option<Target> {
        BOUND
            .contains(&resource)
            .then(|| Target::Resource("wasm:stand-in".to_owned()))
    }
}

/// The suite of a validator: what it calls valid compiles, and what it calls invalid is
/// refused at the place that `validator.expected` names, but for those listed above.
#[test]
fn validator_suite() {
    let (mut right, mut wrong, mut places) = (0, Vec::new(), String::new());
    for path in json_files(&tests("suites/asl-validator")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let checked = compile(&std::fs::read_to_string(&path).unwrap(), &Bindings);
        let listed = TAKEN.iter().chain(REFUSED).find(|(n, _)| *n == name);
        if let Some((_, why)) = listed {
            println!("JUDGED {name}: {why}");
        }
        let valid = name.starts_with("valid-") != listed.is_some();
        if checked.program.is_some() != valid {
            wrong.push(format!("{name}\n  {}", shown(&checked)));
            continue;
        }
        right += 1;
        let errors = checked.diagnostics.iter();
        for d in errors.filter(|d| d.severity == Severity::Error) {
            writeln!(
                places,
                "{name} {}:{} {} {}: {}",
                d.line, d.column, d.code, d.pointer, d.message
            )
            .unwrap();
        }
    }
    println!("right {right}, wrong {}", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(right, 112, "definitions");
    expect_file!["validator.expected"].assert_eq(&places);
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

fn merges(query: &Query) -> bool {
    matches!(query, Query::Indefinite(path) if path.merge.is_some())
}

/// The compliance suite of RFC 9535: every valid selector means here what it means there.
/// Invalid ones are refused, or are Jayway's spelling, which Step Functions takes.
#[test]
fn jsonpath_suite() {
    let text = std::fs::read_to_string(tests("suites/jsonpath/cts.json")).unwrap();
    let suite: Value = serde_json::from_str(&text).unwrap();
    let (mut same, mut other, mut refused, mut cannot, mut merged) = (0, Vec::new(), 0, 0, 0);
    let mut lenient = String::new();
    for case in suite["tests"].as_array().unwrap() {
        let selector = &case["selector"];
        let flow = json!({"StartAt": "A", "States": {
            "A": {"Type": "Pass", "InputPath": selector, "End": true}}});
        let checked = compile(&flow.to_string(), &AnyModule);
        if case["invalid_selector"] == true {
            if checked.program.is_none() {
                refused += 1;
            } else {
                writeln!(lenient, "{}: {selector}", case["name"].as_str().unwrap()).unwrap();
            }
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
        if path.is_some_and(|path| merges(&path.query)) {
            println!("MERGED {selector}: Jayway's library makes an object of names at the end");
            merged += 1;
            continue;
        }
        let results = case.get("results").and_then(Value::as_array);
        let from_data = said.contains("must be a string in the path itself");
        if from_data && selector.as_str().is_some_and(|s| s.contains("regex")) {
            println!("CANNOT {selector}: a pattern from the data could cost any amount of time");
            cannot += 1;
            continue;
        }
        if got == case["result"] || results.is_some_and(|all| all.contains(&got)) {
            same += 1;
        } else {
            other.push(format!("{selector} {}: {got}", case["name"]));
        }
    }
    print!("LENIENT, each as Jayway's library reads it:\n{lenient}");
    println!(
        "same {same}, cannot {cannot}, merged {merged}, other {}, invalid and refused {refused}",
        other.len()
    );
    assert!(other.is_empty(), "{}", other.join("\n"));
    assert!(same >= 443, "the corpus shrank: {same}");
    assert_eq!(merged, 9, "names at the end");
    expect_file!["lenient.expected"].assert_eq(&lenient);
}
