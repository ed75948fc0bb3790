//! Random flows, random events, random damage: nothing panics, and checkpoints change nothing.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stepwell_flow::{AnyModule, compile};
use stepwell_interpreter::codec::{self, Logged, Record, Row};
use stepwell_interpreter::{Event, NoHistory, State, Timer, step};
use stepwell_types::{Data, EntryId, ExecutionId, Failure, FlowRef, ShardId, Spent, Timestamp};

/// A value in whose paths the flows below find something, or not.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3..9i64).prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
        Just(json!("1970-01-01T00:00:01Z")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "$",
        "$.a",
        "$.a.b",
        "$.b[0]",
        "$.a[*]",
        "$..c",
        "$$.Execution.Input.a",
        "$$.Map.Item.Value",
    ])
}

fn expression() -> impl Strategy<Value = String> {
    prop_oneof![
        path().prop_map(str::to_owned),
        path().prop_map(|p| format!("States.Format('<{{}}>', {p})")),
        path().prop_map(|p| format!("States.ArrayGetItem({p}, 0)")),
        path().prop_map(|p| format!("States.StringToJson({p})")),
        path().prop_map(|p| format!("States.ArrayRange({p}, 5, 2)")),
        path().prop_map(|p| format!("States.JsonMerge({p}, $, false)")),
        path().prop_map(|p| format!("States.MathAdd({p}, 1)")),
        Just("States.UUID()".to_owned()),
        Just("States.MathRandom(1, 9)".to_owned()),
    ]
}

/// One state without its name and its way on.
fn state(depth: u32) -> BoxedStrategy<Value> {
    let data = (
        prop::option::of(path()),
        prop::option::of(path()),
        prop::option::of(expression()),
    )
        .prop_map(|(input, output, parameter)| {
            (input, output, parameter.map(|p| json!({"a.$": p, "k": 1})))
        });
    let handled = json!({
        "Retry": [{"ErrorEquals": ["Boom"], "MaxAttempts": 2, "JitterStrategy": "FULL"}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "@last", "ResultPath": "$.a"}],
    });
    let simple = prop_oneof![
        3 => any::<bool>().prop_map(|token| json!({"Type": "Task", "HeartbeatSeconds": 2, "TimeoutSeconds": 5,
            "Resource": if token { "wasm:t.waitForTaskToken" } else { "wasm:t" }})),
        1 => Just(json!({"Type": "Task", "Resource": "callback"})),
        2 => Just(json!({"Type": "Pass"})),
        1 => path().prop_map(|p| json!({"Type": "Wait", "SecondsPath": p})),
        1 => path().prop_map(|p| json!({"Type": "Wait", "TimestampPath": p})),
        1 => path().prop_map(|p| json!({"Type": "Choice", "Default": "@first",
            "Choices": [{"Variable": p, "IsNumeric": true, "Next": "@last"}, {"Variable": p, "StringMatches": "a*", "Next": "@last"}]})),
        1 => Just(json!({"Type": "Fail", "Error": "Boom"})),
        1 => Just(json!({"Type": "Succeed"})),
    ];
    let kind = if depth == 0 {
        simple.boxed()
    } else {
        prop_oneof![
            4 => simple,
            1 => prop::collection::vec(graph(depth - 1), 1..3).prop_map(|b| json!({"Type": "Parallel", "Branches": b})),
            1 => (graph(depth - 1), path(), 0..3u32).prop_map(|(g, p, n)| json!({
                "Type": "Map", "ItemsPath": p, "MaxConcurrency": n, "ItemProcessor": g})),
        ]
        .boxed()
    };
    (kind, data, any::<bool>())
        .prop_map(move |(mut kind, (input, output, parameters), handle)| {
            let name = kind["Type"].as_str().unwrap_or_default().to_owned();
            let works = ["Task", "Parallel", "Map"].contains(&name.as_str());
            if let Some(map) = kind.as_object_mut() {
                if name != "Fail" {
                    map.extend(input.map(|p| ("InputPath".into(), json!(p))));
                    map.extend(output.map(|p| ("OutputPath".into(), json!(p))));
                }
                if (works && name != "Map") || name == "Pass" {
                    map.extend(parameters.map(|p| ("Parameters".into(), p)));
                }
                if works && handle {
                    map.extend(
                        handled
                            .as_object()
                            .into_iter()
                            .flatten()
                            .map(|(k, v)| (k.clone(), v.clone())),
                    );
                }
            }
            kind
        })
        .boxed()
}

fn graph(depth: u32) -> BoxedStrategy<Value> {
    prop::collection::vec(state(depth), 1..4)
        .prop_map(|states| json!(states))
        .boxed()
}

/// Turns lists of states into graphs with names that are unique in the flow.
fn named(states: &Value, counter: &mut u32) -> Value {
    let states = states.as_array().cloned().unwrap_or_default();
    let first = *counter;
    let names: Vec<String> = (0..states.len())
        .map(|i| format!("S{}", first + i as u32))
        .collect();
    *counter += states.len() as u32;
    let mut out = Map::new();
    for (i, mut state) in states.into_iter().enumerate() {
        let kind = state["Type"].as_str().unwrap_or_default().to_owned();
        for field in ["Branches", "ItemProcessor"] {
            let Some(nested) = state.get_mut(field) else {
                continue;
            };
            *nested = if field == "Branches" {
                nested
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|b| named(b, counter))
                    .collect()
            } else {
                named(nested, counter)
            };
        }
        if !["Choice", "Fail", "Succeed"].contains(&kind.as_str()) {
            match names.get(i + 1) {
                Some(next) => state["Next"] = json!(next),
                None => state["End"] = json!(true),
            }
        }
        let last = names.last().cloned().unwrap_or_default();
        out.insert(names[i].clone(), substitute(&state, &names[0], &last));
    }
    json!({"StartAt": names[0], "States": out})
}

