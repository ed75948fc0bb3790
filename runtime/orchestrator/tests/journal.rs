//! Journals on the real driver over the memory store: when a call may leave, and what an attempt
//! gets back after a crash.

use std::sync::Arc;

use stepwell_flow::{AnyModule, Program, compile};
use stepwell_orchestrator::Error;
use stepwell_orchestrator::driver::{Aside, Driver, Options, Output, Reply, Request, Ticket};
use stepwell_orchestrator::gate::Verdict;
use stepwell_orchestrator::ports::Programs;
use stepwell_store::Writer as _;
use stepwell_store::memory::Memory;
use stepwell_types::id::SHARDS;
use stepwell_types::{
    BridgeAnswer, BridgeCall, Data, Digest, ExecutionId, FlowRef, ShardId, Spent, StepOutcome,
    StepRequest, Timestamp,
};

/// Two branches, so that one can go on, and be recorded, while the other calls.
const FLOW: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": true, "Branches": [
    {"StartAt": "Calls", "States": {"Calls": {"Type": "Task", "Resource": "wasm:t", "End": true}}},
    {"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": "wasm:t", "Next": "B"},
        "B": {"Type": "Task", "Resource": "wasm:t", "End": true}}}]}}}"#;

struct One(Arc<Program>);

impl Programs for One {
    fn program(&self, _: &FlowRef) -> Result<Arc<Program>, Error> {
        Ok(self.0.clone())
    }

    fn newest(&self, _: &str) -> Result<u32, Error> {
        Ok(1)
    }
}

struct World {
    memory: Memory,
    programs: Arc<One>,
    driver: Driver,
    steps: Vec<StepRequest>,
    verdicts: Vec<(Ticket, Verdict)>,
    asked: u64,
    /// Bytes of log from which on a checkpoint is written.
    floor: usize,
}

const NOW: Timestamp = Timestamp(1_800_000_000_000);

impl World {
    fn new(floor: usize) -> World {
        let program = compile(FLOW, &AnyModule).program.expect("a flow");
        let programs = Arc::new(One(Arc::new(program)));
        let memory = Memory::default();
        let mut world = World {
            driver: driver(&memory, &programs, floor),
            memory,
            programs,
            steps: Vec::new(),
            verdicts: Vec::new(),
            asked: 0,
            floor,
        };
        let start = Request::Start {
            flow: FlowRef {
                name: "f".into(),
                version: 1,
            },
            name: None,
            input: Data::from_valid_text("{}"),
            id: ExecutionId::new(NOW, ShardId(3), 1 << 8),
            seed: [7; 16],
            wait: false,
        };
        world.ask(start);
        world.commit();
        world
    }

    fn ask(&mut self, request: Request) -> Ticket {
        self.asked += 1;
        let ticket = Ticket(self.asked);
        self.driver.request(ticket, request, NOW);
        self.run();
        ticket
    }

    fn run(&mut self) {
        loop {
            while let Some(output) = self.driver.output() {
                match output {
                    Output::Run(request) => self.steps.push(*request),
                    Output::Reply(ticket, Reply::Gate(verdict)) => {
                        self.verdicts.push((ticket, verdict));
                    }
                    _ => {}
                }
            }
            if !self.driver.work(NOW) {
                return;
            }
        }
    }

    fn commit(&mut self) {
        while let Some((number, batch)) = self.driver.seal() {
            self.memory.writer().commit(&[batch]).expect("memory");
            self.driver.committed(number, NOW);
            self.run();
        }
    }

    fn crash(&mut self) {
        self.steps.clear();
        self.verdicts.clear();
        self.driver = driver(&self.memory, &self.programs, self.floor);
        self.run();
        self.commit();
    }

    fn step(&self, state: &str) -> StepRequest {
        let found = self.steps.iter().find(|s| &*s.state == state);
        found.expect(state).clone()
    }

    fn call(&mut self, number: u32, request: &[u8]) -> Ticket {
        let call = BridgeCall {
            by: self.step("Calls").id(),
            call: number,
            request: Digest::of(request),
            notes: Some(vec![1, u8::try_from(number).expect("small")]),
        };
        self.ask(Request::Gate(call))
    }

    fn answer(&mut self, number: u32, part: Vec<u8>) {
        let answer = BridgeAnswer {
            by: self.step("Calls").id(),
            call: number,
            part,
            notes: None,
        };
        self.driver.call_answered(answer, NOW);
        self.run();
    }

    fn verdict(&self, ticket: Ticket) -> Option<&Verdict> {
        let found = self.verdicts.iter().find(|(t, _)| *t == ticket);
        found.map(|(_, verdict)| verdict)
    }

