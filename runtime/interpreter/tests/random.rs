//! Random flows, random events, random damage: nothing panics, every execution ends or
//! waits for somebody, and a replay from any checkpoint decides the same again.

#[path = "random/cloudflow.rs"]
mod cloudflow;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::{Map, Value, json};
use stepwell_flow::{AnyModule, Program, compile};
use stepwell_interpreter::codec::{self, Logged, Record, Row};
use stepwell_interpreter::{
    Command, Event, NoHistory, State, Timer, open_tasks, outstanding, step,
};
use stepwell_types::limits::TRANSITIONS_MAX;
use stepwell_types::{
    Data, EntryId, ExecutionId, Failure, FlowRef, ShardId, Signal, Spent, StepTarget, Timestamp,
};

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

/// JSONata that finds something in the values above, or fails.
fn jsonata() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "$states.input",
        "$states.input.a",
        "$states.input.b[0] + 1",
        "$sum($states.input.a)",
        "$map($states.input.*, function($x) { $x })",
        "$states.context.Execution.Name",
        "[$uuid(), $random(), $now()]",
        "$partition($range(1, 9, 2), 2)",
        "$error('no')",
        "$exists($states.input.c)",
        "'2024-01-01T00:00:00Z'",
        "2",
    ])
    .prop_map(|text| format!("{{% {text} %}}"))
}

/// A state in JSONata mode.
fn in_jsonata() -> impl Strategy<Value = Value> {
    let fields = prop_oneof![
        jsonata().prop_map(|e| json!({"Type": "Pass", "Output": {"a": e}, "Assign": {"@v": e}})),
        jsonata().prop_map(
            |e| json!({"Type": "Task", "Resource": "wasm:t", "Arguments": e,
            "Output": "{% $states.result %}", "Assign": {"@v": "{% $states.result %}"}})
        ),
        jsonata().prop_map(|e| json!({"Type": "Wait", "Seconds": e})),
        jsonata().prop_map(|e| json!({"Type": "Choice", "Default": "@last",
            "Choices": [{"Condition": e, "Next": "@last", "Assign": {"@v": e}}]})),
        jsonata().prop_map(|e| json!({"Type": "Fail", "Error": "Boom", "Cause": e})),
        jsonata().prop_map(|e| json!({"Type": "Succeed", "Output": e})),
    ];
    fields.prop_map(|mut state| {
        state["QueryLanguage"] = json!("JSONata");
        state
    })
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
        1 => prop::sample::select(vec![json!("a"), json!(["b", "a"])]).prop_map(|names| json!({"Type": "Task",
            "Resource": "signal:wait", "TimeoutSeconds": 5, "Parameters": {"Name": names}})),
        2 => Just(json!({"Type": "Pass"})),
        1 => path().prop_map(|p| json!({"Type": "Wait", "SecondsPath": p})),
        1 => path().prop_map(|p| json!({"Type": "Wait", "TimestampPath": p})),
        1 => path().prop_map(|p| json!({"Type": "Choice", "Default": "@first",
            "Choices": [{"Variable": p, "IsNumeric": true, "Next": "@last"}, {"Variable": p, "StringMatches": "a*", "Next": "@last"}]})),
        1 => Just(json!({"Type": "Fail", "Error": "Boom"})),
        1 => Just(json!({"Type": "Succeed"})),
        4 => in_jsonata(),
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
            if kind["QueryLanguage"] == "JSONata" {
                return kind;
            }
            if let Some(map) = kind.as_object_mut() {
                if (works || name == "Pass") && handle {
                    map.insert("Assign".into(), json!({"@v.$": "$"}));
                }
                if name != "Fail" {
                    map.extend(input.map(|p| ("InputPath".into(), json!(p))));
                    map.extend(output.map(|p| ("OutputPath".into(), json!(p))));
                }
                let given = map.contains_key("Parameters");
                if (works && name != "Map" && !given) || name == "Pass" {
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
        let state = substitute(&state, &names[0], &last, &format!("v{first}"));
        out.insert(names[i].clone(), state);
    }
    // A graph without an end is no valid one.
    let ends = |state: &Value| {
        state["End"] == json!(true)
            || ["Fail", "Succeed"]
                .iter()
                .any(|kind| state["Type"] == *kind)
    };
    if !out.values().any(ends) {
        out.insert(format!("End{first}"), json!({"Type": "Succeed"}));
    }
    json!({"StartAt": names[0], "States": out})
}

/// Fills in a graph's first and last state, and the variable that is its own.
fn substitute(value: &Value, first: &str, last: &str, variable: &str) -> Value {
    match value {
        Value::String(s) if s == "@first" => json!(first),
        Value::String(s) if s == "@last" => json!(last),
        Value::Array(items) => items
            .iter()
            .map(|v| substitute(v, first, last, variable))
            .collect(),
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| {
                let name = k.replace("@v", variable);
                (name, substitute(v, first, last, variable))
            })
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
        1 => who.clone().prop_map(|(entry, attempt)| Event::ActivityStarted { entry, attempt, worker: None }),
        1 => who.clone().prop_map(|(entry, attempt)| Event::ActivityReturned { entry, attempt }),
        2 => (who, prop::sample::select(vec![Timer::Wait, Timer::Backoff, Timer::Timeout, Timer::Heartbeat]))
            .prop_map(|((entry, _), timer)| Event::TimerFired { entry, timer }),
        4 => Just(Event::Continued),
        4 => (prop::sample::select(vec!["a", "b", "c"]), value()).prop_map(|(name, data)| signal(name, data)),
        1 => Just(Event::Cancelled { failure: Failure::new("Stopped", "") }),
        4 => prop::option::of((0..14u64, value())).prop_map(|input| Event::Redriven {
            flow: FlowRef { name: "f".into(), version: 2 },
            input: input.map(|(e, v)| (EntryId(e), Data::from_value(v))),
            attempt: None,
        }),
    ]
}

