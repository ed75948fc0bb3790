//! Changes of objects that are sure: read at the start, and forgotten when they are made.

use std::sync::Arc;

use stepwell_store::{Batch, Key, Range, Reader};
use stepwell_types::ObjectWrite;

use super::{Catalog, ROWS};
use crate::{Error, rows};

/// The changes that a process before this one may not have made.
/// # Errors
/// `RUN0012`.
pub fn landings(reader: &dyn Reader) -> Result<Vec<ObjectWrite>, Error> {
    let mut all: Vec<ObjectWrite> = Vec::new();
    loop {
        let after = all.last().map(|last| last.name.clone());
        let found = reader.scan(&Range::Landings { after }, ROWS)?;
        for (_, row) in &found {
            all.push(rows::decode(row)?);
        }
        if found.len() < ROWS {
            return Ok(all);
        }
    }
}

impl Catalog {
    /// Forgets those that were made. Each is on its own: what is left is made again, which changes nothing.
    pub async fn landed(&self, names: Vec<Arc<str>>) -> Result<(), Error> {
        let mut batch = Batch::default();
        for name in names {
            batch.delete(Key::Landing { name });
        }
        self.commit(batch).await
    }
}
