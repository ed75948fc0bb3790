//! The store in memory, for simulation and one-shot runs only.
//!
//! Refuses to pretend durability: what it holds ends with the process. A
//! simulation plays power cuts on it: [`Memory::fail_next`] draws how a commit
//! fails, [`Memory::snapshot`] keeps what was durable at a moment, and asking for
//! a new writer shuts the one before out, as a restart does.

mod order;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::order::{Edge, Row, edge};
use crate::{Batch, Change, Error, Key, Range, Reader, Writer};

/// A handle on rows in memory; clones see the same rows.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    shared: Arc<Mutex<Shared>>,
}

/// How the next commit fails. The caller sees the same `STORE0001` either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of it became durable.
    Lost,
    /// All of it became durable, and only the answer was lost.
    Landed,
}

/// The rows of a [`Memory`] at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    rows: BTreeMap<Row, Arc<[u8]>>,
}

impl Snapshot {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Every row, kind by kind, each kind in its key order.
    pub fn rows(&self) -> impl Iterator<Item = (&Key, &[u8])> {
        self.rows.iter().map(|(row, value)| (&row.0, &**value))
    }
}

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Memory {
        Memory::default()
    }

    /// A store of its own with these rows: what a restart finds.
    #[must_use]
    pub fn from_snapshot(snapshot: Snapshot) -> Memory {
        Memory {
            shared: Arc::new(Mutex::new(Shared {
                rows: snapshot.rows,
                ..Shared::default()
            })),
        }
    }

    /// The rows as they are now. Values are shared, not copied.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            rows: self.lock().rows.clone(),
        }
    }

    /// The one writer. Commits of a writer handed out before fail from now on,
    /// as those of a process that was killed.
    #[must_use]
    pub fn writer(&self) -> MemoryWriter {
        let mut shared = self.lock();
        shared.writer += 1;
        MemoryWriter {
            number: shared.writer,
            shared: self.shared.clone(),
        }
    }

    /// Makes the next commit that carries anything fail; `None` takes a wish back.
    /// The writer it fails on stays unusable: the process must stop.
    pub fn fail_next(&self, fault: Option<Fault>) {
        self.lock().fault = fault;
    }

    /// What [`Reader::free_bytes`] says, to play a disk that fills up.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.lock().free_bytes = bytes;
    }

    /// Commits that became durable since this store was made, empty ones left out.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

impl Reader for Memory {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        // The map's key is owned; a key is a few words, so a copy costs little.
        let row = Row(key.clone());
        Ok(self.lock().rows.get(&row).map(|v| v.to_vec()))
    }

    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, Error> {
        Ok(self
            .lock()
            .find(range, limit)
            .into_iter()
            .map(|(row, value)| (row.0.clone(), value.to_vec()))
            .collect())
    }

    fn free_bytes(&self) -> Result<u64, Error> {
        Ok(self.lock().free_bytes)
    }
}

/// The way into a [`Memory`].
#[derive(Debug)]
pub struct MemoryWriter {
    shared: Arc<Mutex<Shared>>,
    number: u64,
}

impl Writer for MemoryWriter {
    fn commit(&mut self, batches: &[Batch]) -> Result<(), Error> {
        if batches.iter().all(Batch::is_empty) {
            return Ok(());
        }
        let mut shared = lock(&self.shared);
        if shared.writer != self.number {
            return Err(failed("this writer was replaced or has failed before"));
        }
        let fault = shared.fault.take();
        if fault != Some(Fault::Lost) {
            shared.apply(batches);
        }
        match fault {
            None => Ok(()),
            Some(_) => {
                // The caller must stop; no number equals this writer's from here on.
                shared.writer += 1;
                Err(failed("a fault was asked for"))
            }
        }
    }
}

#[derive(Debug)]
struct Shared {
    rows: BTreeMap<Row, Arc<[u8]>>,
    writer: u64,
    commits: u64,
    fault: Option<Fault>,
    free_bytes: u64,
}

