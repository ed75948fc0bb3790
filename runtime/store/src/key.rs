//! The kinds of row and the ranges that can be read.

use std::sync::Arc;

use stepwell_types::{Digest, EntryId, ExecutionId, ShardId, Timestamp};

/// Names one row. How it is laid out in bytes is the backend's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// Events of one execution that became durable in one commit.
    Log {
        /// Whose.
        execution: ExecutionId,
        /// Number of the first event in the row, from 0.
        seq: u64,
    },
    /// The newest state from which an execution resumes.
    Checkpoint {
        /// Whose.
        execution: ExecutionId,
    },
    /// What lists and `describe` show of an execution.
    Summary {
        /// Whose.
        execution: ExecutionId,
    },
    /// Finds a flow's executions.
    FlowExecution {
        /// The flow's name.
        flow: Arc<str>,
        /// One of its executions.
        execution: ExecutionId,
    },
    /// Finds the executions that one execution started.
    Child {
        /// Who started it.
        parent: ExecutionId,
        /// One that it started.
        execution: ExecutionId,
    },
    /// Reserves an execution's name.
    Name {
        /// The flow's name.
        flow: Arc<str>,
        /// The execution's name.
        name: Arc<str>,
    },
    /// An execution with work to do at once after a restart.
    Hot {
        /// Which.
        execution: ExecutionId,
    },
    /// An idle execution that wakes at a time. Lives on the execution's shard.
    Timer {
        /// When.
        at: Timestamp,
        /// Which.
        execution: ExecutionId,
    },
    /// A large payload, stored once.
    Blob {
        /// Of the bytes.
        digest: Digest,
    },
    /// What must reach another execution, shard or bridge, until acknowledged.
    Outbox {
        /// The sender's shard.
        shard: ShardId,
        /// The sender.
        execution: ExecutionId,
        /// Number within the sender, from 0.
        number: u64,
    },
    /// Usage of one flow on one day, as one loop counted it.
    Usage {
        /// The flow's name.
        flow: Arc<str>,
        /// Days since 1970-01-01 UTC.
        day: u32,
        /// Which loop counted.
        writer: u8,
    },
    /// One published version of a flow.
    Flow {
        /// The flow's name.
        name: Arc<str>,
        /// From 1.
        version: u32,
    },
    /// An uploaded module by name: its versions and digests.
    Module {
        /// The module's name.
        name: Arc<str>,
    },
    /// An HTTP trigger by its flow's name.
    Trigger {
        /// The flow's name.
        flow: Arc<str>,
    },
    /// A single value of the data directory, e.g. its format version.
    Meta {
        /// Which.
        name: Arc<str>,
    },
    /// A task of an activity that no worker has taken yet.
    Activity {
        /// The activity's name.
        name: Arc<str>,
        /// Whose task.
        execution: ExecutionId,
        /// Of which state entry.
        entry: EntryId,
        /// Of which attempt.
        attempt: u32,
    },
    /// A secret's versions, sealed: only the vault reads what is in the row.
    Secret {
        /// The secret's name.
        name: Arc<str>,
    },
    /// What steps keep under a key of a namespace.
    KeyValue {
        /// The namespace, with whose it is.
        namespace: Arc<str>,
        /// The key.
        key: Arc<str>,
    },
    /// A signal that came under a key of its sender's, so that it is not taken twice.
    Signal {
        /// The execution that it came to.
        execution: ExecutionId,
        /// Of the key.
        key: Digest,
    },
    /// By how much one loop, or the catalog, has made a namespace larger.
    NamespaceSize {
        /// The namespace, with whose it is.
        namespace: Arc<str>,
        /// Which loop counted.
        writer: u8,
    },
    /// A change of an object that is sure, until it is made.
    Landing {
        /// Names the change.
        name: Arc<str>,
    },
    /// What a child of a distributed Map ended with, until the Map is left.
    MapResult {
        /// The parent.
        execution: ExecutionId,
        /// The Map's state entry.
        entry: EntryId,
        /// Which of that entry's runs.
        run: u32,
        /// Which item, or batch of items.
        slot: u32,
    },
}

