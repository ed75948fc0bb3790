//! Which steps and turns were on a processor when the process died, and how often: durable
//! counts that tell what kills the process from what was merely there. A turn counts as an
//! entry that no step has ([`WALK`]).
//!
//! Refuses to guess: only a death at which a step was being run counts, and each death
//! counts once. See `docs/decisions/0010-suspects-after-an-unclean-stop.md`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stepwell_store::{Batch, Key, Reader};
use stepwell_types::id::SHARDS;
use stepwell_types::{EntryId, ExecutionId, ShardId};

use crate::Error;
use crate::ports::{LastLife, StepKey};
use crate::rows::{self, SuspectsRow};

/// Deaths on a processor, without an outside call begun between them, after which a step's
/// execution is parked.
pub(crate) const DEATHS_MAX: u8 = 3;

/// Deaths on a processor after which it is parked whatever it did between them: a step
/// that calls out and then kills must not go on through ten thousand calls.
pub(crate) const DEATHS_IN_ALL_MAX: u8 = 10;

/// What stands for the turns of an execution, beside its steps: entries count from 1.
pub const WALK: (EntryId, u32) = (EntryId(0), 0);

/// At how many deaths a step was on a processor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deaths {
    /// Since it last began an outside call that it had not begun before.
    pub since: u8,
    /// Of all its lives.
    pub all: u8,
}

impl Deaths {
    fn one_more(self) -> Deaths {
        Deaths {
            since: self.since.saturating_add(1),
            all: self.all.saturating_add(1),
        }
    }

    fn too_many(self) -> bool {
        self.since >= DEATHS_MAX || self.all >= DEATHS_IN_ALL_MAX
    }
}

/// The suspects of some shards, and how often each was on a processor at a death.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    deaths: BTreeMap<StepKey, Deaths>,
    changed: BTreeSet<ShardId>,
}

fn key(shard: ShardId) -> Key {
    Key::Meta {
        name: format!("suspects/{}", shard.0).into(),
    }
}

/// The row that names the last process life whose end was counted.
fn counted_key() -> Key {
    Key::Meta {
        name: "suspects-counted".into(),
    }
}

fn read(reader: &dyn Reader, shard: ShardId) -> Result<SuspectsRow, Error> {
    match reader.get(&key(shard))? {
        Some(row) => rows::decode(&row),
        None => Ok(SuspectsRow::default()),
    }
}

/// Counts the end of the last process life, unless it has been counted: `batch` gets the
/// rows, which must be durable before any step runs. Returns how many steps are suspects
/// now. The same end counted again, because that batch was followed by another death,
/// changes nothing.
/// # Errors
/// `RUN0012` when the store cannot be read.
pub fn count(reader: &dyn Reader, last: &LastLife, batch: &mut Batch) -> Result<usize, Error> {
    let counted: u64 = match reader.get(&counted_key())? {
        Some(row) => rows::decode(&row)?,
        None => 0,
    };
    let fresh = counted != last.life;
    if fresh {
        batch.put(counted_key(), rows::encode(&last.life));
    }
    let mut sum = 0;
    for shard in (0..SHARDS).filter_map(|s| u8::try_from(s).ok()) {
        let shard = ShardId(shard);
        let mut row = read(reader, shard)?;
        let here = last.steps.iter().filter(|(id, ..)| id.shard() == shard);
        let mut changed = false;
        for (id, entry, attempt) in here.filter(|_| fresh) {
            changed = true;
            let known = row
                .steps
                .iter_mut()
                .find(|s| (s.0, s.1, s.2) == (*id, entry.0, *attempt));
            match known {
                Some(step) => step.3 = step.3.one_more(),
                None => row
                    .steps
                    .push((*id, entry.0, *attempt, Deaths::default().one_more())),
            }
        }
        sum += row.steps.len();
        if changed {
            batch.put(key(shard), rows::encode(&row));
        }
    }
    Ok(sum)
}

impl Suspects {
    /// Reads one shard's.
    pub fn load(&mut self, reader: &dyn Reader, shard: ShardId) -> Result<(), Error> {
        for (id, entry, attempt, deaths) in read(reader, shard)?.steps {
            self.deaths.insert((id, EntryId(entry), attempt), deaths);
        }
        Ok(())
    }

    /// Whether this step is one.
    pub fn has(&self, id: ExecutionId, entry: EntryId, attempt: u32) -> bool {
        !self.deaths.is_empty() && self.deaths.contains_key(&(id, entry, attempt))
    }

    /// Whether any step of an execution is one.
    pub fn of(&self, id: ExecutionId) -> bool {
        !self.deaths.is_empty() && self.range(id).next().is_some()
    }

    fn range(&self, id: ExecutionId) -> impl Iterator<Item = (&StepKey, &Deaths)> {
        let all = (id, EntryId(0), 0)..=(id, EntryId(u64::MAX), u32::MAX);
        self.deaths.range(all)
    }

    /// The executions that have one.
    pub fn executions(&self) -> Vec<ExecutionId> {
        let mut ids: Vec<_> = self.deaths.keys().map(|(id, ..)| *id).collect();
        ids.dedup();
        ids
    }