fn signal(name: &str, data: Value) -> Event {
    let signal = Signal {
        name: name.into(),
        data: Data::from_value(data),
        sender: None,
    };
    Event::Signalled { signal }
}

/// What was played, for another look.
struct Played {
    program: Program,
    state: State,
    now: Timestamp,
    log: Vec<u8>,
    /// The state before each event, as a checkpoint holds it.
    checkpoints: Vec<Vec<u8>>,
    /// Each event, when it came, and the digest of what was decided.
    events: Vec<(Event, Timestamp, u32)>,
}

fn encoded(state: &State) -> Vec<u8> {
    codec::encode_state(state, &mut |_| None)
}

fn decoded(bytes: &[u8]) -> State {
    codec::decode_state(bytes, &|_| Err("none".into())).expect("sound")
}

/// Plays events, each after the earliest timer if `fire` says so, and checks the twin.
/// `None`: the flow is not valid.
fn play(definition: &str, input: Value, events: &[(Event, bool, u64)]) -> Option<Played> {
    let program = compile(definition, &AnyModule).program?;
    let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(2), 3));
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
    let (mut checkpoints, mut played) = (Vec::new(), Vec::new());
    for (event, fire, later) in events {
        now = now.plus_ms(*later);
        queue.push(event.clone());
        if *fire && let Some((at, entry, timer)) = state.next_timer() {
            now = now.max(at);
            queue.push(Event::TimerFired { entry, timer });
        }
        for event in queue.drain(..) {
            let bytes = encoded(&state);
            let mut twin = decoded(&bytes);
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
            checkpoints.push(bytes);
            played.push((event.clone(), now, codec::digest(&ours)));
            let record = Record {
                at: now,
                event,
                commands: codec::digest(&ours),
            };
            log.append(&Logged::Event(record), &mut |_| None);
        }
    }
    Some(Played {
        program,
        state,
        now,
        log: log.take(),
        checkpoints,
        events: played,
    })
}

/// From the checkpoint before event `at` on, all is decided again as it was.
fn replays_the_same(played: &Played, at: usize) {
    let mut state = decoded(&played.checkpoints[at]);
    for (event, now, digest) in &played.events[at..] {
        let mut commands = Vec::new();
        step(
            &played.program,
            &mut state,
            event,
            *now,
            &mut NoHistory,
            &mut commands,
        )
        .expect("taken");
        assert_eq!(codec::digest(&commands), *digest);
    }
    assert_eq!(encoded(&state), encoded(&played.state));
}

