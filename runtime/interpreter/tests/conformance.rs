//! What Step Functions itself answered, case by case: status, output, error, and the whole history.
//!
//! Drives the interpreter directly, in virtual time, with five lambda behaviours. The
//! cases lie beside the repository (`../shared/corpora/asl`); where they don't, the test says so and passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use stepwell_flow::{AnyModule, Program, Resolve, Unresolved, compile};
use stepwell_interpreter::{
    Command, Event, HistoryEvent, Outcome, State, codec, outstanding, step,
};
use stepwell_types::{
    Data, Digest, EntryId, ExecutionId, Failure, FlowRef, ShardId, Spent, StepTarget, Timestamp,
};

/// Cases in scope that must hold; raise it when more do, never lower it.
const PASSES_MIN: usize = 559;

/// Cases in scope that cannot hold, and why.
const CANNOT: [(&str, &str); 2] = [
    (
        "assign.TestAssignBase_test_base_parallel_cases_BASE_SCOPE_PARALLEL_.json",
        "the recording sorts its three branches' events by type and lacks ParallelStateSucceeded",
    ),
    (
        "credentials.TestCredentialsBase_test_cross_account_lambda_task.json",
        "Credentials names an AWS role: it has no effect here, and the history does not show it",
    ),
];

#[test]
fn conformance() {
    let Some(root) = corpus() else {
        println!("passed over: there is no ../shared/corpora/asl beside the repository");
        return;
    };
    let mut table: BTreeMap<String, (usize, usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    for path in cases(&root) {
        let text = std::fs::read_to_string(&path).expect("a readable case");
        let case: Value = serde_json::from_str(&text).expect("a case in JSON");
        let category = case["category"].as_str().unwrap_or("?").to_owned();
        let row = table.entry(category).or_default();
        if out_of_scope(&case) {
            row.2 += 1;
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let cannot = CANNOT.iter().find(|c| c.0 == name);
        match run_case(&case) {
            Ok(()) => row.0 += 1,
            Err(_) if let Some((name, why)) = cannot => {
                row.2 += 1;
                println!("CANNOT {name}\n    {why}");
            }
            Err(why) => {
                row.1 += 1;
                failures.push(format!("{name}\n    {why}"));
            }
        }
    }
    for failure in &failures {
        println!("FAILED {failure}");
    }
    println!(
        "{:<22} {:>6} {:>6} {:>12}",
        "category", "passed", "failed", "out of scope"
    );
    let mut passed = 0;
    for (category, (pass, fail, out)) in &table {
        println!("{category:<22} {pass:>6} {fail:>6} {out:>12}");
        passed += pass;
    }
    println!("{passed} passed, {} failed", failures.len());
    assert!(
        passed >= PASSES_MIN,
        "{passed} cases hold, {PASSES_MIN} did before"
    );
    assert!(
        failures.is_empty(),
        "{} cases in scope do not hold",
        failures.len()
    );
}

/// The part of the cases that lies in this repository.
#[test]
fn cases_of_this_repository() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut held = 0;
    for file in std::fs::read_dir(folder).expect("the cases").flatten() {
        if file.path().extension().is_some_and(|e| e == "json") {
            let text = std::fs::read_to_string(file.path()).expect("a readable case");
            let case: Value = serde_json::from_str(&text).expect("a case in JSON");
            run_case(&case).unwrap_or_else(|why| panic!("{:?}: {why}", file.file_name()));
            held += 1;
        }
    }
    assert!(held >= 35, "the cases shrank: {held}");
}

fn corpus() -> Option<PathBuf> {
    // Beside the repository; a work tree of it lies at the same level.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = manifest.ancestors().nth(3)?.join("shared/corpora/asl");
    root.is_dir().then_some(root)
}

fn cases(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for category in std::fs::read_dir(root).expect("the corpus").flatten() {
        for case in std::fs::read_dir(category.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            if case.path().extension().is_some_and(|e| e == "json") {
                found.push(case.path());
            }
        }
    }
    found.sort();
    found
}

/// Whether a case needs what this engine does not do yet: the distributed Map and
/// service integrations, or another service's interface.
fn out_of_scope(case: &Value) -> bool {
    const LATER: [&str; 4] = ["DISTRIBUTED", "ItemReader", "ItemBatcher", "Tolerated"];
    let definition = case["definition"].to_string();
    let elsewhere = ["sfn_api_logs", "sfn_api_versioning"];
    LATER.iter().any(|word| definition.contains(word))
        || elsewhere
            .iter()
            .any(|category| case["category"] == *category)
}

/// Every module is there, and by name the functions of the case.
struct Functions<'a>(&'a Value);

