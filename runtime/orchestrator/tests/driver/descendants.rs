//! A flow that starts two of itself and waits for neither: it ends, and others are served
//! meanwhile.

use stepwell_orchestrator::driver::{Driver, Options, Output, Reply, Ticket, read_state};
use stepwell_store::memory::Memory;
use stepwell_store::{Key, Range, Reader as _, Writer as _};
use stepwell_types::id::SHARDS;
use stepwell_types::{Data, ExecutionId, ShardId};

use super::world::{self, NOW, compiled, flows, options};

/// Ten on each shard.
const MAX: u32 = 640;
const HOT_MAX: usize = 8;

const BOMB: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Parallel", "End": true, "Branches": [
    {"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution",
        "Parameters": {"StateMachineArn": "bomb"}, "End": true}}},
    {"StartAt": "B", "States": {"B": {"Type": "Task", "Resource": "arn:aws:states:::states:startExecution",
        "Parameters": {"StateMachineArn": "bomb"}, "End": true}}}]}}}"#;
const PASS: &str = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;

fn start(driver: &mut Driver, flow: &str, number: u64) {
    let id = ExecutionId::new(NOW, ShardId(3), u128::from(number) << 64);
    let request = world::start(flow, None, Data::null(), id, false);
    driver.request(Ticket(number), request, NOW);
}

#[test]
fn a_flow_that_starts_itself_is_bounded_and_leaves_room_for_others() {
    let flows = flows([("bomb", compiled(BOMB)), ("pass", compiled(PASS))]);
    let memory = Memory::default();
    let bounds = Options {
        hot_max: HOT_MAX,
        descendants_max: MAX,
        ..options()
    };
    let driver = || world::driver(&memory, &flows, &bounds, NOW);
    let mut world = driver();
    start(&mut world, "bomb", 1);
    let (mut asked, mut served, mut rounds) = (1, 0, 0);
    loop {
        let mut idle = true;
        while let Some(output) = world.output() {
            idle = false;
            match output {
                Output::Send(post) => world.post(post, NOW).expect("memory"),
                Output::Reply(Ticket(n), Reply::Started(_)) if n > 1 => served += 1,
                Output::Reply(ticket, Reply::Refused(e)) => panic!("{ticket:?}: {e}"),
                _ => {}
            }
        }
        if world.work(NOW) {
            continue;
        }
        if let Some((number, batch)) = world.seal() {
            // Somebody else, whenever the memory is as full as it gets.
            if asked < 20 {
                asked += 1;
                start(&mut world, "pass", asked);
            }
            memory.writer().commit(&[batch]).expect("memory");
            world.committed(number, NOW);
            rounds += 1;
            if rounds == 40 {
                world = driver();
                asked = 20;
            }
            continue;
        }
        if idle {
            break;
        }
    }
    assert!(served >= 18, "{served}");
    let mut deep = [0u32; SHARDS as usize];
    let mut refused = 0;
    let summaries = memory.scan(&Range::Summaries { before: None }, usize::MAX);
    for (key, _) in summaries.expect("memory") {
        let Key::Summary { execution } = key else {
            continue;
        };
        let state = read_state(&memory, &*flows, execution)
            .expect("sound")
            .state;
        let outcome = state.outcome().expect("it ended");
        refused += u32::from(format!("{outcome:?}").contains("Stepwell.TooManyDescendants"));
        if state.parent().is_some_and(|link| link.depth > 1) {
            deep[usize::from(execution.shard().0)] += 1;
        }
    }
    assert!(deep.iter().all(|n| *n <= MAX / 64), "{deep:?}");
    assert!(deep.iter().sum::<u32>() > MAX / 2, "{deep:?}");
    assert!(refused > 100, "{refused}");
    let left = |key: &Key| matches!(key, Key::Outbox { .. } | Key::Hot { .. });
    assert_eq!(
        memory
            .snapshot()
            .rows()
            .filter(|(key, _)| left(key))
            .count(),
        0
    );
}
