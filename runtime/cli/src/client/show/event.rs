//! One event of a history, for people.

use serde_json::Value;

use super::one_line;
use crate::output::field;

/// Members of details that hold data as JSON text.
const DATA: [&str; 4] = ["input", "parameters", "output", "data"];

/// What happened, in which state, on one line; with `data` what went in or came out, a line each.
pub fn event(event: &Value, data: bool) -> String {
    let cell = |name: &str| field(event, name).unwrap_or_default();
    let state = field(event, "state");
    let details = event.as_object().and_then(|members| {
        let mut found = members.iter();
        found.find(|(key, _)| key.ends_with("EventDetails"))
    });
    let nothing = Value::Null;
    let details = details.map_or(&nothing, |(_, value)| value);
    let parts = [
        state.as_ref().map(|name| match field(event, "index") {
            Some(index) => format!("{name}[{index}]"),
            None => name.clone(),
        }),
        field(details, "name").filter(|name| state.as_ref() != Some(name)),
        field(details, "index").map(|index| format!("item {index}")),
        field(details, "length").map(|length| format!("{length} items")),
        scheduled(&cell("type"), details),
        field(details, "location"),
        field(details, "error"),
        field(details, "cause"),
    ];
    let mut text = format!("{:>5}  {}  {}", cell("id"), cell("timestamp"), cell("type"));
    for part in parts.into_iter().flatten() {
        text.push_str("  ");
        text.push_str(&one_line(&part));
    }
    if data {
        for name in DATA {
            if let Some(value) = field(details, name) {
                text.push_str(&below(name, &value));
            }
        }
        let assigned = details.get("assignedVariables").and_then(Value::as_object);
        for (name, value) in assigned.into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            text.push_str(&below("assigned", &format!("{name} = {value}")));
        }
    }
    text
}

fn below(name: &str, value: &str) -> String {
    format!("\n       {name:10}  {}", one_line(value))
}

/// What a Task begins to run, as its `Resource` spells it.
fn scheduled(kind: &str, details: &Value) -> Option<String> {
    let resource = field(details, "resource").filter(|_| kind.ends_with("Scheduled"))?;
    Some(match field(details, "resourceType") {
        Some(kind) if kind != resource => format!("{kind}:{resource}"),
        _ => resource,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(told: &Value, data: bool, expected: &str) {
        assert_eq!(event(told, data), expected);
    }

    #[test]
    fn an_event_says_where_it_happened_and_its_data_when_asked() {
        let scheduled = json!({"id": 5, "timestamp": "10:00", "type": "TaskScheduled", "state": "Charge", "index": 3,
            "taskScheduledEventDetails": {"resourceType": "wasm", "resource": "pay", "region": "local", "parameters": "{\"n\":\n1}"}});
        check(
            &scheduled,
            false,
            "    5  10:00  TaskScheduled  Charge[3]  wasm:pay",
        );
        check(
            &scheduled,
            true,
            "    5  10:00  TaskScheduled  Charge[3]  wasm:pay\n       parameters  {\"n\": 1}",
        );
        let exited = json!({"id": 12, "timestamp": "10:01", "type": "TaskStateExited", "state": "Charge",
            "stateExitedEventDetails": {"name": "Charge", "output": "x".repeat(1_001), "outputDetails": {"truncated": false},
                "assignedVariables": {"paid": "true"}}});
        let cut = format!(
            "   12  10:01  TaskStateExited  Charge\n       output      {}… (cut; --json has the whole)\n       assigned    paid = true",
            "x".repeat(1_000)
        );
        check(&exited, true, &cut);
        let iteration = json!({"id": 4, "timestamp": "10:00", "type": "MapIterationStarted", "state": "Each",
            "mapIterationStartedEventDetails": {"name": "Each", "index": 7}});
        check(
            &iteration,
            false,
            "    4  10:00  MapIterationStarted  Each  item 7",
        );
        let failed = json!({"id": 9, "timestamp": "10:00", "type": "TaskFailed", "state": "Charge",
            "taskFailedEventDetails": {"resourceType": "wasm", "resource": "pay", "error": "E", "cause": "a\nb"}});
        check(&failed, true, "    9  10:00  TaskFailed  Charge  E  a b");
        let signal = json!({"id": 2, "timestamp": "10:00", "type": "SignalReceived",
            "signalReceivedEventDetails": {"name": "paid", "data": "{}"}});
        check(
            &signal,
            true,
            "    2  10:00  SignalReceived  paid\n       data        {}",
        );
    }
}
