//! A distributed Map holds a page, a window and counts, however many items there are.

use std::collections::VecDeque;

use serde_json::{Value, json};
use stepwell_flow::{AnyModule, Program, compile};
use stepwell_interpreter::{Command, Event, NoHistory, Outcome, State, codec, step};
use stepwell_types::items::{ItemCursor, ItemPage};
use stepwell_types::{Data, ExecutionId, FlowRef, ShardId, Spent, StepTarget, Timestamp};

fn program(more: &Value) -> Program {
    let mut map = json!({"Type": "Map", "MaxConcurrency": 50, "End": true,
        "ItemReader": {"Resource": "arn:aws:states:::s3:getObject", "ReaderConfig": {"InputType": "JSONL"},
            "Parameters": {"Bucket": "b", "Key": "k"}},
        "ItemSelector": {"value.$": "$$.Map.Item.Value"},
        "ResultWriter": {"Resource": "arn:aws:states:::s3:putObject", "Parameters": {"Bucket": "b"}},
        "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
            "StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}});
    let fields = more.as_object().expect("an object");
    map.as_object_mut()
        .expect("an object")
        .extend(fields.clone());
    let flow = json!({"StartAt": "M", "States": {"M": map}}).to_string();
    let checked = compile(&flow, &AnyModule);
    checked
        .program
        .unwrap_or_else(|| panic!("{:#?}", checked.diagnostics))
}

/// What one run came to.
struct Ran {
    outcome: Outcome,
    children: usize,
    /// Most bytes that the state held, by its own count and as a checkpoint.
    most: (usize, usize),
    most_commands: usize,
}

/// So many items, a hundred a page; every child ends after those before it.
fn run(program: &Program, items: usize) -> Ran {
    let id = ExecutionId::new(Timestamp(0), ShardId(1), 1);
    let mut state = State::new(id);
    let mut queue = VecDeque::from([Event::Started {
        flow: FlowRef {
            name: "f".into(),
            version: 1,
        },
        name: "n".into(),
        input: Data::empty_object(),
        seed: [1; 16],
        parent: None,
    }]);
    let (mut children, mut most, mut most_commands, mut turn) = (0, (0, 0), 0, 0);
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
        turn += 1;
        most_commands = most_commands.max(out.len());
        most.0 = most.0.max(state.size_hint_bytes());
        if turn % 97 == 0 {
            let bytes = codec::encode_state(&state, &mut |_| None);
            most.1 = most.1.max(bytes.len());
            // What is kept in step is what a checkpoint gives.
            let again = codec::decode_state(&bytes, &|_| Err("none".into())).expect("sound");
            assert_eq!(again.size_hint_bytes(), state.size_hint_bytes());
            assert_eq!(again.active_steps(), state.active_steps());
            assert_eq!(again.fleets(), state.fleets());
        }
        for command in out {
            match command {
                Command::StartChild(start) => {
                    children += 1;
                    queue.push_back(Event::ItemEnded {
                        entry: start.link.entry,
                        attempt: start.link.attempt,
                        slot: start.link.item.expect("an item"),
                        failed: false,
                    });
                }
                Command::Run(run) => {
                    let answer = match &run.target {
                        StepTarget::ReadItems(read) => {
                            let from = read
                                .cursor
                                .as_ref()
                                .map_or(0, |c| c.0.parse().expect("ours"));
                            let until = items.min(from + 100);
                            let page = ItemPage {
                                items: (from..until).map(|n| json!({"number": n})).collect(),
                                next: (until < items).then(|| ItemCursor(until.to_string().into())),
                                version: Some("v1".into()),
                                keyed: false,
                            };
                            page.answer()
                        }
                        StepTarget::WriteResults(write) => {
                            Data::from_value(json!({"Key": write.key(), "Size": 1}))
                        }
                        other => panic!("{other:?}"),
                    };
                    queue.push_back(Event::StepEnded {
                        entry: run.entry,
                        attempt: run.attempt,
                        result: Ok(answer),
                        spent: Spent::default(),
                    });
                }
                Command::Continue => queue.push_back(Event::Continued),
                _ => {}
            }
        }
    }
    Ran {
        outcome: state.outcome().expect("it ended").clone(),
        children,
        most,
        most_commands,
    }
}

#[test]
fn the_state_does_not_grow_with_the_items() {
    for more in [json!({}), json!({"ItemBatcher": {"MaxItemsPerBatch": 7}})] {
        let program = program(&more);
        let (few, many) = (run(&program, 1_000), run(&program, 50_000));
        for (ran, items) in [(&few, 1_000), (&many, 50_000)] {
            assert!(
                matches!(ran.outcome, Outcome::Succeeded(_)),
                "{:?}",
                ran.outcome
            );
            let each = if more == json!({}) { 1 } else { 7usize };
            assert_eq!(ran.children, usize::div_ceil(items, each));
            assert!(ran.most_commands <= 60, "{}", ran.most_commands);
        }
        // Numbers have more digits, and that is all.
        assert!(
            many.most.0 < few.most.0 * 3 / 2,
            "{:?}, {:?}",
            few.most,
            many.most
        );
        assert!(
            many.most.1 < few.most.1 * 3 / 2,
            "{:?}, {:?}",
            few.most,
            many.most
        );
    }
}
