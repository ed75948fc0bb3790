//! Express executions on the real driver over the memory store: what is stored of them, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use stepwell_flow::Program;
use stepwell_flow::program::Keep;
use stepwell_orchestrator::api::{Execution, Status};
use stepwell_orchestrator::driver::{
    Options, Redrive, Reply, Request, Ticket, read_log, usage_transitions,
};
use stepwell_store::{Key, Range, Reader as _};
use stepwell_types::id::SHARDS;

use stepwell_types::{Data, Effects, ExecutionId, Failure, Held, Hold, ShardId};

use super::world::{self, World, compiled, flows, options};

fn express(definition: &str, keep: Keep) -> Program {
    let mut program = compiled(definition);
    program.make_express(keep);
    program
}

const TASK: &str = r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "T"},
    "T": {"Type": "Task", "Resource": "wasm:t", "End": true}}}"#;
const WAIT: &str = r#"{"TimeoutSeconds": 9000, "StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 600, "End": true}}}"#;

fn few() -> World {
    let flows = flows([
        ("none", express(TASK, Keep::None)),
        ("errors", express(TASK, Keep::Errors)),
        ("all", express(TASK, Keep::All)),
        ("wait", express(WAIT, Keep::None)),
    ]);
    let options = Options {
        hot_max: 4,
        cautious_ms: 60_000,
        ..options()
    };
    World::new(flows, options)
}

impl World {
    fn start(&mut self, flow: &str, wait: bool) -> (Ticket, ExecutionId) {
        let number = self.asked + 1;
        let id = ExecutionId::new(self.now, ShardId(3), u128::from(number) << 8);
        let input = Data::from_valid_text(format!("{{\"n\":{number}}}"));
        (
            self.ask(world::start(flow, Some("same"), input, id, wait)),
            id,
        )
    }

    fn end_step(&mut self, result: Result<&str, &str>) {
        let step = self.steps.pop().expect("a step runs");
        self.end(&step, result);
    }

    fn tick(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.driver.tick(self.now).expect("memory");
        self.run();
    }

    fn ended(&self, ticket: Ticket) -> &Execution {
        match self.reply(ticket) {
            Some(Reply::Ended(Some(execution))) => execution,
            other => panic!("{other:?}"),
        }
    }

    fn is_stored(&self, id: ExecutionId) -> bool {
        let row = self.memory.get(&Key::Summary { execution: id });
        row.expect("memory").is_some()
    }

    fn records(&self, id: ExecutionId) -> usize {
        read_log(&self.memory, id, 0).expect("memory").len()
    }
}

#[test]
fn one_that_is_waited_for_leaves_the_store_alone() {
    let mut world = few();
    let (ticket, id) = world.start("none", true);
    world.end_step(Ok("7"));
    // Answered, although nothing was committed; and nothing is to be, but its usage.
    let ended = world.ended(ticket);
    assert_eq!((ended.status, ended.transitions), (Status::Succeeded, 2));
    assert_eq!(ended.output.as_ref().map(Data::text), Some("7"));
    assert!(ended.express);
    assert!(!world.driver.has_unsealed());
    world.tick(1_000);
    world.commit();
    assert_eq!(usage_transitions(&world.memory).expect("memory")["none"], 2);
    assert!(!world.is_stored(id));
    assert_eq!(world.records(id), 0);
    assert_eq!(world.driver.metrics().hot, 0);
    // A second one of the same name is another execution.
    let (second, other) = world.start("none", true);
    world.end_step(Err("Boom"));
    assert_eq!(world.ended(second).id, other);
    assert_eq!(world.ended(second).status, Status::Failed);
}

#[test]
fn usage_of_one_that_ends_while_the_server_stops_is_not_lost() {
    let mut world = few();
    world.start("none", true);
    world.driver.stop();
    world.commit();
    assert!(!world.driver.has_unsealed());
    world.end_step(Ok("7"));
    assert!(world.driver.has_unsealed(), "the attempt that ended");
    world.commit();
    assert!(!world.driver.has_unsealed());
}

