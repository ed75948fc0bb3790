//! One test suite that every backend passes: what the rest of the runtime relies on.
//!
//! It panics on the first breach, so it is for tests only, and it knows nothing of
//! any backend: [`Place`] opens one. How a backend survives a kill or a full disk
//! is the backend's own test.

mod random;
mod ranges;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stepwell_types::{Digest, EntryId, ExecutionId, ShardId, Timestamp, limits};

use crate::{Batch, Key, Range, Reader, Writer};

/// Where one store lives.
pub trait Place {
    /// Its reader.
    type Reader: Reader + Clone + 'static;
    /// Its writer.
    type Writer: Writer;

    /// Opens the store, with what earlier writers committed. The suite drops the
    /// readers and the writer of the time before first.
    fn open(&mut self) -> (Self::Reader, Self::Writer);
}

/// Runs every case, each on a fresh place.
pub fn run<P: Place>(fresh: impl Fn() -> P) {
    rows(&mut fresh());
    last_change_wins(&mut fresh());
    ranges::order_and_bounds(&mut fresh());
    ranges::many_rows(&mut fresh());
    odd_names(&mut fresh());
    big_values(&mut fresh());
    whole_batches(&mut fresh());
    random::same_as_memory(&mut fresh());
}

fn rows<P: Place>(place: &mut P) {
    let keys = one_of_each_kind();
    let (reader, mut writer) = place.open();
    for key in &keys {
        assert_eq!(reader.get(key).unwrap(), None, "{key:?} in a fresh store");
    }
    writer.commit(&[]).expect("nothing to commit");
    writer
        .commit(&[Batch::default()])
        .expect("an empty batch is no error");
    for (i, key) in keys.iter().enumerate() {
        let mut batch = Batch::default();
        batch.put(key.clone(), format!("value {i}"));
        writer.commit(&[batch]).unwrap();
    }
    let all_there = |reader: &P::Reader| {
        for (i, key) in keys.iter().enumerate() {
            let value = reader.get(key).unwrap();
            assert_eq!(value, Some(format!("value {i}").into_bytes()), "{key:?}");
        }
    };
    all_there(&reader);
    all_there(&reader.clone());
    drop((reader, writer));
    let (reader, mut writer) = place.open();
    all_there(&reader);

    let mut batch = Batch::default();
    for key in &keys {
        batch.delete(key.clone());
    }
    batch.delete(Key::Meta {
        name: "never there".into(),
    });
    writer.commit(&[batch]).unwrap();
    let none_there = |reader: &P::Reader| {
        for key in &keys {
            assert_eq!(reader.get(key).unwrap(), None, "{key:?} after its removal");
        }
    };
    none_there(&reader);
    drop((reader, writer));
    none_there(&place.open().0);
    assert!(place.open().0.free_bytes().unwrap() > 0);
}

fn last_change_wins<P: Place>(place: &mut P) {
    let key = |name: &str| Key::Module { name: name.into() };
    let (reader, mut writer) = place.open();
    let mut first = Batch::default();
    first.put(key("put put"), "1");
    first.put(key("put put"), "2");
    first.put(key("put delete"), "1");
    first.delete(key("put delete"));
    first.delete(key("delete put"));
    first.put(key("delete put"), "1");
    first.put(key("across"), "1");
    first.put(key("gone across"), "1");
    let mut second = Batch::default();
    second.put(key("across"), "2");
    second.delete(key("gone across"));
    let result = |slot| Key::MapResult {
        execution: id(1, 2, 3),
        entry: EntryId(1),
        run: 0,
        slot,
    };
    for slot in 0..3 {
        first.put(result(slot), "1");
    }
    second.clear(Range::MapResults {
        execution: id(1, 2, 3),
        entry: EntryId(1),
        run: 0,
        from: 1,
    });
    second.put(result(2), "after");
    writer.commit(&[first, Batch::default(), second]).unwrap();
    let check = |reader: &P::Reader| {
        for (name, value) in [
            ("put put", Some("2")),
            ("put delete", None),
            ("delete put", Some("1")),
            ("across", Some("2")),
            ("gone across", None),
        ] {
            let found = reader.get(&key(name)).unwrap();
            assert_eq!(found.as_deref(), value.map(str::as_bytes), "{name}");
        }
        for (slot, value) in [(0, Some("1")), (1, None), (2, Some("after"))] {
            let found = reader.get(&result(slot)).unwrap();
            assert_eq!(found.as_deref(), value.map(str::as_bytes), "slot {slot}");
        }
    };
    check(&reader);
    drop((reader, writer));
    check(&place.open().0);
}

