//! A machine of one state, for cases that ask about a single state.
//!
//! Refuses to retry: such a case tells what one attempt does.

use serde_json::{Map, Value, json};

/// The name that the state gets.
pub(crate) const NAME: &str = "StateUnderTest";

/// A machine that runs `state` and then ends; whatever it may lead to succeeds at once. What
/// is a machine already stays one.
pub(crate) fn machine(state: &Value) -> Value {
    if state.get("States").is_some() {
        return state.clone();
    }
    let mut states = Map::new();
    for next in followers(state) {
        states.insert(next, json!({"Type": "Succeed"}));
    }
    let mut state = state.clone();
    if let Some(fields) = state.as_object_mut() {
        fields.remove("Retry");
    }
    states.insert(NAME.into(), state);
    json!({"StartAt": NAME, "States": states})
}

/// The states that a state names as next, in its rules and catchers too.
fn followers(state: &Value) -> Vec<String> {
    let lists = ["Choices", "Catch"].map(|list| state[list].as_array());
    let inner = lists.into_iter().flatten().flatten();
    let next = inner.chain([state]).map(|part| &part["Next"]);
    let all = next.chain([&state["Default"]]);
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The state that followed the first one in a history; what ran within that is passed over.
pub(crate) fn second(history: &[Value]) -> Option<&str> {
    let name = |event: &Value, details: &str| event[details]["name"].as_str().map(str::to_owned);
    let first = history
        .iter()
        .find_map(|event| name(event, "stateEnteredEventDetails"))?;
    let mut left = history
        .iter()
        .skip_while(|event| name(event, "stateExitedEventDetails").as_ref() != Some(&first));
    left.find_map(|event| event["stateEnteredEventDetails"]["name"].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_becomes_a_machine() {
        let check = |state: Value, names: &[&str]| {
            let machine = machine(&state);
            assert_eq!(machine["StartAt"], NAME);
            let states = machine["States"].as_object();
            let mut found: Vec<_> = states.into_iter().flatten().map(|(name, _)| name).collect();
            found.retain(|name| *name != NAME);
            found.sort();
            assert_eq!(found, names, "{state}");
            assert_eq!(machine["States"][NAME].get("Retry"), None);
        };
        check(json!({"Type": "Pass", "End": true}), &[]);
        check(json!({"Type": "Pass", "Next": "A"}), &["A"]);
        check(
            json!({"Type": "Task", "Retry": [], "Next": "A", "Catch": [{"Next": "B"}]}),
            &["A", "B"],
        );
        check(
            json!({"Type": "Choice", "Choices": [{"Next": "A"}, {"Next": "B"}], "Default": "C"}),
            &["A", "B", "C"],
        );
        let whole = json!({"StartAt": "A", "States": {}});
        assert_eq!(machine(&whole), whole);
    }
}
