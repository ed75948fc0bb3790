//! JSONata's own suite (`tests/suites/jsonata`) through our evaluator: the instrumented tree,
//! our functions, our limits. What Step Functions adds or takes away is in `our_own_cases`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stepwell_flow::expression::{Expression, Jsonata, Template};
use stepwell_flow::program::DataFlow;
use stepwell_flow::{AnyModule, Program, compile};
use stepwell_interpreter::evaluate_jsonata;
use stepwell_types::Data;

/// Cases that must hold; raise it when more do.
const PASSES_MIN: usize = 1_662;
const OPERATIONS: u64 = 1_000_000;

/// Cases that cannot hold, by the start of their name, and why.
const CANNOT: &[(&str, &str)] = &[
    (
        "flattening/large#",
        "200,000 calls exceed the operations of an evaluation without data",
    ),
    (
        "function-encodeUrl/case002",
        "a lone surrogate: no Rust text can hold it",
    ),
    (
        "function-encodeUrlComponent/case002",
        "a lone surrogate: no Rust text can hold it",
    ),
    ("function-eval/", "there is no $eval, as in Step Functions"),
    (
        "function-tomillis/parseDateTime#28",
        "$now() is the event's time, not the clock's",
    ),
    (
        "range-operator/case021",
        "ten million elements exceed the operations",
    ),
    (
        "range-operator/case022",
        "ten million elements exceed the operations",
    ),
    (
        "range-operator/case023",
        "ten million elements exceed the operations",
    ),
    (
        "range-operator/case024",
        "ten million elements exceed the operations",
    ),
    (
        "tail-recursion/case002",
        "the suite's own depth limit, lower than ours",
    ),
    ("tail-recursion/case005", "our depth limit has another code"),
    ("tail-recursion/case006", "ends by operations, not by time"),
];

/// Compiles an expression as the `Output` of a Pass state.
fn parse(expression: &str) -> Result<Program, String> {
    let flow = json!({"QueryLanguage": "JSONata", "StartAt": "A", "States": {
        "A": {"Type": "Pass", "Output": format!("{{%{expression}%}}"), "End": true}}});
    let checked = compile(&flow.to_string(), &AnyModule);
    let said = format!("{:?}", checked.diagnostics);
    checked.program.ok_or(said)
}

fn query(program: &Program) -> Option<&Jsonata> {
    let DataFlow::Jsonata(fields) = &program.states.first()?.data else {
        return None;
    };
    match &fields.output {
        Some(Template::Expression(Expression::Jsonata(query))) => Some(query),
        _ => None,
    }
}

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("a file of the suite");
    serde_json::from_str(&text).expect("JSON")
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of the suite");
    let mut all: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    all.sort();
    all
}

#[test]
fn official_suite() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/suites/jsonata");
    let mut table: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let (mut failures, mut listed) = (Vec::new(), 0);
    for path in sorted(&root.join("groups")) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let Value::Object(files) = read(&path) else {
            panic!("{name} is no group");
        };
        for (file, cases) in files {
            let cases = match cases {
                Value::Array(cases) => cases,
                // A lone surrogate: run as what it is, a case that cannot be read.
                text => vec![json!({ "unreadable": text })],
            };
            for (i, case) in cases.iter().enumerate() {
                let id = format!("{name}/{file}#{i}");
                let row = table.entry(name.to_string()).or_default();
                match run(&root, case) {
                    Ok(()) => row.0 += 1,
                    Err(why) => {
                        row.1 += 1;
                        match CANNOT.iter().find(|(start, _)| id.starts_with(start)) {
                            Some((_, reason)) => {
                                listed += 1;
                                println!("CANNOT {id}: {reason}\n    {why}");
                            }
                            None => failures.push(format!("{id}: {why}")),
                        }
                    }
                }
            }
        }
    }
    let passed: usize = table.values().map(|row| row.0).sum();
    for (group, (passed, failed)) in table.iter().filter(|(_, row)| row.1 > 0) {
        println!("{group:<28} {passed:>5} passed {failed:>3} failed");
    }
    println!(
        "{passed} passed, {listed} cannot, {} failed",
        failures.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(passed >= PASSES_MIN, "{passed} cases hold");
    assert_eq!(passed + listed, 1_686, "cases");
}