impl Default for Shared {
    fn default() -> Shared {
        Shared {
            rows: BTreeMap::new(),
            writer: 0,
            commits: 0,
            fault: None,
            free_bytes: u64::MAX,
        }
    }
}

impl Shared {
    fn find(&self, range: &Range, limit: usize) -> Vec<(&Row, &Arc<[u8]>)> {
        let inside = |(row, _): &(&Row, &Arc<[u8]>)| range.contains(&row.0);
        match edge(range) {
            Edge::Up(lower) => {
                let from = self.rows.range((lower, Bound::Unbounded));
                from.take_while(inside).take(limit).collect()
            }
            Edge::Down(upper) => {
                let to = self.rows.range((Bound::Unbounded, upper)).rev();
                to.take_while(inside).take(limit).collect()
            }
        }
    }

    fn apply(&mut self, batches: &[Batch]) {
        self.commits += 1;
        for change in batches.iter().flat_map(|b| &b.changes) {
            match change {
                Change::Put(key, value) => {
                    self.rows.insert(Row(key.clone()), Arc::from(&**value));
                }
                Change::Delete(key) => {
                    self.rows.remove(&Row(key.clone()));
                }
                Change::Clear(range) => {
                    let found = self.find(range, usize::MAX);
                    let rows: Vec<Row> = found.into_iter().map(|(row, _)| row.clone()).collect();
                    for row in rows {
                        self.rows.remove(&row);
                    }
                }
            }
        }
    }
}

// A panic of another thread cannot leave the map half changed in a way that
// matters: the simulation that panicked is over.
fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(detail: &str) -> Error {
    Error::Medium {
        action: "commit",
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(value: &str) -> Batch {
        let mut batch = Batch::default();
        batch.put(key(), value);
        batch
    }

    fn key() -> Key {
        Key::Meta { name: "k".into() }
    }

    fn value(memory: &Memory) -> Option<String> {
        let bytes = memory.get(&key()).expect("memory reads")?;
        String::from_utf8(bytes).ok()
    }

    #[test]
    fn a_fault_loses_or_keeps_the_commit_and_ends_the_writer() {
        for (fault, durable) in [(Fault::Lost, "old"), (Fault::Landed, "new")] {
            let memory = Memory::new();
            let mut writer = memory.writer();
            writer.commit(&[put("old")]).expect("no fault yet");
            memory.fail_next(Some(fault));
            writer.commit(&[]).expect("nothing to fail on");
            let error = writer.commit(&[put("new")]).expect_err("the fault");
            assert_eq!(error.code(), "STORE0001");
            assert_eq!(value(&memory).as_deref(), Some(durable), "{fault:?}");
            writer
                .commit(&[put("later")])
                .expect_err("a failed writer stays failed");
            assert_eq!(value(&memory).as_deref(), Some(durable), "{fault:?}");
            memory.writer().commit(&[put("again")]).expect("a restart");
            assert_eq!(value(&memory).as_deref(), Some("again"));
        }
    }

    #[test]
    fn a_new_writer_shuts_the_old_one_out() {
        let memory = Memory::new();
        let mut old = memory.writer();
        let mut new = memory.writer();
        old.commit(&[put("old")]).expect_err("it was replaced");
        new.commit(&[put("new")]).expect("it is the writer");
        assert_eq!(value(&memory).as_deref(), Some("new"));
        assert_eq!(memory.commits(), 1);
    }

    #[test]
    fn a_snapshot_keeps_its_moment() {
        let memory = Memory::new();
        let mut writer = memory.writer();
        writer.commit(&[put("then")]).expect("commit");
        let then = memory.snapshot();
        writer.commit(&[put("now")]).expect("commit");
        assert_ne!(then, memory.snapshot());
        let restored = Memory::from_snapshot(then);
        assert_eq!(value(&restored).as_deref(), Some("then"));
        restored.writer().commit(&[put("other")]).expect("commit");
        assert_eq!(value(&memory).as_deref(), Some("now"), "stores are apart");
    }
}
