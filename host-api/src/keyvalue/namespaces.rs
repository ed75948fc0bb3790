//! Whose writes are on their way, and whether what a step read is still so.
//!
//! A key that a step has written is held from the step's end until its outcome is durable: who
//! wants it meanwhile waits. All keys of a step are held at once or none, so nobody waits for each other.
//! Refuses to write: the writes go with the outcome.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use stepwell_store::{Key, Range, Reader};
use stepwell_types::{Digest, Effects, Failure, Hold, KeyValueWrite};
use tokio::sync::{Notify, OwnedMutexGuard};

use super::view::{Listed, Place, Touched};

/// What a namespace's keys are read from.
enum Kept {
    /// A store, which outcomes are committed to.
    Store(Arc<dyn Reader>),
    /// Memory: what is written lands at once.
    Memory(Mutex<BTreeMap<Place, Vec<u8>>>),
}

/// All namespaces of a server. Cheap to clone.
#[derive(Clone)]
pub struct Namespaces(Arc<Inner>);

struct Inner {
    kept: Kept,
    /// Keys whose writes are not durable yet, by namespace.
    held: Mutex<HashMap<Arc<str>, BTreeSet<Arc<str>>>>,
    /// Told when some are let go.
    freed: Notify,
    /// Whose turn it is among those that met a conflict.
    turns: Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>,
}

/// Why an attempt cannot end as it did.
#[derive(Debug)]
pub enum Conflict {
    /// What it read has changed, or another's writes to it are on their way.
    Lost,
    /// `Stepwell.KeyValueFailed`: the store cannot be read.
    Failed(Failure),
}

/// The turn of an attempt that met a conflict; held until what it writes is durable.
pub type Turn = OwnedMutexGuard<()>;

/// What a step fails with whose reads changed too often, or after it had called outside.
#[must_use]
pub fn conflict() -> Failure {
    Failure::new(
        "Stepwell.KeyValueConflict",
        "what the step read from a namespace was changed by another meanwhile",
    )
}

impl Namespaces {
    /// Those of a store.
    #[must_use]
    pub fn of(reader: Arc<dyn Reader>) -> Namespaces {
        Namespaces::new(Kept::Store(reader))
    }

    /// New ones in memory, for a run that leaves nothing behind.
    #[must_use]
    pub fn in_memory() -> Namespaces {
        Namespaces::new(Kept::Memory(Mutex::default()))
    }

    fn new(kept: Kept) -> Namespaces {
        Namespaces(Arc::new(Inner {
            kept,
            held: Mutex::default(),
            freed: Notify::new(),
            turns: Mutex::default(),
        }))
    }

    /// What is durable under a key.
    /// # Errors
    /// `Stepwell.KeyValueFailed`: the store cannot be read.
    pub(super) fn read(&self, place: &Place) -> Result<Option<Vec<u8>>, Failure> {
        match &self.0.kept {
            Kept::Memory(rows) => Ok(rows.lock().get(place).cloned()),
            Kept::Store(reader) => {
                let key = Key::KeyValue {
                    namespace: place.0.clone(),
                    key: place.1.clone(),
                };
                reader.get(&key).map_err(failed)
            }
        }
    }

    /// At most `limit` durable keys of a namespace after this one, in order.
    /// # Errors
    /// As [`Namespaces::read`].
    pub(super) fn keys(
        &self,
        namespace: &Arc<str>,
        after: Option<&Arc<str>>,
        limit: usize,
    ) -> Result<Vec<Arc<str>>, Failure> {
        match &self.0.kept {
            Kept::Memory(rows) => {
                let rows = rows.lock();
                let after = |key: &&Arc<str>| after.is_none_or(|after| *key > after);
                let mine = rows.keys().filter(|(of, _)| of == namespace);
                let keys = mine.map(|(_, key)| key).filter(after);
                Ok(keys.take(limit).cloned().collect())
            }
            Kept::Store(reader) => {
                let range = Range::KeyValues {
                    namespace: namespace.clone(),
                    after: after.cloned(),
                };
                let keys = reader.keys(&range, limit).map_err(failed)?;
                let key = |key| match key {
                    Key::KeyValue { key, .. } => Some(key),
                    _ => None,
                };
                Ok(keys.into_iter().filter_map(key).collect())
            }
        }
    }