    fn end(&mut self, state: &str) {
        let step = self.step(state);
        self.steps.retain(|s| s.id() != step.id());
        let outcome = StepOutcome {
            result: Ok(Data::from_valid_text("1")),
            spent: Spent::default(),
            logs: Vec::new(),
            effects: None,
        };
        let (entry, attempt) = (step.entry, step.attempt);
        self.driver
            .step_ended(step.execution, entry, attempt, outcome, NOW);
        self.run();
    }
}

fn driver(memory: &Memory, programs: &Arc<One>, floor: usize) -> Driver {
    let shards: Vec<_> = (0..SHARDS).map(|s| ShardId(s as u8)).collect();
    let options = Options {
        hot_max: 4,
        hot_bytes_max: 64 << 20,
        open_bytes_max: 64 << 20,
        steps_running_max: 8,
        descendants_max: 1_000,
        checkpoint_bytes_min: floor,
        cautious_ms: 0,
        aside: Aside::never(),
    };
    let reader = Arc::new(memory.clone());
    let mut driver = Driver::new(0, &shards, options, reader, programs.clone());
    driver.recover(false, NOW).expect("memory");
    driver
}

/// With checkpoints after every commit, and with none.
fn check(test: impl Fn(World)) {
    for floor in [1, usize::MAX] {
        test(World::new(floor));
    }
}

#[test]
fn a_call_leaves_when_its_intent_is_durable_and_all_before_it() {
    check(|mut world| {
        let first = world.call(0, b"a");
        assert_eq!(world.verdict(first), None);
        world.commit();
        assert_eq!(world.verdict(first), Some(&Verdict::Go));
        world.answer(0, b"answer".to_vec());
        let second = world.call(1, b"b");
        world.commit();
        assert_eq!(world.verdict(second), Some(&Verdict::Go));
        // The first answer lay before the second intent.
        world.crash();
        let recorded = world.step("Calls").recorded.expect("a journal");
        assert_eq!(recorded.calls[&0].parts, [b"answer".to_vec()]);
        assert_eq!(recorded.calls[&1].request, Digest::of(b"b"));
        assert!(recorded.calls[&1].parts.is_empty());
        assert_eq!(recorded.notes, [[1, 0], [1, 1]]);
        assert_eq!(world.step("A").recorded, None);
    });
}

#[test]
fn a_journal_outlives_checkpoints_and_crashes_and_ends_with_its_attempt() {
    check(|mut world| {
        world.call(0, b"a");
        world.commit();
        // A large piece is a blob.
        let large = vec![0xff; 100_000];
        world.answer(0, large.clone());
        world.answer(0, b"rest".to_vec());
        world.commit();
        // Another branch goes on: further rows, and checkpoints behind the journal.
        world.end("A");
        world.commit();
        world.crash();
        let recorded = world.step("Calls").recorded.expect("a journal");
        assert_eq!(recorded.calls[&0].parts, [large.clone(), b"rest".to_vec()]);
        // The next life adds to it.
        let again = world.call(1, b"b");
        world.commit();
        assert_eq!(world.verdict(again), Some(&Verdict::Go));
        world.answer(1, b"more".to_vec());
        world.end("B");
        world.commit();
        world.crash();
        let recorded = world.step("Calls").recorded.expect("a journal");
        assert_eq!(recorded.calls[&0].parts.len(), 2);
        assert_eq!(recorded.calls[&1].parts, [b"more".to_vec()]);
        world.end("Calls");
        world.commit();
        world.crash();
        assert!(world.steps.is_empty(), "it has ended");
    });
}

#[test]
fn an_unanswered_call_goes_again_and_another_one_in_its_place_does_not() {
    check(|mut world| {
        world.call(0, b"a");
        world.commit();
        world.crash();
        let other = world.call(0, b"b");
        assert_eq!(world.verdict(other), Some(&Verdict::Diverged));
        let same = world.call(0, b"a");
        world.commit();
        assert_eq!(world.verdict(same), Some(&Verdict::Go));
    });
}

#[test]
fn nobody_calls_for_an_attempt_that_has_ended() {
    check(|mut world| {
        let step = world.step("Calls");
        world.end("Calls");
        let call = BridgeCall {
            by: step.id(),
            call: 0,
            request: Digest::of(b"a"),
            notes: None,
        };
        let late = world.ask(Request::Gate(call));
        world.commit();
        assert_eq!(world.verdict(late), Some(&Verdict::Stopped));
    });
}
