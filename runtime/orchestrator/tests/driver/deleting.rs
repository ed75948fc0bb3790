//! The start of a child whose flow is being deleted: it waits until that is decided, and holds up
//! neither steps nor the starts of other flows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stepwell_flow::Program;
use stepwell_orchestrator::Error;
use stepwell_orchestrator::ports::Programs;
use stepwell_types::{Data, ExecutionId, FlowRef, ShardId};

use super::world::{NOW, World, compiled, driver_of, flows, options, start};

const PARENT: &str = r#"{"StartAt": "A", "States": {"A": {"Type": "Task", "End": true,
    "Resource": "arn:aws:states:::states:startExecution", "Parameters": {"StateMachineArn": "child"}}}}"#;
const STEP: &str =
    r#"{"StartAt": "S", "States": {"S": {"Type": "Task", "Resource": "wasm:t", "End": true}}}"#;

/// While it is so, `child` is being deleted.
struct Deleting(Arc<dyn Programs>, AtomicBool);

impl Programs for Deleting {
    fn program(&self, flow: &FlowRef) -> Result<Arc<Program>, Error> {
        self.0.program(flow)
    }

    fn newest(&self, flow: &str) -> Result<u32, Error> {
        self.0.newest(flow)
    }

    fn may_begin(&self, flow: &FlowRef) -> Result<(), Error> {
        if &*flow.name == "child" && self.1.load(Ordering::Relaxed) {
            return Err(Error::Busy {
                reason: "the flow is being deleted",
                retry_after_s: 1,
            });
        }
        Ok(())
    }
}

fn of(world: &World, flow: &str) -> usize {
    world.steps.iter().filter(|s| &*s.flow == flow).count()
}

/// One in which `child` is being deleted.
fn deleting() -> (World, Arc<Deleting>) {
    let flows = flows([
        ("parent", compiled(PARENT)),
        ("other", compiled(&PARENT.replace("child", "step"))),
        ("child", compiled(STEP)),
        ("step", compiled(STEP)),
    ]);
    let mut world = World::new(flows.clone(), options());
    let deleting = Arc::new(Deleting(flows, AtomicBool::new(true)));
    world.driver = driver_of(&world.memory, deleting.clone(), &options(), NOW);
    (world, deleting)
}

fn begin(world: &mut World, flow: &str, number: u128) {
    let id = ExecutionId::new(NOW, ShardId(3), number << 8);
    world.ask(start(flow, None, Data::null(), id, false));
    world.commit();
}

/// `child`, which is looked at again soon, is not deleted after all: one of it begins.
fn keep(world: &mut World, deleting: &Deleting) {
    world.driver.tick(NOW).expect("memory");
    assert_eq!(world.driver.next_tick(), Some(NOW.plus_ms(10)));
    deleting.1.store(false, Ordering::Relaxed);
    world.now = NOW.plus_ms(10);
    world.run();
    world.commit();
    assert_eq!(of(world, "child"), 1);
}

#[test]
fn a_child_whose_flow_is_being_deleted_holds_up_no_child_of_another() {
    let (mut world, deleting) = deleting();
    begin(&mut world, "parent", 1);
    begin(&mut world, "other", 2);
    let posts = std::mem::take(&mut world.posts);
    assert_eq!(posts.len(), 2, "the starts of both children");
    // All starts have to wait.
    world.driver.set_disk(Some((1, 2)));
    for post in posts {
        world.driver.post(post, NOW).expect("memory");
    }
    world.run();
    assert!(!world.driver.has_work());
    world.driver.set_disk(None);
    assert!(world.driver.has_work());
    world.run();
    world.commit();
    assert_eq!((of(&world, "step"), of(&world, "child")), (1, 0));
    assert!(!world.driver.has_work());

    keep(&mut world, &deleting);
    assert_eq!(of(&world, "step"), 1);
    assert_ne!(world.driver.next_tick(), Some(NOW.plus_ms(10)));
}

#[test]
fn a_child_whose_flow_is_being_deleted_waits_and_holds_up_no_step() {
    let (mut world, deleting) = deleting();
    begin(&mut world, "parent", 1);
    let post = world.posts.pop().expect("the start of the child");
    world.driver.post(post, NOW).expect("memory");
    let looks = (0..1_000).take_while(|_| world.driver.work(NOW)).count();
    assert!(looks < 10, "it is looked at again and again");
    assert!(!world.driver.has_work());
    begin(&mut world, "step", 2);
    assert_eq!((of(&world, "step"), of(&world, "child")), (1, 0));

    keep(&mut world, &deleting);
}
