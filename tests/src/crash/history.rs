//! What every history must be: whole, in order, ended once, and as long as its case says.
//!
//! Refuses to know outputs: those are the checker's.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::collect::Known;
use super::plan::{Case, Kind};
use super::report::{Report, Rule};

/// Event types that end an execution, and the status that they leave.
const ENDS: [(&str, &str); 4] = [
    ("ExecutionSucceeded", "SUCCEEDED"),
    ("ExecutionFailed", "FAILED"),
    ("ExecutionTimedOut", "TIMED_OUT"),
    ("ExecutionAborted", "ABORTED"),
];

/// Checks one history.
pub fn check(case: &Case, id: &str, known: &Known, report: &Report) {
    let history = &known.history;
    sound(case.flow(), id, known, report);
    let entered = entries(history);
    report.check(entered == case.transitions(), Rule::Outcome, || {
        format!(
            "{id} ({}): {entered} states were entered, not {}",
            case.flow(),
            case.transitions()
        )
    });
    let left = count(history, |kind| kind.ends_with("StateExited"));
    let succeeded = known.shown["status"] == "SUCCEEDED";
    report.check(!succeeded || left == entered, Rule::Outcome, || {
        format!(
            "{id} ({}): {entered} states were entered and {left} left",
            case.flow()
        )
    });
    let scheduled = count(history, |kind| kind == "TaskScheduled");
    let (fewest, most) = case.attempts();
    report.check((fewest..=most).contains(&scheduled), Rule::Outcome, || {
        format!(
            "{id} ({}): {scheduled} attempts, not {fewest} to {most}",
            case.flow()
        )
    });
    report.count("attempts", scheduled);
    if case.kind == Kind::Wait && waited(history) != Some(true) {
        report.breach(
            Rule::Outcome,
            format!("{id}: it did not wait as long as it must: {history:?}"),
        );
    }
}

/// Checks what holds for every execution of any flow: ended once, events in order.
pub fn sound(flow: &str, id: &str, known: &Known, report: &Report) {
    let history = &known.history;
    report.count("events", history.len() as u64);
    if let Err(text) = ended_once(known) {
        report.breach(Rule::Ended, format!("{id} ({flow}): {text}"));
    }
    if let Err(text) = in_order(history) {
        report.breach(Rule::Outcome, format!("{id} ({flow}): {text}"));
    }
}

/// Entries into states: what usage counts as transitions.
#[must_use]
pub fn entries(history: &[Value]) -> u64 {
    count(history, |kind| kind.ends_with("StateEntered"))
}

fn count(history: &[Value], which: impl Fn(&str) -> bool) -> u64 {
    let found = history
        .iter()
        .filter(|event| event["type"].as_str().is_some_and(&which));
    found.count() as u64
}

fn ended_once(known: &Known) -> Result<(), String> {
    let end = |event: &Value| ENDS.iter().find(|(kind, _)| event["type"] == *kind);
    let ends = known.history.iter().filter_map(end).count();
    let last = known.history.last();
    let Some((_, status)) = last.and_then(end) else {
        return Err(format!("the history ends with {last:?}"));
    };
    if ends != 1 {
        return Err(format!("it ended {ends} times"));
    }
    if known.shown["status"] != *status {
        return Err(format!(
            "the history ends with {status}, the execution is {}",
            known.shown["status"]
        ));
    }
    let at = last.map(|event| &event["timestamp"]);
    if at != Some(&known.shown["ended"]) {
        return Err(format!(
            "the history ends at {at:?}, the execution at {}",
            known.shown["ended"]
        ));
    }
    let output = last.and_then(|event| event["executionSucceededEventDetails"]["output"].as_str());
    let output = output.and_then(|text| serde_json::from_str::<Value>(text).ok());
    if known.shown.get("output") != output.as_ref() {
        return Err(format!(
            "the history ends with {output:?}, the execution with {}",
            known.shown
        ));
    }
    Ok(())
}

fn in_order(history: &[Value]) -> Result<(), String> {
    let mut at = None;
    for (index, event) in history.iter().enumerate() {
        let number = index as u64 + 1;
        if event["id"] != number {
            return Err(format!("event {number} has the number {}", event["id"]));
        }
        if event["previousEventId"]
            .as_u64()
            .is_none_or(|previous| previous >= number)
        {
            return Err(format!(
                "event {number} comes after {}",
                event["previousEventId"]
            ));
        }
        if (number == 1) != (event["type"] == "ExecutionStarted") {
            return Err(format!("event {number} is {}", event["type"]));
        }
        let now = time(&event["timestamp"]);
        if now.is_none() || now < at {
            return Err(format!(
                "event {number} is at {}, before the one before it",
                event["timestamp"]
            ));
        }
        at = now;
    }
    Ok(())
}

/// Whether both states of the flow `wait` took their time.
fn waited(history: &[Value]) -> Option<bool> {
    let find = |kind: &str, details: &str, name: &str| {
        let mut events = history.iter();
        events.find(|event| event["type"] == kind && event[details]["name"] == name)
    };
    let left = |name| find("WaitStateExited", "stateExitedEventDetails", name);
    let entered = |name| find("WaitStateEntered", "stateEnteredEventDetails", name);
    let input = entered("Until")?["stateEnteredEventDetails"]["input"].as_str()?;
    let input: Value = serde_json::from_str(input).ok()?;
    let until = time(&input["until"])? <= time(&left("Until")?["timestamp"])?;
    let begun = time(&entered("Pause")?["timestamp"])?;
    let paused = time(&left("Pause")?["timestamp"])?.duration_since(begun);
    Some(until && paused >= SignedDuration::from_secs(1))
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}
