//! What one execution says of another that it starts: who asks, and what it wants to hear.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Data, EntryId, ExecutionId};

/// What a Task that starts a flow waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChildMode {
    /// The start alone (`.waitForTaskToken` besides waits for its token).
    Start,
    /// `.sync`: the end; the child's output comes as a string of JSON text.
    Sync,
    /// `.sync:2`: the end; the child's output comes as JSON.
    Sync2,
}

/// What a parent is told of its child's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Wants {
    /// Nothing: it does not wait.
    Nothing,
    /// The child as `describe` tells it, its output as a string.
    Text,
    /// The child as `describe` tells it, its output as JSON.
    Json,
    /// Of an item of a distributed Map: its output, or its failure as it is.
    Item,
    /// Of an item of a distributed Map: the child as `describe` tells it, output as a string.
    Record,
    /// Of an item of a distributed Map: its output; of a failed one the same as `Record`.
    Compact,
}

/// Who started an execution. Part of the child's first event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentLink {
    /// The parent.
    pub execution: ExecutionId,
    /// Its state entry that asked.
    pub entry: EntryId,
    /// Which attempt, from 0.
    pub attempt: u32,
    /// How many executions are above this one; at most [`crate::limits::CHILD_DEPTH_MAX`].
    pub depth: u16,
    /// What the parent wants to hear at the end.
    pub wants: Wants,
    /// Which item, or batch of items, of a distributed Map; `None`: a Task asked.
    pub item: Option<u32>,
    /// Which of the entry's runs of a distributed Map: names the row of the item's result.
    pub run: u32,
    /// Index of the graph of the flow's program that runs; 0: the flow itself.
    pub graph: u32,
    /// Kept in memory beside its parent: after a crash it runs again from its start.
    pub express: bool,
    /// The execution that nobody started, which all of this goes back to.
    pub root: ExecutionId,
}

/// A wish of one execution to start another; of a distributed Map's, for one of its items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildStart {
    /// The id that the child gets: the same however often the wish is delivered.
    pub child: ExecutionId,
    /// The flow's name.
    pub flow: Arc<str>,
    /// A published version, or the newest when the wish arrives.
    pub version: Option<u32>,
    /// The child's name; `None`: its id.
    pub name: Option<Arc<str>>,
    /// Valid JSON.
    pub input: Data,
    /// The child's secret seed.
    pub seed: [u8; 16],
    /// Who asks.
    pub link: ParentLink,
    /// A redriven Map goes through its items again: look first whether this one has succeeded.
    pub again: bool,
}
