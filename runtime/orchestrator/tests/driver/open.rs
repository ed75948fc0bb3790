//! How many executions of a flow have not ended, as the store says: whatever dies, and whichever loop
//! they end on.

use std::sync::Arc;

use stepwell_flow::program::Keep;
use stepwell_orchestrator::driver::{
    Driver, Redrive, Request, count_open_once, gather_open, open_by_flow,
};
use stepwell_store::{Batch, Key, Writer};
use stepwell_types::{Data, ExecutionId, Failure, ShardId};

use super::world::{Flows, NOW, World, compiled, flows, options, start};

const STEP: &str =
    r#"{"StartAt": "S", "States": {"S": {"Type": "Task", "Resource": "wasm:t", "End": true}}}"#;

fn begin(world: &mut World, flow: &str, wait: bool) -> ExecutionId {
    let id = ExecutionId::new(NOW, ShardId(3), u128::from(world.asked + 1) << 8);
    world.ask(start(flow, None, Data::null(), id, wait));
    id
}

/// Of `f` and of `g`.
fn open(world: &World) -> (i64, i64) {
    let of = |flow| open_by_flow(&world.memory, flow).expect("memory");
    (of("f"), of("g"))
}

/// All of it becomes this loop's.
fn on_loop(world: &mut World, index: u8, flows: &Arc<Flows>) {
    let shards: Vec<_> = (0..64).map(ShardId).collect();
    let reader = Arc::new(world.memory.clone());
    let mut driver = Driver::new(index, &shards, options(), reader, flows.clone());
    driver.recover(false, NOW).expect("memory");
    world.driver = driver;
    world.steps.clear();
    world.run();
}

/// The same, as a start of the engine begins it.
fn gathered(world: &mut World, index: u8, flows: &Arc<Flows>) {
    let mut batch = Batch::default();
    gather_open(&world.memory, &mut batch).expect("memory");
    commit(world, batch);
    on_loop(world, index, flows);
}

fn commit(world: &World, batch: Batch) {
    let mut writer = world.memory.writer();
    writer.commit(&[batch]).expect("memory");
}

fn end(world: &mut World, id: ExecutionId, result: Result<&str, &str>) {
    let at = world.steps.iter().position(|step| step.execution == id);
    let step = world.steps.remove(at.expect("it runs"));
    world.end(&step, result);
    world.commit();
}

#[test]
fn what_has_not_ended_is_counted_by_flow() {
    let flows = flows([("f", compiled(STEP)), ("g", compiled(STEP))]);
    let mut world = World::new(flows.clone(), options());
    let first = begin(&mut world, "f", false);
    assert_eq!(open(&world), (0, 0), "nothing is durable");
    world.commit();
    assert_eq!(open(&world), (1, 0));
    let second = begin(&mut world, "f", false);
    begin(&mut world, "g", false);
    world.commit();
    assert_eq!(open(&world), (2, 1));

    end(&mut world, first, Err("Mine"));
    assert_eq!(open(&world), (1, 1));
    // An end that is not durable did not happen.
    let step = world.steps.iter().find(|step| step.execution == second);
    let step = step.expect("it runs").clone();
    world.end(&step, Ok("1"));
    world.crash();
    assert_eq!(open(&world), (1, 1));
    world.ask(Request::Redrive(first, Redrive::default()));
    world.commit();
    assert_eq!(open(&world), (2, 1));

    // What began on one loop ends on another.
    on_loop(&mut world, 1, &flows);
    for id in [first, second] {
        world.ask(Request::Cancel(id, Failure::new("Mine", "")));
    }
    world.commit();
    assert_eq!(open(&world), (0, 1));
    // What begins there later is seen all the same.
    begin(&mut world, "f", false);
    world.commit();
    assert_eq!(open(&world), (1, 1));
}

#[test]
fn the_gauge_is_right_whichever_loops_there_are() {
    let flows = flows([("f", compiled(STEP))]);
    let mut world = World::new(flows.clone(), options());
    let ids = [(); 3].map(|()| begin(&mut world, "f", false));
    world.commit();
    // Another loop does all of it, and a third one the rest.
    for (index, id, open) in [(1, ids[0], 2), (2, ids[1], 1)] {
        gathered(&mut world, index, &flows);
        world.ask(Request::Cancel(id, Failure::new("Mine", "")));
        world.commit();
        assert_eq!(
            world.driver.metrics().open,
            -1,
            "of three on the first loop"
        );
        gathered(&mut world, 0, &flows);
        assert_eq!(world.driver.metrics().open, open);
    }
    begin(&mut world, "f", false);
    world.commit();
    gathered(&mut world, 0, &flows);
    assert_eq!(world.driver.metrics().open, 2);
}

#[test]
fn of_express_executions_those_count_that_begin_again_after_a_crash() {
    let mut program = compiled(STEP);
    program.make_express(Keep::All);
    let mut world = World::new(flows([("f", program)]), options());
    let waited = begin(&mut world, "f", true);
    world.commit();
    assert_eq!(open(&world), (0, 0));
    let sent = begin(&mut world, "f", false);
    world.commit();
    assert_eq!(open(&world), (1, 0));
    end(&mut world, waited, Ok("1"));
    assert_eq!(open(&world), (1, 0));
    end(&mut world, sent, Err("Mine"));
    assert_eq!(open(&world), (0, 0));
}

#[test]
fn a_store_without_counts_is_counted_once() {
    let mut world = World::new(
        flows([("f", compiled(STEP)), ("g", compiled(STEP))]),
        options(),
    );
    let first = begin(&mut world, "f", false);
    begin(&mut world, "f", false);
    begin(&mut world, "g", false);
    world.commit();
    end(&mut world, first, Err("Mine"));
    assert_eq!(open(&world), (1, 1));
    let without = || {
        let mut without = Batch::default();
        for name in ["open/0/f", "open/0/g"] {
            without.delete(Key::Meta { name: name.into() });
        }
        without
    };
    commit(&world, without());
    assert_eq!(open(&world), (0, 0), "as a release before wrote it");
    let mut counts = Batch::default();
    count_open_once(&world.memory, &mut counts).expect("memory");
    commit(&world, counts);
    assert_eq!(open(&world), (1, 1));

    commit(&world, without());
    let mut counts = Batch::default();
    count_open_once(&world.memory, &mut counts).expect("memory");
    assert!(counts.is_empty());
}
