//! Cancels of children that cross their starts: what is wanted no longer ends, and nothing stays behind.

use stepwell_orchestrator::driver::{Delivery, Parcel, Post, read_state};
use stepwell_store::Key;
use stepwell_types::{ChildStart, Data, EntryId, ExecutionId, Failure, ParentLink, ShardId, Wants};

use super::world::{NOW, World, compiled, flows, options};

const MAP: &str = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "End": true, "ItemProcessor": {
    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
    "StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "wasm:t", "End": true}}}}}}"#;
/// The graph of the Map's items, in its flow's program.
const ITEMS: u32 = 1;

/// A loop that has one item's parent elsewhere: only its parcels come.
struct Crossing {
    world: World,
    parent: ExecutionId,
    child: ExecutionId,
    sent: u64,
}

impl Crossing {
    fn new() -> Crossing {
        Crossing {
            world: World::new(flows([("map", compiled(MAP))]), options()),
            parent: ExecutionId::new(NOW, ShardId(3), 1 << 64),
            child: ExecutionId::new(NOW, ShardId(3), 2 << 64),
            sent: 0,
        }
    }

    fn deliver(&mut self, parcel: Parcel) {
        self.sent += 1;
        let delivery = Delivery {
            sender: self.parent,
            number: self.sent,
            parcel,
        };
        let post = Post::Delivery(Box::new(delivery));
        self.world.driver.post(post, NOW).expect("memory");
        self.world.run();
        self.world.commit();
    }

    fn start(&mut self, attempt: u32) {
        let link = ParentLink {
            execution: self.parent,
            entry: EntryId(1),
            attempt,
            depth: 1,
            wants: Wants::Item,
            item: Some(0),
            run: 0,
            graph: ITEMS,
            express: false,
            root: self.parent,
        };
        let start = ChildStart {
            child: self.child,
            flow: "map".into(),
            version: Some(1),
            name: None,
            input: Data::null(),
            seed: [7; 16],
            link,
            again: attempt > 0,
        };
        self.deliver(Parcel::Start(Box::new(start)));
    }

    fn cancel(&mut self, attempt: u32) {
        let (child, failure) = (self.child, Failure::new("Not.Wanted", ""));
        self.deliver(Parcel::Cancel {
            child,
            attempt,
            failure,
        });
    }

    /// The item's only step comes to its end.
    fn end(&mut self, result: Result<&str, &str>) {
        let step = self.world.steps.pop().expect("a step runs");
        self.world.end(&step, result);
        self.world.commit();
    }

    fn outcome(&self) -> String {
        let programs = flows([("map", compiled(MAP))]);
        let read = read_state(&self.world.memory, &*programs, self.child).expect("sound");
        format!("{:?}", read.state.outcome())
    }

    fn tombstones(&self) -> usize {
        let left = |key: &Key| matches!(key, Key::Outbox { number, .. } if *number == u64::MAX);
        let rows = self.world.memory.snapshot();
        rows.rows().filter(|(key, _)| left(key)).count()
    }
}

#[test]
fn a_cancel_that_comes_before_its_start_waits_for_it() {
    let mut crossing = Crossing::new();
    crossing.cancel(0);
    assert_eq!(crossing.tombstones(), 1);
    crossing.start(0);
    assert!(crossing.outcome().contains("Aborted"));
    assert_eq!(crossing.tombstones(), 0);
}

#[test]
fn one_that_failed_and_is_wanted_again_ends_whichever_comes_first() {
    for cancel_first in [true, false] {
        let mut crossing = Crossing::new();
        crossing.start(0);
        crossing.end(Err("Boom"));
        if cancel_first {
            crossing.cancel(1);
            assert_eq!(crossing.tombstones(), 1);
            crossing.start(1);
        } else {
            crossing.start(1);
            crossing.cancel(1);
        }
        assert!(crossing.outcome().contains("Aborted"), "{cancel_first}");
        assert_eq!(crossing.tombstones(), 0, "{cancel_first}");
    }
}

#[test]
fn one_that_succeeded_is_never_wanted_again_and_keeps_no_cancel() {
    for cancel_first in [true, false] {
        let mut crossing = Crossing::new();
        crossing.start(0);
        crossing.end(Ok("7"));
        if cancel_first {
            crossing.cancel(1);
            crossing.start(1);
        } else {
            crossing.start(1);
            crossing.cancel(1);
        }
        assert!(crossing.outcome().contains("Succeeded"), "{cancel_first}");
        assert_eq!(crossing.tombstones(), 0, "{cancel_first}");
    }
}