impl Resolve for Functions<'_> {
    fn module(
        &self,
        name: &str,
        version: Option<&str>,
        function: Option<&str>,
    ) -> Result<Digest, Unresolved> {
        AnyModule.module(name, version, function)
    }

    fn modules(&self) -> Vec<(Arc<str>, Digest)> {
        let names = self.0.as_object().into_iter().flatten();
        let all = names.map(|(name, _)| (name.as_str().into(), Digest([0; 32])));
        let sorted: BTreeMap<Arc<str>, Digest> = all.collect();
        sorted.into_iter().collect()
    }
}

fn run_case(case: &Value) -> Result<(), String> {
    let definition = case["definition"].to_string();
    let checked = compile(&definition, &Functions(&case["task_behaviour"]));
    let wildcards = Wildcards::of(case);
    if case["kind"]
        .as_str()
        .is_some_and(|kind| kind.ends_with("error"))
    {
        return match checked.program {
            Some(_) => Err("a definition that Step Functions refuses was taken".into()),
            None => Ok(()),
        };
    }
    let program = checked
        .program
        .ok_or_else(|| format!("{:?}", checked.diagnostics))?;
    let behaviours = &case["task_behaviour"];
    let run = execute(&program, &case["input"], behaviours)?;
    let expected = &case["expected"];
    let (status, output, failure) = match &run.outcome {
        Outcome::Succeeded(output) => ("SUCCEEDED", Some(output.value().clone()), None),
        Outcome::Failed(failure) => ("FAILED", None, Some(failure)),
        Outcome::TimedOut(failure) => ("TIMED_OUT", None, Some(failure)),
        Outcome::Aborted(failure) => ("ABORTED", None, Some(failure)),
    };
    if expected["status"] != status {
        return Err(format!(
            "status {status} {failure:?}, not {}",
            expected["status"]
        ));
    }
    if let Some(output) = output
        && !wildcards.same(&expected["output"], &output)
    {
        return Err(format!("output {output}, not {}", expected["output"]));
    }
    if let Some(failure) = failure {
        let none = json!("");
        let error = expected.get("error").unwrap_or(&none);
        let cause = expected.get("cause").unwrap_or(&none);
        if !wildcards.same(error, &json!(&*failure.error))
            || !wildcards.same(cause, &json!(&*failure.cause))
        {
            return Err(format!("{failure:?}, not {error} {cause}"));
        }
    }
    let rendered: Vec<Value> = run
        .history
        .iter()
        .map(|(at, event)| event.render(*at))
        .collect();
    compare_types(case, &rendered)?;
    compare_history(case, &rendered, &wildcards)
}

fn compare_types(case: &Value, ours: &[Value]) -> Result<(), String> {
    let Some(expected) = case["expected_history_types"].as_array() else {
        return Ok(());
    };
    let mut expected: Vec<&Value> = expected.iter().collect();
    if expected.first().is_some_and(|t| *t != "ExecutionStarted") {
        expected.reverse();
    }
    let found: Vec<&Value> = ours.iter().map(|e| &e["type"]).collect();
    if found != expected {
        return Err(format!("history {found:?}, not {expected:?}"));
    }
    Ok(())
}

