//! Flows without steps, walked from start to end: what suites of single states measure on.

use std::collections::VecDeque;

use serde_json::Value;
use stepwell_flow::Program;
use stepwell_interpreter::{Command, Event, NoHistory, Outcome, State, step};
use stepwell_types::{Data, ExecutionId, Failure, FlowRef, ShardId, Timestamp};

/// An execution of this flow that has gone as far as it goes alone.
pub fn gone(program: &Program, input: Value, now: Timestamp) -> State {
    let flow = FlowRef {
        name: "flow".into(),
        version: 1,
    };
    let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(1), 1));
    let mut queue = VecDeque::from([Event::Started {
        flow,
        name: "run".into(),
        input: Data::from_value(input),
        seed: [1; 16],
        parent: None,
    }]);
    while let Some(event) = queue.pop_front() {
        let mut out = Vec::new();
        step(program, &mut state, &event, now, &mut NoHistory, &mut out).expect("taken");
        let more = out.iter().any(|c| matches!(c, Command::Continue));
        queue.extend(more.then_some(Event::Continued));
    }
    state
}

/// What a flow makes of its input.
///
/// # Panics
/// It waits for something.
pub fn walked(program: &Program, input: Value) -> Result<Value, Failure> {
    match gone(program, input, Timestamp(0)).outcome() {
        Some(Outcome::Succeeded(data)) => Ok(data.value().clone()),
        Some(Outcome::Failed(failure)) => Err(failure.clone()),
        other => panic!("{other:?}"),
    }
}
