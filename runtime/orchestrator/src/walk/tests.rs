//! An interpreter that panics: nothing that was accepted is lost, and everything can be ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use stepwell_flow::program::Keep;
use stepwell_flow::{AnyModule, Program, compile};
use stepwell_interpreter::codec::Logged;
use stepwell_interpreter::{Command, Event, Observer, State};
use stepwell_store::memory::Memory;
use stepwell_store::{Key, Reader as _, Writer as _};
use stepwell_types::id::SHARDS;
use stepwell_types::{
    Data, ExecutionId, Failure, FlowRef, ShardId, Spent, StepOutcome, StepRequest, Timestamp,
};

use crate::Error;
use crate::api::Status;
use crate::driver::{
    Aside, Driver, Options, Output, Redrive, Reply, Request, Ticket, read_log, read_state,
};
use crate::history::{Cursor, Walked};
use crate::ports::Programs;
use crate::rows::{self, SummaryRow};

type Trap = fn(&Event) -> bool;

/// An interpreter with a planted fault: it panics on some events.
struct Planted {
    flows: BTreeMap<Arc<str>, Arc<Program>>,
    trap: Mutex<Trap>,
}

impl Programs for Planted {
    fn program(&self, flow: &FlowRef) -> Result<Arc<Program>, Error> {
        let found = self.flows.get(&flow.name).cloned();
        found.ok_or_else(|| Error::NoFlow(flow.name.to_string()))
    }

    fn newest(&self, _flow: &str) -> Result<u32, Error> {
        Ok(1)
    }

    fn step(
        &self,
        program: &Program,
        state: &mut State,
        event: &Event,
        at: Timestamp,
        seen: &mut dyn Observer,
        out: &mut Vec<Command>,
    ) -> Result<(), stepwell_interpreter::Error> {
        let trap = *self.trap.lock();
        // After the turn: what it did to the state is there.
        let done = stepwell_interpreter::step(program, state, event, at, seen, out);
        assert!(!trap(event), "planted");
        done
    }
}

const TWO: &str = r#"{"StartAt": "T", "States": {
    "T": {"Type": "Task", "Resource": "wasm:t", "Next": "U"},
    "U": {"Type": "Task", "Resource": "wasm:u", "End": true}}}"#;
const ITEMS: &str = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "ToleratedFailureCount": 9,
    "ItemProcessor": {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
    "StartAt": "I", "States": {"I": {"Type": "Pass", "End": true}}}, "End": true}}}"#;

const NEVER: Trap = |_| false;
const STEP: Trap = |event| matches!(event, Event::StepEnded { .. });
const CANCEL: Trap = |event| matches!(event, Event::Cancelled { .. });
const START: Trap = |event| matches!(event, Event::Started { .. });

struct World {
    memory: Memory,
    programs: Arc<Planted>,
    driver: Driver,
    now: Timestamp,
    steps: Vec<StepRequest>,
    replies: Vec<(Ticket, Reply)>,
    asked: u64,
}

fn driver(memory: &Memory, programs: &Arc<Planted>, now: Timestamp) -> Driver {
    let shards: Vec<_> = (0..SHARDS)
        .filter_map(|s| u8::try_from(s).ok().map(ShardId))
        .collect();
    let options = Options {
        hot_max: 100,
        hot_bytes_max: usize::MAX,
        state_bytes_max: usize::MAX,
        open_bytes_max: usize::MAX,
        steps_running_max: 10,
        calls_running_max: 10,
        // A checkpoint with every batch: none may be of a half walked state.
        checkpoint_bytes_min: 0,
        descendants_max: u32::MAX,
        cautious_ms: 0,
        aside: Aside::never(),
    };
    let reader = Arc::new(memory.clone());
    let mut driver = Driver::new(0, &shards, options, reader, programs.clone());
    driver.recover(true, now).expect("a sound store");
    driver
}

impl World {
    fn new() -> World {
        let compiled = |text: &str| compile(text, &AnyModule).program.expect("a flow");
        let mut express = compiled(TWO);
        express.make_express(Keep::None);
        let flows = [
            ("two", compiled(TWO)),
            ("items", compiled(ITEMS)),
            ("express", express),
        ];
        let flows = flows.map(|(name, program)| (Arc::from(name), Arc::new(program)));
        let programs = Arc::new(Planted {
            flows: flows.into_iter().collect(),
            trap: Mutex::new(NEVER),
        });
        let memory = Memory::default();
        let now = Timestamp(1_800_000_000_000);
        World {
            driver: driver(&memory, &programs, now),
            memory,
            programs,
            now,
            steps: Vec::new(),
            replies: Vec::new(),
            asked: 0,
        }
    }

    fn trap(&self, trap: Trap) {
        *self.programs.trap.lock() = trap;
    }

    fn start(&mut self, flow: &str, input: &str, wait: bool) -> (Ticket, ExecutionId) {
        let id = ExecutionId::new(self.now, ShardId(3), u128::from(self.asked) << 8);
        let request = Request::Start {
            flow: FlowRef {
                name: flow.into(),
                version: 1,
            },
            name: None,
            input: Data::from_valid_text(input.to_owned()),
            id,
            seed: [7; 16],
            wait,
        };
        (self.ask(request), id)
    }