fn compare_history(case: &Value, ours: &[Value], wildcards: &Wildcards) -> Result<(), String> {
    let Some(expected) = case["expected_history"].as_array() else {
        return Ok(());
    };
    let mut expected: Vec<&Value> = expected.iter().collect();
    expected.sort_by_key(|e| e["id"].as_u64().unwrap_or(0));
    for (theirs, ours) in expected.iter().zip(ours) {
        let Some(members) = theirs.as_object() else {
            continue;
        };
        for (key, value) in members {
            if key == "timestamp" {
                continue;
            }
            let value = without_foreign(value);
            let found = without_foreign(ours.get(key).unwrap_or(&Value::Null));
            if !wildcards.same(&value, &found) {
                return Err(format!(
                    "event {}: {key} is {found}, not {value}",
                    ours["id"]
                ));
            }
        }
    }
    Ok(())
}

/// Members that name another house's regions.
fn without_foreign(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(map) = value.as_object_mut() {
        map.remove("region");
    }
    value
}

/// What in the expected values matches anything.
struct Wildcards(Vec<String>);

impl Wildcards {
    fn of(case: &Value) -> Wildcards {
        let listed = case["wildcards"].as_array().into_iter().flatten();
        let mut all: Vec<String> = listed
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        all.extend(["snf_role_arn", "timestamp", "datetime", "date"].map(str::to_owned));
        Wildcards(all)
    }

    fn any(&self, text: &str) -> bool {
        let placeholder = text.find('<').is_some_and(|at| text[at..].contains('>'));
        placeholder || self.0.iter().any(|w| w == text)
    }

    fn same(&self, expected: &Value, found: &Value) -> bool {
        match (expected, found) {
            (Value::String(text), _) if self.any(text) => true,
            (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.same(a, b))
            }
            // A lambda's cause: its request and its stack are its own.
            (Value::Object(a), Value::Object(b)) if a.contains_key("errorMessage") => {
                a.get("errorMessage") == b.get("errorMessage")
            }
            (Value::Object(a), Value::Object(b)) => {
                // Recordings from before redrives lack their count.
                let newer = b.contains_key("RedriveCount") && !a.contains_key("RedriveCount");
                a.len() + usize::from(newer) == b.len()
                    && a.iter().all(|(k, v)| {
                        // Recordings name what differed from call to call by itself, and
                        // count the bytes that their own functions printed.
                        let any = k == "Content-Length" || v.as_str() == Some(k);
                        b.get(k).is_some_and(|w| any || self.same(v, w))
                    })
            }
            // The corpus parsed some of the payloads that the history holds as text.
            (
                Value::Object(_) | Value::Array(_) | Value::Number(_) | Value::Bool(_),
                Value::String(text),
            ) => serde_json::from_str(text).is_ok_and(|parsed| self.same(expected, &parsed)),
            (Value::String(a), Value::String(b)) => {
                let array = |text: &str| serde_json::from_str::<Vec<Value>>(text).map(Value::from);
                let quoted = serde_json::from_str::<String>(a);
                a == b
                    || quoted.is_ok_and(|text| self.any(&text))
                    || matches!((array(a), array(b)), (Ok(a), Ok(b)) if self.same(&a, &b))
            }
            (a, b) => a == b,
        }
    }
}

struct Run {
    outcome: Outcome,
    history: Vec<(Timestamp, HistoryEvent)>,
}

