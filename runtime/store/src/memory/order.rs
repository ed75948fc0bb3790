//! The order of rows in memory, and where each range begins.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use stepwell_types::{EntryId, ExecutionId, Timestamp};

use crate::{Key, Range};

/// A key in the order in which ranges read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row(pub(super) Key);

/// Everything a kind can be sorted by; a kind leaves what it lacks at its least.
#[derive(PartialEq, Eq, PartialOrd, Ord, Default)]
struct Sort<'a> {
    kind: u8,
    shard: u8,
    text: &'a str,
    second: &'a str,
    at: Timestamp,
    second_id: &'a [u8],
    id: &'a [u8],
    number: u64,
    last: u64,
}

impl Row {
    fn sort(&self) -> Sort<'_> {
        let of = |kind| Sort {
            kind,
            ..Sort::default()
        };
        match &self.0 {
            Key::Log { execution, seq } => Sort {
                id: &execution.0,
                number: *seq,
                ..of(1)
            },
            Key::Checkpoint { execution } => Sort {
                id: &execution.0,
                ..of(2)
            },
            Key::Summary { execution } => Sort {
                id: &execution.0,
                ..of(3)
            },
            Key::FlowExecution { flow, execution } => Sort {
                text: flow,
                id: &execution.0,
                ..of(4)
            },
            Key::Name { flow, name } => Sort {
                text: flow,
                second: name,
                ..of(5)
            },
            Key::Hot { execution } => Sort {
                shard: execution.shard().0,
                id: &execution.0,
                ..of(6)
            },
            Key::Timer { at, execution } => Sort {
                shard: execution.shard().0,
                at: *at,
                id: &execution.0,
                ..of(7)
            },
            Key::Blob { digest } => Sort {
                id: &digest.0,
                ..of(8)
            },
            Key::Outbox {
                shard,
                execution,
                number,
            } => Sort {
                shard: shard.0,
                id: &execution.0,
                number: *number,
                ..of(9)
            },
            Key::Usage { flow, day, writer } => Sort {
                text: flow,
                number: (u64::from(*day) << 8) | u64::from(*writer),
                ..of(10)
            },
            Key::Flow { name, version } => Sort {
                text: name,
                number: u64::from(*version),
                ..of(11)
            },
            Key::Module { name } => Sort {
                text: name,
                ..of(12)
            },
            Key::Trigger { flow } => Sort {
                text: flow,
                ..of(13)
            },
            Key::Meta { name } => Sort {
                text: name,
                ..of(14)
            },
            Key::Activity {
                name,
                execution,
                entry,
                attempt,
            } => Sort {
                text: name,
                id: &execution.0,
                number: entry.0,
                last: u64::from(*attempt),
                ..of(15)
            },
            Key::Child { parent, execution } => Sort {
                second_id: &parent.0,
                id: &execution.0,
                ..of(16)
            },
            Key::MapResult {
                execution,
                entry,
                run,
                slot,
            } => Sort {
                id: &execution.0,
                number: entry.0,
                last: (u64::from(*run) << 32) | u64::from(*slot),
                ..of(17)
            },
            Key::Secret { name } => Sort {
                text: name,
                ..of(18)
            },
            Key::KeyValue { namespace, key } => Sort {
                text: namespace,
                second: key,
                ..of(19)
            },
            Key::Signal { execution, key } => Sort {
                second_id: &execution.0,
                id: &key.0,
                ..of(20)
            },
            Key::NamespaceSize { namespace, writer } => Sort {
                text: namespace,
                number: u64::from(*writer),
                ..of(21)
            },
            Key::Landing { name } => Sort {
                text: name,
                ..of(22)
            },
        }
    }
}

