//! What has a bound: turns, loops, data, and the cost of a large Map.

use std::collections::VecDeque;

use serde_json::{Value, json};
use stepwell_flow::{AnyModule, Program, compile};
use stepwell_interpreter::{Command, Event, NoHistory, Outcome, State, codec, step};
use stepwell_types::{
    Data, EntryId, ExecutionId, Failure, FlowRef, ShardId, Signal, Spent, Timestamp,
};

fn program(definition: &Value) -> Program {
    let checked = compile(&definition.to_string(), &AnyModule);
    checked
        .program
        .unwrap_or_else(|| panic!("{:#?}", checked.diagnostics))
}

struct Ran {
    state: State,
    turns: u32,
    most_commands: usize,
    most_bytes: usize,
}

/// Runs to the end; every step echoes its input.
fn run(program: &Program, input: Value) -> Ran {
    let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(1), 1));
    let mut queue = VecDeque::from([started(input)]);
    let (mut turns, mut most_commands, mut most_bytes) = (0, 0, 0);
    while let Some(event) = queue.pop_front() {
        let mut out = Vec::new();
        step(
            program,
            &mut state,
            &event,
            Timestamp(0),
            &mut NoHistory,
            &mut out,
        )
        .expect("taken");
        turns += 1;
        most_commands = most_commands.max(out.len());
        most_bytes = most_bytes.max(state.size_hint_bytes());
        queue.extend(out.into_iter().filter_map(|command| match command {
            Command::Run(run) => Some(Event::StepEnded {
                entry: run.entry,
                attempt: run.attempt,
                result: Ok(run.input),
                spent: Spent::default(),
            }),
            Command::Continue => Some(Event::Continued),
            _ => None,
        }));
    }
    Ran {
        state,
        turns,
        most_commands,
        most_bytes,
    }
}

fn started(input: Value) -> Event {
    Event::Started {
        flow: FlowRef {
            name: "flow".into(),
            version: 1,
        },
        name: "run".into(),
        input: Data::from_value(input),
        seed: [1; 16],
        parent: None,
    }
}

#[track_caller]
fn check_error(definition: &Value, input: Value, error: &str) -> Ran {
    let ran = run(&program(definition), input);
    match ran.state.outcome() {
        Some(Outcome::Failed(failure)) => assert_eq!(&*failure.error, error, "{failure:?}"),
        other => panic!("{other:?}"),
    }
    ran
}

/// Arrays within each other.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(0), |inner, _| json!([inner]))
}

#[test]
fn what_wraps_an_answer_does_not_nest_it_deeper_than_can_be_read_again() {
    let program = program(&json!({"StartAt": "W", "States": {
        "W": {"Type": "Task", "Resource": "signal:wait", "Parameters": {"Name": "go"}, "Next": "Rests"},
        "Rests": {"Type": "Wait", "Seconds": 60, "End": true}}}));
    for (levels, error) in [(126, None), (127, Some("States.DataLimitExceeded"))] {
        let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(1), 1));
        let signal = Signal {
            name: "go".into(),
            data: Data::parse(&nested(levels).to_string()).expect("within what edges take"),
            sender: None,
        };
        for event in [started(json!({})), Event::Signalled { signal }] {
            let (now, out) = (Timestamp(0), &mut Vec::new());
            step(&program, &mut state, &event, now, &mut NoHistory, out).expect("taken");
        }
        let failed = match state.outcome() {
            Some(Outcome::Failed(failure)) => Some(&*failure.error),
            Some(other) => panic!("{other:?}"),
            None => None,
        };
        assert_eq!(failed, error, "{levels} levels");
        let bytes = codec::encode_state(&state, &mut |_| None);
        let read = codec::decode_state(&bytes, &|_| Err("none".into()));
        assert!(read.is_ok(), "{levels} levels: {:?}", read.err());
    }
}

#[test]
fn an_endless_loop_ends_and_its_turns_are_short() {
    let ran = check_error(
        &json!({"StartAt": "A", "States": {
            "A": {"Type": "Pass", "Next": "B"},
            "B": {"Type": "Choice", "Choices": [{"Variable": "$.go", "BooleanEquals": true, "Next": "A"}], "Default": "C"},
            "C": {"Type": "Succeed"},
        }}),
        json!({"go": true}),
        "Stepwell.EndlessLoop",
    );
    assert_eq!(ran.state.transitions(), 100_001);
    assert_eq!(ran.turns, 101);
    assert_eq!(ran.most_commands, 1);
}

