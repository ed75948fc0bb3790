//! A driver, its store and what it wanted: what all of its tests have in common.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepwell_flow::{AnyModule, Program, compile};
use stepwell_orchestrator::Error;
use stepwell_orchestrator::driver::{
    Aside, Driver, Options, Output, Post, Reply, Request, Ticket, Turn,
};
use stepwell_orchestrator::ports::Programs;
use stepwell_store::Writer as _;
use stepwell_store::memory::Memory;
use stepwell_types::id::SHARDS;
use stepwell_types::{
    Data, Effects, ExecutionId, Failure, FlowRef, Hold, ShardId, Spent, StepOutcome, StepRequest,
    Timestamp,
};

/// When it all begins.
pub const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// Flows by name, each with one version.
pub struct Flows(BTreeMap<Arc<str>, Arc<Program>>);

impl Programs for Flows {
    fn program(&self, flow: &FlowRef) -> Result<Arc<Program>, Error> {
        let found = self.0.get(&flow.name).cloned();
        found.ok_or_else(|| Error::NoFlow(flow.name.to_string()))
    }

    fn newest(&self, _flow: &str) -> Result<u32, Error> {
        Ok(1)
    }
}

pub fn compiled(definition: &str) -> Program {
    compile(definition, &AnyModule).program.expect("a flow")
}

pub fn flows<const N: usize>(flows: [(&str, Program); N]) -> Arc<Flows> {
    let flows = flows.map(|(name, program)| (Arc::from(name), Arc::new(program)));
    Arc::new(Flows(flows.into_iter().collect()))
}

/// Bounds that a test meets only where it makes them narrower.
pub fn options() -> Options {
    Options {
        hot_max: 100,
        hot_bytes_max: 1 << 30,
        state_bytes_max: 1 << 30,
        open_bytes_max: 1 << 30,
        steps_running_max: 8,
        calls_running_max: 8,
        checkpoint_bytes_min: 64,
        descendants_max: u32::MAX,
        cautious_ms: 0,
        aside: Aside::never(),
    }
}

/// One that has taken up what is in the store, after an unclean stop.
pub fn driver(memory: &Memory, flows: &Arc<Flows>, options: &Options, now: Timestamp) -> Driver {
    driver_of(memory, flows.clone(), options, now)
}

/// The same, with other ways to walk.
pub fn driver_of(
    memory: &Memory,
    programs: Arc<dyn Programs>,
    options: &Options,
    now: Timestamp,
) -> Driver {
    let shards: Vec<_> = (0..SHARDS).map(|s| ShardId(s as u8)).collect();
    let reader = Arc::new(memory.clone());
    let mut driver = Driver::new(0, &shards, options.clone(), reader, programs);
    driver.recover(false, now).expect("memory");
    driver
}

/// A start at version 1. Its seed is its id: children of two executions are not the same ones.
pub fn start(flow: &str, name: Option<&str>, input: Data, id: ExecutionId, wait: bool) -> Request {
    Request::Start {
        flow: FlowRef {
            name: flow.into(),
            version: 1,
        },
        name: name.map(Arc::from),
        input,
        id,
        seed: id.0,
        wait,
    }
}

/// Nothing in it happens by itself.
pub struct World {
    pub memory: Memory,
    pub driver: Driver,
    pub now: Timestamp,
    /// Attempts that are to run.
    pub steps: Vec<StepRequest>,
    pub replies: Vec<(Ticket, Reply)>,
    /// What executions send one another.
    pub posts: Vec<Post>,
    /// What the next step that ends has written.
    pub effects: Option<Effects>,
    /// What is to be carried out away from the driver.
    pub turns: Vec<Turn>,
    /// What is to be let go of elsewhere.
    pub given_up: Vec<Hold>,
    pub asked: u64,
    /// No attempt ends in its first slice.
    pub long: bool,
    flows: Arc<Flows>,
    options: Options,
}

impl World {
    pub fn new(flows: Arc<Flows>, options: Options) -> World {
        let memory = Memory::default();
        World {
            driver: driver(&memory, &flows, &options, NOW),
            memory,
            now: NOW,
            steps: Vec::new(),
            replies: Vec::new(),
            posts: Vec::new(),
            turns: Vec::new(),
            effects: None,
            given_up: Vec::new(),
            asked: 0,
            long: false,
            flows,
            options,
        }
    }

    pub fn ask(&mut self, request: Request) -> Ticket {
        self.asked += 1;
        let ticket = Ticket(self.asked);
        self.driver.request(ticket, request, self.now);
        self.run();
        ticket
    }

    /// Does what is ready; commits nothing.
    pub fn run(&mut self) {
        loop {
            while let Some(output) = self.driver.output() {
                match output {
                    Output::Run(request) => {
                        if self.long {
                            let (entry, attempt) = (request.entry, request.attempt);
                            self.driver.step_pending(request.execution, entry, attempt);
                        }
                        self.steps.push(*request);
                    }
                    Output::Reply(ticket, reply) => self.replies.push((ticket, reply)),
                    Output::Send(post) => self.posts.push(post),
                    Output::Turn(turn) => self.turns.push(*turn),
                    Output::GivenUp(hold) => self.given_up.push(hold),
                    _ => {}
                }
            }
            if !self.driver.work(self.now) {
                return;
            }
        }
    }

    pub fn commit(&mut self) {
        while let Some((number, batch)) = self.driver.seal() {
            self.memory.writer().commit(&[batch]).expect("memory");
            self.driver.committed(number, self.now);
            self.run();
        }
    }

    /// The process dies, and another one opens what was durable.
    pub fn crash(&mut self) {
        self.steps.clear();
        self.replies.clear();
        self.posts.clear();
        self.turns.clear();
        self.driver = driver(&self.memory, &self.flows, &self.options, self.now);
        self.run();
    }

    pub fn reply(&self, ticket: Ticket) -> Option<&Reply> {
        let found = self.replies.iter().find(|(t, _)| *t == ticket);
        found.map(|(_, reply)| reply)
    }

    /// A step comes to its end.
    pub fn end(&mut self, step: &StepRequest, result: Result<&str, &str>) {
        self.end_with(step, result, None);
    }

    /// The same, with what the attempt saw since its last call.
    pub fn end_with(
        &mut self,
        step: &StepRequest,
        result: Result<&str, &str>,
        notes: Option<Vec<u8>>,
    ) {
        let outcome = StepOutcome {
            result: match result {
                Ok(text) => Ok(Data::from_valid_text(text)),
                Err(error) => Err(Failure::new(error, "")),
            },
            spent: Spent::default(),
            logs: Vec::new(),
            effects: self.effects.take(),
            notes,
        };
        let (entry, attempt) = (step.entry, step.attempt);
        self.driver
            .step_ended(step.execution, entry, attempt, outcome, self.now);
        self.run();
    }
}
