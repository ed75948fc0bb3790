//! Random batches: a backend must agree with the memory store on every range.

use std::sync::Arc;

use stepwell_types::{Digest, EntryId, ExecutionId, ShardId, Timestamp};

use super::{Place, id};
use crate::{Batch, Key, Memory, Range, Reader, Writer};

pub(super) fn same_as_memory<P: Place>(place: &mut P) {
    let mut random = Random(0x5eed);
    let model = Memory::new();
    let mut model_writer = model.writer();
    let (mut reader, mut writer) = place.open();
    for round in 0..60 {
        let batches: Vec<Batch> = (0..random.below(4)).map(|_| random.batch()).collect();
        model_writer.commit(&batches).unwrap();
        writer.commit(&batches).unwrap();
        if round % 20 == 19 {
            drop((reader, writer));
            (reader, writer) = place.open();
        }
        for _ in 0..12 {
            let (range, limit) = (random.range(), random.below(40));
            let expected = model.scan(&range, limit).unwrap();
            let found = reader.scan(&range, limit).unwrap();
            assert_eq!(found, expected, "round {round}, {limit} rows of {range:?}");
            let key = random.key();
            let expected = model.get(&key).unwrap();
            assert_eq!(
                reader.get(&key).unwrap(),
                expected,
                "round {round}, {key:?}"
            );
        }
    }
    let rows = model.snapshot();
    assert!(
        rows.len() > 200,
        "only {} rows were left to compare",
        rows.len()
    );
    for (key, value) in rows.rows() {
        assert_eq!(reader.get(key).unwrap().as_deref(), Some(value), "{key:?}");
    }
}

/// splitmix64: enough to vary a test, and the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn execution(&mut self) -> ExecutionId {
        let (ms, shard) = (self.below(4), self.below(3));
        id(ms as i64 * 200, shard as u8, self.below(3) as u128)
    }

    fn shard(&mut self) -> ShardId {
        ShardId(self.below(3) as u8)
    }

    fn at(&mut self) -> Timestamp {
        Timestamp([i64::MIN, -5, 0, 1, 300, i64::MAX][self.below(6)])
    }

    fn number(&mut self) -> u64 {
        [0, 1, 2, 255, 256, u64::MAX][self.below(6)]
    }

    fn version(&mut self) -> u32 {
        [1, 2, 255, 256, u32::MAX][self.below(5)]
    }

    fn text(&mut self) -> Arc<str> {
        ["", "a", "a\u{0}", "a\u{0}\u{1}", "ab", "b", "\u{10ffff}"][self.below(7)].into()
    }

    fn maybe<T>(&mut self, some: impl FnOnce(&mut Random) -> T) -> Option<T> {
        if self.below(3) == 0 {
            None
        } else {
            Some(some(self))
        }
    }

    fn key(&mut self) -> Key {
        let execution = self.execution();
        match self.below(22) {
            0 => Key::Log {
                execution,
                seq: self.number(),
            },
            1 => Key::Checkpoint { execution },
            2 => Key::Summary { execution },
            3 => Key::FlowExecution {
                flow: self.text(),
                execution,
            },
            4 => Key::Name {
                flow: self.text(),
                name: self.text(),
            },
            5 => Key::Hot { execution },
            6 => Key::Timer {
                at: self.at(),
                execution,
            },
            7 => Key::Blob {
                digest: Digest([self.below(9) as u8; 32]),
            },
            8 => Key::Outbox {
                shard: self.shard(),
                execution,
                number: self.number(),
            },
            9 => Key::Usage {
                flow: self.text(),
                day: self.version(),
                writer: self.below(3) as u8,
            },
            10 => Key::Flow {
                name: self.text(),
                version: self.version(),
            },
            11 => Key::Module { name: self.text() },
            12 => Key::Trigger { flow: self.text() },
            13 => Key::Activity {
                name: self.text(),
                execution,
                entry: EntryId(self.number()),
                attempt: self.version(),
            },
            14 => Key::Child {
                parent: self.execution(),
                execution,
            },
            15 => Key::MapResult {
                execution,
                entry: EntryId(self.number()),
                run: self.version(),
                slot: self.version(),
            },
            16 => Key::Secret { name: self.text() },
            17 => Key::KeyValue {
                namespace: self.text(),
                key: self.text(),
            },
            18 => Key::Signal {
                execution,
                key: Digest([self.below(9) as u8; 32]),
            },
            19 => Key::NamespaceSize {
                namespace: self.text(),
                writer: self.shard().0,
            },
            20 => Key::Landing { name: self.text() },
            _ => Key::Meta { name: self.text() },
        }
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..self.below(60) {
            let key = self.key();
            if self.below(40) == 0 {
                batch.clear(self.range());
            }
            if self.below(4) == 0 {
                batch.delete(key);
            } else {
                batch.put(key, self.next().to_be_bytes());
            }
        }
        batch
    }

    fn range(&mut self) -> Range {
        match self.below(17) {
            0 => Range::Log {
                execution: self.execution(),
                from_seq: self.number(),
            },
            1 => Range::Summaries {
                before: self.maybe(Random::execution),
            },
            2 => Range::FlowExecutions {
                flow: self.text(),
                before: self.maybe(Random::execution),
            },
            3 => Range::Hot {
                shard: self.shard(),
                after: self.maybe(Random::execution),
            },
            4 => Range::Timers {
                shard: self.shard(),
                from: self.at(),
            },
            5 => Range::Outbox {
                shard: self.shard(),
                after: self.maybe(|r| (r.execution(), r.number())),
            },
            6 => Range::Usage {
                flow: self.maybe(Random::text),
                after: self.maybe(|r| (r.text(), r.version())),
            },
            7 => Range::Flows {
                name: self.maybe(Random::text),
                after: self.maybe(|r| (r.text(), r.version())),
            },
            8 => Range::Modules {
                after: self.maybe(Random::text),
            },
            9 => Range::Activities {
                name: self.text(),
                after: self.maybe(|r| (r.execution(), EntryId(r.number()), r.version())),
            },
            10 => Range::Children {
                parent: self.execution(),
                before: self.maybe(Random::execution),
            },
            11 => Range::MapResults {
                execution: self.execution(),
                entry: EntryId(self.number()),
                run: self.version(),
                from: self.version(),
            },
            12 => Range::Secrets {
                after: self.maybe(Random::text),
            },
            13 => Range::KeyValues {
                namespace: self.text(),
                after: self.maybe(Random::text),
            },
            14 => Range::NamespaceSizes {
                namespace: self.maybe(Random::text),
                after: self.maybe(Random::text),
            },
            15 => Range::Landings {
                after: self.maybe(Random::text),
            },
            _ => Range::Triggers,
        }
    }
}
