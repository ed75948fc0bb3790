//! Places of attempts on the real driver: what runs outside takes none of a step, no flow takes all,
//! and who waits for one says so.

use stepwell_orchestrator::driver::{Reply, Request};
use stepwell_types::{AttemptId, Data, ExecutionId, ShardId, Waiting};

use super::world::{NOW, World, compiled, flows, options, start};

const CALL: &str =
    r#"{"StartAt": "S", "States": {"S": {"Type": "Task", "Resource": "RESOURCE", "End": true}}}"#;
const MAP: &str = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ItemProcessor":
    {"StartAt": "S", "States": {"S": {"Type": "Task", "Resource": "RESOURCE", "End": true}}}}}}"#;

/// With eight places of each kind, and steps that take long.
fn world() -> World {
    let of = |text: &str, resource: &str| compiled(&text.replace("RESOURCE", resource));
    let flows = flows([
        ("calls", of(MAP, "http:request")),
        ("steps", of(MAP, "wasm:t")),
        ("call", of(CALL, "http:request")),
        ("step", of(CALL, "wasm:t")),
    ]);
    let mut world = World::new(flows, options());
    world.long = true;
    world
}

impl World {
    fn put(&mut self, flow: &str, input: &str) -> ExecutionId {
        let id = ExecutionId::new(NOW, ShardId(3), u128::from(self.asked + 1) << 8);
        let input = Data::parse(input).expect("JSON");
        self.ask(start(flow, None, input, id, false));
        self.commit();
        id
    }

    fn of(&self, id: ExecutionId) -> usize {
        self.steps.iter().filter(|s| s.execution == id).count()
    }

    fn end_one(&mut self, id: ExecutionId) {
        let at = self.steps.iter().position(|s| s.execution == id);
        let step = self.steps.remove(at.expect("one that runs"));
        self.end(&step, Ok("1"));
    }

    fn queued(&mut self, id: ExecutionId) -> Vec<Waiting> {
        let asked = self.ask(Request::Queued(id));
        match self.reply(asked) {
            Some(Reply::Queued(queued)) => queued.clone(),
            other => panic!("{other:?}"),
        }
    }
}

const MANY: &str = "[1,2,3,4,5,6,7,8,9,10,11,12]";

#[test]
fn slow_calls_of_one_flow_hold_up_no_steps_and_no_other_flows_calls() {
    let mut world = world();
    let greedy = world.put("calls", MANY);
    assert_eq!(world.of(greedy), 7, "one place is left");
    let steps = world.put("steps", MANY);
    assert_eq!(world.of(steps), 7, "calls take none of theirs");
    let (step, call) = (world.put("step", "1"), world.put("call", "{}"));
    assert_eq!((world.of(step), world.of(call)), (1, 1));

    // Now all are taken, and who waits says for what.
    let (late, later) = (world.put("call", "{}"), world.put("step", "1"));
    let queued = world.queued(late);
    assert_eq!(queued.len(), 1);
    assert_eq!((&*queued[0].state, queued[0].since), ("S", NOW));
    assert_eq!(queued[0].to_string(), "a place among the calls that run");
    let queued = world.queued(later);
    assert_eq!(queued[0].to_string(), "a place among the steps that run");
    assert_eq!(world.queued(greedy).len(), 5);
    assert!(world.queued(call).is_empty(), "it runs");

    // The flow that has few goes before the one that has many.
    world.end_one(call);
    assert_eq!((world.of(late), world.of(greedy)), (1, 7));
    assert!(world.queued(late).is_empty());
    for _ in 0..12 {
        world.end_one(greedy);
    }
    assert!(world.queued(greedy).is_empty(), "all had their turn");
}

#[test]
fn of_very_many_that_wait_the_first_hundred_are_told() {
    let wide = MAP.replace(
        "\"Type\": \"Map\",",
        "\"Type\": \"Map\", \"MaxConcurrency\": 1000,",
    );
    let flow = compiled(&wide.replace("RESOURCE", "wasm:t"));
    let mut world = World::new(flows([("wide", flow)]), options());
    world.long = true;
    let id = world.put("wide", &format!("[{}1]", "1,".repeat(199)));
    assert_eq!(world.of(id), 7);
    assert_eq!(world.queued(id).len(), 100);
}

#[test]
fn a_call_that_waits_for_its_turn_gives_its_place_up_and_a_guest_keeps_its_own() {
    let mut world = world();
    let (calls, steps) = (world.put("calls", MANY), world.put("steps", MANY));
    let waits = |world: &mut World, id| {
        let step = world.steps.iter().find(|s| s.execution == id);
        let by: AttemptId = step.expect("one that runs").id();
        world.driver.step_waits(by);
        world.run();
    };
    waits(&mut world, calls);
    assert_eq!(world.of(calls), 8);
    waits(&mut world, steps);
    assert_eq!(world.of(steps), 7, "its instance is its own meanwhile");
    // A stop waits for neither.
    world.driver.stop();
    assert_eq!(world.driver.steps_running(), 7 + 6);
}
