//! Redrive with another version, and what a redrive refuses.

use stepwell_flow::{AnyModule, Program, compile};
use stepwell_interpreter::redrive::Refusal;
use stepwell_interpreter::{Command, Event, NoHistory, State, codec, step};
use stepwell_types::{
    ChildStart, Data, EntryId, ExecutionId, Failure, FlowRef, ShardId, Spent, Timestamp,
};

fn program(definition: &str) -> Program {
    let checked = compile(definition, &AnyModule);
    checked
        .program
        .unwrap_or_else(|| panic!("{:#?}", checked.diagnostics))
}

fn feed(program: &Program, state: &mut State, event: &Event) -> Vec<Command> {
    let mut out = Vec::new();
    let now = Timestamp(1_000);
    step(program, state, event, now, &mut NoHistory, &mut out).expect("taken");
    out
}

fn ended(entry: u64, result: Result<&str, &str>) -> Event {
    Event::StepEnded {
        entry: EntryId(entry),
        attempt: 0,
        result: match result {
            Ok(text) => Ok(Data::parse(text).expect("JSON")),
            Err(error) => Err(Failure::new(error, "")),
        },
        spent: Spent::default(),
    }
}

fn started(program: &Program) -> State {
    let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(1), 1));
    begin(program, &mut state);
    state
}

