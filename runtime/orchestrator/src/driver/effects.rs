//! A step's writes land with its outcome: in the same batch, or not at all.
//!
//! Refuses those of a failure, of an attempt that nobody waits for any more, and of an express execution.

use stepwell_store::Key;
use stepwell_types::{Effects, EntryId, ExecutionId, Failure, StepOutcome};

use super::{Driver, Output};

impl Driver {
    /// Takes out of an outcome what lands with it. Of an express execution no outcome is durable,
    /// so nothing could: a step of one that writes fails.
    pub(super) fn effects_of(
        &self,
        id: ExecutionId,
        entry: EntryId,
        attempt: u32,
        outcome: &mut StepOutcome,
    ) -> Option<Effects> {
        let effects = outcome.effects.take()?;
        let hot = self.hot.get(&id)?;
        if hot.express.is_some() {
            outcome.result = Err(Failure::new(
                "Stepwell.ExpressWrites",
                "a step of an express execution cannot write to a namespace; start the flow as a standard one",
            ));
        }
        let counts = hot.ended.is_none()
            && hot.parked.is_none()
            && hot.spoiled.is_none()
            && hot.state.awaits(entry, attempt);
        (counts && outcome.result.is_ok()).then_some(effects)
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
        self.after(self.batch, Output::Landed(effects.hold));
    }
}
