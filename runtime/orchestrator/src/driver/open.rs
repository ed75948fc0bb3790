//! How many executions have not ended: of this loop, and of each flow.
//!
//! A count is in the batch of the events that it counts: what is durable of the one is durable of the
//! other. What a flow has in all is the sum over the loops that ever counted: one may end on another
//! loop than it began on. Refuses to count what nothing is stored of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use stepwell_store::{Batch, Key, Range, Reader};
use stepwell_types::ExecutionId;
use stepwell_types::id::SHARDS;

use super::Driver;
use crate::Error;
use crate::rows::{self, SummaryRow};

/// Summaries that are read at once.
const ROWS: usize = 256;

/// The counts of one loop.
pub(super) struct Open {
    index: u8,
    all: i64,
    all_saved: i64,
    /// Of flows of which one began or ended since the start.
    flows: HashMap<Arc<str>, Count>,
    /// Those whose count is not in a sealed batch.
    changed: Vec<Arc<str>>,
}

struct Count {
    /// What the store has, with all sealed batches; `None`: it could not be read.
    stored: Option<i64>,
    /// What has begun since, less what has ended.
    more: i64,
    is_changed: bool,
}

/// The row of a loop's gauge.
fn key(index: u8) -> Key {
    Key::Meta {
        name: format!("open/{index}").into(),
    }
}

/// The row of a flow's share of it.
fn key_of(index: u8, flow: &str) -> Key {
    Key::Meta {
        name: format!("open/{index}/{flow}").into(),
    }
}

/// The row that says that flows are counted.
fn counted_key() -> Key {
    Key::Meta {
        name: "open-by-flow".into(),
    }
}

/// Every number that a loop may have.
fn loops() -> impl Iterator<Item = u8> {
    (0..SHARDS).filter_map(|index| u8::try_from(index).ok())
}

fn read(reader: &dyn Reader, key: &Key) -> Result<i64, Error> {
    let row = reader.get(key)?;
    row.map_or(Ok(0), |row| rows::decode(&row))
}

/// How many executions of a flow have not ended, as far as is durable. Costs as much for a flow that
/// has run a million times as for one that never did.
/// # Errors
/// `RUN0012`.
pub fn open_by_flow(reader: &dyn Reader, flow: &str) -> Result<i64, Error> {
    loops()
        .map(|index| read(reader, &key_of(index, flow)))
        .sum::<Result<i64, Error>>()
}

/// Counts by flow what has not ended in a store that was written before there were such counts: `batch`
/// gets them, and must be durable before anything begins or ends. Reads the summaries of all executions,
/// once in a store's life.
/// # Errors
/// `RUN0012`.
pub fn count_open_once(reader: &dyn Reader, batch: &mut Batch) -> Result<(), Error> {
    if reader.get(&counted_key())?.is_some() {
        return Ok(());
    }
    let mut flows: BTreeMap<Arc<str>, i64> = BTreeMap::new();
    let mut before = None;
    loop {
        let found = reader.scan(&Range::Summaries { before }, ROWS)?;
        for (key, row) in &found {
            if let Key::Summary { execution } = key {
                before = Some(*execution);
            }
            // One that is damaged shows where it is asked for, and keeps no server from starting.
            if let Ok(row) = rows::decode::<SummaryRow>(row) {
                *flows.entry(row.flow).or_default() += i64::from(row.status == 0);
            }
        }
        if found.len() < ROWS {
            break;
        }
    }
    for (flow, open) in flows {
        for index in loops() {
            batch.delete(key_of(index, &flow));
        }
        if open > 0 {
            batch.put(key_of(0, &flow), rows::encode(&open));
        }
    }
    batch.put(counted_key(), rows::encode(&true));
    Ok(())
}

/// Lets the first loop take over what all of them have counted of all flows: nobody reads the rows of
/// loops that are no more. `batch` gets it, and must be durable before a loop reads its own.
/// # Errors
/// `RUN0012`.
pub fn gather_open(reader: &dyn Reader, batch: &mut Batch) -> Result<(), Error> {
    let mut all = read(reader, &key(0))?;
    let mut others = false;
    for index in loops().filter(|index| *index > 0) {
        let open = read(reader, &key(index))?;
        if open != 0 {
            batch.delete(key(index));
            all += open;
            others = true;
        }
    }
    if others {
        batch.put(key(0), rows::encode(&all));
    }
    Ok(())
}

impl Open {
    pub fn new(index: u8) -> Open {
        Open {
            index,
            all: 0,
            all_saved: 0,
            flows: HashMap::new(),
            changed: Vec::new(),
        }
    }

    /// Goes on from what is stored.
    /// # Errors
    /// `RUN0012` when the store cannot be read.
    pub fn load(&mut self, reader: &dyn Reader) -> Result<(), Error> {
        self.all = read(reader, &key(self.index))?;
        self.all_saved = self.all;
        Ok(())
    }

    /// Of all flows. Below 0 where more has ended than begun here: after a change of `loops` another
    /// loop has counted the beginnings.
    pub fn all(&self) -> i64 {
        self.all
    }

    fn add(&mut self, reader: &dyn Reader, flow: &Arc<str>, by: i64) {
        self.all += by;
        let key = || key_of(self.index, flow);
        let count = self.flows.entry(flow.clone()).or_insert_with(|| Count {
            stored: read(reader, &key()).ok(),
            more: 0,
            is_changed: false,
        });
        count.more += by;
        if !std::mem::replace(&mut count.is_changed, true) {
            self.changed.push(flow.clone());
        }
    }

    /// Puts what has changed into the batch that is closed.
    pub fn write(&mut self, reader: &dyn Reader, batch: &mut Batch) {
        let changed = std::mem::take(&mut self.changed);
        for flow in changed {
            let Some(count) = self.flows.get_mut(&flow) else {
                continue;
            };
            let key = key_of(self.index, &flow);
            // Where it cannot be read nothing is written over it: a later batch has it.
            let stored = count.stored.or_else(|| read(reader, &key).ok());
            let Some(stored) = stored else {
                self.changed.push(flow);
                continue;
            };
            let open = stored + count.more;
            if open != stored {
                match open {
                    0 => batch.delete(key),
                    open => batch.put(key, rows::encode(&open)),
                }
            }
            *count = Count {
                stored: Some(open),
                more: 0,
                is_changed: false,
            };
        }
        if self.all != self.all_saved {
            self.all_saved = self.all;
            batch.put(key(self.index), rows::encode(&self.all));
        }
    }
}

impl Driver {
    /// An execution has begun, or goes on after its end (1), or has ended (-1).
    pub(super) fn count_open(&mut self, id: ExecutionId, by: i64) {
        if self.is_unrecorded(id) {
            return;
        }
        if let Some(hot) = self.hot.get(&id) {
            self.open.add(&*self.reader, &hot.flow.name, by);
        }
    }
}
