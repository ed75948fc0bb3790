//! Cost by size: publish and walk from 10 to 10,000 states and from 10 to 100,000 Map
//! items, and a payload from 1 KB to 1 MB through a chain of states.
//!
//! Drives compiler, interpreter and log codec alone, in this thread's processor time,
//! so that a curve that bends is the code's and not a disk's. A straight curve has the
//! same cost a state, an item and a byte at every size.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use stepwell_flow::{AnyModule, Program, compile};
use stepwell_interpreter::codec::{self, Logged, Record, Row};
use stepwell_interpreter::{Command, Event, NoHistory, Outcome, State, step};
use stepwell_types::{Data, ExecutionId, FlowRef, ShardId, Spent, Timestamp};

use crate::Scale;
use crate::measure::{median, thread_cpu};
use crate::report::Report;

/// Bytes after which a log row is taken away, as the driver does.
const ROW_BYTES: usize = 64 << 10;
/// Work of a round at the least, so that small sizes are not noise.
const ROUND: Duration = Duration::from_millis(40);

/// Prints the curves.
///
/// # Errors
/// A flow that does not compile or end: that is a bug of this file.
pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    report.section("linear", "cost by size, in processor time of one thread");
    for size in [10, 100, 1_000, 10_000] {
        let text = chain(size);
        let publish = cost(scale, || program(&text).map(drop))?;
        let flow = program(&text)?;
        let walked = cost(scale, || walk(&flow, "{\"a\":1}"))?;
        let (publish, walked) = (per(publish, size), per(walked, size));
        report.add(
            &format!("states_{size}_publish_us"),
            publish,
            &format!(
                "{size:>6} states: publish {publish:.2} us a state, walk {walked:.2} us a state"
            ),
        );
        report.keep(&format!("states_{size}_walk_us"), walked);
    }
    for (key, what, flow) in [
        ("map", "a Pass each", MAP_OF_PASSES),
        ("map_tasks", "a step each, 40 at once", MAP_OF_TASKS),
    ] {
        let flow = program(flow)?;
        let largest = usize::try_from(scale.items)?;
        for size in [10, 100, 1_000, 10_000, 100_000] {
            if size > largest {
                continue;
            }
            let input = items(size);
            let walked = per(cost(scale, || walk(&flow, &input))?, size);
            report.add(
                &format!("{key}_{size}_us"),
                walked,
                &format!("{size:>6} Map items, {what}: {walked:.2} us an item"),
            );
        }
    }
    for (key, what, state) in PAYLOADS {
        let flow = program(&ten(state))?;
        for kilobytes in [1, 10, 100, 1_000] {
            let input = records(kilobytes << 10);
            let took = per(cost(scale, || walk(&flow, &input))?, 10 * kilobytes);
            report.add(
                &format!("{key}_{kilobytes}kb_us"),
                took,
                &format!(
                    "{kilobytes:>6} KB through ten states, {what}: {took:.2} us a state and KB"
                ),
            );
        }
    }
    Ok(())
}

const MAP_OF_PASSES: &str = r#"{"StartAt":"M","States":{"M":{"Type":"Map","End":true,"ItemProcessor":
    {"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}}}}}"#;
const MAP_OF_TASKS: &str = r#"{"StartAt":"M","States":{"M":{"Type":"Map","MaxConcurrency":40,"End":true,"ItemProcessor":
    {"StartAt":"T","States":{"T":{"Type":"Task","Resource":"wasm:t","End":true}}}}}}"#;
