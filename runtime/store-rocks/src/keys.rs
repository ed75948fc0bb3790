//! The byte layout of keys, and the bounds of ranges. The only place that knows either.
//!
//! A key is `project, kind, fields`. Bytewise order is the order of ranges:
//! - project: one byte, 1 = `default`. 2 to 127 are for projects to come; a first
//!   byte from 128 on is kept for a longer number.
//! - kind: one byte, never reused, even when a kind is given up.
//! - numbers big-endian; a time with its sign bit flipped, so that negative comes first.
//! - an id as it is: it begins with its time.
//! - text that another field follows or could follow: its bytes with 0 written as
//!   `0 255`, ended by `0 0`, so that `a` comes before `a\0` and `ab`.
//!
//! | kind | fields |
//! |---|---|
//! | 1 log | id, first event number (8) |
//! | 2 checkpoint | id |
//! | 3 summary | id |
//! | 4 flow's execution | flow, id |
//! | 5 name | flow, name |
//! | 6 hot | shard (1), id |
//! | 7 timer | shard (1), time (8), id |
//! | 8 blob | digest (32) |
//! | 9 outbox | shard (1), id, number (8) |
//! | 10 usage | flow, day (4), loop (1) |
//! | 11 flow | name, version (4) |
//! | 12 module | name |
//! | 13 trigger | flow |
//! | 14 meta | name |
//! | 15 activity's task | name, id, entry (8), attempt (4) |
//! | 16 child | parent's id, id |
//! | 17 result of a Map's item | id, entry (8), run (4), slot (4) |
//! | 18 secret | name |
//! | 19 key of a namespace | namespace, key |
//! | 20 signal that came | id, digest (32) |
//! | 21 size of a namespace | namespace, loop (1) |
//! | 22 change of an object | name |

use std::sync::Arc;

use stepwell_store::{Error, Key, Range};
use stepwell_types::{Digest, EntryId, ExecutionId, ShardId, Timestamp};

use crate::columns::Column;

/// `project, kind, id`: what all log rows of one execution share.
pub(crate) const LOG_PREFIX_BYTES: usize = 18;

const PROJECT: u8 = 1;

mod kind {
    pub(super) const LOG: u8 = 1;
    pub(super) const CHECKPOINT: u8 = 2;
    pub(super) const SUMMARY: u8 = 3;
    pub(super) const FLOW_EXECUTION: u8 = 4;
    pub(super) const NAME: u8 = 5;
    pub(super) const HOT: u8 = 6;
    pub(super) const TIMER: u8 = 7;
    pub(super) const BLOB: u8 = 8;
    pub(super) const OUTBOX: u8 = 9;
    pub(super) const USAGE: u8 = 10;
    pub(super) const FLOW: u8 = 11;
    pub(super) const MODULE: u8 = 12;
    pub(super) const TRIGGER: u8 = 13;
    pub(super) const META: u8 = 14;
    pub(super) const ACTIVITY: u8 = 15;
    pub(super) const CHILD: u8 = 16;
    pub(super) const MAP_RESULT: u8 = 17;
    pub(super) const SECRET: u8 = 18;
    pub(super) const KEY_VALUE: u8 = 19;
    pub(super) const SIGNAL: u8 = 20;
    pub(super) const NAMESPACE_SIZE: u8 = 21;
    pub(super) const LANDING: u8 = 22;
}

/// Where rows of this key's kind live.
pub(crate) fn column(key: &Key) -> Column {
    match key {
        Key::Log { .. } => Column::Log,
        Key::Checkpoint { .. }
        | Key::Summary { .. }
        | Key::FlowExecution { .. }
        | Key::Child { .. }
        | Key::MapResult { .. }
        | Key::KeyValue { .. }
        | Key::Signal { .. }
        | Key::NamespaceSize { .. }
        | Key::Name { .. } => Column::State,
        Key::Hot { .. }
        | Key::Timer { .. }
        | Key::Outbox { .. }
        | Key::Landing { .. }
        | Key::Activity { .. } => Column::Queue,
        Key::Blob { .. } => Column::Blob,
        Key::Usage { .. }
        | Key::Flow { .. }
        | Key::Module { .. }
        | Key::Trigger { .. }
        | Key::Secret { .. }
        | Key::Meta { .. } => Column::Catalog,
    }
}

