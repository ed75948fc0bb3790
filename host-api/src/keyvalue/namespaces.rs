//! Whose writes are on their way, and whether what a step read is still so.
//!
//! A key that a step has written is held from the step's end until its outcome is durable: who
//! wants it meanwhile waits. All keys of a step are held at once or none, so nobody waits for each other.
//! Refuses to write: the writes go with the outcome.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use stepwell_store::{Key, NamespaceSize, Range, Reader};
use stepwell_types::{Digest, Effects, Failure, Growth, Held, Hold, KeyValueWrite};
use tokio::sync::{Notify, OwnedMutexGuard};

use super::quota::{Quotas, full};
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
    /// How large the namespaces are that were written to, with what is on its way.
    sizes: Mutex<HashMap<Arc<str>, NamespaceSize>>,
    quotas: Quotas,
    /// Whose turn it is among those that met a conflict.
    turns: Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>,
}

/// Why an attempt cannot end as it did.
#[derive(Debug)]
pub enum Conflict {
    /// What it read has changed, or another's writes to it are on their way: what the attempt fails
    /// with if it cannot begin anew.
    Lost(Failure),
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
    pub fn of(reader: Arc<dyn Reader>, quotas: Quotas) -> Namespaces {
        Namespaces::new(Kept::Store(reader), quotas)
    }

    /// New ones in memory, for a run that leaves nothing behind.
    #[must_use]
    pub fn in_memory() -> Namespaces {
        Namespaces::new(Kept::Memory(Mutex::default()), Quotas::default())
    }

