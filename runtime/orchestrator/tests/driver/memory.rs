//! What one execution may hold in memory, and what becomes of one whose turns kill the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stepwell_flow::Program;
use stepwell_interpreter::{Command, Event, Observer, State};
use stepwell_orchestrator::Error;
use stepwell_orchestrator::api::{Execution, Status};
use stepwell_orchestrator::driver::{Aside, Options, Redrive, Reply, Request, read_execution};
use stepwell_orchestrator::ports::{LastLife, Programs};
use stepwell_orchestrator::suspects::{WALK, count};
use stepwell_store::memory::Memory;
use stepwell_store::{Batch, Writer as _};
use stepwell_types::{Data, ExecutionId, Failure, FlowRef, ShardId, Timestamp};

use super::world::{self, NOW, World, compiled, driver_of, flows, options};

/// So many branches, each of which makes itself a document of its input's size, or passes on what
/// all have, and then waits.
fn branches(count: usize, own: bool) -> Program {
    let output = match own {
        true => r#","Output": "{% $states.input & 'N' %}""#,
        false => "",
    };
    let branch = |n: usize| {
        format!(
            r#"{{"StartAt": "P{n}", "States": {{"P{n}": {{"Type": "Pass"{output}, "Next": "W{n}"}},
            "W{n}": {{"Type": "Wait", "Seconds": 60, "End": true}}}}}}"#
        )
    };
    let branches: Vec<String> = (0..count).map(branch).collect();
    compiled(&format!(
        r#"{{"QueryLanguage": "JSONata", "StartAt": "A", "States": {{"A": {{"Type": "Parallel",
        "Branches": [{}], "End": true}}}}}}"#,
        branches.join(",")
    ))
}

const INPUT_BYTES: usize = 50_000;

fn begun(program: Program, state_bytes_max: usize) -> (World, ExecutionId) {
    let options = Options {
        state_bytes_max,
        ..options()
    };
    begun_within(program, options)
}

fn begun_within(program: Program, options: Options) -> (World, ExecutionId) {
    let mut world = World::new(flows([("f", program)]), options);
    let id = ExecutionId::new(NOW, ShardId(3), 1);
    let input = Data::parse(&format!("{:?}", "x".repeat(INPUT_BYTES))).expect("JSON");
    world.ask(world::start("f", None, input, id, false));
    world.commit();
    (world, id)
}

fn told(world: &World, id: ExecutionId) -> Execution {
    read_execution(&world.memory, id).expect("it is there")
}

#[test]
fn one_that_holds_too_much_fails_by_name_also_over_restarts() {
    // 60 documents of 50 kB are 3 MB, or more when some are parsed.
    let (mut world, id) = begun(branches(60, true), 1 << 20);
    for _ in 0..2 {
        let told = told(&world, id);
        assert_eq!(told.status, Status::Failed);
        let failure = told.failure.expect("why");
        assert_eq!(&*failure.error, "States.DataLimitExceeded");
        assert!(failure.cause.contains("1048576"), "{}", failure.cause);
        assert_eq!(told.parked, None);
        world.crash();
        world.commit();
    }
}

#[test]
fn what_branches_share_counts_once() {
    let (mut world, id) = begun(branches(60, false), 1 << 20);
    assert_eq!(told(&world, id).status, Status::Running);
    world.crash();
    world.now = NOW.plus_ms(61_000);
    for _ in 0..3 {
        world.driver.tick(world.now).expect("memory");
        world.run();
        world.commit();
    }
    // Its output would be 60 times the input: too much, by the bound of one document or not.
    assert_eq!(told(&world, id).status, Status::Succeeded);
}

#[test]
fn what_it_holds_is_counted_away_from_the_loop() {
    let options = Options {
        state_bytes_max: 1 << 20,
        // No turn goes away for what it costs.
        aside: Aside {
            at_once: 1,
            ..Aside::never()
        },
        ..options()
    };
    let (mut world, id) = begun_within(branches(60, true), options);
    assert_eq!(world.turns.len(), 1, "it is to be looked at");
    assert_eq!(told(&world, id).status, Status::Running);
    while let Some(look) = world.turns.pop() {
        let counted = std::thread::spawn(move || look.walk());
        let counted = counted.join().expect("it is counted");
        world.driver.walked(counted, NOW).expect("memory");
        world.run();
    }
    world.commit();
    let failure = told(&world, id).failure.expect("why");
    assert_eq!(&*failure.error, "States.DataLimitExceeded");
}

/// Counts the turns that are walked.
struct Walks(Arc<dyn Programs>, AtomicU64);

impl Programs for Walks {
    fn program(&self, flow: &FlowRef) -> Result<Arc<Program>, Error> {
        self.0.program(flow)
    }

    fn newest(&self, flow: &str) -> Result<u32, Error> {
        self.0.newest(flow)
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
        self.1.fetch_add(1, Ordering::Relaxed);
        stepwell_interpreter::step(program, state, event, at, seen, out)
    }
}

/// The process dies while it walks this execution.
fn die(memory: &Memory, life: u64, id: ExecutionId) {
    let mut batch = Batch::default();
    let steps = vec![(id, WALK.0, WALK.1)];
    count(memory, &LastLife { life, steps }, &mut batch).expect("memory");
    memory.writer().commit(&[batch]).expect("memory");
}

#[test]
fn one_whose_turns_kill_is_parked_unread_and_only_a_cancel_reads_it() {
    let flow =
        r#"{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "wasm:m", "End": true}}}"#;
    let flows = flows([("f", compiled(flow))]);
    let mut world = World::new(flows.clone(), options());
    let id = ExecutionId::new(NOW, ShardId(3), 1);
    world.ask(world::start("f", None, Data::null(), id, false));
    world.commit();
    let walks = Arc::new(Walks(flows, AtomicU64::new(0)));
    for life in 1..=4 {
        die(&world.memory, life, id);
        let before = walks.1.load(Ordering::Relaxed);
        world.driver = driver_of(&world.memory, walks.clone(), &options(), NOW);
        world.run();
        world.commit();
        let walked = walks.1.load(Ordering::Relaxed) > before;
        assert_eq!(walked, life < 3, "life {life}");
        let parked = told(&world, id).parked.map(|why| why.error.to_string());
        let expected = (life >= 3).then(|| "Stepwell.TurnKillsServer".to_owned());
        assert_eq!(parked, expected, "life {life}");
    }
    let ticket = world.ask(Request::Redrive(id, Redrive::default()));
    assert!(matches!(
        world.reply(ticket),
        Some(Reply::Refused(Error::Parked(_)))
    ));
    let ticket = world.ask(Request::Cancel(id, Failure::new("Mine", "")));
    world.commit();
    assert!(matches!(world.reply(ticket), Some(Reply::Done)));
    assert_eq!(told(&world, id).status, Status::Aborted);
}

#[test]
fn one_that_comes_to_rest_is_no_suspect_any_more() {
    let (mut world, id) = begun(branches(2, false), usize::MAX);
    for life in 1..=5 {
        die(&world.memory, life, id);
        world.crash();
        // Something happens to it, and it sleeps on.
        world.now = world.now.plus_ms(1);
        let signal = stepwell_types::Signal {
            name: "go".into(),
            data: Data::null(),
            sender: None,
        };
        world.ask(Request::Signal(id, signal, None));
        world.commit();
        world.commit();
        assert_eq!(told(&world, id).parked, None, "life {life}");
    }
}
