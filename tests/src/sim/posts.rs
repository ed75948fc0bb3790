//! What goes between the two drivers: late, twice, in any order, and lost with the process.

use std::sync::Arc;

use stepwell_orchestrator::driver::{Aside, Driver, Options, Parcel, Post};
use stepwell_store::Reader;
use stepwell_store::memory::Memory;
use stepwell_types::id::SHARDS;
use stepwell_types::{ExecutionId, ShardId, Timestamp};

use super::checks;
use super::signals;
use super::world::{Flows, World};
use crate::random::Random;

/// Loops of the simulated process.
const LOOPS: usize = 2;

/// The number of the loop that owns an execution.
pub(super) fn of_loop(id: ExecutionId) -> usize {
    usize::from(id.shard().0) % LOOPS
}

impl World {
    /// The driver that owns an execution.
    pub(super) fn driver_of(&mut self, id: ExecutionId) -> &mut Driver {
        &mut self.drivers[of_loop(id)]
    }

    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        self.drivers.iter().filter_map(Driver::next_tick).min()
    }

    /// Every driver does one piece of work. `false`: there was none.
    pub(super) fn all_work(&mut self) -> bool {
        let now = self.now;
        let mut any = false;
        for driver in &mut self.drivers {
            any |= driver.work(now);
        }
        any
    }

    pub(super) fn seal_all(&mut self) {
        for (at, driver) in self.drivers.iter_mut().enumerate() {
            if let Some((number, batch)) = driver.seal() {
                self.pending.push_back((at, number, batch));
            }
        }
    }

    /// A driver sends: what it says must be durable by now.
    pub(super) fn post_leaves(&mut self, post: Post) -> Result<(), String> {
        if let Post::Delivery(delivery) = &post {
            self.tally.parcels += 1;
            match &delivery.parcel {
                Parcel::Start(start) => {
                    checks::start_may_leave(self, delivery.sender, start)?;
                    if start.again {
                        self.redriven.insert(start.child, self.life);
                        self.cancels_come_late(start.child);
                    }
                }
                Parcel::Signal { send, .. } => {
                    signals::may_leave(self, delivery.sender, send)?;
                }
                Parcel::Cancel { .. } => self.cancels.push(post.clone()),
                Parcel::Ended { .. } => {}
                Parcel::Tombstone { .. } => return Err("a tombstone was sent".into()),
            }
        } else {
            checks::receipt_is_true(self, &post)?;
        }
        self.posts.push(post);
        Ok(())
    }

    /// A child is wanted again: what cancelled it for an earlier attempt of its parent may come once
    /// more, and this one must not feel it.
    fn cancels_come_late(&mut self, child: ExecutionId) {
        let late: Vec<Post> = self
            .cancels
            .iter()
            .filter(|post| post.to() == child)
            .cloned()
            .collect();
        if self.random.chance(50) {
            self.tally.twice += late.len() as u64;
            self.posts.extend(late);
        }
    }

    /// One of the turns that are away comes back.
    pub(super) fn turn_ends(&mut self) -> Result<(), String> {
        let at = self.random.index(self.turns.len());
        let turn = self.turns.swap_remove(at);
        self.tally.turns += 1;
        self.note("turn");
        let (id, now) = (turn.execution(), self.now);
        self.driver_of(id)
            .walked(turn.walk(), now)
            .map_err(|e| e.to_string())?;
        self.outputs()
    }

    /// Any of what is under way arrives, and perhaps will again.
    pub(super) fn post_arrives(&mut self) -> Result<(), String> {
        if self.posts.is_empty() {
            return Ok(());
        }
        let mut at = self.random.index(self.posts.len());
        let post = if let Post::Item(_) = &self.posts[at] {
            // What is in no outbox comes once, and in order.
            let to = of_loop(self.posts[at].to());
            let same = |p: &Post| matches!(p, Post::Item(_)) && of_loop(p.to()) == to;
            at = self.posts.iter().position(same).unwrap_or(at);
            self.posts.remove(at)
        } else if self.random.chance(20) {
            self.tally.twice += 1;
            self.posts[at].clone()
        } else {
            self.posts.remove(at)
        };
        self.note("post");
        let now = self.now;
        self.driver_of(post.to())
            .post(post, now)
            .map_err(|e| e.to_string())
    }
}

/// The drivers of a new process, recovered.
pub(super) fn new_drivers(
    memory: &Memory,
    flows: &Arc<Flows>,
    now: Timestamp,
    clean: bool,
    aside: Aside,
) -> Result<Vec<Driver>, String> {
    (0..LOOPS)
        .map(|index| {
            let shards: Vec<_> = (0..SHARDS)
                .filter(|s| usize::from(*s) % LOOPS == index)
                .map(|s| ShardId(s as u8))
                .collect();
            let options = Options {
                hot_max: 10_000,
                hot_bytes_max: 64 << 20,
                state_bytes_max: 64 << 20,
                open_bytes_max: 64 << 20,
                steps_running_max: 8,
                calls_running_max: 8,
                checkpoint_bytes_min: 64,
                descendants_max: u32::MAX,
                cautious_ms: i64::MAX as u64,
                aside,
            };
            let reader: Arc<dyn Reader> = Arc::new(memory.clone());
            let mut driver = Driver::new(index as u8, &shards, options, reader, flows.clone());
            driver.recover(clean, now).map_err(|e| e.to_string())?;
            Ok(driver)
        })
        .collect()
}

/// Which turns are walked away from the drivers, in one world: none, all, or some.
pub(super) fn aside(random: &mut Random) -> Aside {
    let at_once = 1 + random.index(3);
    let (bytes, operations) = match random.index(4) {
        0 => return Aside::never(),
        1 => (0, 0),
        2 => (20, u64::MAX),
        _ => (60, 1 + random.index(40) as u64),
    };
    Aside {
        bytes,
        operations,
        at_once,
    }
}
