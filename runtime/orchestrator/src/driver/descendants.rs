//! How many executions one of them may bring about.
//!
//! A flow that starts two of itself doubles with each generation. So all that lies two or
//! more below an execution that nobody started is counted, shard by shard, in a row for each
//! that goes with the start: exact over a crash, and no shard asks another. Refuses to count
//! what an execution starts itself, and items of a Map: those grow no faster than its steps.

use stepwell_store::Key;
use stepwell_types::id::SHARDS;
use stepwell_types::{ChildStart, ExecutionId, Failure, ShardId};

use super::Driver;
use crate::Error;
use crate::rows;

/// Counts in memory; durable ones beyond that are read again.
const REMEMBERED: usize = 4_096;

/// Descendants of one execution on one shard, and the batch of the last of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    begun: u32,
    batch: u64,
}

fn key(root: ExecutionId, shard: ShardId) -> Key {
    Key::Meta {
        name: format!("descendants/{root}/{}", shard.0).into(),
    }
}

impl Driver {
    /// Counts a start that is about to happen, or says why it may not.
    pub(super) fn count_descendant(
        &mut self,
        start: &ChildStart,
    ) -> Result<Result<(), Failure>, Error> {
        let link = &start.link;
        if link.depth < 2 || link.item.is_some() {
            return Ok(Ok(()));
        }
        let max = self.options.descendants_max;
        let place = (link.root, start.child.shard());
        let count = match self.descendants.get(&place) {
            Some(count) => *count,
            None => match self.reader.get(&key(place.0, place.1))? {
                Some(row) => Count {
                    begun: rows::decode(&row)?,
                    batch: 0,
                },
                None => Count::default(),
            },
        };
        if count.begun >= max.div_ceil(u32::from(SHARDS)) {
            return Ok(Err(Failure::new(
                "Stepwell.TooManyDescendants",
                format!(
                    "the execution {} and what it started have brought about some {max} executions, the most that one may; does a flow start itself?",
                    link.root
                ),
            )));
        }
        if self.descendants.len() >= REMEMBERED {
            let durable = self.durable;
            self.descendants.retain(|_, count| count.batch > durable);
        }
        let count = Count {
            begun: count.begun + 1,
            batch: self.batch,
        };
        self.descendants.insert(place, count);
        self.extra
            .put(key(place.0, place.1), rows::encode(&count.begun));
        Ok(Ok(()))
    }
}
