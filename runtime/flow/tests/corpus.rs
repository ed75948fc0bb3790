//! Definitions that nobody here wrote: each is taken or refused here as it is there, or is
//! listed with the reason why not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use serde_json::Value;
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