fn begin(program: &Program, state: &mut State) -> Vec<Command> {
    let start = Event::Started {
        flow: FlowRef {
            name: "f".into(),
            version: 1,
        },
        name: "n".into(),
        input: Data::parse(r#"{"items": [1, 2]}"#).expect("JSON"),
        seed: [1; 16],
        parent: None,
    };
    feed(program, state, &start)
}

const PLAIN: &str = r#"
StartAt: P
States:
  P:
    Type: Parallel
    Branches:
      - {StartAt: A, States: {A: {Type: Task, Resource: "wasm:a", End: true}}}
      - StartAt: M
        States:
          M:
            Type: Map
            ItemsPath: $.items
            ItemProcessor: {StartAt: T, States: {T: {Type: Task, Resource: "wasm:t", End: true}}}
            End: true
    End: true
"#;

/// `A` and the first item have ended, the second item failed.
fn failed(program: &Program) -> State {
    let mut state = started(program);
    feed(program, &mut state, &ended(2, Ok("\"a\"")));
    feed(program, &mut state, &ended(4, Ok("\"one\"")));
    feed(program, &mut state, &ended(5, Err("Boom")));
    state
}

#[track_caller]
fn check_misfit(from: &str, to: &str, says: &str) {
    assert!(PLAIN.contains(from), "{from}");
    let old = program(PLAIN);
    let new = program(&PLAIN.replace(from, to));
    match failed(&old).redrive(&old, Some((&new, 2)), None, None) {
        Err(Refusal::Misfit(why)) => assert!(why.contains(says), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_version_goes_on_where_the_first_failed() {
    let old = program(PLAIN);
    // A state more, other numbers of the states, another module.
    let text = PLAIN
        .replace(
            "StartAt: P\nStates:",
            "StartAt: Zero\nStates:\n  Zero: {Type: Pass, Next: P}",
        )
        .replace("wasm:t", "wasm:t2")
        .replace("    End: true\n\"", "");
    let new = program(&text);
    let mut state = failed(&old);
    let event = state
        .redrive(&old, Some((&new, 2)), None, None)
        .expect("it fits");
    // Through bytes, as after a restart.
    let bytes = codec::encode_state(&state, &mut |_| None);
    let mut twin = codec::decode_state(&bytes, &|_| Err("none".into())).expect("sound");
    for state in [&mut state, &mut twin] {
        state.rebase(&old, &new).expect("it fits");
        let commands = feed(&new, state, &event);
        let [Command::Run(run)] = commands.as_slice() else {
            panic!("{commands:?}")
        };
        assert_eq!((&*run.state, run.input.text()), ("T", "2"));
        assert!(
            format!("{:?}", run.target).contains("t2"),
            "{:?}",
            run.target
        );
        assert_eq!(state.flow().map(|f| f.version), Some(2));
        assert_eq!(state.redrives(), 1);
        let done = feed(&new, state, &ended(run.entry.0, Ok("\"two\"")));
        let [Command::Finish(outcome)] = done.as_slice() else {
            panic!("{done:?}")
        };
        let expected = Data::parse(r#"["a",["one","two"]]"#).expect("JSON");
        assert_eq!(outcome, &stepwell_interpreter::Outcome::Succeeded(expected));
    }
}

#[test]
fn a_version_that_does_not_fit_is_refused_with_the_reason() {
    check_misfit(
        "StartAt: T, States: {T: {Type: Task, Resource: \"wasm:t\"",
        "StartAt: U, States: {U: {Type: Task, Resource: \"wasm:t\"",
        "no state 'T'",
    );
    check_misfit(
        "{Type: Task, Resource: \"wasm:t\", End: true}",
        "{Type: Pass, End: true}",
        "of type Task, and of type Pass",
    );
    check_misfit(
        "ItemsPath: $.items",
        "ItemsPath: $.other",
        "another ItemsPath",
    );
    check_misfit(
        "      - StartAt: M",
        "      - {StartAt: X, States: {X: {Type: Pass, End: true}}}\n      - StartAt: M",
        "2 branches and has 3",
    );
    check_misfit(
        "      - {StartAt: A, States: {A: {Type: Task, Resource: \"wasm:a\", End: true}}}\n",
        "",
        "2 branches and has 1",
    );
}

#[test]
fn what_is_not_over_or_is_well_is_refused() {
    let program = program(PLAIN);
    let mut state = started(&program);
    let refusal = |state: &State| state.redrive(&program, None, None, None).err();
    assert_eq!(refusal(&state), Some(Refusal::Running));
    for (entry, result) in [(2, "1"), (4, "2"), (5, "3")] {
        feed(&program, &mut state, &ended(entry, Ok(result)));
    }
    assert_eq!(refusal(&state), Some(Refusal::Succeeded));
    // Recorded all the same, it changes nothing.
    let event = Event::Redriven {
        flow: FlowRef {
            name: "f".into(),
            version: 1,
        },
        input: None,
        attempt: None,
    };
    assert!(feed(&program, &mut state, &event).is_empty());
    assert_eq!(state.redrives(), 0);
}

#[test]
fn a_new_input_needs_one_state_to_go_to() {
    let program = program(PLAIN);
    let mut state = started(&program);
    let cancel = Event::Cancelled {
        failure: Failure::new("Stopped", ""),
    };
    feed(&program, &mut state, &cancel);
    let ask = |state: &State, name: Option<&str>| {
        let input = Some(Data::null());
        state
            .redrive(&program, None, name, input)
            .map_err(|e| e.to_string())
    };
    let text = ask(&state, None).expect_err("three are under way");
    assert!(
        text.contains("3 states") && text.contains("'A', 'T'"),
        "{text}"
    );
    let text = ask(&state, Some("T")).expect_err("two items");
    assert!(text.contains("under way 2 times"), "{text}");
    let text = ask(&state, Some("Nowhere")).expect_err("no such state");
    assert!(
        text.contains("'Nowhere'") && text.contains("'A', 'T'"),
        "{text}"
    );
    let event = ask(&state, Some("A")).expect("one");
    assert!(matches!(
        event,
        Event::Redriven {
            input: Some((EntryId(2), _)),
            ..
        }
    ));
    // The item that failed is meant when there are more of its name.
    let event = ask(&failed(&program), Some("T")).expect("the one that failed");
    assert!(matches!(
        event,
        Event::Redriven {
            input: Some((EntryId(5), _)),
            ..
        }
    ));
}

/// A Map whose items are executions, and what the second of them does after its first step.
fn fleet(kind: &str, second: &str) -> Program {
    program(&format!(
        r#"
StartAt: M
States:
  M:
    Type: Map
    ItemsPath: $.items
    ItemSelector: {{"n.$": $$.Map.Item.Value, "tries.$": $$.State.RetryCount}}
    ItemProcessor:
      ProcessorConfig: {{Mode: DISTRIBUTED, ExecutionType: {kind}}}
      StartAt: A
      States:
        A: {{Type: Task, Resource: "wasm:a", Next: B}}
        {second}
    End: true
"#
    ))
}

fn starts(commands: &[Command]) -> Vec<ChildStart> {
    let starts = commands.iter().filter_map(|command| match command {
        Command::StartChild(start) => Some((**start).clone()),
        _ => None,
    });
    starts.collect()
}

fn item_failed(start: &ChildStart) -> Event {
    Event::ItemEnded {
        entry: start.link.entry,
        attempt: start.link.attempt,
        slot: start.link.item.expect("an item"),
        failed: true,
    }
}

#[test]
fn a_redriven_map_wants_the_same_standard_children_and_other_express_ones() {
    for (kind, same) in [("STANDARD", true), ("EXPRESS", false)] {
        let program = fleet(kind, "B: {Type: Succeed}");
        let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(1), 1));
        let before = starts(&begin(&program, &mut state));
        let cancels = feed(&program, &mut state, &item_failed(&before[0]));
        let cancelled = cancels.iter().any(|c| {
            matches!(c, Command::CancelChild { child, attempt: 0, .. } if *child == before[1].child)
        });
        assert!(cancelled, "{kind}: {cancels:?}");
        let event = state
            .redrive(&program, None, None, None)
            .expect("it failed");
        let again = starts(&feed(&program, &mut state, &event));
        assert_eq!(again.len(), 2, "{kind}");
        for (was, is) in before.iter().zip(&again) {
            assert_eq!(was.child == is.child, same, "{kind}");
            assert!(is.again && is.link.attempt > was.link.attempt, "{is:?}");
            // It is no retry.
            assert!(is.input.text().contains(r#""tries":0"#), "{:?}", is.input);
        }
        // Whether they are known is asked again after a crash.
        let mut asked = Vec::new();
        stepwell_interpreter::outstanding(&program, &state, &mut asked);
        assert_eq!(starts(&asked), again, "{kind}");
    }
}

#[test]
fn an_item_that_is_wanted_again_goes_on_where_it_failed() {
    let old = fleet(
        "STANDARD",
        r#"B: {Type: Task, Resource: "wasm:b", End: true}"#,
    );
    let mut parent = State::new(ExecutionId::new(Timestamp(0), ShardId(1), 1));
    let wish = starts(&begin(&old, &mut parent)).remove(0);
    let mut child = State::new(wish.child);
    let start = Event::Started {
        flow: FlowRef {
            name: "f".into(),
            version: 1,
        },
        name: "n".into(),
        input: wish.input,
        seed: wish.seed,
        parent: Some(wish.link.into()),
    };
    feed(&old, &mut child, &start);
    feed(&old, &mut child, &ended(1, Ok("1")));
    // One that runs only learns who waits.
    let event = child.redrive_item(&old, None, 3).expect("it runs");
    assert!(feed(&old, &mut child, &event).is_empty());
    assert_eq!(child.parent().map(|link| link.attempt), Some(3));
    assert_eq!(child.redrives(), 0);

    feed(&old, &mut child, &ended(2, Err("Boom")));
    let misfit = fleet("STANDARD", "B: {Type: Succeed}");
    match child.redrive_item(&old, Some((&misfit, 2)), 4) {
        Err(Refusal::Misfit(why)) => assert!(why.contains("'B'"), "{why}"),
        other => panic!("{other:?}"),
    }
    let new = fleet(
        "STANDARD",
        r#"B: {Type: Task, Resource: "wasm:c", End: true}"#,
    );
    let event = child
        .redrive_item(&old, Some((&new, 2)), 4)
        .expect("it fits");
    child.rebase(&old, &new).expect("it fits");
    let commands = feed(&new, &mut child, &event);
    let [Command::Run(run)] = commands.as_slice() else {
        panic!("{commands:?}")
    };
    assert_eq!((&*run.state, run.input.text()), ("B", "1"));
    assert_eq!(child.parent().map(|link| link.attempt), Some(4));
    feed(&new, &mut child, &ended(run.entry.0, Ok("2")));
    assert_eq!(
        child.redrive_item(&new, None, 5).err(),
        Some(Refusal::Succeeded)
    );
}