/// The key's bytes, in place of what `out` held.
pub(crate) fn encode(key: &Key, out: &mut Vec<u8>) {
    out.clear();
    let mut to = Bytes(out);
    match key {
        Key::Log { execution, seq } => to.kind(kind::LOG).id(execution).u64(*seq),
        Key::Checkpoint { execution } => to.kind(kind::CHECKPOINT).id(execution),
        Key::Summary { execution } => to.kind(kind::SUMMARY).id(execution),
        Key::FlowExecution { flow, execution } => {
            to.kind(kind::FLOW_EXECUTION).text(flow).id(execution)
        }
        Key::Child { parent, execution } => to.kind(kind::CHILD).id(parent).id(execution),
        Key::Name { flow, name } => to.kind(kind::NAME).text(flow).text(name),
        Key::Hot { execution } => to.kind(kind::HOT).u8(execution.shard().0).id(execution),
        Key::Timer { at, execution } => to
            .kind(kind::TIMER)
            .u8(execution.shard().0)
            .time(*at)
            .id(execution),
        Key::Blob { digest } => to.kind(kind::BLOB).raw(&digest.0),
        Key::Outbox {
            shard,
            execution,
            number,
        } => to.kind(kind::OUTBOX).u8(shard.0).id(execution).u64(*number),
        Key::Usage { flow, day, writer } => to.kind(kind::USAGE).text(flow).u32(*day).u8(*writer),
        Key::Flow { name, version } => to.kind(kind::FLOW).text(name).u32(*version),
        Key::Module { name } => to.kind(kind::MODULE).text(name),
        Key::Trigger { flow } => to.kind(kind::TRIGGER).text(flow),
        Key::Secret { name } => to.kind(kind::SECRET).text(name),
        Key::KeyValue { namespace, key } => to.kind(kind::KEY_VALUE).text(namespace).text(key),
        Key::NamespaceSize { namespace, writer } => {
            to.kind(kind::NAMESPACE_SIZE).text(namespace).u8(*writer)
        }
        Key::Landing { name } => to.kind(kind::LANDING).text(name),
        Key::Meta { name } => to.kind(kind::META).text(name),
        Key::Signal { execution, key } => to.kind(kind::SIGNAL).id(execution).raw(&key.0),
        Key::Activity {
            name,
            execution,
            entry,
            attempt,
        } => to
            .kind(kind::ACTIVITY)
            .text(name)
            .id(execution)
            .u64(entry.0)
            .u32(*attempt),
        Key::MapResult {
            execution,
            entry,
            run,
            slot,
        } => to
            .kind(kind::MAP_RESULT)
            .id(execution)
            .u64(entry.0)
            .u32(*run)
            .u32(*slot),
    };
}

/// The key that these bytes name.
/// # Errors
/// `STORE0002` when no key encodes to them.
pub(crate) fn decode(bytes: &[u8]) -> Result<Key, Error> {
    parse(bytes).ok_or_else(|| Error::Damaged {
        detail: format!("no key has the bytes {bytes:02x?}"),
    })
}

fn parse(bytes: &[u8]) -> Option<Key> {
    let mut from = Fields(bytes);
    if from.u8()? != PROJECT {
        return None;
    }
    let key = match from.u8()? {
        kind::LOG => Key::Log {
            execution: from.id()?,
            seq: from.u64()?,
        },
        kind::CHECKPOINT => Key::Checkpoint {
            execution: from.id()?,
        },
        kind::SUMMARY => Key::Summary {
            execution: from.id()?,
        },
        kind::FLOW_EXECUTION => Key::FlowExecution {
            flow: from.text()?,
            execution: from.id()?,
        },
        kind::NAME => Key::Name {
            flow: from.text()?,
            name: from.text()?,
        },
        kind::HOT => {
            let shard = from.u8()?;
            let execution = from.id()?;
            (execution.shard().0 == shard).then_some(Key::Hot { execution })?
        }
        kind::TIMER => {
            let (shard, at) = (from.u8()?, from.time()?);
            let execution = from.id()?;
            (execution.shard().0 == shard).then_some(Key::Timer { at, execution })?
        }
        kind::BLOB => Key::Blob {
            digest: Digest(from.array()?),
        },
        kind::OUTBOX => Key::Outbox {
            shard: ShardId(from.u8()?),
            execution: from.id()?,
            number: from.u64()?,
        },
        kind::USAGE => Key::Usage {
            flow: from.text()?,
            day: from.u32()?,
            writer: from.u8()?,
        },
        kind::FLOW => Key::Flow {
            name: from.text()?,
            version: from.u32()?,
        },
        kind::MODULE => Key::Module { name: from.text()? },
        kind::TRIGGER => Key::Trigger { flow: from.text()? },
        kind::SECRET => Key::Secret { name: from.text()? },
        kind::KEY_VALUE => Key::KeyValue {
            namespace: from.text()?,
            key: from.text()?,
        },
        kind::NAMESPACE_SIZE => Key::NamespaceSize {
            namespace: from.text()?,
            writer: from.u8()?,
        },
        kind::LANDING => Key::Landing { name: from.text()? },
        kind::CHILD => Key::Child {
            parent: from.id()?,
            execution: from.id()?,
        },
        kind::META => Key::Meta { name: from.text()? },
        kind::SIGNAL => Key::Signal {
            execution: from.id()?,
            key: Digest(from.array()?),
        },
        kind::ACTIVITY => Key::Activity {
            name: from.text()?,
            execution: from.id()?,
            entry: EntryId(from.u64()?),
            attempt: from.u32()?,
        },
        kind::MAP_RESULT => Key::MapResult {
            execution: from.id()?,
            entry: EntryId(from.u64()?),
            run: from.u32()?,
            slot: from.u32()?,
        },
        _ => return None,
    };
    from.0.is_empty().then_some(key)
}

