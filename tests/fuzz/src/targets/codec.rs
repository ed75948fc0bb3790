//! Bytes from the disk: refused, or read and written again as they are.
//!
//! Refuses to fetch payloads: bytes that name one are damaged here.

use stepwell_flow::{AnyModule, compile};
use stepwell_interpreter::codec::{self, Logged, Record, Row};
use stepwell_interpreter::{Event, NoHistory, State, step};
use stepwell_types::{Data, EntryId, ExecutionId, FlowRef, ShardId, Spent, Timestamp};

fn none(_: &stepwell_types::Digest) -> Result<Data, String> {
    Err("there are none".into())
}

/// A log row.
pub fn log(data: &[u8]) {
    let Ok(read) = codec::decode(data, &none) else {
        return;
    };
    let mut row = Row::new();
    for logged in &read {
        row.append(logged, &mut |_| None);
    }
    let bytes = row.take();
    if !bytes.is_empty() {
        let again = codec::decode(&bytes, &none).expect("what was written is read");
        assert_eq!(format!("{read:?}"), format!("{again:?}"));
    }
}

/// A checkpoint.
pub fn state(data: &[u8]) {
    let Ok(read) = codec::decode_state(data, &none) else {
        return;
    };
    let bytes = codec::encode_state(&read, &mut |_| None);
    let again = codec::decode_state(&bytes, &none).expect("what was written is read");
    assert_eq!(bytes, codec::encode_state(&again, &mut |_| None));
    let _ = (again.next_timer(), again.active_steps());
}

/// Rows of a short run.
pub fn log_seeds() -> Vec<Vec<u8>> {
    run().0
}

/// Checkpoints of a short run.
pub fn state_seeds() -> Vec<Vec<u8>> {
    run().1
}

fn run() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    const FLOW: &str = r#"{"StartAt":"P","States":{
        "P":{"Type":"Parallel","Next":"M","Retry":[{"ErrorEquals":["Boom"]}],"Branches":[
            {"StartAt":"T","States":{"T":{"Type":"Task","Resource":"wasm:t","HeartbeatSeconds":2,"TimeoutSeconds":9,"End":true}}},
            {"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":5,"End":true}}}]},
        "M":{"Type":"Map","MaxConcurrency":1,"End":true,"ItemProcessor":
            {"StartAt":"U","States":{"U":{"Type":"Task","Resource":"callback","End":true}}}}}}"#;
    let (mut rows, mut states) = (Vec::new(), Vec::new());
    let Some(program) = compile(FLOW, &AnyModule).program else {
        return (rows, states);
    };
    let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(1), 5));
    let mut events = vec![Event::Started {
        flow: FlowRef {
            name: "f".into(),
            version: 1,
        },
        name: "n".into(),
        input: Data::from_valid_text("[1,\"two\"]"),
        seed: [5; 16],
        parent: None,
    }];
    for entry in 1..6 {
        events.push(Event::StepEnded {
            entry: EntryId(entry),
            attempt: 0,
            result: Ok(Data::from_valid_text("{\"a\":1}")),
            spent: Spent::default(),
        });
        events.push(Event::Continued);
    }
    let mut row = Row::new();
    for event in events {
        let mut commands = Vec::new();
        let at = state.next_timer().map_or(Timestamp(0), |(at, ..)| at);
        let _ = step(
            &program,
            &mut state,
            &event,
            at,
            &mut NoHistory,
            &mut commands,
        );
        let record = Record {
            at,
            event,
            commands: codec::digest(&commands),
        };
        row.append(&Logged::Event(record), &mut |_| None);
        if row.len() > 100 {
            rows.push(row.take());
        }
        states.push(codec::encode_state(&state, &mut |_| None));
    }
    (rows, states)
}