    fn ask(&mut self, request: Request) -> Ticket {
        self.asked += 1;
        let ticket = Ticket(self.asked);
        self.driver.request(ticket, request, self.now);
        self.run();
        ticket
    }

    fn cancel(&mut self, id: ExecutionId) -> Ticket {
        self.ask(Request::Cancel(id, Failure::new("Operator", "enough")))
    }

    fn run(&mut self) {
        loop {
            while let Some(output) = self.driver.output() {
                match output {
                    Output::Run(request) => self.steps.push(*request),
                    Output::Reply(ticket, reply) => self.replies.push((ticket, reply)),
                    // Every loop is this one.
                    Output::Send(post) => self.driver.post(post, self.now).expect("memory"),
                    _ => {}
                }
            }
            if !self.driver.work(self.now) {
                return;
            }
        }
    }

    fn end_step(&mut self) {
        let step = self.steps.remove(0);
        let outcome = StepOutcome {
            result: Ok(step.input.clone()),
            spent: Spent {
                fuel: 5,
                ..Spent::default()
            },
            logs: Vec::new(),
            effects: None,
            notes: None,
        };
        self.driver
            .step_ended(step.execution, step.entry, step.attempt, outcome, self.now);
        self.run();
    }

    fn commit(&mut self) {
        while let Some((number, batch)) = self.driver.seal() {
            self.memory.writer().commit(&[batch]).expect("memory");
            self.driver.committed(number, self.now);
            self.run();
        }
    }

    /// The process dies, and another one opens what was durable.
    fn crash(&mut self) {
        self.steps.clear();
        self.driver = driver(&self.memory, &self.programs, self.now);
        self.run();
    }

    fn reply(&self, ticket: Ticket) -> Option<&Reply> {
        self.replies
            .iter()
            .find(|(t, _)| *t == ticket)
            .map(|(_, reply)| reply)
    }

    fn summary(&self, id: ExecutionId) -> SummaryRow {
        let row = self.memory.get(&Key::Summary { execution: id });
        rows::decode(&row.expect("memory").expect("a row")).expect("a sound row")
    }

    fn parked(&self, id: ExecutionId) -> String {
        let summary = self.summary(id);
        assert_eq!(summary.status, 0, "it has not ended");
        summary.parked.expect("parked").error.to_string()
    }

    /// The types of its history, and how it breaks off.
    fn history(&self, id: ExecutionId) -> (Vec<String>, Option<Error>) {
        let reader = Arc::new(self.memory.clone());
        let mut cursor = Cursor::new(reader, self.programs.clone(), id);
        let (mut lines, gone) = (VecDeque::new(), AtomicBool::new(false));
        let end = loop {
            match cursor.advance(0, usize::MAX, &gone, &mut lines) {
                Ok(Walked::Whole) => break None,
                Ok(_) => {}
                Err(e) => break Some(e),
            }
        };
        (lines.into_iter().map(|line| line.kind).collect(), end)
    }
}

fn last(history: &[String]) -> &str {
    history.last().expect("a history")
}

#[test]
fn what_a_turn_panicked_on_is_in_the_log_and_can_be_ended_and_redriven() {
    let mut world = World::new();
    let (_, id) = world.start("two", "1", false);
    world.commit();
    world.trap(STEP);
    world.end_step();
    // Before that is durable: what comes waits.
    let early = world.ask(Request::Redrive(id, Redrive::default()));
    assert!(world.reply(early).is_none());
    world.commit();
    let refused = world.reply(early).expect("an answer");
    assert!(
        matches!(refused, Reply::Refused(Error::NotRedrivable { reason, .. }) if reason.contains("parked")),
        "{refused:?}"
    );
    let troubled = |world: &World| {
        let log = read_log(&world.memory, id, 0).expect("a sound log");
        let mut ends = log.iter().filter_map(|l| match l {
            Logged::Troubled { event, .. } => Some(event.clone()),
            _ => None,
        });
        assert!(matches!(
            ends.next(),
            Some(Event::StepEnded { result: Ok(_), .. })
        ));
    };
    for trap in [STEP, NEVER] {
        world.trap(trap);
        world.crash();
        assert!(world.steps.is_empty(), "a parked one does nothing");
        assert_eq!(world.parked(id), "Stepwell.EngineFault");
        troubled(&world);
        let (history, end) = world.history(id);
        assert!(end.is_none(), "{end:?}");
        assert_eq!(last(&history), "TaskStarted", "{history:?}");
        let found = read_state(&world.memory, &*world.programs, id).expect("a sound log");
        assert_eq!((found.state.transitions(), found.fuel), (1, 5));
    }
    let done = world.cancel(id);
    world.commit();
    assert!(matches!(world.reply(done), Some(Reply::Done)));
    world.crash();
    assert_eq!(world.summary(id).status, 4);
    assert!(world.summary(id).parked.is_none());
    assert_eq!(last(&world.history(id).0), "ExecutionAborted");
    // An interpreter without the fault goes on from where it was.
    world.ask(Request::Redrive(id, Redrive::default()));
    world.commit();
    world.end_step();
    world.end_step();
    world.commit();
    assert_eq!(world.summary(id).status, 1);
}