fn odd_names<P: Place>(place: &mut P) {
    let long = "n".repeat(limits::NAME_BYTES_MAX);
    let longer = "\u{0}".repeat(limits::NAME_BYTES_MAX);
    let mut names = vec![
        "",
        "\u{0}",
        "\u{0}\u{0}",
        "\u{0}\u{1}",
        "\u{1}",
        " ",
        "/",
        "a",
        "a\u{0}",
        "a\u{0}b",
        "a\u{1}",
        "ab",
        "b",
        "ÿ",
        "日本",
        "\u{10ffff}",
        "\u{10ffff}\u{0}",
        &long,
        &longer,
    ];
    let (reader, mut writer) = place.open();
    let mut batch = Batch::default();
    for flow in &names {
        batch.put(
            Key::Trigger {
                flow: (*flow).into(),
            },
            *flow,
        );
        for name in &names {
            let key = Key::Name {
                flow: (*flow).into(),
                name: (*name).into(),
            };
            batch.put(key, format!("{flow}|{name}"));
        }
        for i in 0..3 {
            batch.put(
                Key::FlowExecution {
                    flow: (*flow).into(),
                    execution: id(i, 0, 0),
                },
                *flow,
            );
        }
    }
    writer.commit(&[batch]).unwrap();
    for flow in &names {
        for name in &names {
            let key = Key::Name {
                flow: (*flow).into(),
                name: (*name).into(),
            };
            let value = reader.get(&key).unwrap();
            assert_eq!(
                value,
                Some(format!("{flow}|{name}").into_bytes()),
                "{key:?}"
            );
        }
        let range = Range::FlowExecutions {
            flow: (*flow).into(),
            before: None,
        };
        let found = reader.scan(&range, 100).unwrap();
        assert_eq!(found.len(), 3, "executions of {flow:?}");
        assert!(found.iter().all(|(_, value)| value == flow.as_bytes()));
    }
    // Ranges by name go by the names' bytes.
    names.sort_unstable();
    let found = reader.scan(&Range::Triggers, 100).unwrap();
    let found: Vec<_> = found.iter().map(|(_, value)| &**value).collect();
    let names: Vec<_> = names.iter().map(|n| n.as_bytes()).collect();
    assert_eq!(found, names);
}

fn big_values<P: Place>(place: &mut P) {
    let sizes = [
        0,
        1,
        4096,
        limits::INLINE_BYTES_MAX,
        limits::PAYLOAD_BYTES_MAX + 1,
    ];
    let key = |size: usize| Key::Blob {
        digest: Digest::of(&size.to_be_bytes()),
    };
    let value = |size: usize| -> Vec<u8> { (0..size).map(|i| (i ^ (i >> 9)) as u8).collect() };
    let (reader, mut writer) = place.open();
    let mut batch = Batch::default();
    for size in sizes {
        batch.put(key(size), value(size));
    }
    writer.commit(&[batch]).unwrap();
    let check = |reader: &P::Reader| {
        for size in sizes {
            let found = reader.get(&key(size)).unwrap();
            assert!(found == Some(value(size)), "a value of {size} bytes");
        }
    };
    check(&reader);
    drop((reader, writer));
    check(&place.open().0);
}