fn substitute(value: &Value, first: &str, last: &str) -> Value {
    match value {
        Value::String(s) if s == "@first" => json!(first),
        Value::String(s) if s == "@last" => json!(last),
        Value::Array(items) => items.iter().map(|v| substitute(v, first, last)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| (k.clone(), substitute(v, first, last)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn event() -> impl Strategy<Value = Event> {
    let answer = prop_oneof![
        3 => value().prop_map(|v| Ok(Data::from_value(v))),
        1 => prop::sample::select(vec!["Boom", "States.Runtime", "Other"]).prop_map(|e| Err(Failure::new(e, "why"))),
    ];
    let who = (0..14u64, 0..2u32).prop_map(|(e, a)| (EntryId(e), a));
    prop_oneof![
        12 => (who.clone(), answer.clone()).prop_map(|((entry, attempt), result)| Event::StepEnded {
            entry, attempt, result, spent: Spent::default() }),
        4 => (who.clone(), answer).prop_map(|((entry, attempt), result)| Event::TokenEnded { entry, attempt, result }),
        2 => who.clone().prop_map(|(entry, attempt)| Event::Heartbeat { entry, attempt }),
        2 => (who, prop::sample::select(vec![Timer::Wait, Timer::Backoff, Timer::Timeout, Timer::Heartbeat]))
            .prop_map(|((entry, _), timer)| Event::TimerFired { entry, timer }),
        4 => Just(Event::Continued),
        1 => Just(Event::Cancelled { failure: Failure::new("Stopped", "") }),
        4 => prop::option::of((0..14u64, value())).prop_map(|input| Event::Redriven {
            flow: FlowRef { name: "f".into(), version: 2 },
            input: input.map(|(e, v)| (EntryId(e), Data::from_value(v))),
        }),
    ]
}

/// Plays events, each after the earliest timer if `fire` says so, and checks the twin.
fn play(graph: &Value, input: Value, events: &[(Event, bool, u64)]) -> (State, Vec<u8>) {
    let definition = named(graph, &mut 0).to_string();
    let checked = compile(&definition, &AnyModule);
    let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(2), 3));
    let Some(program) = checked.program else {
        return (state, Vec::new());
    };
    let mut log = Row::new();
    let mut now = Timestamp(0);
    let start = Event::Started {
        flow: FlowRef {
            name: "f".into(),
            version: 1,
        },
        name: "n".into(),
        input: Data::from_value(input),
        seed: [9; 16],
        parent: None,
    };
    let mut queue = vec![start];
    for (event, fire, later) in events {
        now = now.plus_ms(*later);
        queue.push(event.clone());
        if *fire && let Some((at, entry, timer)) = state.next_timer() {
            now = now.max(at);
            queue.push(Event::TimerFired { entry, timer });
        }
        for event in queue.drain(..) {
            let bytes = codec::encode_state(&state, &mut |_| None);
            let mut twin = codec::decode_state(&bytes, &|_| Err("none".into())).expect("sound");
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            let mut history = Vec::new();
            step(&program, &mut state, &event, now, &mut history, &mut ours).expect("taken");
            step(
                &program,
                &mut twin,
                &event,
                now,
                &mut NoHistory,
                &mut theirs,
            )
            .expect("taken");
            assert_eq!(ours, theirs);
            assert_eq!(state.next_timer(), twin.next_timer());
            assert_eq!(state.active_steps(), twin.active_steps());
            for (at, event) in &history {
                assert!(event.render(*at)["type"].is_string());
            }
            let record = Record {
                at: now,
                event,
                commands: codec::digest(&ours),
            };
            log.append(&Logged::Event(record), &mut |_| None);
        }
    }
    (state, log.take())
}

fn plays() -> impl Strategy<Value = (Value, Value, Vec<(Event, bool, u64)>)> {
    let events = prop::collection::vec((event(), any::<bool>(), 0..3_000u64), 0..40);
    (graph(2), value(), events)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_flows_never_panic((graph, input, events) in plays()) {
        play(&graph, input, &events);
    }

    #[test]
    fn damaged_bytes_are_refused_not_believed(
        (graph, input, events) in plays(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let (state, row) = play(&graph, input, &events);
        let checkpoint = codec::encode_state(&state, &mut |_| None);
        for whole in [row, checkpoint] {
            if whole.is_empty() {
                continue;
            }
            let mut bytes = whole.clone();
            for (index, byte) in &damage {
                let at = index.index(bytes.len());
                bytes[at] = *byte;
            }
            // Either is fine: an error, or something that can be walked without a panic.
            let _ = codec::decode(&bytes, &|_| Err("none".into()));
            let _ = codec::decode_state(&bytes, &|_| Err("none".into()));
            let short = &whole[..cut.index(whole.len())];
            let _ = codec::decode(short, &|_| Err("none".into()));
            let _ = codec::decode_state(short, &|_| Err("none".into()));
        }
    }
}