/// Rows that belong together, and the order in which they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// An execution's log, oldest first, from the row that begins at or after `from_seq`.
    Log {
        /// Whose.
        execution: ExecutionId,
        /// First event number wanted.
        from_seq: u64,
    },
    /// All summaries, newest execution first.
    Summaries {
        /// Only executions before (older than) this one.
        before: Option<ExecutionId>,
    },
    /// A flow's executions, newest first.
    FlowExecutions {
        /// The flow's name.
        flow: Arc<str>,
        /// Only executions before (older than) this one.
        before: Option<ExecutionId>,
    },
    /// The executions that one started, newest first.
    Children {
        /// Who started them.
        parent: ExecutionId,
        /// Only executions before (older than) this one.
        before: Option<ExecutionId>,
    },
    /// A shard's hot executions, oldest first.
    Hot {
        /// Which shard.
        shard: ShardId,
        /// Only executions after this one.
        after: Option<ExecutionId>,
    },
    /// A shard's timers from `from` (inclusive), earliest first.
    Timers {
        /// Which shard.
        shard: ShardId,
        /// Earliest time wanted.
        from: Timestamp,
    },
    /// A shard's outbox rows, in key order, after this one.
    Outbox {
        /// Which shard.
        shard: ShardId,
        /// Only rows after this sender and number.
        after: Option<(ExecutionId, u64)>,
    },
    /// Usage rows, by flow, then day, then loop.
    Usage {
        /// Only this flow's; `None`: every flow.
        flow: Option<Arc<str>>,
        /// Only rows after this flow's day.
        after: Option<(Arc<str>, u32)>,
    },
    /// Flow versions, by name (as bytes), then version.
    Flows {
        /// Only this flow's; `None`: every flow.
        name: Option<Arc<str>>,
        /// Only rows after this name and version.
        after: Option<(Arc<str>, u32)>,
    },
    /// All modules, by name.
    Modules {
        /// Only rows after this name.
        after: Option<Arc<str>>,
    },
    /// All triggers, by flow name.
    Triggers,
    /// An activity's tasks, oldest execution first.
    Activities {
        /// The activity's name.
        name: Arc<str>,
        /// Only rows after this execution, entry and attempt.
        after: Option<(ExecutionId, EntryId, u32)>,
    },
    /// All secrets, by name.
    Secrets {
        /// Only rows after this name.
        after: Option<Arc<str>>,
    },
    /// What steps keep in a namespace, by key.
    KeyValues {
        /// The namespace.
        namespace: Arc<str>,
        /// Only rows after this key.
        after: Option<Arc<str>>,
    },
    /// How large namespaces are, by namespace, then loop.
    NamespaceSizes {
        /// Only this one's; `None`: every namespace.
        namespace: Option<Arc<str>>,
        /// Only rows after this namespace.
        after: Option<Arc<str>>,
    },
    /// All changes of objects that are to be made, by name.
    Landings {
        /// Only rows after this name.
        after: Option<Arc<str>>,
    },
    /// The results of one run of a distributed Map, by slot.
    MapResults {
        /// The parent.
        execution: ExecutionId,
        /// The Map's state entry.
        entry: EntryId,
        /// Which of that entry's runs.
        run: u32,
        /// First slot wanted.
        from: u32,
    },
}

impl Range {
    /// Whether a row with this key belongs to the range: what [`crate::Reader::scan`]
    /// returns, apart from order and limit.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        match (self, key) {
            (
                Range::Log {
                    execution,
                    from_seq,
                },
                Key::Log { execution: e, seq },
            ) => e == execution && seq >= from_seq,
            (Range::Summaries { before }, Key::Summary { execution }) => {
                before.is_none_or(|before| *execution < before)
            }
            (Range::FlowExecutions { flow, before }, Key::FlowExecution { flow: f, execution }) => {
                f == flow && before.is_none_or(|before| *execution < before)
            }
            (
                Range::Children { parent, before },
                Key::Child {
                    parent: p,
                    execution,
                },
            ) => p == parent && before.is_none_or(|before| *execution < before),
            (Range::Hot { shard, after }, Key::Hot { execution }) => {
                execution.shard() == *shard && after.is_none_or(|after| *execution > after)
            }
            (Range::Timers { shard, from }, Key::Timer { at, execution }) => {
                execution.shard() == *shard && at >= from
            }
            (
                Range::Outbox { shard, after },
                Key::Outbox {
                    shard: s,
                    execution,
                    number,
                },
            ) => s == shard && after.is_none_or(|after| (*execution, *number) > after),
            (Range::Usage { flow, after }, Key::Usage { flow: f, day, .. }) => {
                flow.as_ref().is_none_or(|flow| flow == f)
                    && after
                        .as_ref()
                        .is_none_or(|(flow, past)| (&**f, *day) > (&**flow, *past))
            }
            (Range::Flows { name, after }, Key::Flow { name: n, version }) => {
                name.as_ref().is_none_or(|name| name == n)
                    && after
                        .as_ref()
                        .is_none_or(|(name, past)| (&**n, *version) > (&**name, *past))
            }
            (Range::Modules { after }, Key::Module { name }) => {
                after.as_ref().is_none_or(|after| name > after)
            }
            (Range::Triggers, Key::Trigger { .. }) => true,
            (Range::KeyValues { namespace, after }, Key::KeyValue { namespace: n, key }) => {
                namespace == n && after.as_ref().is_none_or(|after| key > after)
            }
            (
                Range::NamespaceSizes { namespace, after },
                Key::NamespaceSize { namespace: n, .. },
            ) => {
                namespace.as_ref().is_none_or(|wanted| wanted == n)
                    && after.as_ref().is_none_or(|after| n > after)
            }
            (Range::Landings { after }, Key::Landing { name }) => {
                after.as_ref().is_none_or(|after| name > after)
            }
            (Range::Secrets { after }, Key::Secret { name }) => {
                after.as_ref().is_none_or(|after| name > after)
            }
            (
                Range::Activities { name, after },
                Key::Activity {
                    name: n,
                    execution,
                    entry,
                    attempt,
                },
            ) => name == n && after.is_none_or(|after| (*execution, *entry, *attempt) > after),
            (
                Range::MapResults {
                    execution,
                    entry,
                    run,
                    from,
                },
                Key::MapResult {
                    execution: x,
                    entry: e,
                    run: r,
                    slot,
                },
            ) => (x, e, r) == (execution, entry, run) && slot >= from,
            _ => false,
        }
    }
}