/// A scan beside a writer sees each commit whole or not at all.
fn whole_batches<P: Place>(place: &mut P) {
    let names: [&str; 4] = ["a", "b", "c", "d"];
    let (reader, mut writer) = place.open();
    let done = Arc::new(AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let (reader, done) = (reader.clone(), done.clone());
        move || {
            let mut newest = Vec::new();
            while !done.load(Ordering::Acquire) {
                let rows = reader.scan(&Range::Triggers, 10).unwrap();
                assert!(rows.is_empty() || rows.len() == names.len(), "{rows:?}");
                let values: Vec<_> = rows.into_iter().map(|(_, value)| value).collect();
                assert!(values.windows(2).all(|w| w[0] == w[1]), "{values:?}");
                if let Some(value) = values.into_iter().next() {
                    assert!(value >= newest, "a scan went back in time");
                    newest = value;
                }
            }
        }
    });
    for round in 0..200u32 {
        // Half of the rows come in one batch, half in another, of one commit.
        let batches = [&names[..2], &names[2..]].map(|names| {
            let mut batch = Batch::default();
            for name in names {
                batch.put(
                    Key::Trigger {
                        flow: (*name).into(),
                    },
                    round.to_be_bytes(),
                );
            }
            batch
        });
        writer.commit(&batches).unwrap();
        let row = reader.get(&Key::Trigger { flow: "d".into() }).unwrap();
        assert_eq!(
            row,
            Some(round.to_be_bytes().into()),
            "what was committed is visible"
        );
    }
    done.store(true, Ordering::Release);
    watcher.join().expect("the watcher saw whole commits only");
}

/// An id of this millisecond, shard and rest.
fn id(ms: i64, shard: u8, random: u128) -> ExecutionId {
    ExecutionId::new(Timestamp(ms), ShardId(shard), random)
}

fn one_of_each_kind() -> Vec<Key> {
    let execution = id(1_000, 7, 1);
    let name: Arc<str> = "the same name".into();
    let flow = name.clone();
    vec![
        Key::Log { execution, seq: 0 },
        Key::Log {
            execution,
            seq: u64::MAX,
        },
        Key::Checkpoint { execution },
        Key::Summary { execution },
        Key::FlowExecution {
            flow: flow.clone(),
            execution,
        },
        Key::Child {
            parent: execution,
            execution,
        },
        Key::Name {
            flow: flow.clone(),
            name: name.clone(),
        },
        Key::Hot { execution },
        Key::Timer {
            at: Timestamp(0),
            execution,
        },
        Key::Timer {
            at: Timestamp(i64::MIN),
            execution,
        },
        Key::Timer {
            at: Timestamp::MAX,
            execution,
        },
        Key::Blob {
            digest: Digest([7; 32]),
        },
        Key::Outbox {
            shard: execution.shard(),
            execution,
            number: 0,
        },
        Key::Usage {
            flow: flow.clone(),
            day: 20_000,
            writer: 0,
        },
        Key::Flow {
            name: name.clone(),
            version: 1,
        },
        Key::Module { name: name.clone() },
        Key::Trigger { flow },
        Key::Secret { name: name.clone() },
        Key::KeyValue {
            namespace: name.clone(),
            key: name.clone(),
        },
        Key::Signal {
            execution,
            key: Digest([9; 32]),
        },
        Key::Landing { name: name.clone() },
        Key::NamespaceSize {
            namespace: name.clone(),
            writer: 3,
        },
        Key::Activity {
            name: name.clone(),
            execution,
            entry: EntryId(1),
            attempt: 0,
        },
        Key::MapResult {
            execution,
            entry: EntryId(1),
            run: 0,
            slot: 7,
        },
        Key::Meta { name },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Memory, MemoryWriter};

    impl Place for Memory {
        type Reader = Memory;
        type Writer = MemoryWriter;

        fn open(&mut self) -> (Memory, MemoryWriter) {
            // A restart keeps the rows and nothing else.
            *self = Memory::from_snapshot(self.snapshot());
            (self.clone(), self.writer())
        }
    }

    #[test]
    fn memory_passes() {
        run(Memory::new);
    }
}