    fn new(kept: Kept, quotas: Quotas) -> Namespaces {
        Namespaces(Arc::new(Inner {
            kept,
            held: Mutex::default(),
            freed: Notify::new(),
            sizes: Mutex::default(),
            quotas,
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

    /// What a durable key takes of its namespace's room.
    /// # Errors
    /// As [`Namespaces::read`].
    pub(super) fn weight(&self, place: &Place) -> Result<NamespaceSize, Failure> {
        Ok(weight(&place.1, self.read(place)?.as_deref()))
    }

    /// Whether a namespace has room to grow by this much.
    /// # Errors
    /// `Stepwell.NamespaceFull`; or as [`Namespaces::read`].
    pub(super) fn has_room(&self, namespace: &Arc<str>, by: NamespaceSize) -> Result<(), Failure> {
        let size = self.size(&mut self.0.sizes.lock(), namespace)?;
        self.fits(namespace, size, by)
    }

    /// What the quota of a namespace is.
    #[must_use]
    pub fn quotas(&self) -> &Quotas {
        &self.0.quotas
    }

    fn fits(
        &self,
        namespace: &Arc<str>,
        size: NamespaceSize,
        by: NamespaceSize,
    ) -> Result<(), Failure> {
        let quota = self.0.quotas.of(namespace);
        match quota.allows(size, by) {
            true => Ok(()),
            false => Err(full(namespace, size + by, quota)),
        }
    }

    /// How large a namespace is, with what is on its way. Read when it is first asked for: then
    /// nothing is on its way.
    fn size(
        &self,
        sizes: &mut HashMap<Arc<str>, NamespaceSize>,
        namespace: &Arc<str>,
    ) -> Result<NamespaceSize, Failure> {
        if let Some(size) = sizes.get(namespace) {
            return Ok(*size);
        }
        let mut size = NamespaceSize::default();
        if let Kept::Store(reader) = &self.0.kept {
            let range = Range::NamespaceSizes {
                namespace: Some(namespace.clone()),
                after: None,
            };
            for (_, row) in reader.scan(&range, usize::MAX).map_err(failed)? {
                size += NamespaceSize::from_row(&row).unwrap_or_default();
            }
        }
        sizes.insert(namespace.clone(), size);
        Ok(size)
    }

    /// By how much namespaces grow by these writes, whose keys are held; that is counted from now on.
    fn grow(&self, touched: &Touched) -> Result<Vec<Growth>, Failure> {
        let mut growth: BTreeMap<Arc<str>, NamespaceSize> = BTreeMap::new();
        for (place, value) in &touched.writes {
            let by = growth.entry(place.0.clone()).or_default();
            *by += weight(&place.1, value.as_deref()) - self.weight(place)?;
        }
        let mut sizes = self.0.sizes.lock();
        for (namespace, by) in &growth {
            self.fits(namespace, self.size(&mut sizes, namespace)?, *by)?;
        }
        for (namespace, by) in &growth {
            *sizes.entry(namespace.clone()).or_default() += *by;
        }
        let growth = growth.into_iter();
        Ok(growth
            .map(|(namespace, by)| Growth {
                namespace,
                keys: by.keys,
                bytes: by.bytes,
            })
            .collect())
    }

    /// Takes keys out of a namespace for somebody who is no step: the effects, once nobody else's
    /// writes to them are on their way.
    /// # Errors
    /// `Stepwell.KeyValueFailed`.
    pub async fn remove(
        &self,
        namespace: &Arc<str>,
        keys: &[Arc<str>],
    ) -> Result<Option<Effects>, Failure> {
        loop {
            let mut touched = Touched::default();
            for key in keys {
                self.free(namespace, Some(key)).await;
                touched
                    .writes
                    .insert((namespace.clone(), key.clone()), None);
            }
            match self.end(touched, &mut None) {
                Ok(effects) => return Ok(effects),
                Err(Conflict::Failed(failure)) => return Err(failure),
                // Somebody was quicker.
                Err(Conflict::Lost(_)) => {}
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
            return Err(Conflict::Lost(conflict()));
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
            return Err(Conflict::Lost(conflict()));
        }
        for (namespace, key) in &places {
            let keys = held.entry(namespace.clone()).or_default();
            keys.insert(key.clone());
        }
        drop(held);
        let mut hold = Holding {
            of: self.clone(),
            places,
            growth: Vec::new(),
            turn: Mutex::default(),
            landed: AtomicBool::new(false),
        };
        self.compare(&touched)?;
        if touched.writes.is_empty() {
            return Ok(None);
        }
        hold.growth = self.grow(&touched).map_err(Conflict::Failed)?;
        if let Kept::Memory(rows) = &self.0.kept {
            let mut rows = rows.lock();
            for (place, value) in touched.writes {
                match value {
                    Some(value) => rows.insert(place, value),
                    None => rows.remove(&place),
                };
            }
            drop(rows);
            hold.landed();
            return Ok(None);
        }
        *hold.turn.get_mut() = turn.take();
        let write = |((namespace, key), value)| KeyValueWrite {
            namespace,
            key,
            value,
        };
        let writes = touched.writes.into_iter().map(write).collect();
        Ok(Some(Effects {
            writes,
            growth: hold.growth.clone(),
            objects: Vec::new(),
            hold: Hold::new(hold),
        }))
    }

    /// Whether all that was read is still so.
    fn compare(&self, touched: &Touched) -> Result<(), Conflict> {
        for (place, seen) in &touched.reads {
            let now = self.read(place).map_err(Conflict::Failed)?;
            if digest(now.as_deref()) != *seen {
                return Err(Conflict::Lost(conflict()));
            }
        }
        for list in &touched.lists {
            let keys = self.keys(&list.namespace, list.after.as_ref(), list.limit);
            if Listed::digest(&keys.map_err(Conflict::Failed)?) != list.keys {
                return Err(Conflict::Lost(conflict()));
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

/// What a key takes of its namespace's room.
pub(super) fn weight(key: &str, value: Option<&[u8]>) -> NamespaceSize {
    match value {
        None => NamespaceSize::default(),
        Some(value) => NamespaceSize {
            keys: 1,
            bytes: i64::try_from(key.len() + value.len()).unwrap_or(i64::MAX),
        },
    }
}

/// Keys whose writes are on their way.
struct Holding {
    of: Namespaces,
    places: Vec<Place>,
    /// What is counted for them.
    growth: Vec<Growth>,
    /// Its turn ends with it.
    turn: Mutex<Option<Turn>>,
    landed: AtomicBool,
}

impl Held for Holding {
    fn landed(&self) {
        self.landed.store(true, Ordering::Release);
        self.free();
    }
}

impl Holding {
    fn free(&self) {
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
        self.turn.lock().take();
        self.of.0.freed.notify_waiters();
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if *self.landed.get_mut() {
            return;
        }
        let mut sizes = self.of.0.sizes.lock();
        for growth in &self.growth {
            if let Some(size) = sizes.get_mut(&growth.namespace) {
                *size = *size - growth.into();
            }
        }
        drop(sizes);
        self.free();
    }
}
