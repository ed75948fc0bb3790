//! What is told of the states that an execution is in.

use std::collections::VecDeque;

use serde_json::{Value, json};
use stepwell_flow::{AnyModule, Program, compile};
use stepwell_interpreter::{Active, Command, Event, NoHistory, State, active, failed_in, step};
use stepwell_types::{Data, ExecutionId, Failure, FlowRef, ShardId, Spent, Timestamp};

const BEGUN: Timestamp = Timestamp(1_700_000_000_000);

/// A Parallel with one branch of each of these states.
fn flow(states: &[Value]) -> Program {
    let branch = |(n, state): (usize, &Value)| {
        let name = format!("S{n}");
        json!({"StartAt": name, "States": {name.as_str(): state}})
    };
    let branches: Vec<Value> = states.iter().enumerate().map(branch).collect();
    let all = json!({"Type": "Parallel", "Branches": branches, "End": true});
    let flow = json!({"StartAt": "All", "States": {"All": all}});
    let compiled = compile(&flow.to_string(), &AnyModule);
    compiled.program.expect("a flow")
}

fn feed(program: &Program, state: &mut State, event: Event, now: Timestamp) {
    let mut queue = VecDeque::from([event]);
    while let Some(event) = queue.pop_front() {
        let mut out = Vec::new();
        step(program, state, &event, now, &mut NoHistory, &mut out).expect("taken");
        let more = out.iter().any(|c| matches!(c, Command::Continue));
        queue.extend(more.then_some(Event::Continued));
    }
}

fn started(program: &Program) -> State {
    let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(1), 1));
    let start = Event::Started {
        flow: FlowRef {
            name: "flow".into(),
            version: 1,
        },
        name: "run".into(),
        input: Data::parse(r#"{"items": [1, 2, 3]}"#).expect("JSON"),
        seed: [1; 16],
        parent: None,
    };
    feed(program, &mut state, start, BEGUN);
    state
}

/// State, index, words, and in how many seconds that is over.
fn told(one: &Active) -> (&str, Option<u32>, String, Option<i64>) {
    let seconds = one.until.map(|at| (at.0 - BEGUN.0) / 1_000);
    (&*one.state, one.index, one.awaits.to_string(), seconds)
}

#[test]
fn each_state_says_what_it_waits_for() {
    let retry =
        json!([{"ErrorEquals": ["States.ALL"], "IntervalSeconds": 7, "JitterStrategy": "NONE"}]);
    let program = flow(&[
        json!({"Type": "Task", "Resource": "wasm:t", "TimeoutSeconds": 60, "Retry": retry, "End": true}),
        json!({"Type": "Task", "Resource": "callback", "TimeoutSeconds": 60, "HeartbeatSeconds": 5, "End": true}),
        json!({"Type": "Task", "Resource": "activity:print", "End": true}),
        json!({"Type": "Task", "Resource": "signal:wait", "Parameters": {"Name": ["a", "b"]}, "End": true}),
        json!({"Type": "Wait", "Seconds": 30, "End": true}),
        json!({"Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 1, "End": true, "ItemProcessor":
            {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "wasm:t", "End": true}}}}),
    ]);
    let mut state = started(&program);
    let all: Vec<Active> = active(&program, &state).collect();
    let words: Vec<_> = all.iter().map(told).collect();
    assert!(all.iter().all(|one| one.since == BEGUN && one.attempt == 0));
    assert!(all.is_sorted_by_key(|one| one.entry));
    let expected = [
        ("All", None, "6 of 6 branches", None),
        ("S0", Some(0), "the end of wasm:t", Some(60)),
        ("S1", Some(1), "its token", Some(5)),
        ("S2", Some(2), "a worker of activity print", None),
        ("S3", Some(3), "signal a or b", None),
        ("S4", Some(4), "its timer", Some(30)),
        ("S5", Some(5), "3 of 3 items", None),
        ("T", Some(0), "the end of wasm:t", None),
    ];
    for (state, index, awaits, until) in expected {
        let one = (state, index, awaits.to_owned(), until);
        assert!(words.contains(&one), "{one:?} in {words:?}");
    }
    assert_eq!(words.len(), expected.len(), "{words:?}");

    let of = |name: &str| {
        all.iter()
            .find(|one| &*one.state == name)
            .expect("it")
            .entry
    };
    let ended = |entry, result| Event::StepEnded {
        entry,
        attempt: 0,
        result,
        spent: Spent::default(),
    };
    let failed = ended(of("S0"), Err(Failure::new("E", "c")));
    feed(&program, &mut state, failed, BEGUN);
    let taken = Event::ActivityStarted {
        entry: of("S2"),
        attempt: 0,
        worker: None,
    };
    feed(&program, &mut state, taken, BEGUN);
    let item = ended(of("T"), Ok(Data::empty_object()));
    feed(&program, &mut state, item, BEGUN.plus_ms(1_000));
    let all: Vec<Active> = active(&program, &state).collect();
    let words: Vec<_> = all.iter().map(told).collect();
    for (state, index, awaits, until) in [
        ("S0", Some(0), "its next attempt", Some(7)),
        ("S2", Some(2), "the worker of activity print", None),
        ("S5", Some(5), "2 of 3 items", None),
        ("T", Some(1), "the end of wasm:t", None),
    ] {
        let one = (state, index, awaits.to_owned(), until);
        assert!(words.contains(&one), "{one:?} in {words:?}");
    }
    let next = all.iter().find(|one| &*one.state == "T");
    assert_eq!(next.map(|one| one.since), Some(BEGUN.plus_ms(1_000)));

    let cancel = Event::Cancelled {
        failure: Failure::new("E", "c"),
    };
    feed(&program, &mut state, cancel, BEGUN);
    assert_eq!(active(&program, &state).count(), 0);
}

#[test]
fn a_failure_that_nothing_caught_names_its_state() {
    let program = flow(&[
        json!({"Type": "Wait", "Seconds": 30, "End": true}),
        json!({"Type": "Fail", "Error": "E"}),
    ]);
    let state = started(&program);
    assert!(state.outcome().is_some());
    assert_eq!(failed_in(&program, &state).map(|name| &**name), Some("S1"));
    assert_eq!(active(&program, &state).count(), 0);
    let program = flow(&[json!({"Type": "Succeed"})]);
    assert_eq!(failed_in(&program, &started(&program)), None);
}