    /// Waits until nobody's writes to the key are on their way; without one, to any of the namespace.
    pub(super) async fn free(&self, namespace: &Arc<str>, key: Option<&Arc<str>>) {
        loop {
            let freed = self.0.freed.notified();
            let mut freed = std::pin::pin!(freed);
            // From here on nothing is missed.
            freed.as_mut().enable();
            if !is_held(&self.0.held.lock(), namespace, key) {
                return;
            }
            freed.await;
        }
    }

    /// Waits for the turn of an attempt that met a conflict: one after another, they get on.
    pub fn turn(&self, touched: &Touched) -> impl Future<Output = Turn> + Send + use<> {
        let namespace = touched.first_namespace().unwrap_or_default();
        let turn = self.0.turns.lock().entry(namespace).or_default().clone();
        turn.lock_owned()
    }

    /// Ends an attempt's transaction: nothing that it read has changed, and what it writes is
    /// held until the effects are dropped, its turn too. `None`: nothing is left to land.
    /// # Errors
    /// The conflict: it has not happened.
    pub fn end(
        &self,
        touched: Touched,
        turn: &mut Option<Turn>,
    ) -> Result<Option<Effects>, Conflict> {
        if touched.is_stale() {
            return Err(Conflict::Lost);
        }
        // First the keys to be written are held, then what was read is compared, without the
        // lock: who changes some of it from now on comes after this transaction.
        let places: Vec<Place> = touched.writes.keys().cloned().collect();
        let mut held = self.0.held.lock();
        let mut all = touched.reads.keys().chain(&places);
        let mut lists = touched.lists.iter();
        if all.any(|(of, key)| is_held(&held, of, Some(key)))
            || lists.any(|list| is_held(&held, &list.namespace, None))
        {
            return Err(Conflict::Lost);
        }
        for (namespace, key) in &places {
            let keys = held.entry(namespace.clone()).or_default();
            keys.insert(key.clone());
        }
        drop(held);
        let mut hold = Held {
            of: self.clone(),
            places,
            turn: None,
        };
        self.compare(&touched)?;
        if touched.writes.is_empty() {
            return Ok(None);
        }
        if let Kept::Memory(rows) = &self.0.kept {
            let mut rows = rows.lock();
            for (place, value) in touched.writes {
                match value {
                    Some(value) => rows.insert(place, value),
                    None => rows.remove(&place),
                };
            }
            return Ok(None);
        }
        hold.turn = turn.take();
        let write = |((namespace, key), value)| KeyValueWrite {
            namespace,
            key,
            value,
        };
        let writes = touched.writes.into_iter().map(write).collect();
        Ok(Some(Effects {
            writes,
            hold: Hold::new(hold),
        }))
    }

    /// Whether all that was read is still so.
    fn compare(&self, touched: &Touched) -> Result<(), Conflict> {
        for (place, seen) in &touched.reads {
            let now = self.read(place).map_err(Conflict::Failed)?;
            if digest(now.as_deref()) != *seen {
                return Err(Conflict::Lost);
            }
        }
        for list in &touched.lists {
            let keys = self.keys(&list.namespace, list.after.as_ref(), list.limit);
            if Listed::digest(&keys.map_err(Conflict::Failed)?) != list.keys {
                return Err(Conflict::Lost);
            }
        }
        Ok(())
    }
}

fn is_held(
    held: &HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    namespace: &Arc<str>,
    key: Option<&Arc<str>>,
) -> bool {
    held.get(namespace)
        .is_some_and(|keys| key.is_none_or(|key| keys.contains(key)))
}

/// Tells values apart, and none from all.
pub(super) fn digest(value: Option<&[u8]>) -> Option<Digest> {
    value.map(Digest::of)
}

fn failed(e: stepwell_store::Error) -> Failure {
    tracing::error!(code = e.code(), reason = %e, "a namespace cannot be read");
    Failure::new("Stepwell.KeyValueFailed", "the store cannot be read")
}

/// Keys whose writes are on their way.
struct Held {
    of: Namespaces,
    places: Vec<Place>,
    /// Its turn ends with it.
    turn: Option<Turn>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.of.0.held.lock();
        for (namespace, key) in &self.places {
            if let Some(keys) = held.get_mut(namespace) {
                keys.remove(key);
                if keys.is_empty() {
                    held.remove(namespace);
                }
            }
        }
        drop(held);
        // The next one's turn, now that nothing is in its way.
        self.turn = None;
        self.of.0.freed.notify_waiters();
    }
}
