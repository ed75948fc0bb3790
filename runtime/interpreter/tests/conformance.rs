//! What Step Functions itself answered, case by case: status, output, error, and the whole history.
//!
//! Drives the interpreter directly, in virtual time, with five lambda behaviours.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;
use stepwell_cases::{Case, Ended, Functions, compare};
use stepwell_flow::{Program, compile};
use stepwell_interpreter::{
    Command, Event, HistoryEvent, Outcome, State, codec, outstanding, step,
};
use stepwell_types::{
    Data, EntryId, ExecutionId, Failure, FlowRef, ShardId, Spent, StepTarget, Timestamp,
};

/// Cases in scope that must hold; raise it when more do, never lower it.
const PASSES_MIN: usize = 564;

#[test]
fn conformance() {
    let cases = stepwell_cases::all();
    let mut table: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    for case in &cases {
        let row = table.entry(&case.category).or_default();
        if let Some(why) = case.out_of_scope() {
            row.2 += 1;
            println!("OUT OF SCOPE {}\n    {why}", case.name);
            continue;
        }
        match run_case(case) {
            Ok(()) => row.0 += 1,
            Err(_) if let Some(why) = case.cannot_hold() => {
                row.2 += 1;
                println!("CANNOT {}\n    {why}", case.name);
            }
            Err(why) => {
                row.1 += 1;
                failures.push(format!("{}\n    {why}", case.name));
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

fn run_case(case: &Case) -> Result<(), String> {
    let checked = compile(&case.definition(), &Functions::of(case));
    if case.is_refused() {
        return match checked.program {
            Some(_) => Err("a definition that Step Functions refuses was taken".into()),
            None => Ok(()),
        };
    }
    let program = checked
        .program
        .ok_or_else(|| format!("{:?}", checked.diagnostics))?;
    if case.is_validation() {
        return Ok(());
    }
    let behaviours = &case.json["task_behaviour"];
    let run = execute(&program, &case.json["input"], behaviours)?;
    let (status, output, failure) = match &run.outcome {
        Outcome::Succeeded(output) => ("SUCCEEDED", Some(output.value().clone()), None),
        Outcome::Failed(failure) => ("FAILED", None, Some(failure)),
        Outcome::TimedOut(failure) => ("TIMED_OUT", None, Some(failure)),
        Outcome::Aborted(failure) => ("ABORTED", None, Some(failure)),
    };
    let ended = Ended {
        status: status.into(),
        output,
        failure: failure.map(|f| (f.error.to_string(), f.cause.to_string())),
    };
    let rendered: Vec<Value> = run
        .history
        .iter()
        .map(|(at, event)| event.render(*at))
        .collect();
    compare(case, &ended, Some(&rendered))
}

struct Run {
    outcome: Outcome,
    history: Vec<(Timestamp, HistoryEvent)>,
}

/// Runs to the end in virtual time. Before every event the state goes through its
/// bytes and back, and every event through the log: neither may change anything.
fn execute(program: &Program, input: &Value, behaviours: &Value) -> Result<Run, String> {
    let started = Event::Started {
        flow: FlowRef {
            name: "flow-under-test".into(),
            version: 1,
        },
        name: "0a1b2c3d-0000-4000-8000-000000000000".into(),
        input: Data::from_value(input.clone()),
        seed: [3; 16],
        parent: None,
    };
    let now = Timestamp(1_700_000_000_000);
    let id = ExecutionId::new(now, ShardId(0), 7);
    drive(program, id, started, behaviours)
}

/// One execution; those that it starts run to their end at once.
fn drive(
    program: &Program,
    id: ExecutionId,
    started: Event,
    behaviours: &Value,
) -> Result<Run, String> {
    let mut now = Timestamp(1_700_000_000_000);
    let mut state = State::new(id);
    let mut history: Vec<(Timestamp, HistoryEvent)> = Vec::new();
    let mut pending: BTreeMap<(Timestamp, EntryId, u32), Result<Data, Failure>> = BTreeMap::new();
    let mut children: VecDeque<Event> = VecDeque::new();
    let mut results: BTreeMap<(EntryId, u32), Data> = BTreeMap::new();
    let mut event = started;
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
                Command::Run(run) if run.target == StepTarget::CollectResults => {
                    let all: Vec<Value> = results
                        .range((run.entry, 0)..=(run.entry, u32::MAX))
                        .map(|(_, result)| result.value().clone())
                        .collect();
                    let all = Ok(Data::from_value(all.into()));
                    pending.insert((now, run.entry, run.attempt), all);
                }
                Command::Run(run) => {
                    let (after_ms, result) = behave(&run.target, &run.input, behaviours);
                    pending.insert((now.plus_ms(after_ms), run.entry, run.attempt), result);
                }
                Command::Abort { entry, attempt } => {
                    pending.retain(|(_, e, a), _| (*e, *a) != (entry, attempt));
                }
                Command::Continue => next = Some(Event::Continued),
                Command::Finish(outcome) => return Ok(Run { outcome, history }),
                Command::StartChild(start) => {
                    let link = start.link.clone();
                    let slot = link.item.ok_or("no case has a flow to start")?;
                    let child = Event::Started {
                        flow: FlowRef {
                            name: start.flow,
                            version: 1,
                        },
                        name: start.child.to_string().into(),
                        input: start.input,
                        seed: start.seed,
                        parent: Some(link.clone().into()),
                    };
                    let run = drive(program, start.child, child, behaviours)?;
                    let failed = match run.outcome {
                        Outcome::Succeeded(output) => {
                            results.insert((link.entry, slot), output);
                            false
                        }
                        _ => true,
                    };
                    children.push_back(Event::ItemEnded {
                        entry: link.entry,
                        attempt: link.attempt,
                        slot,
                        failed,
                    });
                }
                // What it started has ended already.
                Command::CancelChild { .. }
                | Command::ForgetResults { .. }
                | Command::Signal { .. } => {}
            }
        }
        event = match next.or_else(|| children.pop_front()) {
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

/// The function of the case: milliseconds, and the answer.
fn behave(target: &StepTarget, input: &Data, behaviours: &Value) -> (u64, Result<Data, Failure>) {
    let StepTarget::Wasm { name, .. } = target else {
        return (0, Err(Failure::new("NoSuchFunction", "")));
    };
    let answer = stepwell_cases::behave(behaviours, name, input.value());
    let result = answer.result.map(Data::from_value);
    let result = result.map_err(|(error, cause)| Failure::new(error.as_str(), cause.as_str()));
    (answer.after_ms, result)
}