#[test]
fn a_start_that_cannot_be_walked_is_accepted_and_kept() {
    let mut world = World::new();
    world.trap(START);
    let (started, id) = world.start("two", "{\"kept\":1}", false);
    world.commit();
    assert!(matches!(world.reply(started), Some(Reply::Started(_))));
    world.crash();
    assert_eq!(world.parked(id), "Stepwell.EngineFault");
    assert_eq!(world.history(id).0, ["ExecutionStarted"]);
    let found = read_state(&world.memory, &*world.programs, id).expect("a sound log");
    assert_eq!(found.state.input().map(Data::text), Some("{\"kept\":1}"));
    world.cancel(id);
    world.commit();
    assert_eq!(world.summary(id).status, 4);
    assert_eq!(
        world.history(id).0,
        ["ExecutionStarted", "ExecutionAborted"]
    );
    let redrive = world.ask(Request::Redrive(id, Redrive::default()));
    let refused = world.reply(redrive);
    assert!(
        matches!(refused, Some(Reply::Refused(Error::NotRedrivable { .. }))),
        "{refused:?}"
    );
}

#[test]
fn a_cancel_ends_whatever_the_interpreter_thinks_of_it() {
    let mut world = World::new();
    let (_, id) = world.start("two", "1", false);
    world.trap(|event| STEP(event) || CANCEL(event));
    world.end_step();
    // Not yet durable, and half walked: it waits, and ends it then.
    let done = world.cancel(id);
    assert!(world.reply(done).is_none());
    world.commit();
    assert!(matches!(world.reply(done), Some(Reply::Done)));
    assert_eq!(world.summary(id).status, 4);
    world.crash();
    assert_eq!(last(&world.history(id).0), "ExecutionAborted");
    let (_, whole) = world.start("two", "2", false);
    let done = world.cancel(whole);
    world.commit();
    assert!(matches!(world.reply(done), Some(Reply::Done)));
    assert_eq!(world.summary(whole).status, 4);
}

#[test]
fn a_release_that_panics_on_a_log_parks_the_execution_and_comes_up() {
    let mut world = World::new();
    let (_, id) = world.start("two", "1", false);
    let (_, other) = world.start("two", "2", false);
    world.end_step();
    world.commit();
    let whole = world.history(id).0;
    world.trap(STEP);
    world.crash();
    assert_eq!(world.steps.len(), 1, "the other goes on");
    assert_eq!(world.steps[0].execution, other);
    world.commit();
    assert_eq!(world.parked(id), "Stepwell.ReplayDiverged");
    let (told, end) = world.history(id);
    assert!(whole.starts_with(&told) && told.len() > 1 && told.len() < whole.len());
    assert!(matches!(end, Some(Error::HistoryEnds { .. })), "{end:?}");
    world.cancel(id);
    world.commit();
    assert_eq!(world.summary(id).status, 4);
    // The release that ran it tells all of it, and how it ended.
    world.trap(NEVER);
    let (all, end) = world.history(id);
    assert!(all.starts_with(&whole) && end.is_none());
    assert_eq!(last(&all), "ExecutionAborted");
}

#[test]
fn who_waits_for_an_express_execution_is_told_and_a_map_counts_its_item_as_failed() {
    let mut world = World::new();
    world.trap(STEP);
    let (ticket, _) = world.start("express", "1", true);
    world.end_step();
    let refused = world.reply(ticket);
    assert!(
        matches!(refused, Some(Reply::Refused(Error::Broken { .. }))),
        "{refused:?}"
    );
    world.trap(|event| matches!(event, Event::Started { parent: Some(_), input, .. } if input.text() == "2"));
    let (ticket, _) = world.start("items", "[1,2,3]", true);
    world.commit();
    let Some(Reply::Ended(Some(ended))) = world.reply(ticket) else {
        panic!("{:?}", world.reply(ticket))
    };
    let output = ended.output.as_ref().expect("it succeeded").text();
    assert!(output.contains("Stepwell.EngineFault"), "{output}");
    assert!(
        output.starts_with("[1,") && output.ends_with(",3]"),
        "{output}"
    );
}

#[test]
fn a_cancel_that_panics_ends_an_express_execution_too() {
    let mut world = World::new();
    world.trap(CANCEL);
    let (ticket, id) = world.start("express", "1", true);
    let done = world.cancel(id);
    assert!(matches!(world.reply(done), Some(Reply::Done)));
    let Some(Reply::Ended(Some(ended))) = world.reply(ticket) else {
        panic!("{:?}", world.reply(ticket))
    };
    assert_eq!(ended.status, Status::Aborted);
}
