//! What a stop in good order leaves to the next process.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use stepwell_store::memory::Memory;
use stepwell_types::{Data, Spent, StepOutcome};

use super::{House, house_over};

const EACH: &str = r#"{"StartAt": "Each", "States": {"Each": {"Type": "Map", "End": true, "ItemProcessor": {
    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"}, "StartAt": "Lingers",
    "States": {"Lingers": {"Type": "Task", "Resource": "wasm:any", "End": true}}}}}}"#;

/// How often the step of this flow began.
static BEGUN: AtomicU32 = AtomicU32::new(0);

/// A step that ends while the server stops.
pub(super) async fn lingers() -> StepOutcome {
    BEGUN.fetch_add(1, Ordering::Relaxed);
    // What follows is on a worker: the loop is told of the end by a message.
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    StepOutcome {
        result: Ok(Data::null()),
        spent: Spent::default(),
        logs: Vec::new(),
        effects: None,
        notes: None,
    }
}

/// Of a child that is kept in memory nothing is stored before its parent has heard of its end.
#[test]
fn a_child_that_ends_while_the_server_stops_is_not_done_again() {
    let memory = Memory::new();
    let house = house_over(memory.clone(), |_| {});
    house.check("PUT", "/v1/modules/any", "\0asm", 201, "");
    house.check("PUT", "/v1/flows/each", EACH, 201, "");
    let start = "/v1/flows/each/executions?name=e";
    house.check("POST", start, "[1]", 202, "");
    let mut looks = 0;
    while BEGUN.load(Ordering::Relaxed) == 0 {
        looks += 1;
        assert!(looks < 10_000, "the child does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    let House { _shell: shell, .. } = house;
    shell.stop(Duration::from_secs(600));

    let house = house_over(memory, |_| {});
    let path = "/v1/flows/each/executions/e?wait=10";
    house.check("GET", path, "", 200, "SUCCEEDED");
    assert_eq!(BEGUN.load(Ordering::Relaxed), 1);
}
