//! The storage contract: rows by typed key, many readers, one writer.
//!
//! Refuses to know flows: values are bytes. A [`Batch`] is plain, bounded data and
//! the only way in, so that a replicated engine can take the commit's place later.

pub mod error;
pub mod key;
pub mod memory;
pub mod namespace;
pub mod suite;

pub use error::Error;
pub use key::{Key, Range};
pub use memory::{Fault, Memory, MemoryWriter, Snapshot};
pub use namespace::{NamespaceSize, Quota};

/// Changes that become durable together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order; a later change of the same key wins.
    pub changes: Vec<Change>,
}

/// One change of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Insert or replace.
    Put(Key, Vec<u8>),
    /// Remove; a missing row is no error.
    Delete(Key),
    /// Remove every row of a range, those of earlier changes of the same batch too.
    Clear(Range),
}

impl Batch {
    /// Adds an insert or replace.
    pub fn put(&mut self, key: Key, value: impl Into<Vec<u8>>) {
        self.changes.push(Change::Put(key, value.into()));
    }

    /// Adds a removal.
    pub fn delete(&mut self, key: Key) {
        self.changes.push(Change::Delete(key));
    }

    /// Adds the removal of all rows of a range: as cheap as that of one.
    pub fn clear(&mut self, range: Range) {
        self.changes.push(Change::Clear(range));
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of all values: what the batch weighs.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.changes
            .iter()
            .map(|c| match c {
                Change::Put(_, v) => v.len() + 48,
                Change::Delete(_) | Change::Clear(_) => 48,
            })
            .sum()
    }
}

/// Reads what is durable (*visible means durable*). Cheap to share.
pub trait Reader: Send + Sync {
    /// One row.
    /// # Errors
    /// `STORE0001`: the medium failed.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Error>;

    /// At most `limit` rows of a range, in the range's order.
    /// # Errors
    /// `STORE0001`; `STORE0002` when a row's key cannot be decoded.
    fn scan(&self, range: &Range, limit: usize) -> Result<Vec<(Key, Vec<u8>)>, Error>;

    /// The keys of [`Reader::scan`], without holding what is under them.
    /// # Errors
    /// As [`Reader::scan`].
    fn keys(&self, range: &Range, limit: usize) -> Result<Vec<Key>, Error> {
        let rows = self.scan(range, limit)?;
        Ok(rows.into_iter().map(|(key, _)| key).collect())
    }

    /// Bytes still free where the store lives; `u64::MAX` for memory.
    /// # Errors
    /// `STORE0001`.
    fn free_bytes(&self) -> Result<u64, Error>;
}

/// The one way in. Not `Clone`: only the commit thread of the orchestrator holds it.
pub trait Writer: Send {
    /// Makes all batches durable at once, in order: after `Ok` they survive a
    /// power cut; after a crash before it, either all or none are there.
    /// # Errors
    /// `STORE0001`. Whether the batches are durable is then unknown: the caller must stop.
    fn commit(&mut self, batches: &[Batch]) -> Result<(), Error>;
}
