//! Distributed Maps on the real driver over the memory store: what is stored of them, and what
//! a crash in their middle leaves.

use std::sync::Arc;

use stepwell_flow::{AnyModule, Program, compile};
use stepwell_orchestrator::Error;
use stepwell_orchestrator::api::{Execution, Status};
use stepwell_orchestrator::driver::{Aside, Driver, Options, Output, Reply, Request, Ticket};
use stepwell_orchestrator::ports::Programs;
use stepwell_store::memory::Memory;
use stepwell_store::{Key, Writer as _};
use stepwell_types::id::SHARDS;
use stepwell_types::{
    Data, ExecutionId, FlowRef, ShardId, Spent, StepOutcome, StepRequest, Timestamp,
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

struct One(Arc<Program>);

impl Programs for One {
    fn program(&self, _flow: &FlowRef) -> Result<Arc<Program>, Error> {
        Ok(self.0.clone())
    }

    fn newest(&self, _flow: &str) -> Result<u32, Error> {
        Ok(1)
    }
}

/// A Map whose items run one step each.
fn flow(kind: &str) -> Arc<One> {
    let text = format!(
        r#"{{"StartAt": "M", "States": {{"M": {{"Type": "Map", "MaxConcurrency": 3, "End": true, "ItemProcessor": {{
            "ProcessorConfig": {{"Mode": "DISTRIBUTED", "ExecutionType": "{kind}"}},
            "StartAt": "T", "States": {{"T": {{"Type": "Task", "Resource": "wasm:t", "End": true}}}}}}}}}}}}"#
    );
    let program = compile(&text, &AnyModule).program.expect("a flow");
    Arc::new(One(Arc::new(program)))
}

struct World {
    memory: Memory,
    flow: Arc<One>,
    driver: Driver,
    steps: Vec<StepRequest>,
    ended: Option<Execution>,
}

impl World {
    fn new(kind: &str) -> World {
        let (memory, flow) = (Memory::default(), flow(kind));
        let driver = driver(&memory, &flow);
        World {
            memory,
            flow,
            driver,
            steps: Vec::new(),
            ended: None,
        }
    }

    fn start(&mut self, items: usize) -> ExecutionId {
        let id = ExecutionId::new(NOW, ShardId(3), 1 << 8);
        let items: Vec<usize> = (0..items).collect();
        let request = Request::Start {
            flow: FlowRef {
                name: "f".into(),
                version: 1,
            },
            name: None,
            input: Data::from_value(items.into()),
            id,
            seed: [7; 16],
            wait: true,
        };
        self.driver.request(Ticket(1), request, NOW);
        self.settle();
        id
    }

    /// Does what is ready and commits it, until only steps are left.
    fn settle(&mut self) {
        loop {
            while let Some(output) = self.driver.output() {
                match output {
                    Output::Run(request) => self.steps.push(*request),
                    Output::Send(post) => self.driver.post(post, NOW).expect("memory"),
                    Output::Reply(_, Reply::Ended(Some(ended))) => self.ended = Some(*ended),
                    _ => {}
                }
            }
            if self.driver.work(NOW) {
                continue;
            }
            match self.driver.seal() {
                Some((number, batch)) => {
                    self.memory.writer().commit(&[batch]).expect("memory");
                    self.driver.committed(number, NOW);
                }
                None => return,
            }
        }
    }

    fn answer(&mut self, text: &str) {
        let step = self.steps.remove(0);
        let outcome = StepOutcome {
            result: Ok(Data::from_valid_text(text)),
            spent: Spent::default(),
            logs: Vec::new(),
        };
        let (id, entry, attempt) = (step.execution, step.entry, step.attempt);
        self.driver.step_ended(id, entry, attempt, outcome, NOW);
        self.settle();
    }

    fn crash(&mut self) {
        self.steps.clear();
        self.driver = driver(&self.memory, &self.flow);
        self.settle();
    }

    fn rows(&self, wanted: impl Fn(&Key) -> bool) -> usize {
        let snapshot = self.memory.snapshot();
        snapshot.rows().filter(|(key, _)| wanted(key)).count()
    }
}

fn driver(memory: &Memory, flow: &Arc<One>) -> Driver {
    let shards: Vec<_> = (0..SHARDS).map(|s| ShardId(s as u8)).collect();
    let options = Options {
        // The parent itself is not counted: its children empty the memory.
        hot_max: 2,
        hot_bytes_max: 1 << 30,
        open_bytes_max: 1 << 30,
        steps_running_max: 8,
        checkpoint_bytes_min: 64,
        descendants_max: u32::MAX,
        cautious_ms: 0,
        aside: Aside::never(),
    };
    let mut driver = Driver::new(0, &shards, options, Arc::new(memory.clone()), flow.clone());
    driver.recover(true, NOW).expect("memory");
    driver
}

fn is_result(key: &Key) -> bool {
    matches!(key, Key::MapResult { .. })
}

#[test]
fn results_are_rows_until_the_map_is_left() {
    for (kind, children) in [("STANDARD", 5), ("EXPRESS", 0)] {
        let mut world = World::new(kind);
        world.start(5);
        assert_eq!(world.steps.len(), 2, "{kind}: as many as memory allows");
        for done in 0..5 {
            assert_eq!(world.rows(is_result), done, "{kind}");
            if done == 2 {
                world.crash();
                assert_eq!(world.rows(is_result), 2, "{kind}: none is lost");
            }
            let answer = world.steps[0].input.text().to_owned();
            world.answer(&answer);
        }
        assert!(world.steps.is_empty(), "{kind}: nothing runs again");
        assert_eq!(world.rows(is_result), 0, "{kind}");
        assert_eq!(world.rows(|k| matches!(k, Key::Outbox { .. })), 0, "{kind}");
        assert_eq!(world.rows(|k| matches!(k, Key::Child { .. })), children);
    }
}

#[test]
fn results_that_are_too_much_together_are_refused_with_advice() {
    let mut world = World::new("EXPRESS");
    world.start(5);
    let large = format!("\"{}\"", "x".repeat(8 << 20));
    for _ in 0..5 {
        world.answer(&large);
    }
    let ended = world.ended.expect("it ended");
    assert_eq!(ended.status, Status::Failed);
    let failure = ended.failure.expect("a failure");
    assert_eq!(&*failure.error, "States.DataLimitExceeded");
    assert!(failure.cause.contains("ResultWriter"), "{}", failure.cause);
}