/// Where a range lies: `lower` included, `upper` not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) column: Column,
    pub(crate) lower: Vec<u8>,
    pub(crate) upper: Vec<u8>,
    /// Read from `upper` down: newest first.
    pub(crate) reverse: bool,
}

/// The bytes that a range spans.
pub(crate) fn bounds(range: &Range) -> Bounds {
    let up = |column, prefix: Vec<u8>, from: Option<Vec<u8>>| Bounds {
        column,
        upper: after_prefix(&prefix),
        lower: from.map_or_else(|| prefix.clone(), |from| from.max(prefix.clone())),
        reverse: false,
    };
    let down = |prefix: Vec<u8>, before: &Option<ExecutionId>| Bounds {
        column: Column::State,
        upper: match before {
            Some(before) => build(|to| to.raw(&prefix).id(before)),
            None => after_prefix(&prefix),
        },
        lower: prefix,
        reverse: true,
    };
    match range {
        Range::Log {
            execution,
            from_seq,
        } => up(
            Column::Log,
            build(|to| to.kind(kind::LOG).id(execution)),
            Some(build(|to| to.kind(kind::LOG).id(execution).u64(*from_seq))),
        ),
        Range::Summaries { before } => down(build(|to| to.kind(kind::SUMMARY)), before),
        Range::FlowExecutions { flow, before } => {
            down(build(|to| to.kind(kind::FLOW_EXECUTION).text(flow)), before)
        }
        Range::Children { parent, before } => {
            down(build(|to| to.kind(kind::CHILD).id(parent)), before)
        }
        Range::Hot { shard, after } => {
            let prefix = build(|to| to.kind(kind::HOT).u8(shard.0));
            let from = after.map(|id| next(build(|to| to.raw(&prefix).id(&id))));
            up(Column::Queue, prefix, from)
        }
        Range::Timers { shard, from } => {
            let prefix = build(|to| to.kind(kind::TIMER).u8(shard.0));
            let from = build(|to| to.raw(&prefix).time(*from));
            up(Column::Queue, prefix, Some(from))
        }
        Range::Outbox { shard, after } => {
            let prefix = build(|to| to.kind(kind::OUTBOX).u8(shard.0));
            let from = after.map(|(id, n)| next(build(|to| to.raw(&prefix).id(&id).u64(n))));
            up(Column::Queue, prefix, from)
        }
        Range::Usage { flow, after } => {
            let last = |(flow, day): &(Arc<str>, u32)| {
                let row = build(|to| to.kind(kind::USAGE).text(flow).u32(*day).u8(u8::MAX));
                next(row)
            };
            let from = after.as_ref().map(last);
            up(Column::Catalog, named(kind::USAGE, flow.as_deref()), from)
        }
        Range::Flows { name, after } => {
            let from = after
                .as_ref()
                .map(|(name, v)| next(build(|to| to.kind(kind::FLOW).text(name).u32(*v))));
            up(Column::Catalog, named(kind::FLOW, name.as_deref()), from)
        }
        Range::Modules { after } => {
            let from = after
                .as_ref()
                .map(|name| next(named(kind::MODULE, Some(name))));
            up(Column::Catalog, named(kind::MODULE, None), from)
        }
        Range::KeyValues { namespace, after } => {
            let prefix = named(kind::KEY_VALUE, Some(namespace));
            let from = after
                .as_ref()
                .map(|key| next(build(|to| to.raw(&prefix).text(key))));
            up(Column::State, prefix, from)
        }
        Range::NamespaceSizes { namespace, after } => {
            let from = after.as_ref().map(|name| {
                next(build(|to| {
                    to.kind(kind::NAMESPACE_SIZE).text(name).u8(u8::MAX)
                }))
            });
            let prefix = named(kind::NAMESPACE_SIZE, namespace.as_deref());
            up(Column::State, prefix, from)
        }
        Range::Landings { after } => {
            let from = after
                .as_ref()
                .map(|name| next(named(kind::LANDING, Some(name))));
            up(Column::Queue, named(kind::LANDING, None), from)
        }
        Range::Secrets { after } => {
            let from = after
                .as_ref()
                .map(|name| next(named(kind::SECRET, Some(name))));
            up(Column::Catalog, named(kind::SECRET, None), from)
        }
        Range::Triggers => up(Column::Catalog, named(kind::TRIGGER, None), None),
        Range::Activities { name, after } => {
            let prefix = named(kind::ACTIVITY, Some(name));
            let from = after.map(|(id, entry, attempt)| {
                next(build(|to| {
                    to.raw(&prefix).id(&id).u64(entry.0).u32(attempt)
                }))
            });
            up(Column::Queue, prefix, from)
        }
        Range::MapResults {
            execution,
            entry,
            run,
            from,
        } => {
            let prefix = build(|to| {
                let of = to.kind(kind::MAP_RESULT).id(execution);
                of.u64(entry.0).u32(*run)
            });
            let from = build(|to| to.raw(&prefix).u32(*from));
            up(Column::State, prefix, Some(from))
        }
    }
}