/// Every step answered and every timer fired: it ends, or waits for a token, or goes
/// round a loop that its own bound will end.
fn ends_or_blocks(played: Played) {
    let Played {
        program,
        mut state,
        mut now,
        ..
    } = played;
    for _ in 0..300 {
        assert!(state.transitions() <= TRANSITIONS_MAX);
        if state.outcome().is_some() {
            return;
        }
        let mut wanted = Vec::new();
        outstanding(&program, &state, &mut wanted);
        let event = wanted.into_iter().find_map(|command| match command {
            Command::Continue => Some(Event::Continued),
            Command::Run(run) if run.target != StepTarget::Callback => Some(Event::StepEnded {
                entry: run.entry,
                attempt: run.attempt,
                result: Ok(run.input),
                spent: Spent::default(),
            }),
            _ => None,
        });
        let timer = state.next_timer();
        let event = event.or_else(|| {
            let (at, entry, timer) = timer?;
            now = now.max(at);
            Some(Event::TimerFired { entry, timer })
        });
        let wanted = state.signals_wanted().next();
        let event = event.or_else(|| wanted.map(|name| signal(name, Value::Null)));
        let Some(event) = event else {
            let mut open = Vec::new();
            open_tasks(&program, &state, &mut open);
            assert!(!open.is_empty(), "it waits for nothing and nobody");
            return;
        };
        let mut commands = Vec::new();
        step(
            &program,
            &mut state,
            &event,
            now,
            &mut NoHistory,
            &mut commands,
        )
        .expect("taken");
    }
}

/// A flow in any of the languages, its input and what happens to it.
fn plays() -> impl Strategy<Value = (String, Value, Vec<(Event, bool, u64)>)> {
    let events = prop::collection::vec((event(), any::<bool>(), 0..3_000u64), 0..40);
    // In CloudFlow every input is an object.
    let object = value().prop_map(|v| match v {
        Value::Object(_) => v,
        other => json!({"a": other, "b": [1, {"c": 2}], "c": "1970-01-01T00:00:01Z"}),
    });
    let flows = prop_oneof![
        (
            graph(2).prop_map(|g| named(&g, &mut 0).to_string()),
            value()
        ),
        (cloudflow::either(), object),
    ];
    (flows, events).prop_map(|((flow, input), events)| (flow, input, events))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_flows_never_panic(
        (flow, input, events) in plays(),
        from in any::<prop::sample::Index>(),
    ) {
        if let Some(played) = play(&flow, input, &events) {
            // Without any event it was not even started.
            if !played.events.is_empty() {
                replays_the_same(&played, from.index(played.events.len()));
                ends_or_blocks(played);
            }
        }
    }

    #[test]
    fn damaged_bytes_are_refused_not_believed(
        (flow, input, events) in plays(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let Some(played) = play(&flow, input, &events) else {
            return Ok(());
        };
        for whole in [played.log, encoded(&played.state)] {
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

/// What the properties say of invalid flows is nothing: most must be valid.
#[test]
fn most_random_flows_are_valid() {
    let states = graph(2).prop_map(|g| named(&g, &mut 0).to_string());
    for (language, flows) in [
        ("States Language", states.boxed()),
        (
            "CloudFlow",
            cloudflow::new().prop_map(|f| f.to_string()).boxed(),
        ),
        (
            "old CloudFlow",
            cloudflow::old().prop_map(|f| f.to_string()).boxed(),
        ),
    ] {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let mut valid = 0;
        for _ in 0..200 {
            let definition = flows.new_tree(&mut runner).expect("a flow").current();
            let checked = compile(&definition, &AnyModule);
            valid += usize::from(checked.program.is_some());
            if checked.program.is_none() {
                println!("{language}: {:?}", checked.diagnostics.first());
            }
        }
        assert!(valid >= 120, "{language}: {valid} of 200 flows are valid");
    }
}