/// States that a payload goes through, without what their end or next would be.
const PAYLOADS: [(&str, &str, &str); 3] = [
    ("pass", "passed on untouched", r#""Type":"Pass""#),
    (
        "wrapped",
        "taken apart and put together by JSONPath",
        r#""Type":"Pass","Parameters":{"n":1,"records.$":"$.records"}"#,
    ),
    (
        "jsonata",
        "taken apart and put together by JSONata",
        r#""Type":"Pass","QueryLanguage":"JSONata","Output":{"n":1,"records":"{% $states.input.records %}"}"#,
    ),
];

/// Ten states of a kind, one after the other.
fn ten(state: &str) -> String {
    let states = (0..10).map(|i| match i {
        9 => format!(r#""S9":{{{state},"End":true}}"#),
        _ => format!(r#""S{i}":{{{state},"Next":"S{}"}}"#, i + 1),
    });
    let states: Vec<String> = states.collect();
    format!(r#"{{"StartAt":"S0","States":{{{}}}}}"#, states.join(","))
}

fn chain(states: usize) -> String {
    let mut text = String::from(r#"{"StartAt":"S0","States":{"#);
    for i in 1..states {
        let at = i - 1;
        text.push_str(&format!(r#""S{at}":{{"Type":"Pass","Next":"S{i}"}},"#));
    }
    let last = states - 1;
    text.push_str(&format!(r#""S{last}":{{"Type":"Pass","End":true}}}}}}"#));
    text
}

fn items(count: usize) -> String {
    let all: Vec<String> = (0..count).map(|i| format!(r#"{{"i":{i}}}"#)).collect();
    format!("[{}]", all.join(","))
}

fn records(bytes: usize) -> String {
    let mut all = Vec::new();
    let mut size = 0;
    while size < bytes {
        let n = all.len();
        let record = format!(
            r#"{{"n":{},"name":"record number {n}","tags":["a","b"]}}"#,
            n % 9
        );
        size += record.len() + 1;
        all.push(record);
    }
    format!(r#"{{"records":[{}]}}"#, all.join(","))
}

fn program(text: &str) -> Result<Program> {
    let checked = compile(text, &AnyModule);
    let why = || format!("{:?}", checked.diagnostics.first());
    let why = why();
    checked.program.context(why)
}

/// To the end, each step answered at once, every event written as the log holds it.
fn walk(program: &Program, input: &str) -> Result<()> {
    let mut now = Timestamp(1_700_000_000_000);
    let mut state = State::new(ExecutionId::new(now, ShardId(1), 5));
    let mut queue = VecDeque::from([Event::Started {
        flow: FlowRef {
            name: "f".into(),
            version: 1,
        },
        name: "n".into(),
        input: Data::from_valid_text(input.to_owned()),
        seed: [5; 16],
        parent: None,
    }]);
    let mut row = Row::new();
    loop {
        let event = match queue.pop_front() {
            Some(event) => event,
            None => {
                let (at, entry, timer) = state.next_timer().context("it waits for nothing")?;
                now = now.max(at);
                Event::TimerFired { entry, timer }
            }
        };
        let mut commands = Vec::new();
        step(
            program,
            &mut state,
            &event,
            now,
            &mut NoHistory,
            &mut commands,
        )?;
        let record = Record {
            at: now,
            event,
            commands: codec::digest(&commands),
        };
        row.append(&Logged::Event(record), &mut |_| None);
        if row.len() > ROW_BYTES {
            row.take();
        }
        for command in commands {
            match command {
                Command::Run(run) => queue.push_back(Event::StepEnded {
                    entry: run.entry,
                    attempt: run.attempt,
                    result: Ok(run.input),
                    spent: Spent::default(),
                }),
                Command::Continue => queue.push_back(Event::Continued),
                Command::Finish(Outcome::Succeeded(_)) => return Ok(()),
                Command::Finish(other) => bail!("it ended {other:?}"),
                Command::Abort { .. } | Command::ForgetResults { .. } => {}
                Command::StartChild(start) if start.link.item.is_some() => {
                    queue.push_back(Event::ItemEnded {
                        entry: start.link.entry,
                        attempt: start.link.attempt,
                        slot: start.link.item.unwrap_or_default(),
                        failed: false,
                    });
                }
                Command::StartChild(_) | Command::CancelChild { .. } | Command::Signal { .. } => {
                    bail!("these flows know no others")
                }
            }
        }
    }
}

/// Median processor time of one call.
fn cost(scale: &Scale, work: impl Fn() -> Result<()>) -> Result<Duration> {
    work()?;
    let mut rounds = Vec::new();
    for _ in 0..scale.rounds {
        let began = thread_cpu()?;
        let (mut calls, mut spent) = (0_u32, Duration::ZERO);
        while spent < ROUND {
            work()?;
            calls += 1;
            spent = thread_cpu()? - began;
        }
        rounds.push((spent / calls).as_secs_f64());
    }
    Ok(Duration::from_secs_f64(median(&rounds)))
}

fn per(time: Duration, size: usize) -> f64 {
    time.as_secs_f64() * 1e6 / size as f64
}