fn build(fields: impl for<'a, 'b> FnOnce(&'a mut Bytes<'b>) -> &'a mut Bytes<'b>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    fields(&mut Bytes(&mut out));
    out
}

fn named(kind: u8, name: Option<&str>) -> Vec<u8> {
    build(|to| match name {
        Some(name) => to.kind(kind).text(name),
        None => to.kind(kind),
    })
}

/// The least bytes after `key`.
fn next(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

/// The least bytes after everything that begins with `prefix`.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    // Ends at the project's byte at the latest, which is not 255.
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            break;
        }
    }
    end
}

struct Bytes<'a>(&'a mut Vec<u8>);

impl Bytes<'_> {
    fn kind(&mut self, kind: u8) -> &mut Self {
        self.raw(&[PROJECT, kind])
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u8(&mut self, n: u8) -> &mut Self {
        self.raw(&[n])
    }

    fn u32(&mut self, n: u32) -> &mut Self {
        self.raw(&n.to_be_bytes())
    }

    fn u64(&mut self, n: u64) -> &mut Self {
        self.raw(&n.to_be_bytes())
    }

    fn id(&mut self, id: &ExecutionId) -> &mut Self {
        self.raw(&id.0)
    }

    fn time(&mut self, at: Timestamp) -> &mut Self {
        self.u64(at.0.cast_unsigned() ^ (1 << 63))
    }

    fn text(&mut self, text: &str) -> &mut Self {
        for (i, part) in text.as_bytes().split(|b| *b == 0).enumerate() {
            if i > 0 {
                self.raw(&[0, 0xff]);
            }
            self.raw(part);
        }
        self.raw(&[0, 0])
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn id(&mut self) -> Option<ExecutionId> {
        self.array().map(ExecutionId)
    }

    fn time(&mut self) -> Option<Timestamp> {
        let n = self.u64()? ^ (1 << 63);
        Some(Timestamp(n.cast_signed()))
    }

    fn text(&mut self) -> Option<Arc<str>> {
        let mut text = Vec::new();
        loop {
            let zero = self.0.iter().position(|b| *b == 0)?;
            text.extend_from_slice(self.0.get(..zero)?);
            let mark = *self.0.get(zero + 1)?;
            self.0 = self.0.get(zero + 2..)?;
            match mark {
                0 => break,
                0xff => text.push(0),
                _ => return None,
            }
        }
        String::from_utf8(text).ok().map(Arc::from)
    }
}

#[cfg(test)]
mod tests;