#[test]
fn a_loop_with_steps_in_it_may_go_on() {
    // Each round enters three states and waits for a Map's step: 50,000 rounds is no spin.
    let definition = json!({"StartAt": "M", "States": {
        "M": {"Type": "Map", "ItemsPath": "$.one", "ResultPath": null, "Next": "C",
            "ItemProcessor": {"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "wasm:t", "End": true}}}},
        "C": {"Type": "Choice", "Choices": [{"Variable": "$.go", "BooleanEquals": true, "Next": "M"}], "Default": "D"},
        "D": {"Type": "Succeed"},
    }});
    let program = program(&definition);
    let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(1), 1));
    let mut event = started(json!({"go": true, "one": [1]}));
    for _ in 0..50_000 {
        let mut out = Vec::new();
        step(
            &program,
            &mut state,
            &event,
            Timestamp(0),
            &mut NoHistory,
            &mut out,
        )
        .expect("taken");
        let Some(Command::Run(run)) = out.pop() else {
            panic!("{out:?} {:?}", state.outcome());
        };
        event = Event::StepEnded {
            entry: run.entry,
            attempt: run.attempt,
            result: Ok(run.input),
            spent: Spent::default(),
        };
    }
    assert!(state.transitions() > 100_000);
    assert!(
        state.size_hint_bytes() < 2_000,
        "{}",
        state.size_hint_bytes()
    );
}

#[test]
fn data_cannot_grow_without_end() {
    let looping = |parameters: Value| {
        json!({"StartAt": "A", "States": {
            "A": {"Type": "Pass", "Parameters": parameters, "Next": "B"},
            "B": {"Type": "Choice", "Choices": [{"Variable": "$.no", "IsPresent": true, "Next": "C"}], "Default": "A"},
            "C": {"Type": "Succeed"},
        }})
    };
    let text = "x".repeat(1 << 16);
    let error = "States.DataLimitExceeded";
    check_error(
        &looping(json!({"a.$": "$", "b.$": "$"})),
        json!(text),
        error,
    );
    check_error(&looping(json!({"a.$": "$"})), json!(1), error);
    check_error(
        &looping(json!({"a.$": "States.Array($.a, $.a)"})),
        json!({"a": text}),
        error,
    );
    check_error(
        &looping(json!({"a.$": "States.Format('{}{}{}', $.a, $.a, $.a)"})),
        json!({"a": text}),
        error,
    );
    check_error(
        &looping(json!({"a.$": "States.JsonToString($)"})),
        json!({"a": "\""}),
        error,
    );
}

#[test]
fn small_data_of_many_parts_cannot_grow_without_end() {
    // Three bytes for each: 32 MiB of them would be a gigabyte in memory.
    let parts: Vec<Value> = (0..400_000).map(|_| json!([])).collect();
    let error = "States.DataLimitExceeded";
    let names = ["a", "b", "c", "d", "e", "f"];
    let copies = names.map(|name| (format!("{name}.$"), json!("$")));
    let copies = serde_json::Map::from_iter(copies);
    let copied = json!({"StartAt": "A", "States": {"A": {"Type": "Pass", "Parameters": copies, "End": true}}});
    check_error(&copied, json!(parts), error);
    let branch =
        |name: &str| json!({"StartAt": name, "States": {name: {"Type": "Pass", "End": true}}});
    let branches = names.map(branch);
    let joined = json!({"StartAt": "P", "States": {"P": {"Type": "Parallel", "Branches": branches, "End": true}}});
    let ran = check_error(&joined, json!(parts), error);
    let Some(Outcome::Failed(failure)) = ran.state.outcome() else {
        panic!("{:?}", ran.state.outcome());
    };
    assert!(
        failure.cause.contains("2000000 values and keys"),
        "{}",
        failure.cause
    );
}

#[test]
fn nesting_by_joins_ends() {
    check_error(
        &json!({"StartAt": "P", "States": {
            "P": {"Type": "Parallel", "Branches": [{"StartAt": "I", "States": {"I": {"Type": "Pass", "End": true}}}], "Next": "C"},
            "C": {"Type": "Choice", "Choices": [{"Variable": "$.no", "IsPresent": true, "Next": "D"}], "Default": "P"},
            "D": {"Type": "Succeed"},
        }}),
        json!(1),
        "States.DataLimitExceeded",
    );
}