/// What JSONata's own implementation says where the library beneath us would say something
/// else: words of errors, regular expressions, values.
#[test]
fn as_the_reference_has_it() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jsonata/reference.json");
    let cases = read(&file);
    let cases = cases.as_array().expect("a list");
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let expression = case["expr"].as_str().expect("an expression");
        let found = match parse(expression) {
            Ok(program) => {
                let query = query(&program).expect("a query");
                evaluate_jsonata(query, None, &Data::empty_object(), OPERATIONS)
            }
            Err(why) => Err((String::new(), why)),
        };
        let right = match (&found, case.get("result"), case.get("said")) {
            (Ok(Some(value)), Some(wanted), None) => same(value, wanted, false),
            (Ok(None), None, None) => case["undefined"] == true,
            (Err((code, said)), None, Some(wanted)) => {
                wanted == said && said.starts_with(&format!("{code}: "))
            }
            _ => false,
        };
        if !right {
            wrong.push(format!("{case}\n    {found:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Some cases of each group once more, with what we add and take away.
#[test]
fn our_own_cases() {
    let cases = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jsonata/suite.json"));
    let cases = cases.as_array().expect("a list");
    for case in cases {
        run(Path::new(""), case).unwrap_or_else(|why| panic!("{}: {why}", case["id"]));
    }
    assert!(cases.len() >= 100, "the suite shrank: {}", cases.len());
    for (expression, expected) in [
        ("$partition([1,2,3,4,5], 2)", json!([[1, 2], [3, 4], [5]])),
        ("$range(0, 10, 5)", json!([0, 5, 10])),
        ("$range(3, 1, -1)", json!([3, 2, 1])),
        (
            "$hash('abc', 'MD5')",
            json!("900150983cd24fb0d6963f7d28e17f72"),
        ),
        ("$parse('{\"a\": [1]}')", json!({"a": [1]})),
        ("$length($uuid())", json!(36)),
        ("$uuid() = $uuid()", json!(false)),
        ("$random(7) = $random(7)", json!(true)),
        ("($r := $random(); $r >= 0 and $r < 1)", json!(true)),
        ("$now()", json!("2023-11-14T22:13:20.000Z")),
        ("$millis()", json!(1_700_000_000_000_u64)),
        ("$now('[Y]-[M01]')", json!("2023-11")),
        ("$sort($shuffle([3, 1, 2]))", json!([1, 2, 3])),
        (
            "$distinct([1, 1.0, '1', {'a': 1, 'b': 2}, {'b': 2, 'a': 1}])",
            json!([1, "1", {"a": 1, "b": 2}]),
        ),
        (
            "$join(['a', 'b'], '-') & $pad('c', 3, '.')",
            json!("a-bc.."),
        ),
        ("['a', 'b'] ~> $join()", json!("ab")),
        ("$replace('abcabc', 'b', function($m){'x'}, 1)", json!(null)),
        (
            "$replace('abab', /b/, function($m){$uppercase($m.match)})",
            json!("aBaB"),
        ),
    ] {
        let program = parse(expression).expect("it parses");
        let query = query(&program).expect("a query");
        let bindings = Data::empty_object();
        let found = evaluate_jsonata(query, None, &bindings, OPERATIONS);
        match (&found, &expected) {
            (Err(_), Value::Null) => {}
            (Ok(Some(value)), expected) => {
                assert!(same(value, expected, false), "{expression}: {value}");
            }
            _ => panic!("{expression}: {found:?}"),
        }
    }
}

fn run(root: &Path, case: &Value) -> Result<(), String> {
    let Some(expression) = case["expr"].as_str() else {
        return Err(case["unreadable"].to_string());
    };
    let data = match (&case["dataset"], case.get("data")) {
        (Value::String(name), _) => Some(read(&root.join("datasets").join(format!("{name}.json")))),
        (_, data) => data.cloned(),
    };
    let data = data.map(Data::from_value);
    let bindings = Data::from_value(case.get("bindings").cloned().unwrap_or(json!({})));
    let code = case["code"]
        .as_str()
        .or_else(|| case["error"]["code"].as_str());
    let program = match parse(expression) {
        Ok(program) => program,
        Err(why) => {
            return match code {
                Some(code) if why.contains(code) => Ok(()),
                _ => Err(format!("{expression:?} does not parse: {why}")),
            };
        }
    };
    let query = query(&program).ok_or("no query")?;
    let found = evaluate_jsonata(query, data.as_ref(), &bindings, OPERATIONS);
    let shown = expression.chars().take(300).collect::<String>();
    match (found, code) {
        (Err((found, _)), Some(code)) if found == code => Ok(()),
        (Err(_), None) if case.get("error").is_some() => Ok(()),
        (Err((code, why)), wanted) => Err(format!("{shown:?}: {code} {why}, not {wanted:?}")),
        (Ok(value), Some(code)) => Err(format!("{shown:?}: {value:?}, not {code}")),
        (Ok(value), None) => {
            let undefined = case["undefinedResult"] == true;
            let wanted = case.get("result").filter(|_| !undefined);
            let unordered = case["unordered"] == true;
            match (&value, wanted) {
                (None, None) => Ok(()),
                (Some(a), Some(b)) if same(a, b, unordered) => Ok(()),
                _ => Err(format!("{shown:?}: {value:?}, not {wanted:?}")),
            }
        }
    }
}

fn same(a: &Value, b: &Value, unordered: bool) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) if unordered => {
            a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| same(a, b, false)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, unordered))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(k, v)| b.get(k).is_some_and(|w| same(v, w, unordered)))
        }
        (a, b) => a == b,
    }
}