/// Runs to the end in virtual time. Before every event the state goes through its
/// bytes and back, and every event through the log: neither may change anything.
fn execute(program: &Program, input: &Value, behaviours: &Value) -> Result<Run, String> {
    let mut now = Timestamp(1_700_000_000_000);
    let mut state = State::new(ExecutionId::new(now, ShardId(0), 7));
    let mut history: Vec<(Timestamp, HistoryEvent)> = Vec::new();
    let mut pending: BTreeMap<(Timestamp, EntryId, u32), Result<Data, Failure>> = BTreeMap::new();
    let name = "0a1b2c3d-0000-4000-8000-000000000000";
    let mut event = Event::Started {
        flow: FlowRef {
            name: "flow-under-test".into(),
            version: 1,
        },
        name: name.into(),
        input: Data::from_value(input.clone()),
        seed: [3; 16],
        parent: None,
    };
    for _ in 0..10_000 {
        let no_blob = |_: &stepwell_types::Digest| Err("there are none".to_owned());
        let bytes = codec::encode_state(&state, &mut |_| None);
        state = codec::decode_state(&bytes, &no_blob).map_err(|e| e.to_string())?;
        let mut again = Vec::new();
        outstanding(program, &state, &mut again);
        let asked = again
            .iter()
            .filter(|c| matches!(c, Command::Run(_)))
            .count();
        let ended = usize::from(matches!(event, Event::StepEnded { .. }));
        if asked != pending.len() + ended {
            return Err(format!(
                "{asked} steps outstanding, {} under way",
                pending.len()
            ));
        }
        let mut out = Vec::new();
        step(program, &mut state, &event, now, &mut history, &mut out)
            .map_err(|e| e.to_string())?;
        let mut next = None;
        for command in out {
            match command {
                Command::Run(run) => {
                    let (after_ms, result) = behave(&run.target, &run.input, behaviours);
                    pending.insert((now.plus_ms(after_ms), run.entry, run.attempt), result);
                }
                Command::Abort { entry, attempt } => {
                    pending.retain(|(_, e, a), _| (*e, *a) != (entry, attempt));
                }
                Command::Continue => next = Some(Event::Continued),
                Command::Finish(outcome) => return Ok(Run { outcome, history }),
                Command::StartChild(_) | Command::CancelChild { .. } => {
                    return Err("no case has a flow to start".into());
                }
            }
        }
        event = match next {
            Some(event) => event,
            None => next_event(&state, &mut pending, &mut now)?,
        };
    }
    Err("it does not end".into())
}

fn next_event(
    state: &State,
    pending: &mut BTreeMap<(Timestamp, EntryId, u32), Result<Data, Failure>>,
    now: &mut Timestamp,
) -> Result<Event, String> {
    let step = pending.first_key_value().map(|((at, _, _), _)| *at);
    match (step, state.next_timer()) {
        (None, None) => Err("it waits for nothing".into()),
        (step, Some((at, entry, timer))) if step.is_none_or(|s| at < s) => {
            *now = at.max(*now);
            Ok(Event::TimerFired { entry, timer })
        }
        _ => {
            let Some(((at, entry, attempt), result)) = pending.pop_first() else {
                return Err("no step".into());
            };
            *now = at.max(*now);
            Ok(Event::StepEnded {
                entry,
                attempt,
                result,
                spent: Spent::default(),
            })
        }
    }
}

/// The five lambda functions of the cases: milliseconds, and the answer.
fn behave(target: &StepTarget, input: &Data, behaviours: &Value) -> (u64, Result<Data, Failure>) {
    let StepTarget::Wasm { name, .. } = target else {
        return (0, Err(Failure::new("NoSuchFunction", "")));
    };
    let functions = behaviours.as_object();
    let spec = functions
        .and_then(|f| f.get(&**name).or_else(|| f.values().next()))
        .cloned()
        .unwrap_or(Value::Null);
    match spec["behaviour"].as_str() {
        Some("fail") => {
            let error = spec["error"].as_str().unwrap_or("Exception");
            let cause = json!({
                "errorMessage": spec["errorMessage"], "errorType": error,
                "requestId": "1", "stackTrace": [],
            });
            (0, Err(Failure::new(error, cause.to_string())))
        }
        Some("return") => (0, Ok(Data::from_value(spec["value"].clone()))),
        Some("large") => (0, Ok(Data::from_value("x".repeat(257 << 10).into()))),
        Some("sleep") => (60_000, Ok(input.clone())),
        _ => (0, Ok(input.clone())),
    }
}