fn map(kind: Value) -> Value {
    json!({"StartAt": "M", "States": {"M": {"Type": "Map", "End": true,
        "ItemSelector": {"n.$": "$$.Map.Item.Value", "i.$": "$$.Map.Item.Index"},
        "ItemProcessor": {"StartAt": "T", "States": {"T": kind}}}}})
}

#[test]
fn a_large_map_is_linear() {
    let items: Vec<u32> = (0..100_000).collect();
    let ran = run(
        &program(&map(json!({"Type": "Pass", "End": true}))),
        json!(items),
    );
    assert_eq!(ran.state.transitions(), 100_001);
    assert_eq!(ran.turns, 101);
    let ran = run(
        &program(&map(
            json!({"Type": "Task", "Resource": "wasm:t", "End": true}),
        )),
        json!(items),
    );
    assert_eq!(ran.state.transitions(), 100_001);
    assert_eq!(ran.turns, 100_001);
    assert_eq!(ran.most_commands, 40, "the window");
    // Each result is about 25 bytes, each item 7.
    assert!(ran.most_bytes < 6 << 20, "{}", ran.most_bytes);
    let Some(Outcome::Succeeded(output)) = ran.state.outcome() else {
        panic!("{:?}", ran.state.outcome());
    };
    assert_eq!(output.value()[99_999], json!({"n": 99_999, "i": 99_999}));
}

#[test]
fn a_cut_turn_takes_other_events_and_goes_on_once() {
    let program = program(
        &json!({"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": true, "Branches": [
        {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "wasm:a", "End": true}}},
        {"StartAt": "L", "States": {"L": {"Type": "Choice", "Choices": [{"Variable": "$.no", "IsPresent": true, "Next": "K"}], "Default": "L"}, "K": {"Type": "Succeed"}}},
    ], "Catch": [{"ErrorEquals": ["Boom"], "Next": "Z"}]}, "Z": {"Type": "Succeed"}}}),
    );
    let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(1), 1));
    let mut play = |event: &Event| {
        let bytes = codec::encode_state(&state, &mut |_| None);
        state = codec::decode_state(&bytes, &|_| Err("none".into())).expect("sound");
        let mut out = Vec::new();
        step(
            &program,
            &mut state,
            event,
            Timestamp(0),
            &mut NoHistory,
            &mut out,
        )
        .expect("taken");
        (out, state.cut())
    };
    let (out, cut) = play(&started(json!({})));
    assert!(
        matches!(out.as_slice(), [Command::Run(_), Command::Continue]) && cut,
        "{out:?}"
    );
    let boom = Event::StepEnded {
        entry: EntryId(2),
        attempt: 0,
        result: Err(Failure::new("Boom", "")),
        spent: Spent::default(),
    };
    let (out, cut) = play(&boom);
    assert!(out.is_empty() && cut, "the turn is another's: {out:?}");
    let (out, cut) = play(&Event::Continued);
    assert!(
        matches!(out.as_slice(), [Command::Finish(Outcome::Succeeded(_))]) && !cut,
        "{out:?}"
    );
}

#[test]
fn transitions_are_counted_as_documented() {
    let task = || json!({"Type": "Task", "Resource": "wasm:t", "End": true});
    let branch = || json!({"StartAt": "T", "States": {"T": task()}});
    let renamed = |name: &str| json!({"StartAt": name, "States": {name: task()}});
    for (definition, input, transitions) in [
        (
            json!({"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": true,
            "Branches": [renamed("A"), renamed("B"), renamed("C")]}}}),
            json!({}),
            4,
        ),
        (
            json!({"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ItemProcessor": branch()}}}),
            json!([1, 2, 3, 4]),
            5,
        ),
        (
            json!({"StartAt": "C", "States": {
            "C": {"Type": "Choice", "Choices": [
                {"Variable": "$", "NumericEquals": 1, "Next": "X"},
                {"Variable": "$", "NumericEquals": 2, "Next": "Y"}], "Default": "Z"},
            "X": task(), "Y": task(), "Z": task()}}),
            json!(2),
            2,
        ),
    ] {
        let ran = run(&program(&definition), input);
        assert!(matches!(ran.state.outcome(), Some(Outcome::Succeeded(_))));
        assert_eq!(ran.state.transitions(), transitions, "{definition}");
    }
}