impl Ord for Row {
    fn cmp(&self, other: &Row) -> Ordering {
        self.sort().cmp(&other.sort())
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Row) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Where a scan begins and which way it goes; it ends at the first row outside its range.
pub(super) enum Edge {
    Up(Bound<Row>),
    Down(Bound<Row>),
}

const FIRST: ExecutionId = ExecutionId([0; 16]);
const LAST: ExecutionId = ExecutionId([0xff; 16]);

/// The edge of a range where its first row is found.
pub(super) fn edge(range: &Range) -> Edge {
    let from = |key| Edge::Up(Bound::Included(Row(key)));
    let after = |key| Edge::Up(Bound::Excluded(Row(key)));
    let down = |before: &Option<ExecutionId>, key: &dyn Fn(ExecutionId) -> Key| {
        Edge::Down(match before {
            Some(before) => Bound::Excluded(Row(key(*before))),
            None => Bound::Included(Row(key(LAST))),
        })
    };
    match range {
        Range::Log {
            execution,
            from_seq,
        } => from(Key::Log {
            execution: *execution,
            seq: *from_seq,
        }),
        Range::Summaries { before } => down(before, &|execution| Key::Summary { execution }),
        Range::FlowExecutions { flow, before } => down(before, &|execution| Key::FlowExecution {
            flow: flow.clone(),
            execution,
        }),
        Range::Children { parent, before } => down(before, &|execution| Key::Child {
            parent: *parent,
            execution,
        }),
        Range::Hot { shard, after: None } => from(Key::Hot {
            execution: first_of(shard.0),
        }),
        Range::Hot {
            shard,
            after: Some(execution),
        } => match execution.shard().0.cmp(&shard.0) {
            Ordering::Equal => after(Key::Hot {
                execution: *execution,
            }),
            // An id of another shard has no row here: the nearest place in this shard.
            Ordering::Less => from(Key::Hot {
                execution: moved(execution, shard.0, 0),
            }),
            Ordering::Greater => after(Key::Hot {
                execution: moved(execution, shard.0, 0xff),
            }),
        },
        Range::Timers { shard, from: at } => from(Key::Timer {
            at: *at,
            execution: first_of(shard.0),
        }),
        Range::Outbox { shard, after: None } => from(Key::Outbox {
            shard: *shard,
            execution: FIRST,
            number: 0,
        }),
        Range::Outbox {
            shard,
            after: Some((execution, number)),
        } => after(Key::Outbox {
            shard: *shard,
            execution: *execution,
            number: *number,
        }),
        Range::Usage { flow, after: past } => {
            let flow = flow.clone().unwrap_or_default();
            match past {
                Some((past, day)) if **past >= *flow => after(Key::Usage {
                    flow: past.clone(),
                    day: *day,
                    writer: u8::MAX,
                }),
                _ => from(Key::Usage {
                    flow,
                    day: 0,
                    writer: 0,
                }),
            }
        }
        Range::Flows { name, after: past } => {
            let name = name.clone().unwrap_or_default();
            match past {
                Some((past, version)) if **past >= *name => after(Key::Flow {
                    name: past.clone(),
                    version: *version,
                }),
                _ => from(Key::Flow { name, version: 0 }),
            }
        }
        Range::Modules { after: None } => from(Key::Module {
            name: Arc::default(),
        }),
        Range::Modules { after: Some(name) } => after(Key::Module { name: name.clone() }),
        Range::KeyValues {
            namespace,
            after: None,
        } => from(Key::KeyValue {
            namespace: namespace.clone(),
            key: Arc::default(),
        }),
        Range::KeyValues {
            namespace,
            after: Some(key),
        } => after(Key::KeyValue {
            namespace: namespace.clone(),
            key: key.clone(),
        }),
        Range::NamespaceSizes {
            namespace,
            after: past,
        } => {
            let namespace = namespace.clone().unwrap_or_default();
            match past {
                Some(past) if **past >= *namespace => after(Key::NamespaceSize {
                    namespace: past.clone(),
                    writer: u8::MAX,
                }),
                _ => from(Key::NamespaceSize {
                    namespace,
                    writer: 0,
                }),
            }
        }
        Range::Landings { after: None } => from(Key::Landing {
            name: Arc::default(),
        }),
        Range::Landings { after: Some(name) } => after(Key::Landing { name: name.clone() }),
        Range::Secrets { after: None } => from(Key::Secret {
            name: Arc::default(),
        }),
        Range::Secrets { after: Some(name) } => after(Key::Secret { name: name.clone() }),
        Range::Triggers => from(Key::Trigger {
            flow: Arc::default(),
        }),
        Range::Activities { name, after: None } => from(Key::Activity {
            name: name.clone(),
            execution: FIRST,
            entry: EntryId(0),
            attempt: 0,
        }),
        Range::Activities {
            name,
            after: Some((execution, entry, attempt)),
        } => after(Key::Activity {
            name: name.clone(),
            execution: *execution,
            entry: *entry,
            attempt: *attempt,
        }),
        Range::MapResults {
            execution,
            entry,
            run,
            from: slot,
        } => from(Key::MapResult {
            execution: *execution,
            entry: *entry,
            run: *run,
            slot: *slot,
        }),
    }
}

fn first_of(shard: u8) -> ExecutionId {
    let mut id = FIRST;
    id.0[6] = shard;
    id
}

/// An id of the same millisecond on another shard, with the rest all `fill`.
fn moved(execution: &ExecutionId, shard: u8, fill: u8) -> ExecutionId {
    let mut id = ExecutionId([fill; 16]);
    id.0[..6].copy_from_slice(&execution.0[..6]);
    id.0[6] = shard;
    id
}
