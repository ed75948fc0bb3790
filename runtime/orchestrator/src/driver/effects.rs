//! A step's writes land with its outcome: in the same batch, or not at all. Those of objects are rows
//! there, and are made afterwards.
//!
//! Refuses those of a failure, of an attempt that nobody waits for any more, and of an express execution.

use stepwell_store::{Key, NamespaceSize};
use stepwell_types::{Effects, EntryId, ExecutionId, Failure, Growth, StepOutcome};

use super::{Driver, Output};
use crate::rows;

impl Driver {
    /// Takes out of an outcome what lands with it. Of an express execution no outcome is durable,
    /// so nothing could: a step of one that writes fails.
    pub(super) fn effects_of(
        &mut self,
        id: ExecutionId,
        entry: EntryId,
        attempt: u32,
        outcome: &mut StepOutcome,
    ) -> Option<Effects> {
        let effects = outcome.effects.take()?;
        let Some(hot) = self.hot.get(&id) else {
            self.give_up(Some(effects));
            return None;
        };
        if hot.express.is_some() {
            outcome.result = Err(Failure::new(
                "Stepwell.ExpressWrites",
                "a step of an express execution cannot write to a namespace or a bucket; start the flow as a standard one",
            ));
        }
        if hot.wants_end(entry, attempt) && outcome.result.is_ok() {
            return Some(effects);
        }
        self.give_up(Some(effects));
        None
    }

    /// Lets go of what will not land, where it holds nobody up: files may go with it.
    pub(super) fn give_up(&mut self, effects: Option<Effects>) {
        if let Some(effects) = effects {
            self.out.push_back(Output::GivenUp(effects.hold));
        }
    }

    /// Puts writes into the open batch, which holds the outcome too.
    pub(super) fn land(&mut self, effects: Effects) {
        for write in effects.writes {
            self.open_bytes += write.namespace.len() + write.key.len();
            let key = Key::KeyValue {
                namespace: write.namespace,
                key: write.key,
            };
            match write.value {
                Some(value) => {
                    self.open_bytes += value.len();
                    self.extra.put(key, value);
                }
                None => self.extra.delete(key),
            }
        }
        for write in effects.objects {
            let row = rows::encode(&write);
            self.open_bytes += row.len();
            self.extra.put(Key::Landing { name: write.name }, row);
        }
        for growth in &effects.growth {
            self.grow(growth);
        }
        effects.hold.committing();
        self.after(self.batch, Output::Landed(effects.hold));
    }

    /// Counts by how much this loop has made a namespace larger. What all have, together, is its size.
    fn grow(&mut self, growth: &Growth) {
        let namespace = growth.namespace.clone();
        let key = Key::NamespaceSize {
            namespace: namespace.clone(),
            writer: self.index,
        };
        let reader = &self.reader;
        let size = self.grown.entry(namespace).or_insert_with(|| {
            // First sight since the start. A store that cannot be read shows in every other place too.
            let row = reader.get(&key).ok().flatten();
            row.and_then(|row| NamespaceSize::from_row(&row))
                .unwrap_or_default()
        });
        *size += growth.into();
        self.extra.put(key, size.to_row());
    }
}