    /// A step of this execution that has died too often, and how often.
    pub fn killer(&self, id: ExecutionId) -> Option<(EntryId, u32, u8)> {
        self.range(id)
            .find(|(_, deaths)| deaths.too_many())
            .map(|((_, entry, attempt), deaths)| (*entry, *attempt, deaths.all))
    }

    /// How often the process died while it walked this execution's turns, if that is too often.
    pub fn walks_kill(&self, id: ExecutionId) -> Option<u8> {
        if self.deaths.is_empty() {
            return None;
        }
        let deaths = self.deaths.get(&(id, WALK.0, WALK.1))?;
        deaths.too_many().then_some(deaths.all)
    }

    /// A step came further than in any life before: what killed it then does not do so
    /// each time. It stays a suspect, as if it had died once.
    pub fn came_further(&mut self, id: ExecutionId, entry: EntryId, attempt: u32) {
        if self.deaths.is_empty() {
            return;
        }
        let known = self.deaths.get_mut(&(id, entry, attempt));
        if let Some(deaths) = known.filter(|deaths| deaths.since > 1) {
            deaths.since = 1;
            self.changed.insert(id.shard());
        }
    }

    /// A step came to its end without killing anybody, or is not wanted any more.
    pub fn clear(&mut self, id: ExecutionId, entry: EntryId, attempt: u32) {
        if !self.deaths.is_empty() && self.deaths.remove(&(id, entry, attempt)).is_some() {
            self.changed.insert(id.shard());
        }
    }

    /// An execution is over.
    pub fn clear_all(&mut self, id: ExecutionId) {
        if self.of(id) {
            self.deaths.retain(|(other, ..), _| *other != id);
            self.changed.insert(id.shard());
        }
    }

    /// Whether [`Suspects::write`] has something to do.
    pub fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The rows of the shards that changed.
    pub fn write(&mut self, batch: &mut Batch) {
        for shard in std::mem::take(&mut self.changed) {
            let here = self
                .deaths
                .iter()
                .filter(|((id, ..), _)| id.shard() == shard);
            let steps: Vec<_> = here
                .map(|((id, entry, attempt), n)| (*id, entry.0, *attempt, *n))
                .collect();
            if steps.is_empty() {
                batch.delete(key(shard));
            } else {
                batch.put(key(shard), rows::encode(&SuspectsRow { steps }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use stepwell_store::Writer as _;
    use stepwell_store::memory::Memory;
    use stepwell_types::Timestamp;

    use super::*;

    #[test]
    fn who_comes_further_each_life_is_parked_later() {
        let memory = Memory::default();
        let id = ExecutionId::new(Timestamp(1), ShardId(5), 7);
        let step = (id, EntryId(3), 0);
        for life in 1..=u64::from(DEATHS_IN_ALL_MAX) {
            let mut batch = Batch::default();
            let last = LastLife {
                life,
                steps: vec![step],
            };
            count(&memory, &last, &mut batch).unwrap();
            memory.writer().commit(&[batch]).unwrap();
            let mut suspects = Suspects::default();
            suspects.load(&memory, ShardId(5)).unwrap();
            assert!(suspects.has(id, EntryId(3), 0));
            let parked = suspects.killer(id).is_some();
            assert_eq!(parked, life == u64::from(DEATHS_IN_ALL_MAX), "{life}");
            suspects.came_further(id, EntryId(3), 0);
            let mut batch = Batch::default();
            suspects.write(&mut batch);
            memory.writer().commit(&[batch]).unwrap();
        }
    }

    #[test]
    fn each_death_counts_once_and_an_end_clears() {
        let memory = Memory::default();
        let id = ExecutionId::new(Timestamp(1), ShardId(5), 7);
        let step = (id, EntryId(3), 0);
        let die = |life: u64, steps: &[StepKey]| {
            let mut batch = Batch::default();
            let steps = steps.to_vec();
            let n = count(&memory, &LastLife { life, steps }, &mut batch).unwrap();
            memory.writer().commit(&[batch]).unwrap();
            n
        };
        assert_eq!(die(11, &[step]), 1);
        assert_eq!(die(11, &[step]), 1);
        assert_eq!(die(12, &[step, (id, EntryId(4), 1)]), 2);
        assert_eq!(die(13, &[]), 2);
        let load = || {
            let mut suspects = Suspects::default();
            suspects.load(&memory, ShardId(5)).unwrap();
            suspects
        };
        assert!(load().has(id, EntryId(3), 0));
        assert_eq!(load().killer(id), None);
        assert_eq!(die(14, &[step]), 2);
        let mut suspects = load();
        assert_eq!(suspects.killer(id), Some((EntryId(3), 0, 3)));
        suspects.clear(id, EntryId(3), 0);
        assert_eq!(suspects.killer(id), None);
        assert_eq!(suspects.executions(), [id]);
        suspects.clear_all(id);
        assert!(suspects.is_changed() && !suspects.of(id));
        let mut batch = Batch::default();
        suspects.write(&mut batch);
        memory.writer().commit(&[batch]).unwrap();
        assert!(load().executions().is_empty());
    }
}
