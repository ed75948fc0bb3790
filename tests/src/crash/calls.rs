//! Compares the calls that the receiver got with the histories.
//!
//! Refuses to know when the server died to the millisecond: it knows which process
//! each call came from, and a process repeats nothing by itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::checker::case_of;
use super::collect::{Everything, Known};
use super::plan::{Case, Kind};
use super::receiver::Call;
use super::report::{Report, Rule};

/// Checks every call.
pub fn check(seed: u64, all: &Everything, calls: &[Call], report: &Report) {
    let mut by_key: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in calls {
        by_key.entry(&call.key).or_default().push(call);
    }
    report.count("calls", calls.len() as u64);
    report.count(
        "calls refused by the receiver",
        calls.iter().filter(|c| c.status == 503).count() as u64,
    );
    report.count("call keys", by_key.len() as u64);
    let mut recorded: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for (id, known) in &all.executions {
        recorded.insert(id, known.history.iter().flat_map(serials).collect());
    }
    let mut places: BTreeMap<(&str, String), BTreeSet<&str>> = BTreeMap::new();
    for (key, calls) in &by_key {
        let id = key.split('-').next().unwrap_or_default();
        let Some((id, known)) = all.executions.get_key_value(id) else {
            report.breach(
                Rule::Call,
                format!("{key} is of no execution that there is"),
            );
            continue;
        };
        let Some(case) = case_of(seed, known) else {
            continue;
        };
        let place = place(known, &case, calls);
        match place {
            Ok(place) => {
                places.entry((id, place)).or_default().insert(key);
            }
            Err(text) => report.breach(Rule::Call, format!("{key}: {text}")),
        }
        let recorded = recorded.get(id.as_str()).cloned().unwrap_or_default();
        if let Err(text) = repeats(&case, calls, &recorded, report) {
            report.breach(Rule::Call, format!("{key}: {text}"));
        }
    }
    complete(seed, all, &places, report);
    in_order(seed, all, calls, report);
    invented(&recorded, calls, report);
}

/// Where the calls of one key come from: all are the same call, and the history has it.
fn place(known: &Known, case: &Case, calls: &[&Call]) -> Result<String, String> {
    let body = calls.first().map_or(&Value::Null, |call| &call.body);
    if let Some(other) = calls.iter().find(|call| call.body != *body) {
        return Err(format!("it came with {body} and with {}", other.body));
    }
    let place = body["place"].as_str().unwrap_or_default().to_owned();
    if body["case"] != case.number || !case.places().contains(&place) {
        return Err(format!("case {} does not call {body}", case.number));
    }
    let scheduled = known.history.iter().any(|event| {
        let parameters = event["taskScheduledEventDetails"]["parameters"].as_str();
        let parameters = parameters.and_then(|text| serde_json::from_str::<Value>(text).ok());
        parameters.is_some_and(|parameters| {
            let own = parameters["calls"].as_array().into_iter().flatten();
            let mut own = own.filter_map(|call| read(&call["body"]));
            let one = &parameters["body"];
            *one == *body
                || read(one).is_some_and(|one| one == *body)
                || own.any(|own| own == *body)
        })
    });
    if !scheduled {
        return Err(format!("the history never scheduled {body}"));
    }
    Ok(place)
}

/// A call is made again only after its process died without having recorded the answer.
fn repeats(
    case: &Case,
    calls: &[&Call],
    recorded: &BTreeSet<u64>,
    report: &Report,
) -> Result<(), String> {
    for pair in calls.windows(2) {
        let [call, next] = pair else { continue };
        if recorded.contains(&call.serial) {
            // The flow's own Retry, after a refusal.
            if call.status == 200 {
                return Err(format!(
                    "answer {} was recorded, and the call made again",
                    call.serial
                ));
            }
            report.count("calls retried by the flow", 1);
        } else if next.generation == call.generation {
            return Err(format!(
                "one process made the calls {} and {}",
                call.serial, next.serial
            ));
        } else {
            report.count("calls repeated after a kill", 1);
        }
    }
    let last = calls
        .last()
        .is_some_and(|call| recorded.contains(&call.serial));
    // A token may come back before the answer to the call that carried it.
    if last || case.kind == Kind::Notify {
        return Ok(());
    }
    Err(format!(
        "the last of its {} calls was never recorded",
        calls.len()
    ))
}

/// Every place of every ended execution called, under one key.
fn complete(
    seed: u64,
    all: &Everything,
    places: &BTreeMap<(&str, String), BTreeSet<&str>>,
    report: &Report,
) {
    for (id, known) in &all.executions {
        let Some(case) = case_of(seed, known) else {
            continue;
        };
        for place in case.places() {
            let keys = places.get(&(id.as_str(), place.clone()));
            report.check(keys.is_some_and(|keys| keys.len() == 1), Rule::Call, || {
                format!("{id} called {place} under the keys {keys:?}, not under one")
            });
        }
    }
}

/// A step's second call leaves after the first one's answer is recorded: no process makes the
/// first one again once the second has come.
fn in_order(seed: u64, all: &Everything, calls: &[Call], report: &Report) {
    for (id, known) in &all.executions {
        if case_of(seed, known).is_none_or(|case| case.kind != Kind::Guest) {
            continue;
        }
        let of = |place: &str| {
            let own = calls
                .iter()
                .filter(|call| call.key.starts_with(id.as_str()));
            own.filter(|call| call.body["place"] == place)
                .map(|call| call.serial)
                .collect::<Vec<_>>()
        };
        let (first, second) = (of("guest-first"), of("guest-second"));
        report.count("guests that called", 1);
        report.count("guests' calls", (first.len() + second.len()) as u64);
        let repeated = first.len().saturating_sub(1) + second.len().saturating_sub(1);
        report.count("guests' calls that a kill repeated", repeated as u64);
        let ordered = first.iter().max() < second.iter().min();
        report.check(ordered, Rule::Call, || {
            format!("{id}: its first call came as {first:?}, its second as {second:?}")
        });
    }
}

/// No history tells of an answer that was never given, or given to another.
fn invented(recorded: &BTreeMap<&str, BTreeSet<u64>>, calls: &[Call], report: &Report) {
    for (id, serials) in recorded {
        for serial in serials {
            let index = usize::try_from(serial - 1).unwrap_or(usize::MAX);
            let own = calls
                .get(index)
                .is_some_and(|call| call.key.starts_with(id));
            report.check(own, Rule::Call, || {
                format!("{id} recorded the answer {serial}, which it never got")
            });
        }
    }
}

/// JSON that stands in a string.
fn read(text: &Value) -> Option<Value> {
    serde_json::from_str(text.as_str()?).ok()
}

/// The receiver's numbers in an event that records answers of its.
fn serials(event: &Value) -> Vec<u64> {
    let Some(answer) = answer(event) else {
        return Vec::new();
    };
    match answer.as_array() {
        // Of a step that made several calls.
        Some(answers) => {
            let body = |answer: &Value| read(&answer["body"]).or_else(|| read(answer));
            let bodies = answers.iter().filter_map(body);
            bodies.filter_map(|body| body["serial"].as_u64()).collect()
        }
        None => answer["body"]["serial"].as_u64().into_iter().collect(),
    }
}

fn answer(event: &Value) -> Option<Value> {
    let text = match event["type"].as_str()? {
        "TaskSucceeded" => &event["taskSucceededEventDetails"]["output"],
        "TaskSubmitted" => &event["taskSubmittedEventDetails"]["output"],
        "TaskFailed" => &event["taskFailedEventDetails"]["cause"],
        _ => return None,
    };
    read(text)
}