#[test]
fn one_that_is_not_waited_for_begins_again_after_a_crash() {
    let mut world = few();
    let (ticket, id) = world.start("none", false);
    assert!(
        world.reply(ticket).is_none(),
        "not accepted before it is durable"
    );
    world.commit();
    assert!(matches!(world.reply(ticket), Some(Reply::Started(s)) if s.id == id));
    assert_eq!(world.records(id), 1, "the start and no more");
    world.end_step(Err("Boom"));
    world.crash();
    world.commit();
    assert_eq!(world.steps.len(), 1, "it runs again");
    let wait = world.ask(Request::Wait(id));
    world.end_step(Ok("8"));
    assert_eq!(world.ended(wait).status, Status::Succeeded);
    world.commit();
    assert!(world.is_stored(id));
    assert_eq!(world.records(id), 0, "its start record goes with its end");
    world.crash();
    assert!(world.steps.is_empty());
    let redrive = world.ask(Request::Redrive(id, Redrive::default()));
    assert!(matches!(world.reply(redrive), Some(Reply::Refused(e)) if e.code() == "RUN0018"));
    for shard in (0..SHARDS).map(|s| ShardId(s as u8)) {
        let rows = world.memory.scan(&Range::Hot { shard, after: None }, 1);
        assert!(rows.expect("memory").is_empty());
    }
}

#[test]
fn a_history_is_kept_when_the_flow_asks_for_it() {
    let mut world = few();
    let keeps = [
        ("none", true, false),
        ("errors", true, false),
        ("errors", false, true),
        ("all", true, true),
        ("all", false, true),
    ];
    for wait in [true, false] {
        for (flow, well, kept) in keeps {
            let (_, id) = world.start(flow, wait);
            world.commit();
            world.end_step(if well { Ok("1") } else { Err("Boom") });
            world.commit();
            assert_eq!(
                world.records(id),
                if kept { 2 } else { 0 },
                "{flow} {well} {wait}"
            );
            assert_eq!(world.is_stored(id), kept || !wait, "{flow} {well} {wait}");
            assert_eq!(world.driver.metrics().hot, 0, "{flow} {well} {wait}");
        }
    }
}

#[test]
fn five_minutes_are_the_most_and_admission_counts_them() {
    let mut world = few();
    let mut tickets: Vec<_> = (0..4).map(|_| world.start("wait", true)).collect();
    let (refused, _) = world.start("wait", true);
    assert!(matches!(world.reply(refused), Some(Reply::Refused(e)) if e.code() == "RUN0005"));
    let (first, id) = tickets.remove(0);
    let cancel = world.ask(Request::Cancel(id, Failure::new("Stopped", "")));
    assert!(
        matches!(world.reply(cancel), Some(Reply::Done)),
        "without a commit"
    );
    assert_eq!(world.ended(first).status, Status::Aborted);
    world.tick(299_000);
    assert!(world.reply(tickets[0].0).is_none());
    world.tick(1_000);
    for (ticket, _) in tickets {
        let ended = world.ended(ticket);
        assert_eq!(ended.status, Status::TimedOut);
        assert_eq!(
            ended.failure.as_ref().map(|f| &*f.error),
            Some("States.Timeout")
        );
    }
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Held for Dropped {
    fn landed(&self) {
        panic!("nothing of an express execution lands");
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The next step that ends holds something; whether that is gone.
fn hold(world: &mut World) -> Arc<AtomicBool> {
    let dropped = Arc::new(AtomicBool::new(false));
    world.effects = Some(Effects {
        writes: Vec::new(),
        growth: Vec::new(),
        objects: Vec::new(),
        hold: Hold::new(Dropped(dropped.clone())),
    });
    dropped
}

#[test]
fn what_a_step_held_in_vain_is_not_freed_on_the_loop() {
    let mut world = few();
    world.start("none", false);
    world.commit();
    let dropped = hold(&mut world);
    world.end_step(Ok("1"));
    world.commit();
    assert_eq!(world.given_up.len(), 1, "a thousand files may go with it");
    assert!(!dropped.load(Ordering::Acquire));
    world.given_up.clear();
    assert!(dropped.load(Ordering::Acquire));
}

#[test]
fn what_nobody_waits_for_any_more_is_not_freed_on_the_loop_either() {
    let mut world = World::new(flows([("plain", compiled(TASK))]), options());
    let (_, id) = world.start("plain", false);
    world.commit();
    let dropped = hold(&mut world);
    // Its end was on the way when somebody ended the execution.
    let step = world.steps.pop().expect("a step runs");
    world.ask(Request::Cancel(id, Failure::new("Mine", "")));
    world.end(&step, Ok("1"));
    world.commit();
    assert_eq!(world.given_up.len(), 1);
    assert!(!dropped.load(Ordering::Acquire));
}
